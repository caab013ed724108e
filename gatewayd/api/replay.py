"""Where a reader of protocol v2 begins, and what it is told in place of what is not kept any more."""

from __future__ import annotations

from gatewayd import wire
from gatewayd.api import keys
from gatewayd.model import state as states
from gatewayd.streams import subscriptions, v2
from gatewayd.streams.convert import to_v2


async def begin(services: keys.Services, thread_id: str, since: int | None) -> tuple[int, v2.View | None]:
    """Return behind which number a reader starts, and the event that tells it of a gap."""
    storage = services.storage
    if since is None:
        moment = services.runs.now() - int(services.settings.replay_window_s * 1e6)
        return await subscriptions.replay_start(storage, thread_id, moment), None
    last, _ = await storage.events_last(thread_id)
    gone_to = await storage.events_gap(thread_id, since)
    if gone_to is None:
        return min(since, last), None  # a number from the future must not hide what comes
    return gone_to, await state(services, thread_id, gone_to)


async def state(services: keys.Services, thread_id: str, gone_to: int) -> v2.View:
    """Return the event that stands for what is not kept up to a number: the thread's values."""
    _, time_ms = await services.storage.events_last(thread_id)
    values = (await services.storage.thread_get(thread_id)).values
    params = {"data": to_v2.state({} if values is None else wire.loads(states.text(values)))}
    return v2.state_after_gap(gone_to, time_ms, wire.dumps(params))
