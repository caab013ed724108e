"""Operations on runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import QueuePlace, Run, RunOutcome, RunRequest
from gatewayd.storage.runs import ClaimedRuns, CreatedRun, DeletedRun, Queue
from gatewayd.storage.sqlite import admission, idempotency, merging, queue, runs, thread_locks
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, scanned, written

LARGE: Final = 64 * 1024
"""Bytes of compressed arguments that are expanded on the spot."""

RUN_LOG_END = (
    "SELECT runs.ended_at IS NULL, runs.log_to FROM runs JOIN threads USING (thread_id) "
    "WHERE runs.run_id = ? AND runs.thread_id = ? AND threads.deleted_at IS NULL"
)
RUN_NOT_BEGUN = """
SELECT 1 FROM runs WHERE thread_id = ? AND ended_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE checkpoints.run_id = runs.run_id)
    AND NOT EXISTS (SELECT 1 FROM writes WHERE writes.run_id = runs.run_id)
LIMIT 1"""

RUNS_ACTIVE = (
    "SELECT runs.thread_id, runs.run_id FROM runs JOIN threads USING (thread_id) "
    "WHERE runs.ended_at IS NULL AND runs.status IN (?, ?) AND threads.deleted_at IS NULL"
)


class Runs(base.Base):
    """Operations on runs."""

    __slots__ = ()

    @for_caller
    async def run_create(
        self, request: RunRequest, *, claim: bool, on_commit: Callable[[CreatedRun], None] | None = None
    ) -> CreatedRun:
        await self._require_room(request.once)
        return await self._where_deleted(
            lambda: self.writer.submit(
                admission.run_create, request, self.boot, claim, promise=True, on_commit=on_commit
            )
        )

    @for_caller
    async def runs_create_all(
        self,
        requests: Sequence[RunRequest],
        *,
        claim: int,
        on_commit: Callable[[list[CreatedRun]], None] | None = None,
    ) -> list[CreatedRun]:
        await self._require_room(requests[0].once if requests else None)
        return await self._where_deleted(
            lambda: self.writer.submit(
                admission.runs_create_all, requests, self.boot, claim, promise=True, on_commit=on_commit
            )
        )

    @for_caller
    async def run_queue_place(self, thread_id: str, run_id: str) -> QueuePlace | None:
        rows = await self.readers.rows(runs.QUEUE_PLACE, (run_id, thread_id))
        if not rows:
            return None
        status, due_at, position, holder, suspect = rows[0]
        return QueuePlace(
            status=status, due_at=due_at, position=position, holder=holder, suspect=bool(suspect)
        )

    idempotency_sweep_step = written(idempotency.idempotency_sweep_step)

    @for_caller
    async def run_get(self, thread_id: str, run_id: str) -> Run | None:
        rows = await self.readers.rows(
            f"{runs.SELECT} WHERE runs.run_id = ? AND runs.thread_id = ? AND threads.deleted_at IS NULL",
            (run_id, thread_id),
        )
        return (await _records(rows))[0] if rows else None

    @for_caller
    async def run_get_anywhere(self, run_id: str) -> Run | None:
        rows = await self.readers.rows(
            f"{runs.SELECT} WHERE runs.run_id = ? AND threads.deleted_at IS NULL", (run_id,)
        )
        return (await _records(rows))[0] if rows else None

    @for_caller
    async def runs_list(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        sql, parameters = runs.list_statement(thread_id, status, limit, offset)
        return await _records(await self.readers.rows(sql, parameters))

    runs_search = for_caller(scanned(runs.runs_search))

    async def run_log_end(self, thread_id: str, run_id: str) -> tuple[bool, int | None] | None:
        rows = await self.readers.rows(RUN_LOG_END, (run_id, thread_id))
        return (bool(rows[0][0]), rows[0][1]) if rows else None

    async def run_not_begun(self, thread_id: str) -> bool:
        return bool(await self.readers.rows(RUN_NOT_BEGUN, (thread_id,)))

    async def runs_queue(self, now: int) -> Queue:
        (row,) = await self.readers.rows(queue.QUEUE, {"now": now})
        return queue.of_row(row)

    @for_caller
    async def runs_active(self, status: str | None) -> list[tuple[str, str]]:
        statuses = ("pending", "running") if status is None else (status, status)
        rows = await self.readers.rows(RUNS_ACTIVE, statuses)
        return [(thread_id, run_id) for thread_id, run_id in rows]

    async def runs_claim_due(
        self, now: int, limit: int, suspects: int, except_runs: Collection[str] = (), only: str | None = None
    ) -> ClaimedRuns:
        return await self.writer.submit(
            runs.runs_claim_due, self.boot, now, limit, suspects, frozenset(except_runs), only
        )

    run_requeue_if_running = written(runs.run_requeue_if_running)

    run_cancel_if_active = for_caller(written(runs.run_cancel_if_active, promise=True))

    runs_merge_if_alike = for_caller(written(merging.runs_merge_if_alike, promise=True))

    @for_caller
    async def run_delete(
        self,
        thread_id: str,
        run_id: str,
        now: int,
        end: Draft,
        publish: Callable[[Chunk], None],
    ) -> DeletedRun | None:

        def on_stored(deleted: DeletedRun | None) -> None:
            if deleted is not None and deleted.end is not None:
                publish(deleted.end)

        return await self.writer.submit(
            runs.run_delete, thread_id, run_id, now, end, promise=True, on_stored=on_stored
        )

    def run_finish_if_active(
        self,
        run_id: str,
        attempt: int,
        outcome: RunOutcome,
        end: Draft,
        now: int,
        on_stored: Callable[[Chunk | None], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.writer.post(
            runs.run_finish_if_active,
            run_id,
            attempt,
            outcome,
            end,
            now,
            on_stored=on_stored,
            on_error=on_error,
            promise=True,
        )

    def thread_lock_release(
        self,
        thread_id: str,
        holder: str,
        on_stored: Callable[[None], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.writer.post(
            thread_locks.thread_lock_release, thread_id, holder, on_stored=on_stored, on_error=on_error
        )

    run_checkpoints_delete = written(checkpoint_changes.run_delete, promise=True)


async def _records(rows: Sequence[tuple[Any, ...]]) -> list[Run]:
    """
    Make the records of rows; large arguments are expanded in a thread, since zstd lets go of the interpreter.
    """
    if sum(len(row[runs.ARGUMENTS]) for row in rows) <= LARGE:
        return [runs.record(row) for row in rows]
    return await asyncio.to_thread(lambda: [runs.record(row) for row in rows])
