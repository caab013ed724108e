"""Changes of a thread that no run makes and that lock it: state updates, copies, prunes, imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gatewayd.model.caller import Caller
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import RunOutcome
from gatewayd.model.thread import Thread

CopyPosition = tuple[int, tuple[str | int, ...]]
"""A place in a copy: which of the tables, and the key of the last row that was copied."""


class Operations(Protocol):
    """Operations that hold a lock."""

    async def thread_lock_acquire_for_operation(
        self, whose: Caller, thread_id: str, operation_id: str, *, unless_pending: bool = False
    ) -> Thread:
        """
        Acquire the lock and return the thread. Raises `NotFound`, and `Conflict` while a run has it, or is
        pending.
        """

    def thread_locks_release(
        self, operation_id: str, on_stored: Callable[[None], None], on_error: Callable[[BaseException], None]
    ) -> None:
        """Free what an operation still holds; `on_stored` after the commit, else `on_error`."""

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
        """
        Store a state update (see `sqlite.operations.state_update_if_held`).

        `on_stored` gets its event after the commit; else `on_error` is called.
        """

    async def thread_copy_begin(
        self, whose: Caller, source: str, target: str, operation_id: str, now: int
    ) -> None:
        """
        Acquire the source's lock and make an invisible target. Raises `NotFound`, `Conflict`,
        `InsufficientStorage`.
        """

    async def thread_copy_beside_run(
        self, whose: Caller, source: str, target: str, now: int
    ) -> Thread | None:
        """
        Copy a thread that a run works on at once; None if none does. Raises `Conflict`,
        `InsufficientStorage`.
        """

    async def thread_copy_step(
        self, source: str, target: str, operation_id: str, after: CopyPosition | None
    ) -> CopyPosition | None:
        """
        Copy some rows behind `after` and return how far it went; None when nothing is left. Raises
        `NotFound`.
        """

    async def thread_copy_end(self, source: str, target: str, operation_id: str, now: int) -> Thread:
        """Show the finished copy and release the locks. Raises `NotFound`."""

    async def thread_prune_step(self, thread_id: str, operation_id: str, kept: list[list[Any]]) -> int:
        """
        Remove some old checkpoints; return how many namespaces are done with, all: the lock is free. Raises
        `NotFound`.
        """

    async def thread_import_begin(
        self, thread_id: str, metadata: dict[str, Any], operation_id: str, now: int
    ) -> bool:
        """Make an invisible thread; False: there is one already. Raises `InsufficientStorage`."""

    async def thread_import_step(self, thread_id: str, operation_id: str, changes: list[list[Any]]) -> None:
        """Store some of its checkpoints and writes."""

    async def thread_import_end(
        self, thread_id: str, operation_id: str, projection: RunOutcome, created_at: int, updated_at: int
    ) -> None: ...
