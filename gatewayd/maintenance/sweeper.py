"""Removing, in small steps, what is not kept any longer.

These are the rows of threads that are deleted or belonged to ended stateless runs, old keys and logs, events
of runs that ended longer ago than they are kept, and pieces of states that nothing refers to. Free pages then
go back to the file system. Rows of an older version are converted as well. What is being read stays: the
thread of a stateless run as long as it has readers, and a thread's events for twice the time, because a
thread's stream may be left open for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from attrs import frozen

from gatewayd import loops
from gatewayd.blobs import cut
from gatewayd.checkpointing import conversion
from gatewayd.storage import store
from gatewayd.streams import hub

STEP_ROWS = 200
"""Rows of one step: a few milliseconds of the writer's time."""
THREADS = 100
"""Threads looked at in one pass."""


@frozen(kw_only=True)
class Keeping:
    """For how many seconds things are kept that are not needed any more."""

    linger_s: float
    """The threads of stateless runs, after their end."""
    failed_crons_s: float
    """The threads of crons' stateless runs that failed, after their end; at least as long as others."""
    events_s: float
    """Events, after their run's end; 0: for ever."""
    idempotency_s: float
    """Idempotency keys, after their request."""
    webhooks_s: float
    """Webhooks that are not to be sent any more, after their run's end."""
    free_bytes: int = 16 << 20
    """
    Bytes of free pages that the file keeps for new data (not seconds); pages beyond that are given back.
    """


@frozen(kw_only=True)
class Sweeper:
    """Removes what is not kept."""

    storage: store.Storage
    hub: hub.Hub
    now: Callable[[], int] = lambda: time.time_ns() // 1000

    async def run(self, every_s: float, keeping: Keeping, turned: loops.Turned = lambda: None) -> None:
        """Sweep every `every_s` seconds until cancelled. To be called again after an error."""
        while True:
            await asyncio.sleep(every_s)
            await self._sweep_all(keeping)
            turned()

    async def _sweep_all(self, keeping: Keeping) -> None:
        """Do each kind of sweeping once, also if another fails; the first error is raised at the end."""
        storage, now = self.storage, self.now()
        kinds: list[Callable[[], Awaitable[object]]] = [
            lambda: self.sweep(keeping.linger_s, keeping.failed_crons_s),
            self.sweep_blobs,
            self.convert_rows,
            lambda: _in_steps(storage.idempotency_sweep_step, now - int(keeping.idempotency_s * 1e6)),
            lambda: _in_steps(storage.webhooks_sweep_step, now - int(keeping.webhooks_s * 1e6)),
            lambda: self.vacuum(keeping.free_bytes),
        ]
        if keeping.events_s:
            kinds.insert(3, lambda: self.prune(max(keeping.events_s, keeping.linger_s)))
        first: Exception | None = None
        for kind in kinds:
            try:
                await kind()
            except Exception as error:
                first = first or error
        if first is not None:
            raise first

    async def sweep(self, linger_s: float, failed_crons_s: float = 0.0) -> int:
        """Remove threads that may go now; return how many."""
        removed = 0
        hidden_before, kept_before = (
            self.now() - int(seconds * 1e6) for seconds in (linger_s, max(linger_s, failed_crons_s))
        )
        while candidates := await self.storage.threads_to_sweep(hidden_before, THREADS, kept_before):
            ready = [thread_id for thread_id in candidates if not self.hub.has_readers(thread_id)]
            for thread_id in ready:
                while not await self.storage.thread_sweep_step(thread_id, STEP_ROWS):
                    pass
                removed += 1
            if len(ready) < len(candidates) or len(candidates) < THREADS:
                break
        return removed

    async def sweep_blobs(self) -> int:
        """Free what no row refers to any more, of threads at rest; return the number of pieces."""
        freed = 0
        after = 0
        while (begun := await self.storage.blobs_sweep_begin(after)) is not None:
            while not await self.storage.blobs_sweep_step(begun):
                pass
            freed += begun.removed
            after = begun.family_id
        return freed

    async def convert_rows(self) -> int:
        """Convert what an older version has stored in one piece, until all is done; return how many rows."""
        converted = 0
        known: cut.Known = set()
        thread_id = ""
        while (row := await self.storage.conversion_next()) is not None:
            if not row.body:
                continue
            if row.thread_id != thread_id:
                known, thread_id = set(), row.thread_id
            manifest, portions = await asyncio.to_thread(conversion.cut_row, row, known)
            for blobs in portions:
                await self.storage.conversion_store(thread_id, blobs)
            await self.storage.conversion_finish(row, manifest)
            converted += 1
        return converted

    async def prune(self, ttl_s: float) -> int:
        """
        Remove events of runs that ended more than `ttl_s` seconds ago; return how many threads were looked
        at.
        """
        looked_at, behind = 0, (0, "")
        ttl = int(ttl_s * 1e6)
        before = self.now() - ttl
        while candidates := await self.storage.threads_to_prune(before, behind, THREADS):
            for _, thread_id in candidates:
                until = before - ttl if self.hub.has_readers(thread_id) else before
                while not await self.storage.thread_events_prune_step(thread_id, until, STEP_ROWS):
                    pass
            looked_at += len(candidates)
            behind = candidates[-1]
        return looked_at

    async def vacuum(self, keep: int) -> int:
        """Give free pages back to the file system, but for `keep` bytes; return the number of steps."""
        if self.storage.space.free <= keep or not self.storage.space.incremental:
            return 0
        steps = 1
        while not await self.storage.vacuum_step(keep):
            steps += 1
        return steps


async def _in_steps(step: Callable[[int, int], Awaitable[int]], before: int) -> None:
    """Repeat a step until it finds less than it may remove."""
    while await step(before, STEP_ROWS) == STEP_ROWS:
        pass
