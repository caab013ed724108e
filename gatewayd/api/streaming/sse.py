"""Event streams of protocol v1: a cursor of the hub, copied to a socket.

A stream is one task that repeats: take the next page from the cursor, write its frames in one piece, send a
heartbeat when it is time. For a slow client only the frames that it has not taken yet are held, not their
source as well. A stream ends with the record that ends the run. It may never see that record (the run's row
was deleted, the reader came later), so whenever the cursor has nothing new, and at every heartbeat, the table
is asked: wake-ups are hints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from attrs import frozen

from gatewayd.api import admission, connections, keys
from gatewayd.model.event import Chunk
from gatewayd.model.run import Run
from gatewayd.services import Services
from gatewayd.streams import hub, v1

NOT_FOUND: Final = v1.frame("error", b'{"error":"HTTPException","message":"404: Run not found"}')
"""What a reader of a run gets that is not there (any more)."""

HEAD: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.CONNECTION: "keep-alive",
    "X-Accel-Buffering": "no",
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
}


@frozen(kw_only=True)
class View:
    """How one reader wants to see one run."""

    thread_id: str
    run_id: str
    location: str
    """Path that is read to go on after a cut."""
    content_location: str
    after: int | None
    """Number of the last event the reader knows; None: only what comes from now on."""
    names: frozenset[str] | None
    """Names of the events to send; None: all."""
    with_ids: bool
    tied: bool
    """The run is to be cancelled when this reader leaves."""
    fresh: bool = False
    """The run was created by this request: there is no need to look whether it has ended already."""


def open_stream(request: web.Request, headers: dict[str, str]) -> connections.StreamingResponse:
    """Return a response that lasts and beats like an event stream."""
    settings = request.app[keys.SERVICES].settings
    return connections.StreamingResponse(
        request=request,
        owner=request.app[keys.CONNECTIONS],
        headers={**headers, **HEAD},
        heartbeat=v1.HEARTBEAT,
        heartbeat_s=settings.heartbeat_s,
        write_timeout_s=settings.write_timeout_s,
    )


async def follow(request: web.Request, view: View) -> web.StreamResponse:
    """Send a run's events until it has ended, or the client has left."""
    out = open_stream(request, {hdrs.LOCATION: view.location, hdrs.CONTENT_LOCATION: view.content_location})
    try:
        with (
            admission.ending(request, view.thread_id, view.run_id, view.tied),
            hub.Cursor(
                request.app[keys.SERVICES].hub,
                view.thread_id,
                view.after or 0,
                run_id=view.run_id,
                kinds=view.names,
            ) as cursor,
        ):
            if view.after is None:
                await _skip_to_now(request, cursor)
            async with out:
                if request.method != hdrs.METH_HEAD:
                    await _copy(request, view, cursor, out)
                await out.finish()
    except connections.ClientGone:
        pass
    return out.response


async def _skip_to_now(request: web.Request, cursor: hub.Cursor) -> None:
    """
    Move behind all that has happened; before the head goes out: what happens after the client has seen it
    counts.
    """
    if not cursor.skip_to_now():
        cursor.position = await request.app[keys.SERVICES].positions.last(cursor.thread_id)


async def _copy(
    request: web.Request, view: View, cursor: hub.Cursor, out: connections.StreamingResponse
) -> None:
    services = request.app[keys.SERVICES]
    # The row is read after the position: a run that is active here ends with an event behind the position.
    over = None if view.fresh else await _over(services, view, cursor, out)
    while over is None:
        chunks = await next_page(cursor, out)
        if not chunks:
            if gap := cursor.gap:
                await out.send(v1.gap_frame(gap.after, gap.resumes_at, view.run_id, gap.attempt))
            over = await _over(services, view, cursor, out)
            continue
        frames, ended = v1.run_frames(chunks, view.run_id, names=view.names, with_ids=view.with_ids)
        del chunks
        if ended:
            over = frames
        elif frames:
            await out.send(frames)
            await out.heartbeat_if_due()
        del frames
    if over:
        await out.finish(over)


async def _over(
    services: Services, view: View, cursor: hub.Cursor, out: connections.StreamingResponse
) -> bytes | None:
    """Return the last bytes of a stream that has nothing more to come, None while something may come."""
    end = await services.positions.end_of_run(view.thread_id, view.run_id)
    if end is None:
        return NOT_FOUND
    active, log_to = end
    if active:
        return None
    if (log_to or 0) > cursor.position:
        await _over_gap(services, view, cursor, out)
    return None if (log_to or 0) > cursor.position else b""


async def _over_gap(
    services: Services, view: View, cursor: hub.Cursor, out: connections.StreamingResponse
) -> None:
    """
    Tell the reader of an ended run of events that are not kept any more, and move the cursor behind them.
    """
    gap = await services.positions.gap_of_run(view.thread_id, view.run_id, cursor.position)
    if gap is not None:
        gone_to, attempt = gap
        await out.send(v1.gap_frame(cursor.position, gone_to + 1, view.run_id, attempt))
        cursor.position = gone_to


async def next_page(cursor: hub.Cursor, out: connections.StreamingResponse) -> list[Chunk]:
    """Return the cursor's next page; empty when there is reason to look whether anything will come at all."""
    try:
        async with asyncio.timeout_at(out.next_heartbeat):
            return await cursor.page()
    except TimeoutError:
        await out.heartbeat_if_due()
        return []


async def tail(
    request: web.Request, thread_id: str, after: int | None, frames_of: Callable[[list[Chunk]], bytes]
) -> web.StreamResponse:
    """Send a thread's events, of all its runs, until the client leaves."""
    services = request.app[keys.SERVICES]
    out = open_stream(request, {})
    try:
        with hub.Cursor(services.hub, thread_id, after or 0) as cursor:
            if after is None:
                await _skip_to_now(request, cursor)
            async with out:
                while request.method != hdrs.METH_HEAD:
                    frames = frames_of(await next_page(cursor, out))
                    if gap := cursor.gap:
                        frames = v1.gap_frame(gap.after, gap.resumes_at)
                    if frames:
                        await out.send(frames)
                        await out.heartbeat_if_due()
                    del frames
                await out.finish()
    except connections.ClientGone:
        pass
    return out.response


def creators(run: Run, *, stateless: bool, with_ids: bool, tied: bool, fresh: bool) -> View:
    """Return what the creator of a run is sent: everything from its beginning."""
    path = f"/runs/{run.run_id}" if stateless else f"/threads/{run.thread_id}/runs/{run.run_id}"
    return View(
        thread_id=run.thread_id,
        run_id=run.run_id,
        location=f"{path}/stream",
        content_location=path,
        after=run.log_from,
        names=None,
        with_ids=with_ids,
        tied=tied,
        fresh=fresh,
    )
