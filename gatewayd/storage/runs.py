"""The operations on runs, from their admission to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import QueuePlace, Run, RunOutcome, RunRequest
from gatewayd.storage import desk
from gatewayd.storage.sqlite import admission, idempotency, merging, queue, runs, slots

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


class Runs(desk.Desk):
    """Operations on runs."""

    __slots__ = ()

    async def run_create(
        self, request: RunRequest, *, claim: bool, early: Callable[[admission.CreatedRun], None] | None = None
    ) -> admission.CreatedRun:
        """
        Admit a run; see `admission.run_create`. Raises `NotFound`, `Conflict`, `InsufficientStorage`.

        `early` is called when the run is stored and not yet synced.
        """
        await self._require_room(request.once)
        return await self._where_deleted(
            lambda: self.writer.submit(
                admission.run_create, request, self.boot, claim, promise=True, early=early
            )
        )

    async def runs_create_all(
        self,
        requests: Sequence[RunRequest],
        *,
        claim: int,
        early: Callable[[list[admission.CreatedRun]], None] | None = None,
    ) -> list[admission.CreatedRun]:
        """
        Admit all or none; see `admission.runs_create_all`. Raises what `run_create` raises; `early` as there.
        """
        await self._require_room(requests[0].once if requests else None)
        return await self._where_deleted(
            lambda: self.writer.submit(
                admission.runs_create_all, requests, self.boot, claim, promise=True, early=early
            )
        )

    async def run_queue_place(self, thread_id: str, run_id: str) -> QueuePlace | None:
        """Return where a run of this thread stands among those that wait, or None."""
        rows = await self.readers.rows(runs.QUEUE_PLACE, (run_id, thread_id))
        if not rows:
            return None
        status, due_at, position, holder, suspect = rows[0]
        return QueuePlace(
            status=status, due_at=due_at, position=position, holder=holder, suspect=bool(suspect)
        )

    async def idempotency_sweep_step(self, before: int, rows: int) -> int:
        """Forget some requests that are older than `before`; return how many."""
        return await self.writer.submit(idempotency.idempotency_sweep_step, before, rows)

    async def run_get(self, thread_id: str, run_id: str) -> Run | None:
        """Return a run of this thread, or None."""
        rows = await self.readers.rows(
            f"{runs.SELECT} WHERE runs.run_id = ? AND runs.thread_id = ? AND threads.deleted_at IS NULL",
            (run_id, thread_id),
        )
        return (await _records(rows))[0] if rows else None

    async def run_get_anywhere(self, run_id: str) -> Run | None:
        """Return the run whatever its thread, or None."""
        rows = await self.readers.rows(
            f"{runs.SELECT} WHERE runs.run_id = ? AND threads.deleted_at IS NULL", (run_id,)
        )
        return (await _records(rows))[0] if rows else None

    async def runs_list(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        """Return a thread's runs, latest due time first."""
        sql, parameters = runs.list_statement(thread_id, status, limit, offset)
        return await _records(await self.readers.rows(sql, parameters))

    async def runs_search(self, wanted: runs.Search) -> list[Run]:
        """Return runs of all threads, latest first; see `runs.runs_search`."""
        return await self.scanner.read(runs.runs_search, wanted)

    async def run_log_end(self, thread_id: str, run_id: str) -> tuple[bool, int | None] | None:
        """Return whether a run is active and the number of its last event; None: there is no such run."""
        rows = await self.readers.rows(RUN_LOG_END, (run_id, thread_id))
        return (bool(rows[0][0]), rows[0][1]) if rows else None

    async def run_not_begun(self, thread_id: str) -> bool:
        """Return whether a thread has an active run that has stored nothing yet."""
        return bool(await self.readers.rows(RUN_NOT_BEGUN, (thread_id,)))

    async def runs_queue(self, now: int) -> queue.Queue:
        """Return how many runs wait and execute."""
        (row,) = await self.readers.rows(queue.QUEUE, {"now": now})
        return queue.of_row(row)

    async def runs_active(self, status: str | None) -> list[tuple[str, str]]:
        """
        Return thread and run ids of all pending and running runs, or of those with one of these statuses.
        """
        statuses = ("pending", "running") if status is None else (status, status)
        rows = await self.readers.rows(RUNS_ACTIVE, statuses)
        return [(thread_id, run_id) for thread_id, run_id in rows]

    async def runs_claim_due(
        self, now: int, limit: int, suspects: int, besides: Collection[str] = (), only: str | None = None
    ) -> runs.ClaimedRuns:
        """Start due runs whose thread is free, none of `besides`, and with `only` no other."""
        return await self.writer.submit(
            runs.runs_claim_due, self.boot, now, limit, suspects, frozenset(besides), only
        )

    async def run_requeue_if_running(
        self, run_id: str, attempt: int, *, died: bool, now: int, blocked: bool = False
    ) -> Run | None:
        """Make a running run pending again; None if it is not running in that attempt."""
        return await self.writer.submit(runs.run_requeue_if_running, run_id, attempt, died, now, blocked)

    async def run_cancel_if_active(
        self,
        run_id: str,
        action: str,
        error: dict[str, str],
        now: int,
    ) -> Run | None:
        """Store the wish to end a run; None if it has ended. Raises `Unconfirmed`."""
        return await self.writer.submit(runs.run_cancel_if_active, run_id, action, error, now, promise=True)

    async def runs_merge_if_alike(
        self, thread_id: str, now: int, *, into_running: bool = False
    ) -> merging.Merged:
        """Merge a thread's waiting runs; see `merging`. Raises `NotFound`, `Conflict`, `Unconfirmed`."""
        return await self.writer.submit(
            merging.runs_merge_if_alike, thread_id, now, into_running, promise=True
        )

    async def run_delete(
        self,
        thread_id: str,
        run_id: str,
        now: int,
        end: Draft,
        publish: Callable[[Chunk], None],
    ) -> runs.DeletedRun | None:
        """Remove a run's row; None: there is none. `publish` gets its end after the commit."""

        def done(deleted: runs.DeletedRun | None) -> None:
            if deleted is not None and deleted.end is not None:
                publish(deleted.end)

        return await self.writer.submit(runs.run_delete, thread_id, run_id, now, end, promise=True, done=done)

    def run_finish_if_active(
        self,
        run_id: str,
        attempt: int,
        outcome: RunOutcome,
        end: Draft,
        now: int,
        done: Callable[[Chunk | None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        End a run (see `runs.run_finish_if_active`).

        `done` gets its last events after the commit, None if it was not ended; else `failed` is called.
        """
        self.writer.post(
            runs.run_finish_if_active,
            run_id,
            attempt,
            outcome,
            end,
            now,
            done=done,
            failed=failed,
            promise=True,
        )

    def slot_release(
        self,
        thread_id: str,
        holder: str,
        done: Callable[[None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Free a thread's slot if this is its holder."""
        self.writer.post(slots.slot_release, thread_id, holder, done=done, failed=failed)

    async def run_checkpoints_delete(self, run_id: str) -> None:
        """Remove the checkpoints and writes that a run has made (the first half of a rollback)."""
        await self.writer.submit(checkpoint_changes.run_delete, run_id, promise=True)


async def _records(rows: Sequence[tuple[Any, ...]]) -> list[Run]:
    """
    Make the records of rows; large arguments are expanded in a thread, since zstd lets go of the interpreter.
    """
    if sum(len(row[runs.ARGUMENTS]) for row in rows) <= LARGE:
        return [runs.record(row) for row in rows]
    return await asyncio.to_thread(lambda: [runs.record(row) for row in rows])
