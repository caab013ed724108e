"""``/threads/{thread_id}/runs``, and cancelling many runs at once. Joining their streams is in `streams`."""

from __future__ import annotations

from typing import Any, Final, get_args

from aiohttp import hdrs, web

from gatewayd.api import admission, keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import (
    ACCEPTED,
    FLAG,
    IDEMPOTENCY_KEY,
    LIST,
    NOTHING,
    STREAM,
    TEXT,
    WHOLE,
    operation,
)
from gatewayd.api.requests import parse, run_bodies
from gatewayd.api.responses import reply
from gatewayd.api.streaming import sse, waiting
from gatewayd.errors import Invalid
from gatewayd.model.run import CancelAction, CancelReason, Run
from gatewayd.runs import admission as admission_
from gatewayd.storage import store

routes = web.RouteTableDef()

RUN_COLUMNS: Final[tuple[str, ...]] = get_args(run_bodies.RunColumn)


def shown(request: web.Request, run: Run) -> dict[str, object]:
    """Return a run as the wire shows it."""
    services = request.app[keys.SERVICES]
    settings = services.settings
    url = services.api_url or f"http://{settings.host}:{settings.port}"
    return reply.run(run, url, full=settings.error_detail == "full")


@routes.post("/threads/{thread_id:[^/]+}/runs")
@operation(body=run_bodies.RunCreate, headers=(IDEMPOTENCY_KEY,), answers=shapes.Run)
async def create_run(request: web.Request) -> web.Response:
    """Create a run in the background."""
    admitted, _ = await admission.admit(request)
    run = admitted.run
    return reply.json(
        shown(request, run), {hdrs.CONTENT_LOCATION: f"/threads/{run.thread_id}/runs/{run.run_id}"}
    )


@routes.post("/threads/{thread_id:[^/]+}/runs/stream")
@operation(body=run_bodies.RunCreate, headers=(IDEMPOTENCY_KEY,), answers=STREAM)
async def stream_run(request: web.Request) -> web.StreamResponse:
    """Create a run and send its events."""
    admitted, tied = await admission.admit(request, tied=True)
    return await sse.follow(request, creators_view(request, admitted, tied))


def creators_view(request: web.Request, admitted: admission_.Admission, tied: bool) -> sse.View:
    """Return what the creator of a run is sent; an earlier request may have created it."""
    services = request.app[keys.SERVICES]
    run = admitted.run
    with_ids = services.settings.ids == "all" or bool(run.kwargs.get("resumable"))
    return sse.creators(
        run,
        stateless="thread_id" not in request.match_info,
        with_ids=with_ids,
        tied=tied,
        fresh=not admitted.repeated,
    )


@routes.post("/threads/{thread_id:[^/]+}/runs/wait")
@operation(body=run_bodies.RunCreate, headers=(IDEMPOTENCY_KEY,), answers=Any)
async def wait_run(request: web.Request) -> web.StreamResponse:
    """Create a run and send its result when it has ended."""
    admitted, tied = await admission.admit(request, follow=True, tied=True)
    assert admitted.ended is not None
    run = admitted.run
    return await waiting.respond_when(request, run.thread_id, run.run_id, admitted.ended, tied=tied)


@routes.get("/threads/{thread_id:[^/]+}/runs")
@operation(query={"limit": WHOLE, "offset": WHOLE, "status": TEXT, "select": LIST}, answers=list[shapes.Run])
async def list_runs(request: web.Request) -> web.Response:
    """Return a thread's runs, latest due time first."""
    thread_id = parse.path_id(request, "thread")
    limit, offset = parse.whole(request, "limit", 10), parse.whole(request, "offset", 0)
    status = request.query.getall("status", [None])[-1]
    columns = _columns(parse.listed(request, "select"))
    runs = await request.app[keys.SERVICES].threads.runs(
        keys.caller(request), thread_id, status=status, limit=limit, offset=offset
    )
    return reply.json([reply.selected(shown(request, run), columns) for run in runs])


def _columns(columns: list[str]) -> list[str]:
    unknown = [column for column in columns if column not in RUN_COLUMNS]
    if unknown:
        raise Invalid(f"Invalid select columns: {unknown}. Expected: {sorted(RUN_COLUMNS)}")
    return columns


@routes.get("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}")
@operation(answers=shapes.Run)
async def get_run(request: web.Request) -> web.Response:
    """Return one run."""
    return reply.json(shown(request, await _found(request, "Not Found")))


@routes.get("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}/queue")
@operation(answers=shapes.QueuePlace)
async def get_queue_place(request: web.Request) -> web.Response:
    """Tell where a run stands in the queue and why it waits (an addition to the reference)."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    place, reason, blocked_at = await request.app[keys.SERVICES].runs.queue_place(
        keys.caller(request), thread_id, run_id
    )
    return reply.json(reply.queue_place(place, reason, blocked_at))


async def _found(request: web.Request, missing: str) -> Run:
    """Return the run that the path names. Raises `NotFound`: for the thread, or with the text `missing`."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    return await request.app[keys.SERVICES].threads.run(keys.caller(request), thread_id, run_id, missing)


@routes.post("/threads/{thread_id:[^/]+}/runs/merge")
@operation(body=run_bodies.MergeRuns, answers=shapes.MergedRun)
async def merge_runs(request: web.Request) -> web.Response:
    """
    Merge the thread's pending runs into the oldest of them (an addition to the reference).

    It takes the inputs of all, in order; the others end `interrupted`, with `merged:<its id>` as their
    `cancel_reason`. They must have the same assistant and config, and inputs of one key with a list
    (`messages`). With `into: running` it is in turn merged into the run that executes, before a step at which
    no message waits for a tool's answer; if no such step comes before the end of that run, it follows that
    run.
    """
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, run_bodies.MergeRuns) if request.body_exists else run_bodies.MergeRuns()
    into_running = body.into == "running"
    merged = await request.app[keys.SERVICES].runs.merge(
        keys.caller(request), thread_id, into_running=into_running
    )
    return reply.json({**shown(request, merged.run), "merged": [run.run_id for run in merged.ended]})


@routes.delete("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}")
@operation(answers=NOTHING)
async def delete_run(request: web.Request) -> web.Response:
    """Remove a run's record; one that executes is stopped."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    await request.app[keys.SERVICES].runs.delete_run(keys.caller(request), thread_id, run_id)
    return reply.empty()


@routes.get("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}/join")
@operation(query={"cancel_on_disconnect": FLAG}, answers=Any)
async def join_run(request: web.Request) -> web.StreamResponse:
    """Send a run's result when it has ended."""
    run = await _found(request, "Run not found")
    tied = parse.flag(request, "cancel_on_disconnect")
    return await waiting.respond_when_ended(request, run.thread_id, run.run_id, tied=tied)


@routes.post("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}/cancel")
@operation(query={"wait": FLAG, "action": TEXT, "reason": TEXT}, answers=(parse.Object, ACCEPTED))
async def cancel_run(request: web.Request) -> web.StreamResponse:
    """Cancel a run; with `wait` the answer comes when it has ended."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    await request.app[keys.SERVICES].runs.cancel(
        keys.caller(request), thread_id, run_id, action_of(request), reason=reason_of(request)
    )
    if not parse.flag(request, "wait"):
        return reply.empty(202)
    return await waiting.respond_when_stopped(request, thread_id, run_id, b"{}")


def reason_of(request: web.Request) -> CancelReason | None:
    """
    Return why a run is cancelled, if the client says so: its input was `taken` into another run. Raises
    `Invalid`.
    """
    reason = request.query.get("reason")
    if reason is None:
        return None
    if reason != "taken":
        raise Invalid(f"Invalid reason: {parse.show(reason)}. Expected: taken")
    if action_of(request) != "interrupt":
        raise Invalid("The reason `taken` needs the action `interrupt`")
    return "taken"


def action_of(request: web.Request) -> CancelAction:
    """Return what becomes of a cancelled run's work."""
    return "rollback" if request.query.get("action") == "rollback" else "interrupt"


@routes.post("/runs/search")
@operation(body=run_bodies.RunSearch, answers=list[shapes.Run])
async def search_runs(request: web.Request) -> web.Response:
    """Find runs of all threads, latest request first (an addition to the reference)."""
    body = await parse.body(request, run_bodies.RunSearch)
    search = store.RunSearch(
        status=body.status,
        assistant_id=admission.assistant_searched(request, body.assistant_id),
        thread_id=body.thread_id,
        limit=body.limit,
        offset=body.offset,
    )
    runs = await request.app[keys.SERVICES].runs.search(keys.caller(request), search)
    rows = [reply.selected(shown(request, run), body.select) for run in runs]
    return reply.page(rows, limit=body.limit, offset=body.offset)


@routes.post("/runs/cancel")
@operation(body=run_bodies.CancelRuns, query={"action": TEXT, "reason": TEXT}, answers=NOTHING)
async def cancel_runs(request: web.Request) -> web.Response:
    """Cancel all runs of a status, or some of one thread; those that have just ended are passed over."""
    body = await parse.body(request, run_bodies.CancelRuns)
    action, reason, runs = action_of(request), reason_of(request), request.app[keys.SERVICES].runs
    if body.thread_id is not None:
        run_ids = [parse.identifier(text, "run") for text in body.run_ids or []]
        await runs.cancel_these(keys.caller(request), str(body.thread_id), run_ids, action, reason=reason)
    else:
        await runs.cancel_all(
            keys.caller(request), None if body.status == "all" else body.status, action, reason=reason
        )
    return reply.empty()
