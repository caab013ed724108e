"""Operations on threads."""

from __future__ import annotations

from typing import Any

from gatewayd.errors import NotFound
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.retention import NewTtl
from gatewayd.model.thread import FirstState, Thread
from gatewayd.storage.sqlite import creation, search, threads
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, scanned, written


class Threads(base.Base):
    """Operations on threads."""

    __slots__ = ()

    @for_caller
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
        await self._require_room(once)
        return await self._shown(
            await self._where_deleted(
                lambda: self.writer.submit(
                    creation.thread_create_with, thread_id, metadata, do_nothing, now, once, ttl, state
                )
            )
        )

    @for_caller
    async def thread_get(self, thread_id: str) -> Thread:
        found = await self.snapshots.read(threads.thread_shown, thread_id)
        if found is None:
            raise NotFound(f"Thread with ID {thread_id} not found")
        return found

    @for_caller
    async def thread_find(self, thread_id: str) -> Thread:
        rows = await self.readers.rows(threads.READ, (thread_id,))
        if not rows:
            raise NotFound(f"Thread with ID {thread_id} not found")
        return threads.record(rows[0])

    @for_caller
    async def thread_patch(
        self, thread_id: str, metadata: dict[str, Any], now: int, ttl: NewTtl | None = None
    ) -> Thread:
        if ttl is not None:
            return await self._shown(
                await self.writer.submit(creation.thread_patch_with, thread_id, metadata, now, ttl)
            )
        return await self._shown(await self.writer.submit(threads.thread_patch, thread_id, metadata, now))

    thread_delete = for_caller(written(threads.thread_delete))

    threads_search = for_caller(scanned(search.threads_search))

    threads_count = for_caller(scanned(search.threads_count))

    threads_to_sweep = written(threads.sweep_candidates)

    thread_sweep_step = written(threads.thread_sweep_step)
