"""Threads whose time to live is over are deleted, or all but their latest states are removed.

Storage finds them (`storage.sqlite.retention`). A sweep handles a bounded number, in the same small steps as
the requests for it. What can't be done now (a run has been created, the service worker is away, the disk is
full) is due again at the next sweep.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from attrs import frozen

from gatewayd import loops
from gatewayd.errors import Conflict, NotFound, RequestError
from gatewayd.model.caller import INTERNAL
from gatewayd.model.retention import Retention
from gatewayd.storage import store
from gatewayd.threads import changes

log = logging.getLogger(__name__)

SHORTEST_S = 1.0
"""Shortest time between two sweeps; no setting makes it shorter."""

PAGE = 100
"""Threads looked up at a time."""


@frozen(kw_only=True)
class Expiry:
    """The sweep of expired threads."""

    storage: store.Storage
    changes: changes.Changes
    rules: Callable[[], Retention]
    """Asked before each sweep: a reload may change them."""
    now: Callable[[], int] = lambda: time.time_ns() // 1000

    async def run(self, turned: loops.Turned = lambda: None) -> None:
        """Sweep by the clock until cancelled. To be called again after an error."""
        while True:
            await asyncio.sleep(max(SHORTEST_S, self.rules().sweep_interval_minutes * 60))
            await self.sweep(self.rules().sweep_limit)
            turned()

    async def sweep(self, limit: int) -> int:
        """
        Handle up to `limit` threads whose time is over; return how many were deleted or cut to their latest
        states.
        """
        now, done, last = self.now(), 0, None
        while limit > 0 and (page := await self.storage.threads_expired(now, last, min(limit, PAGE))):
            for expired in page:
                done += await self._handle(expired)
            last = page[-1]
            limit -= len(page)
        if done:
            log.info("%d threads whose time was over were deleted or cut to their latest states", done)
        return done

    async def _handle(self, expired: store.Expired) -> bool:
        if expired.strategy == "delete":
            return await self.changes.delete_if_expired(expired)
        try:
            await self.changes.keep_latest(INTERNAL, expired.thread_id)
        except (NotFound, Conflict):  # it was deleted, or a run has been created
            return False
        except RequestError as error:  # such a thread must not be in the way of others
            log.warning("thread %s could not be cut: %s", expired.thread_id, error.detail)
            return False
        await self.storage.thread_keep_latest_done(expired)
        return True
