"""
Where a reader of protocol v2 begins, and what it is told in place of what is not kept any more or not shown
to it.
"""

from __future__ import annotations

from attrs import field, frozen

from gatewayd import wire
from gatewayd.model import state as transitions
from gatewayd.services import Services
from gatewayd.streams import earlier, holds, subscriptions, trimming, v2
from gatewayd.streams.convert import to_v2


@frozen
class Beginning:
    """The beginning of one reader."""

    after: int
    """The number behind which it starts."""
    gap: v2.View | None = None
    """The event that tells it of what is not kept."""
    trim: trimming.Trim = trimming.NOTHING
    """What of runs that have ended is left out."""
    ends: earlier.Ends = field(factory=earlier.Ends)
    """The ends of earlier runs that are kept back."""
    replays_ends: bool = False
    """It begins with runs of which the client may be told too early that they are over."""


async def begin(services: Services, reader: holds.Reader, since: int | None) -> Beginning:
    """Return where a reader begins that knows everything up to `since`; None: nothing."""
    storage, thread_id = services.storage, reader.thread_id
    if since is None:
        return await _from_the_beginning(services, reader)
    last, _ = await storage.events_last(thread_id)
    gone_to = await storage.events_gap(thread_id, since)
    if gone_to is None:
        return Beginning(min(since, last))  # a number from the future must not hide what comes
    return Beginning(gone_to, await state(services, thread_id, gone_to))


async def _from_the_beginning(services: Services, reader: holds.Reader) -> Beginning:
    storage, thread_id, now = services.storage, reader.thread_id, services.runs.engine.now()
    newest, through = None, 0
    if reader.front_end:
        newest = await storage.run_newest_if_recent(thread_id, now - int(earlier.RECENT_S * 1e6))
        through, _ = await storage.events_last(thread_id)
    moment = now - int(services.settings.replay_window_s * 1e6)
    after = await subscriptions.replay_start(storage, thread_id, moment)
    return Beginning(
        after,
        trim=await trimming.trim(storage, thread_id, after),
        ends=earlier.Ends(newest, through),
        replays_ends=newest is None and after < through,
    )


async def awaited(services: Services, reader: holds.Reader, start: Beginning) -> Beginning:
    """Return where a reader begins once its client has had a moment to start a run."""
    if start.replays_ends and await reader.starts():
        return await _from_the_beginning(services, reader)
    return start


async def state(services: Services, thread_id: str, gone_to: int) -> v2.View:
    """Return the event that stands for what is not kept up to a number: the thread's values."""
    _, time_ms = await services.storage.events_last(thread_id)
    values = (await services.storage.thread_get(thread_id)).values
    params = {"data": to_v2.state({} if values is None else wire.loads(transitions.text(values)))}
    return v2.state_after_gap(gone_to, time_ms, wire.dumps(params))
