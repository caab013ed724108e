"""``/threads/{thread_id}/state`` and ``/history``."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gatewayd import wire
from gatewayd.api import admission, keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import FLAG, LIST, NOTHING, TEXT, operation
from gatewayd.api.requests import kinds, parse, thread_bodies
from gatewayd.api.responses import reply
from gatewayd.api.streaming import clients
from gatewayd.errors import Invalid

routes = web.RouteTableDef()


@routes.get("/threads/{thread_id:[^/]+}/state")
@operation(query={"subgraphs": FLAG, "select": LIST}, answers=shapes.ThreadState)
async def get_state(request: web.Request) -> web.Response:
    """Return the latest state; `select` names the parts of it that are wanted."""
    services, thread_id = request.app[keys.SERVICES], parse.path_id(request, "thread")
    services.holds.asks(thread_id, clients.of(request))
    return reply.raw(
        await services.threads.state(
            keys.caller(request),
            thread_id,
            subgraphs=parse.flag(request, "subgraphs"),
            select=_parts(parse.listed(request, "select")),
        )
    )


def _parts(names: list[str]) -> list[str]:
    try:
        return parse.items(names, kinds.state_part)
    except parse.Wrong as error:
        error.path = ("select", *error.path)
        raise error.invalid() from None


@routes.post("/threads/{thread_id:[^/]+}/state")
@operation(body=thread_bodies.StateUpdate, answers=shapes.StateUpdated)
async def update_state(request: web.Request) -> web.Response:
    """Change a state as if a node had returned values."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, thread_bodies.StateUpdate)
    made = await request.app[keys.SERVICES].changes.update_state(
        keys.caller(request),
        thread_id,
        values=body.values,
        as_node=body.as_node,
        place=admission.place(body.checkpoint, body.checkpoint_id),
    )
    return reply.json({"checkpoint": made, "configurable": made, "checkpoint_id": made["checkpoint_id"]})


@routes.patch("/threads/{thread_id:[^/]+}/state")
@operation(body=thread_bodies.StatePatch, answers=NOTHING)
async def patch_state(request: web.Request) -> web.Response:
    """Merge metadata into the thread's, as the JavaScript SDK's `patchState` asks for it."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, thread_bodies.StatePatch)
    await request.app[keys.SERVICES].threads.patch(keys.caller(request), thread_id, body.metadata)
    return reply.empty()


@routes.get("/threads/{thread_id:[^/]+}/state/{checkpoint_id:[^/]+}")
@operation(query={"subgraphs": FLAG, "select": LIST}, answers=shapes.ThreadState)
async def get_state_at_checkpoint(request: web.Request) -> web.Response:
    """Return the state of a checkpoint."""
    return reply.raw(
        await request.app[keys.SERVICES].threads.state(
            keys.caller(request),
            parse.path_id(request, "thread"),
            checkpoint_id=request.match_info["checkpoint_id"],
            subgraphs=parse.flag(request, "subgraphs"),
            select=_parts(parse.listed(request, "select")),
        )
    )


@routes.post("/threads/{thread_id:[^/]+}/state/checkpoint")
@operation(body=thread_bodies.StateAt, answers=shapes.ThreadState)
async def post_state_at_checkpoint(request: web.Request) -> web.Response:
    """Return the state of a checkpoint, in any namespace."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, thread_bodies.StateAt)
    namespace, checkpoint_id = _address(body.checkpoint)
    return reply.raw(
        await request.app[keys.SERVICES].threads.state(
            keys.caller(request),
            thread_id,
            checkpoint_id=checkpoint_id,
            checkpoint_ns=namespace,
            subgraphs=body.subgraphs,
            select=body.select,
        )
    )


@routes.get("/threads/{thread_id:[^/]+}/history")
@operation(query={"limit": TEXT, "before": TEXT, "select": LIST}, answers=list[shapes.ThreadState])
async def get_history(request: web.Request) -> web.Response:
    """Return states, newest first."""
    limit, before = _limit(request.query.get("limit")), _before(request.query.get("before"))
    thread_id, select = parse.path_id(request, "thread"), _parts(parse.listed(request, "select"))
    return reply.raw(
        await request.app[keys.SERVICES].threads.history(
            keys.caller(request), thread_id, limit=limit, before=before, select=select
        )
    )


@routes.post("/threads/{thread_id:[^/]+}/history")
@operation(body=thread_bodies.History, answers=list[shapes.ThreadState])
async def post_history(request: web.Request) -> web.Response:
    """Return states, newest first, by a filter."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, thread_bodies.History)
    namespace, checkpoint_id = _address(body.checkpoint)
    return reply.raw(
        await request.app[keys.SERVICES].threads.history(
            keys.caller(request),
            thread_id,
            limit=body.limit,
            before=body.before,
            metadata=body.metadata,
            checkpoint_ns=namespace,
            checkpoint_id=checkpoint_id,
            select=body.select,
        )
    )


def _address(checkpoint: dict[str, Any]) -> tuple[str, str | None]:
    """Return namespace and id of a checkpoint object; its thread is the URL's."""
    return _text(checkpoint, "checkpoint_ns") or "", _text(checkpoint, "checkpoint_id")


def _text(checkpoint: dict[str, Any], name: str) -> str | None:
    value = checkpoint.get(name)
    try:
        return None if value is None else parse.string(value)
    except parse.Wrong as error:
        error.path = ("checkpoint", name)
        raise error.invalid() from None


def _limit(text: str | None) -> int:
    try:
        return min(parse.LARGEST, int("1" if text is None else text[:50]))
    except ValueError:
        raise Invalid(f"Invalid limit {text}") from None


def _before(text: str | None) -> str | None:
    """Read `before` of a query: a checkpoint's id, or one of the objects that the body may have, as JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return text or None
    try:
        return parse.structure({"before": wire.loads(text)}, thread_bodies.History).before
    except wire.JSONDecodeError:
        raise Invalid(f"Invalid before {text[: parse.SHOWN]}") from None
