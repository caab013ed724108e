"""Dealing with threads whose time is over: deleting them, or removing all but their latest states.

Which these are, says `storage.sqlite.retention`. Nobody waits for it, so it works through a bounded number at
a time, in the small steps of the operations that clients may ask for, too. What can't be done now (a run has
come, the service worker is away, the disk is full) is due again at the next sweep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from attrs import frozen

from gatewayd import loops
from gatewayd.errors import Conflict, NotFound, RequestError
from gatewayd.model.retention import Retention
from gatewayd.runs import operations
from gatewayd.storage import store

log = logging.getLogger(__name__)

SHORTEST_S = 1.0
"""Shortest time between two sweeps, whatever is asked for."""

PAGE = 100
"""Threads looked up at a time."""


@frozen
class Expiring:
    """The sweep of expired threads."""

    operations: operations.Operations
    rules: Callable[[], Retention]
    """Asked before each sweep: a reload may change them."""

    async def run(self, turned: loops.Turned = lambda: None) -> None:
        """Sweep by the clock until cancelled. To be called again after an error."""
        while True:
            await asyncio.sleep(max(SHORTEST_S, self.rules().sweep_interval_minutes * 60))
            await self.sweep(self.rules().sweep_limit)
            turned()

    async def sweep(self, limit: int) -> int:
        """
        Deal with up to `limit` threads whose time is over; return how many were deleted or cut to their
        latest states.
        """
        runs = self.operations.runs
        now, done, last = runs.now(), 0, None
        while limit > 0 and (page := await runs.storage.threads_expired(now, last, min(limit, PAGE))):
            for expired in page:
                done += await self._deal_with(expired)
            last = page[-1]
            limit -= len(page)
        if done:
            log.info("%d threads whose time was over were deleted or cut to their latest states", done)
        return done

    async def _deal_with(self, expired: store.Expired) -> bool:
        if expired.strategy == "delete":
            return await self.operations.runs.delete_thread_if_expired(expired)
        try:
            await self.operations.keep_latest(expired.thread_id)
        except (NotFound, Conflict):  # somebody was faster
            return False
        except (
            RequestError
        ) as error:  # a thread of which nothing can be made must not be in the way of others
            log.warning("thread %s could not be cut: %s", expired.thread_id, error.detail)
            return False
        await self.operations.runs.storage.thread_keep_latest_done(expired)
        return True
