"""The operations on threads."""

from __future__ import annotations

from typing import Any

from gatewayd.errors import NotFound
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.retention import NewTtl
from gatewayd.model.thread import FirstState, Thread
from gatewayd.storage import desk
from gatewayd.storage.sqlite import creation, search, threads


class Threads(desk.Desk):
    """Operations on threads."""

    __slots__ = ()

    async def thread_create(
        self,
        thread_id: str,
        metadata: dict[str, Any],
        *,
        do_nothing: bool,
        now: int,
        once: Idempotency | None = None,
        ttl: NewTtl | None = None,
        state: FirstState | None = None,
    ) -> Thread:
        """
        Store a thread, with its time to live and first state if it has them.

        Raises `Conflict`, `Invalid`, `InsufficientStorage`.
        """
        await self._require_room(once)
        return await self._shown(
            await self._where_deleted(
                lambda: self.writer.submit(
                    creation.thread_create_with, thread_id, metadata, do_nothing, now, once, ttl, state
                )
            )
        )

    async def thread_get(self, thread_id: str) -> Thread:
        """Return the thread, with its values joined. Raises `NotFound`."""
        found = await self._snapshots.read(threads.thread_shown, thread_id)
        if found is None:
            raise NotFound(f"Thread with ID {thread_id} not found")
        return found

    async def thread_find(self, thread_id: str) -> Thread:
        """
        Return the thread for those who do not look at its values: they may be in parts. Raises `NotFound`.
        """
        rows = await self.readers.rows(threads.READ, (thread_id,))
        if not rows:
            raise NotFound(f"Thread with ID {thread_id} not found")
        return threads.record(rows[0])

    async def thread_patch(
        self, thread_id: str, metadata: dict[str, Any], now: int, ttl: NewTtl | None = None
    ) -> Thread:
        """Merge metadata, and set the time to live if there is one. Raises `NotFound`, `Invalid`."""
        if ttl is not None:
            return await self._shown(
                await self.writer.submit(creation.thread_patch_with, thread_id, metadata, now, ttl)
            )
        return await self._shown(await self.writer.submit(threads.thread_patch, thread_id, metadata, now))

    async def thread_delete(self, thread_id: str, now: int) -> threads.DeletedThread:
        """Mark the thread deleted and return what is left to be done. Raises `NotFound`."""
        return await self.writer.submit(threads.thread_delete, thread_id, now)

    async def threads_search(self, wanted: search.Search) -> search.ThreadPage:
        """Find threads; see `sqlite.search`. Raises `Invalid`."""
        return await self.scanner.read(search.threads_search, wanted)

    async def threads_count(self, wanted: search.Search) -> int:
        """Return how many threads a search finds, whatever its limits. Raises `Invalid`."""
        return await self.scanner.read(search.threads_count, wanted)

    async def threads_to_sweep(self, hidden_before: int, limit: int, kept_before: int) -> list[str]:
        """Return ids of threads whose rows may be removed; see `threads.sweep_candidates`."""
        return await self.writer.submit(threads.sweep_candidates, hidden_before, limit, kept_before)

    async def thread_sweep_step(self, thread_id: str, rows: int) -> bool:
        """Remove some rows of a thread that is gone; True when nothing is left."""
        return await self.writer.submit(threads.thread_sweep_step, thread_id, rows)
