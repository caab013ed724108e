"""Joining: the streams of runs that another request created, and of whole threads."""

from __future__ import annotations

from functools import partial
from typing import Final

from aiohttp import web

from gatewayd.api import keys
from gatewayd.api.description.operation import FLAG, LAST_EVENT_ID, LIST, STREAM, TEXT, operation
from gatewayd.api.requests import parse
from gatewayd.api.streaming import sse
from gatewayd.errors import Invalid
from gatewayd.model import event
from gatewayd.model.event import Chunk
from gatewayd.model.run import Run
from gatewayd.streams import v1

routes = web.RouteTableDef()

THREAD_MODES: Final = ("run_modes", "lifecycle", "state_update")


@routes.get("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}/stream")
@operation(
    query={"stream_mode": LIST, "cancel_on_disconnect": FLAG, "checkpoint_id": TEXT},
    headers=(LAST_EVENT_ID,),
    answers=STREAM,
)
async def join_run_stream(request: web.Request) -> web.StreamResponse:
    """Send a run's events: from now on, or all behind `Last-Event-ID` and `checkpoint_id`."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    run = await request.app[keys.SERVICES].runs.get(keys.caller(request), thread_id, run_id)
    path = f"/threads/{thread_id}/runs/{run_id}"
    return await sse.follow(request, await _joiners(request, run, thread_id, run_id, path))


@routes.get("/runs/{run_id:[^/]+}/stream")
@operation(
    query={"stream_mode": LIST, "cancel_on_disconnect": FLAG, "checkpoint_id": TEXT},
    headers=(LAST_EVENT_ID,),
    answers=STREAM,
)
async def join_stateless_run_stream(request: web.Request) -> web.StreamResponse:
    """Do the same for a run whose thread the client does not know."""
    run_id = parse.path_id(request, "run")
    run = await request.app[keys.SERVICES].runs.find(keys.caller(request), run_id)
    thread_id = "" if run is None else run.thread_id
    return await sse.follow(request, await _joiners(request, run, thread_id, run_id, f"/runs/{run_id}"))


async def _joiners(request: web.Request, run: Run | None, thread_id: str, run_id: str, path: str) -> sse.View:
    services = request.app[keys.SERVICES]
    with_ids = services.settings.ids == "all" or (run is not None and bool(run.kwargs.get("resumable")))
    modes = parse.listed(request, "stream_mode")
    return sse.View(
        thread_id=thread_id,
        run_id=run_id,
        location=f"{path}/stream",
        content_location=path,
        after=await _after_in_run(request, run) if with_ids and run is not None else None,
        names=v1.names_of(modes) if modes else None,
        with_ids=with_ids,
        tied=parse.flag(request, "cancel_on_disconnect"),
    )


async def _after_in_run(request: web.Request, run: Run) -> int | None:
    """Return the number behind which the client wants to read a run; None: from now on."""
    header = request.headers.get("Last-Event-ID")
    return await request.app[keys.SERVICES].positions.in_run(
        run,
        None if header is None else v1.cursor_of(header),
        named=header is not None,
        checkpoint_id=request.query.get("checkpoint_id"),
    )


@routes.get("/threads/{thread_id:[^/]+}/stream")
@operation(query={"stream_mode": LIST, "stream_modes": LIST}, headers=(LAST_EVENT_ID,), answers=STREAM)
async def join_thread_stream(request: web.Request) -> web.StreamResponse:
    """Send the events of all runs of a thread until the client leaves."""
    thread_id = parse.path_id(request, "thread")
    modes = frozenset(parse.listed(request, "stream_mode", "stream_modes") or THREAD_MODES[:1])
    for mode in sorted(modes.difference(THREAD_MODES)):
        raise Invalid(f"Invalid stream mode: {mode} is not one of {parse.any_of(THREAD_MODES)}")
    header, positions = request.headers.get("Last-Event-ID"), request.app[keys.SERVICES].positions
    if header and v1.cursor_of(header) is None:
        raise Invalid("Invalid last-event-id: must be a valid Redis stream ID")
    if header is not None and header.strip() in v1.BEGINNING:
        after = await positions.latest_runs(thread_id)
    else:
        after = await positions.behind(thread_id, None if header is None else v1.cursor_of(header))
    return await sse.tail(request, thread_id, after, partial(_thread_frames, modes))


def _thread_frames(modes: frozenset[str], chunks: list[Chunk]) -> bytes:
    """
    Return the frames of a thread's stream: its runs' own events, their starts and their ends, state updates.
    """
    frames = []
    for record in (record for chunk in chunks for record in chunk.records):
        if record.kind == event.STATE_UPDATE:
            if "state_update" in modes:
                frames.append(v1.frame(record.kind, record.data, record.event_id))
            continue
        done = record.kind == event.END
        lifecycle = done or record.kind == "metadata"
        if not ("run_modes" in modes or (lifecycle and "lifecycle" in modes)):
            continue
        if (shown := v1.shown_on(record, event.V1 | event.THREAD)) is not None:
            name = "metadata" if done else v1.event_name(shown)
            frames.append(v1.frame(name, shown.data, shown.event_id))
    return b"".join(frames)
