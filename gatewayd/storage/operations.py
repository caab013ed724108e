"""
Changes of a thread that no run makes and that hold its slot meanwhile: state updates, copies, prunes,
imports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatewayd.checkpointing.sqlite import steps
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import RunOutcome
from gatewayd.model.thread import Thread
from gatewayd.storage import desk
from gatewayd.storage.sqlite import imports, operations, slots


class Operations(desk.Desk):
    """Operations that hold a slot."""

    __slots__ = ()

    async def slot_take_for_operation(
        self, thread_id: str, operation_id: str, *, unless_pending: bool = False
    ) -> Thread:
        """
        Take the slot and return the thread. Raises `NotFound`, and `Conflict` while a run has it, or is
        pending.
        """
        return await self.writer.submit(
            slots.slot_take_for_operation, thread_id, operation_id, self.boot, unless_pending
        )

    def slots_release(
        self, operation_id: str, done: Callable[[None], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Free what an operation still holds; `done` after the commit, else `failed`."""
        self.writer.post(slots.slots_release, operation_id, done=done, failed=failed)

    def state_update_if_held(
        self,
        thread_id: str,
        operation_id: str,
        changes: list[list[Any]],
        projection: RunOutcome,
        event: Draft,
        now: int,
        done: Callable[[Chunk], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        Store a state update (see `operations.state_update_if_held`).

        `done` gets its event after the commit; else `failed` is called.
        """
        self.writer.post(
            operations.state_update_if_held,
            thread_id,
            operation_id,
            changes,
            projection,
            event,
            now,
            done=done,
            failed=failed,
            promise=True,
        )

    async def thread_copy_begin(self, source: str, target: str, operation_id: str, now: int) -> None:
        """
        Take the source's slot and make an invisible target. Raises `NotFound`, `Conflict`,
        `InsufficientStorage`.
        """
        await self._require_room()
        await self._where_deleted(
            lambda: self.writer.submit(
                operations.thread_copy_begin, source, target, operation_id, self.boot, now
            )
        )

    async def thread_copy_beside_run(self, source: str, target: str, now: int) -> Thread | None:
        """
        Copy a thread that a run works on at once; None if none does. Raises `Conflict`,
        `InsufficientStorage`.
        """
        await self._require_room()
        copy = await self._where_deleted(
            lambda: self.writer.submit(operations.thread_copy_beside_run, source, target, now, promise=True)
        )
        return None if copy is None else await self._shown(copy)

    async def thread_copy_step(
        self, source: str, target: str, operation_id: str, after: steps.Position | None
    ) -> steps.Position | None:
        """
        Copy some rows behind `after` and return how far it went; None when nothing is left. Raises
        `NotFound`.
        """
        return await self.writer.submit(operations.thread_copy_step, source, target, operation_id, after)

    async def thread_copy_end(self, source: str, target: str, operation_id: str, now: int) -> Thread:
        """Show the finished copy and free the slots. Raises `NotFound`."""
        return await self._shown(
            await self.writer.submit(
                operations.thread_copy_end, source, target, operation_id, now, promise=True
            )
        )

    async def thread_prune_step(self, thread_id: str, operation_id: str, kept: list[list[Any]]) -> int:
        """
        Remove some old checkpoints; return how many namespaces are done with, all: the slot is free. Raises
        `NotFound`.
        """
        return await self.writer.submit(operations.thread_prune_step, thread_id, operation_id, kept)

    async def thread_import_begin(
        self, thread_id: str, metadata: dict[str, Any], operation_id: str, now: int
    ) -> bool:
        """Make an invisible thread; False: there is one already. Raises `InsufficientStorage`."""
        await self._require_room()
        return await self._where_deleted(
            lambda: self.writer.submit(
                imports.thread_import_begin, thread_id, metadata, operation_id, self.boot, now
            )
        )

    async def thread_import_step(self, thread_id: str, operation_id: str, changes: list[list[Any]]) -> None:
        """Store some of its checkpoints and writes."""
        await self.writer.submit(imports.thread_import_step, thread_id, operation_id, changes)

    async def thread_import_end(
        self, thread_id: str, operation_id: str, projection: RunOutcome, created_at: int, updated_at: int
    ) -> None:
        await self.writer.submit(
            imports.thread_import_end,
            thread_id,
            operation_id,
            projection,
            created_at,
            updated_at,
            promise=True,
        )
