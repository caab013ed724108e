"""``/threads/{thread_id}/stream/events``: the events of protocol v2, as server-sent events or over a
WebSocket.

A stream of events belongs to a thread and not to a run: it begins with what is kept (what is active or has
ended lately, of all but the last of those only how they stood; or what is newer than ``since``), goes on with
what comes, over the ends of runs and the starts of others, and never ends by itself. What the client sees
when:

    the thread does not exist yet      an open, silent stream; `run.start` makes the thread
    a run is cancelled or undone       its end, `interrupted`
    a run is deleted while it runs     its end, `interrupted`
    the thread is deleted              the end of the run that executes, `interrupted`, and nothing of it any
                                       more; the stream stays open for a thread that is made under its id
    the client is slow                 its own stream is late; one page is held for it
    the client takes nothing           it is cut off after `write_timeout_s`
    the server stops, or dies          the connection is cut, so that the client comes back for the rest
    it has started a run by a command  nothing of the run before the answer; an SDK's stream a moment later
                                       (`streams.holds`)
    it names no place in the log       if it is a front end, the ends of earlier runs behind that of the
                                       newest, which may be its own; the replay waits a moment for a command
                                       that starts one
    what it knows is not kept          the thread's state first, under the last number that is gone
"""

from __future__ import annotations

import contextlib
from typing import Final

from aiohttp import hdrs, web

from gatewayd.api import connections, faults, keys
from gatewayd.api.description.operation import STREAM, operation
from gatewayd.api.requests import parse, protocol_bodies
from gatewayd.api.streaming import clients, sse, websocket
from gatewayd.services import Services
from gatewayd.streams import holds, hub, positions, subscriptions, v2

routes = web.RouteTableDef()

NO_UPGRADE: Final = (
    "A WebSocket was asked for without the headers Upgrade and Connection, which a proxy between has dropped: it must pass "
    "them on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;)"
)


@routes.post("/threads/{thread_id:[^/]+}/stream/events")
@operation(body=protocol_bodies.EventFilter, answers=STREAM)
async def stream_events(request: web.Request) -> web.StreamResponse:
    """Send the events of a thread that a filter lets through, until the client leaves."""
    thread_id = parse.path_id(request, "thread")
    params = await parse.rejecting_object(request)
    asked, since = subscriptions.parse(params), subscriptions.since(params)
    services = request.app[keys.SERVICES]
    out = sse.open_stream(request, {})
    with clients.reader(request, thread_id) as reader:
        reader.open(asked, placed=since is not None)
        start = await services.positions.begin(reader, since)
        with contextlib.suppress(connections.ClientGone):
            async with out:
                start = await services.positions.awaited(reader, start)
                await _copy(services, start, reader, subscriptions.Subscriptions.of(asked), out)
    return out.response


async def _copy(
    services: Services,
    start: positions.Beginning,
    reader: holds.Reader,
    wanted: v2.EventFilter,
    out: connections.StreamingResponse,
) -> None:
    """Send what comes, from one beginning on. Raises `ClientGone`."""
    thread_id, after = reader.thread_id, start.after
    if start.gap is not None and (frames := _frame(start.gap, wanted)):
        await out.send(frames)
    while True:
        with hub.Cursor(services.hub, thread_id, after) as cursor:
            while not cursor.detached:
                chunks = await sse.next_page(cursor, out)
                if cursor.gap is not None:
                    gap = await services.positions.state_after_gap(thread_id, cursor.position)
                    if frames := _frame(gap, wanted):
                        await out.send(frames)
                async for due in reader.due(chunks):
                    frames = v2.frames(start.ends.arrange(due), wanted, start.trim)
                    due.clear()  # what is being sent is held once
                    if frames:
                        await out.send(frames)
                        await out.heartbeat_if_due()
                    del due, frames
            if frames := v2.frames(cursor.last_event(), wanted):
                await out.send(frames)
        after = 0  # of the thread that may be made under this id


@routes.get("/threads/{thread_id:[^/]+}/stream/events")
@operation(answers=STREAM)
async def connect_events(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket for events and commands."""
    upgrades = "websocket" in request.headers.get(hdrs.UPGRADE, "").lower()
    if upgrades and "upgrade" in request.headers.get(hdrs.CONNECTION, "").lower():
        return await websocket.serve(request)
    if upgrades or hdrs.SEC_WEBSOCKET_KEY in request.headers:
        return faults.response(426, NO_UPGRADE, {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "Upgrade"})
    raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_POST])


def _frame(view: v2.View, wanted: v2.EventFilter) -> bytes:
    """Return one event as a frame, b"" if it is not asked for."""
    return v2.frame(view.method, view.record.seq, view.encoded() or b"{}") if wanted.passes(view) else b""
