"""Operations that hold a thread's lock: state updates, copies, prunes, imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import RunOutcome
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import imports, operations, thread_locks
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, written


class Operations(base.Base):
    """Operations that hold a lock."""

    __slots__ = ()

    @for_caller
    async def thread_lock_acquire_for_operation(
        self, thread_id: str, operation_id: str, *, unless_pending: bool = False
    ) -> Thread:
        return await self.writer.submit(
            thread_locks.thread_lock_acquire_for_operation, thread_id, operation_id, self.boot, unless_pending
        )

    def thread_locks_release(
        self, operation_id: str, on_stored: Callable[[None], None], on_error: Callable[[BaseException], None]
    ) -> None:
        self.writer.post(
            thread_locks.thread_locks_release, operation_id, on_stored=on_stored, on_error=on_error
        )

    def state_update_if_held(
        self,
        thread_id: str,
        operation_id: str,
        changes: list[list[Any]],
        projection: RunOutcome,
        event: Draft,
        now: int,
        on_stored: Callable[[Chunk], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.writer.post(
            operations.state_update_if_held,
            thread_id,
            operation_id,
            changes,
            projection,
            event,
            now,
            on_stored=on_stored,
            on_error=on_error,
            promise=True,
        )

    @for_caller
    async def thread_copy_begin(self, source: str, target: str, operation_id: str, now: int) -> None:
        await self._require_room()
        await self._where_deleted(
            lambda: self.writer.submit(
                operations.thread_copy_begin, source, target, operation_id, self.boot, now
            )
        )

    @for_caller
    async def thread_copy_beside_run(self, source: str, target: str, now: int) -> Thread | None:
        await self._require_room()
        copy = await self._where_deleted(
            lambda: self.writer.submit(operations.thread_copy_beside_run, source, target, now, promise=True)
        )
        return None if copy is None else await self._shown(copy)

    thread_copy_step = written(operations.thread_copy_step)

    async def thread_copy_end(self, source: str, target: str, operation_id: str, now: int) -> Thread:
        return await self._shown(
            await self.writer.submit(
                operations.thread_copy_end, source, target, operation_id, now, promise=True
            )
        )

    thread_prune_step = written(operations.thread_prune_step)

    async def thread_import_begin(
        self, thread_id: str, metadata: dict[str, Any], operation_id: str, now: int
    ) -> bool:
        await self._require_room()
        return await self._where_deleted(
            lambda: self.writer.submit(
                imports.thread_import_begin, thread_id, metadata, operation_id, self.boot, now
            )
        )

    thread_import_step = written(imports.thread_import_step)

    thread_import_end = written(imports.thread_import_end, promise=True)
