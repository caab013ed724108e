"""Runs on their way in: what a body asks for as a `RunRequest`; and what becomes of a run whose client
leaves.

A handler is cancelled when its client leaves. The run manager carries through what it was asked to do all the
same; here is what follows for a run that its client has tied to the connection: it is cancelled, also when
the client left before it could know of its run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs
from aiohttp import web

from gatewayd import assistants, ids, logs
from gatewayd.api import connections, keys, middleware
from gatewayd.api.requests import parse, run_bodies
from gatewayd.errors import GatewaydError, Invalid, NotFound, Rejected
from gatewayd.model import arguments
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import RunRequest
from gatewayd.runs.admission import Admission
from gatewayd.services import Services

log = logging.getLogger(__name__)

LEFT: Final = {
    "error": "UserInterrupt",
    "message": "client disconnected from the run stream (on_disconnect=cancel)",
}
"""What the thread says when its run was cancelled because the client had left."""


async def admit(
    request: web.Request, *, stateless: bool = False, follow: bool = False, tied: bool = False
) -> tuple[Admission, bool]:
    """
    Create the run that the request describes; with `follow` the admission has the future of its end.

    Returns it with whether the run ends with its client: only if it is `tied` to the connection, and asked
    for. Raises `Invalid`, `Rejected`, `NotFound`, `Conflict`, `Unavailable`.
    """
    services = request.app[keys.SERVICES]
    thread_id = None if stateless else _thread_id(request)
    body = await parse.body(request, run_bodies.RunCreate)
    await check_webhook(request, body.webhook)
    wanted = attrs.evolve(_request(request, body, thread_id), once=await parse.once(request))
    await services.workers.until_loaded()
    tied = tied and body.on_disconnect == "cancel"
    if not tied:
        return await services.runs.create(keys.caller(request), wanted, follow=follow), False
    creation = request.app[keys.TASKS].spawn(
        services.runs.create(keys.caller(request), wanted, follow=follow), "create run", awaited=True
    )
    try:
        return await asyncio.shield(creation), True
    except asyncio.CancelledError:
        creation.add_done_callback(lambda created: _cancel_created(request, created))
        raise


async def admit_all(request: web.Request) -> list[Admission]:
    """Create the stateless runs of a batch, or none of them. Raises what `admit` raises."""
    items = await parse.json(request)
    if not isinstance(items, list):
        raise parse.wrong_type(items, "array").invalid()
    if not items:
        raise parse.Wrong(items, "[] has less than 1 item", "minItems").invalid()
    once = await parse.once(request)
    wanted = []
    for position, body in enumerate(parse.items_of(items, run_bodies.RunCreate)):
        await check_webhook(request, body.webhook)
        wanted.append(
            attrs.evolve(_request(request, body, None), once=None if once is None else once.item(position))
        )
    services = request.app[keys.SERVICES]
    await services.workers.until_loaded()
    return await services.runs.create_all(keys.caller(request), wanted)


async def check_webhook(request: web.Request, url: str | None) -> None:
    """Raise `Invalid` if webhooks may not be sent to a URL."""
    if url is not None:
        await request.app[keys.SERVICES].webhooks.policy.check(url)


def _thread_id(request: web.Request) -> str:
    try:
        return parse.path_id(request, "thread")
    except Invalid:
        raise Invalid("Invalid thread ID") from None


def _request(request: web.Request, body: run_bodies.RunCreate, thread_id: str | None) -> RunRequest:
    services = request.app[keys.SERVICES]
    configurable = body.config.get("configurable") or {}
    if configurable and body.context:
        raise Rejected(assistants.BOTH)
    stateless = thread_id is None
    if stateless and body.command is not None and body.command.get("resume") not in (None, {}):
        raise Rejected("You must provide a thread_id when resuming.")
    keep = stateless and _on_completion(body) == "keep"
    return RunRequest(
        assistant=services.assistants.reference(body.assistant_id),
        thread_id=thread_id,
        kwargs=_arguments(body, temporary=stateless and not keep),
        config={
            **body.config,
            "configurable": {**configurable, **place(body.checkpoint, body.checkpoint_id)},
        },
        context=body.context,
        metadata=body.metadata,
        multitask_strategy=body.multitask_strategy,
        if_not_exists=body.if_not_exists,
        after_s=body.after_seconds,
        keep_thread=keep,
        request_id=request[middleware.REQUEST_ID],
        received_at=services.runs.engine.now(),
    )


def _on_completion(body: run_bodies.RunCreate) -> str:
    try:
        return parse.choice(body.on_completion, ("delete", "keep"))
    except parse.Wrong as error:
        error.path = ("on_completion",)
        raise error.invalid() from None


def place(checkpoint: Mapping[str, Any], checkpoint_id: str | None) -> dict[str, Any]:
    """Return the checkpoint that a run or an update goes out from, as keys of the configurable."""
    names = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
    given: dict[str, Any] = {name: checkpoint[name] for name in names if name in checkpoint}
    return given if checkpoint_id is None else {**given, "checkpoint_id": checkpoint_id}


def _arguments(body: run_bodies.RunCreate, *, temporary: bool) -> dict[str, Any]:
    return arguments.of_request(
        input=body.input,
        command=body.command,
        stream_mode=body.stream_mode,
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
        webhook=body.webhook,
        feedback_keys=body.feedback_keys,
        temporary=temporary,
        subgraphs=body.stream_subgraphs,
        resumable=body.stream_resumable,
        checkpoint_during=body.checkpoint_during is not False,
        durability=body.durability,
        strict_resume=body.strict_resume,
    )


# clients that leave


@contextmanager
def ending(request: web.Request, thread_id: str, run_id: str, tied: bool) -> Iterator[None]:
    """Cancel a run that is `tied` to this request's client when the client leaves inside the block."""
    try:
        yield
    except (asyncio.CancelledError, connections.ClientGone):
        if tied:
            _left(request, thread_id, run_id)
        raise


def _left(request: web.Request, thread_id: str, run_id: str) -> None:
    services = request.app[keys.SERVICES]
    if not services.runs.stopping and not services.shutdown.is_set():
        request.app[keys.TASKS].spawn(_cancel(services, thread_id, run_id), f"cancel {run_id}")


def _cancel_created(request: web.Request, creation: asyncio.Task[Admission]) -> None:
    if not creation.cancelled() and creation.exception() is None:
        run = creation.result().run
        _left(request, run.thread_id, run.run_id)


async def _cancel(services: Services, thread_id: str, run_id: str) -> None:
    fields = logs.fields(thread_id=thread_id, run_id=run_id)
    try:
        await services.runs.cancel(INTERNAL, thread_id, run_id, "interrupt", why=LEFT)
    except NotFound:
        return  # it had ended
    except GatewaydError as error:
        log.error("a run whose client has left could not be cancelled: %s", error.detail, extra=fields)
        return
    log.info("the client has left, its run is cancelled", extra=fields)


def assistant_searched(request: web.Request, named: str | None) -> str | None:
    """
    Return the id of the assistant that a search names; a graph's id stands for its assistant's. Raises
    `Invalid`.
    """
    if named is None:
        return None
    graphs = request.app[keys.SERVICES].project.graphs
    known = ids.system_assistant_id(named) if named in graphs else ids.parse_uuid(named)
    if known is None:
        raise Invalid("Invalid assistant ID: must be a UUID")
    return known
