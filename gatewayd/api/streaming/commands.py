"""``POST /threads/{thread_id}/commands``, and what the commands of protocol v2 do, over HTTP or a WebSocket.

A command is ``{"id", "method", "params"}``; its answer has the same id and is a success with a result or an
error with one of the protocol's codes. Commands that create runs are answered when the run is stored, even
while the thread is busy: `multitask_strategy` decides what happens then, as for a run of v1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from aiohttp import web
from attrs import field, frozen

from gatewayd import wire
from gatewayd.api import admission, connections, faults, keys, middleware
from gatewayd.api.description.operation import operation
from gatewayd.api.requests import kinds, parse, parsers, protocol_bodies
from gatewayd.api.responses import reply
from gatewayd.api.streaming import clients
from gatewayd.errors import GatewaydError, Invalid, NotFound, RequestError
from gatewayd.model import arguments
from gatewayd.model.run import RunRequest
from gatewayd.streams import holds, subscriptions

log = logging.getLogger(__name__)

routes = web.RouteTableDef()

MODES: Final = ["values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints"]
"""`stream_mode` of every run that was started over v2."""

NOT_OVER_V2: Final = (
    "command",
    "stream_mode",
    "stream_subgraphs",
    "stream_resumable",
    "stream_namespaces",
    "on_disconnect",
    "on_completion",
    "priority",
)
"""
Options of v1 that `run.start` refuses: a subscription says what is streamed, `input.respond` has the command.
"""

QUICK: Final = 16 * 1024
"""Characters of a frame that is parsed at once."""
BAD_JSON: Final = "Protocol commands must be valid JSON."
BAD_ENVELOPE: Final = "Protocol commands must include an integer id and string method."
NO_RUN: Final = "No active run is bound to this thread."
SHOWN: Final = 200
"""Characters of a client's words that an error repeats."""


class Refused(GatewaydError):
    """A command is answered with an error; `code` is one of the protocol's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@frozen(kw_only=True)
class Command:
    """One command."""

    command_id: int
    method: str
    params: dict[str, Any]


@frozen(kw_only=True)
class Done:
    """The result of a command, and the number of the last event that it can know of."""

    result: dict[str, Any]
    applied_through: int


@frozen(kw_only=True)
class _RunStart:
    """
    Parameters of `run.start`: those of a run of v1, of which the reference honours the first five.

    Both spellings of the strategy are in use. What a subscription decides, or what ties a run to a
    connection, can't be asked for: a run of v2 belongs to no stream.
    """

    assistant_id: kinds.AssistantName
    input: Any = None
    config: kinds.Config = field(factory=lambda: kinds.Config({}))
    metadata: parse.Object = field(factory=dict)
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] | None = None
    multitaskStrategy: Literal["reject", "rollback", "interrupt", "enqueue"] | None = None  # noqa: N815  # a name of the wire
    context: parse.Object = field(factory=dict)
    checkpoint: kinds.Place = field(factory=lambda: kinds.Place({}))
    checkpoint_id: parse.CheckpointId | None = None
    interrupt_before: kinds.Nodes | None = None
    interrupt_after: kinds.Nodes | None = None
    webhook: kinds.WebhookUrl | None = None
    if_not_exists: Literal["create", "reject"] = "create"
    after_seconds: kinds.Delay = kinds.NOW
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = None
    strict_resume: bool = False
    feedback_keys: list[str] | None = None
    langsmith_tracer: Any = None
    command: Any = None
    stream_mode: Any = None
    stream_subgraphs: Any = None
    stream_resumable: Any = None
    stream_namespaces: Any = None
    on_disconnect: Any = None
    on_completion: Any = None
    priority: Any = None

    def __attrs_post_init__(self) -> None:
        for name in NOT_OVER_V2:
            kinds.refuse(name, getattr(self, name))


@frozen(kw_only=True)
class _Respond:
    """Parameters of `input.respond`; the answers are read by `_answers`."""

    namespace: Any = None
    interrupt_id: Any = None
    response: Any = None
    responses: Any = None

    config: kinds.Config = field(factory=lambda: kinds.Config({}))
    metadata: parse.Object = field(factory=dict)
    update: Any = None
    goto: Any = None
    strict_resume: bool = False


@routes.post("/threads/{thread_id:[^/]+}/commands")
@operation(body=protocol_bodies.ProtocolCommand, refusal=protocol_bodies.ProtocolError, answers=Any)
async def command(request: web.Request) -> web.Response:
    """Carry out one command."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.rejecting_object(request)
    try:
        given = parsed(body)
    except Refused as error:
        answer = wire.dumps(failure(given_id(body), error))
        return web.Response(body=answer, status=400, content_type="application/json")
    with request.app[keys.SERVICES].holds.command(thread_id, clients.of(request)) as carried:
        try:
            answered = success(given.command_id, await carry_out(request, thread_id, given, carried))
        except Refused as error:
            answered = failure(given.command_id, error)
        response = reply.json(answered)
        with contextlib.suppress(ConnectionError):  # a client that has left gets no answer
            await response.prepare(request)
            await response.write_eof()
    return response


def parsed(body: Any) -> Command:
    """Return the command that an object describes. Raises `Refused`."""
    command_id, method = given_id(body), body.get("method") if isinstance(body, dict) else None
    if not isinstance(command_id, int) or isinstance(command_id, bool) or not isinstance(method, str):
        raise Refused("invalid_argument", BAD_ENVELOPE)
    params = body.get("params")
    return Command(command_id=command_id, method=method, params=params if isinstance(params, dict) else {})


def given_id(body: Any) -> int | str | None:
    """Return what stands for the id of a command, to be repeated in the answer."""
    found = body.get("id") if isinstance(body, dict) else None
    return found if isinstance(found, int) or (isinstance(found, str) and len(found) <= SHOWN) else None


def success(command_id: int, done: Done) -> dict[str, Any]:
    """Return the answer to a command that was carried out."""
    meta = {"applied_through_seq": done.applied_through}
    return {"type": "success", "id": command_id, "result": done.result, "meta": meta}


def failure(
    command_id: int | str | None, error: Refused, applied_through: int | None = None
) -> dict[str, Any]:
    """Return the answer to a command that was not."""
    answer: dict[str, Any] = {"type": "error", "id": command_id, "error": error.code, "message": error.detail}
    if applied_through is not None:
        answer["meta"] = {"applied_through_seq": applied_through}
    return answer


async def carry_out(request: web.Request, thread_id: str, given: Command, carried: holds.Command) -> Done:
    """
    Carry out a command that needs no connection of its own. Raises `Refused`.

    What comes of a run that it starts is kept back until `carried` has been answered.
    """
    with refusing(given.method, (RequestError,)):
        match given.method:
            case "run.start":
                return await _run_start(request, thread_id, given.params, carried)
            case "input.respond":
                return await _respond(request, thread_id, given.params, carried)
            case "agent.getTree":
                return await _tree(request, thread_id)
            case "subscription.subscribe":
                subscriptions.parse(given.params)
                raise Refused(
                    "not_supported", "A subscription needs a stream: POST stream/events, or a WebSocket."
                )
            case "subscription.unsubscribe":
                raise Refused("no_such_subscription", "There are no subscriptions without a WebSocket.")
            case "subscription.reconnect":
                raise Refused("no_such_run", NO_RUN)
    raise Refused("unknown_command", f"Unknown protocol command: {given.method[:SHOWN]}")


@contextlib.contextmanager
def refusing(method: str, kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """
    Raise errors of these kinds as `Refused`; unexpected ones are logged. A client that has left is no error.

    A WebSocket's session refuses all kinds: no command may end it. Over HTTP what is not the client's fault
    has a status that clients know.
    """
    try:
        yield
    except (Refused, connections.ClientGone):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if Exception not in kinds or task is None or task.cancelling():
            raise
        raise _broken(method, error) from None  # what the command waited for was cancelled, not the command
    except kinds as error:
        raise _refused(method, error) from None


def _refused(method: str, error: Exception) -> Refused:
    if not isinstance(error, GatewaydError):
        return _broken(method, error)
    told = faults.told(error)
    if told.word is None:
        return Refused("unknown_error", f"{told.status}: {error.detail}")
    return Refused(told.word, error.detail)


def _broken(method: str, error: BaseException) -> Refused:
    log.error("the command %s failed", method[:SHOWN], exc_info=error)
    return Refused("unknown_error", "500: Internal Server Error")


async def _run_start(
    request: web.Request, thread_id: str, params: dict[str, Any], carried: holds.Command
) -> Done:
    if not isinstance(params.get("assistant_id"), str) or not params["assistant_id"]:
        raise Refused("invalid_argument", "run.start requires an assistant_id.")
    body = parse.structure(params, _RunStart)
    try:
        assistant = request.app[keys.SERVICES].assistants.reference(body.assistant_id)
    except Invalid as error:
        raise Refused("unknown_error", f"422: {error.detail}") from None
    await admission.check_webhook(request, body.webhook)
    during = body.checkpoint_during is not False
    configurable = {
        **(body.config.get("configurable") or {}),
        **admission.place(body.checkpoint, body.checkpoint_id),
    }
    wanted = _request(
        request,
        thread_id,
        assistant=assistant,
        command=None,
        graph_input=body.input,
        config={**body.config, "configurable": configurable},
        context=body.context,
        metadata=body.metadata,
        strategy=body.multitask_strategy or body.multitaskStrategy or "enqueue",
        resumes=True,
        if_not_exists=body.if_not_exists,
        after_s=body.after_seconds,
        options={
            "interrupt_before": body.interrupt_before,
            "interrupt_after": body.interrupt_after,
            "webhook": body.webhook,
            "feedback_keys": body.feedback_keys,
            "checkpoint_during": during,
            "durability": body.durability or ("async" if during else "exit"),
            **({"strict_resume": True} if body.strict_resume else {}),
        },
    )
    return await _created(request, wanted, carried, with_id=True)


async def _respond(
    request: web.Request, thread_id: str, params: dict[str, Any], carried: holds.Command
) -> Done:
    answers = _answers(params)
    body = parse.structure(params, _Respond)
    command = {
        "resume": answers,
        **({} if body.update is None else {"update": body.update}),
        **({} if body.goto is None else {"goto": body.goto}),
    }
    kinds.check_command(command)
    try:
        thread = await request.app[keys.SERVICES].threads.get(keys.caller(request), thread_id)
        assistant = thread.metadata.get("assistant_id")
    except NotFound:
        assistant = None
    if assistant is None:  # there has been no run that could have asked
        raise Refused(
            "no_such_interrupt", f"Unknown or already-consumed interrupt: {next(iter(answers))[:SHOWN]}"
        )
    wanted = _request(
        request,
        thread_id,
        assistant=str(assistant),
        command=command,
        graph_input=None,
        config=body.config,
        metadata=body.metadata,
        strategy="enqueue",
        answering=frozenset(answers),
        if_not_exists="reject",
    )
    return await _created(request, wanted, carried, with_id=False)


def _answers(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers by interrupt id, of one or of many. Raises `Refused`."""
    listed = params.get("responses", [params] if "responses" not in params else None)
    if not isinstance(listed, list) or not listed:
        raise Refused("invalid_argument", "input.respond requires at least one response.")
    answers = {}
    for one in listed:
        interrupt_id = one.get("interrupt_id") if isinstance(one, dict) else None
        if not isinstance(interrupt_id, str) or not interrupt_id:
            raise Refused("invalid_argument", "input.respond requires an interrupt_id.")
        answers[interrupt_id] = one.get("response")
    return answers


def _request(
    request: web.Request,
    thread_id: str,
    *,
    assistant: str,
    command: dict[str, Any] | None,
    graph_input: Any,
    config: Mapping[str, Any],
    metadata: dict[str, Any],
    strategy: str,
    context: Mapping[str, Any] | None = None,
    resumes: bool = False,
    answering: frozenset[str] = frozenset(),
    if_not_exists: Any = "create",
    after_s: float = 0,
    options: Mapping[str, Any] | None = None,
) -> RunRequest:
    services = request.app[keys.SERVICES]
    return RunRequest(
        assistant=assistant,
        thread_id=thread_id,
        kwargs={
            **arguments.of_request(
                input=graph_input, command=command, stream_mode=MODES, subgraphs=True, resumable=True
            ),
            **(options or {}),
        },
        config=dict(config),
        context=dict(context or {}),
        metadata=metadata,
        multitask_strategy=strategy,
        if_not_exists=if_not_exists,
        after_s=after_s,
        keep_thread=False,
        request_id=request[middleware.REQUEST_ID],
        received_at=services.runs.engine.now(),
        resumes=resumes,
        answering=answering,
    )


async def _created(
    request: web.Request, wanted: RunRequest, carried: holds.Command, *, with_id: bool
) -> Done:
    services = request.app[keys.SERVICES]
    await services.workers.until_loaded()
    admitted = await services.runs.create(keys.caller(request), wanted, begins=carried.begins)
    run = admitted.run
    # Not further than where the run begins: clients read from here to see all of it.
    return Done(result={"run_id": run.run_id} if with_id else {}, applied_through=run.log_from)


async def _tree(request: web.Request, thread_id: str) -> Done:
    """Answer with the graphs of the thread's latest run and how they stand."""
    tree, last = await request.app[keys.SERVICES].positions.tree(thread_id)
    if tree is None:
        raise Refused("no_such_run", NO_RUN)
    return Done(result={"tree": tree}, applied_through=last)


async def decoded(request: web.Request, text: str) -> Any:
    """Return a frame's JSON, checked like a body. Raises `Refused`."""
    try:
        if len(text) <= QUICK:
            return wire.loads(text)
        return await parse.checked(request, text.encode())
    except (wire.JSONDecodeError, parsers.NotJson):
        raise Refused("invalid_argument", BAD_JSON) from None
    except GatewaydError as error:
        raise Refused("invalid_argument", error.detail) from None


def check_depth(text: str, body: Any) -> None:
    """Raise `Refused` for a command that is nested too deep to be stored."""
    if len(text) <= QUICK and parse.too_deep(text.encode(), body):
        raise Refused("invalid_argument", f"The command is nested more than {parse.DEEPEST} levels deep")
