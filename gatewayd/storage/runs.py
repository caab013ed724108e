"""The operations on runs, from their admission to their end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from attrs import frozen

from gatewayd.model.caller import Caller
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import QueuePlace, Run, RunOutcome, RunRequest


@frozen(kw_only=True)
class CreatedRun:
    """What `run_create` did."""

    run: Run
    started: bool
    """The run was claimed in the same transaction and is to be dispatched."""
    cancelled: list[Run]
    """Active runs that its multitask strategy cancels; they are to be ended."""
    repeated: bool = False
    """The request is a repeat: `run` is what the first one created, and nothing was changed."""


@frozen(kw_only=True)
class ClaimedRuns:
    """What `runs_claim_due` did."""

    taken: list[Run]
    """Started runs; they are to be dispatched."""
    left: bool
    """Other due runs wait for capacity or for their thread."""
    next_due: int | None
    """Due time of the next delayed run."""


@frozen(kw_only=True)
class DeletedRun:
    """What `run_delete` did."""

    run: Run
    """As it was."""
    end: Chunk | None
    """The last events that its readers get, if it had begun and not ended."""


@frozen(kw_only=True)
class RunSearch:
    """What `runs_search` looks for; None means any."""

    status: str | None = None
    assistant_id: str | None = None
    thread_id: str | None = None
    limit: int = 10
    offset: int = 0


@frozen(kw_only=True)
class Merged:
    """What `runs_merge_if_alike` did."""

    run: Run
    """The oldest run, with all inputs."""
    ended: list[Run]
    """The other runs, oldest first; they are to be ended."""
    into: str | None = None
    """The executing run that is to take over the oldest run's input."""


@frozen
class Queue:
    """Numbers and waiting times of runs. Times are µs since the run was due; None if no run waits."""

    pending: int
    longest: int | None
    longest_unblocked: int | None
    """Of the runs whose thread is free."""
    median: int | None
    running: int


class Runs(Protocol):
    """Operations on runs."""

    async def run_create(
        self,
        whose: Caller,
        request: RunRequest,
        *,
        claim: bool,
        on_commit: Callable[[CreatedRun], None] | None = None,
    ) -> CreatedRun:
        """
        Admit a run; see `admission.run_create`. Raises `NotFound`, `Conflict`, `InsufficientStorage`.

        `on_commit` is called when the run is stored and not yet synced.
        """

    async def runs_create_all(
        self,
        whose: Caller,
        requests: Sequence[RunRequest],
        *,
        claim: int,
        on_commit: Callable[[list[CreatedRun]], None] | None = None,
    ) -> list[CreatedRun]:
        """
        Admit all or none; see `admission.runs_create_all`. Errors and `on_commit` are those of `run_create`.
        """

    async def run_queue_place(self, whose: Caller, thread_id: str, run_id: str) -> QueuePlace | None:
        """Return where a run of this thread stands among those that wait, or None."""

    async def idempotency_sweep_step(self, before: int, rows: int) -> int:
        """Forget some requests that are older than `before`; return how many."""

    async def run_get(self, whose: Caller, thread_id: str, run_id: str) -> Run | None:
        """Return a run of this thread, or None."""

    async def run_get_anywhere(self, whose: Caller, run_id: str) -> Run | None:
        """Return the run of any thread, or None."""

    async def runs_list(
        self, whose: Caller, thread_id: str, *, status: str | None, limit: int, offset: int
    ) -> list[Run]:
        """Return a thread's runs, latest due time first."""

    async def runs_search(self, whose: Caller, wanted: RunSearch) -> list[Run]:
        """Return runs of all threads, latest first; see `runs.runs_search`."""

    async def run_log_end(self, thread_id: str, run_id: str) -> tuple[bool, int | None] | None:
        """Return whether a run is active and the number of its last event; None: there is no such run."""

    async def run_not_begun(self, thread_id: str) -> bool:
        """Return whether a thread has an active run that has stored nothing yet."""

    async def runs_queue(self, now: int) -> Queue:
        """Return how many runs wait and execute."""

    async def runs_active(self, whose: Caller, status: str | None) -> list[tuple[str, str]]:
        """
        Return thread and run ids of all pending and running runs, or of those with one of these statuses.
        """

    async def runs_claim_due(
        self, now: int, limit: int, suspects: int, except_runs: Collection[str] = (), only: str | None = None
    ) -> ClaimedRuns:
        """Start due runs whose thread is free, none of `except_runs`, and with `only` no other."""

    async def run_requeue_if_running(
        self, run_id: str, attempt: int, *, died: bool, now: int, blocked: bool = False
    ) -> Run | None:
        """Make a running run pending again; None if it is not running in that attempt."""

    async def run_cancel_if_active(
        self,
        whose: Caller,
        run_id: str,
        action: str,
        error: dict[str, str],
        now: int,
    ) -> Run | None:
        """Store the wish to end a run; None if it has ended. Raises `Unconfirmed`."""

    async def runs_merge_if_alike(
        self, whose: Caller, thread_id: str, now: int, *, into_running: bool = False
    ) -> Merged:
        """Merge a thread's waiting runs; see `merging`. Raises `NotFound`, `Conflict`, `Unconfirmed`."""

    async def run_delete(
        self,
        whose: Caller,
        thread_id: str,
        run_id: str,
        now: int,
        end: Draft,
        publish: Callable[[Chunk], None],
    ) -> DeletedRun | None:
        """Remove a run's row; None: there is none. `publish` gets its end after the commit."""

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
        """
        End a run (see `runs.run_finish_if_active`).

        `on_stored` gets its last events after the commit, None if it was not ended; `on_error` what failed.
        """

    def thread_lock_release(
        self,
        thread_id: str,
        holder: str,
        on_stored: Callable[[None], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Release a thread's lock if this is its holder."""

    async def run_checkpoints_delete(self, run_id: str) -> None:
        """Remove the checkpoints and writes that a run has made (the first half of a rollback)."""
