"""The log of events: what workers send, stored in the order of arrival, and what readers want of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, Protocol

from attrs import define, field

from gatewayd.model.event import Chunk, Draft

EVENT_PAGE_BYTES = 96 * 1024
"""What one reader of the log holds at most, beside a single larger chunk."""

EVENT_PAGE_CHUNKS = 200


@define(eq=False)
class Chain:
    """Operations of which none is stored behind one that failed; the writer's thread alone looks at it."""

    error: BaseException | None = field(default=None, init=False)
    """Of the first that failed."""


class Events(Protocol):
    """Operations on the log, and on what comes from workers with it."""

    def events_append(
        self,
        draft: Draft,
        on_stored: Callable[[Chunk], None],
        on_error: Callable[[BaseException], None],
        chain: Chain | None = None,
    ) -> None:
        """
        Number and store events; `on_stored` gets the chunk after the commit.

        `on_error` if it was not stored, or something before it in `chain` was not.
        """

    def parts_store_if_running(
        self,
        thread_id: str,
        run_id: str,
        some: Sequence[Sequence[Any]],
        weight: int,
        on_stored: Callable[[None], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Store blobs of a state whose record follows."""

    def checkpoint_apply(
        self,
        operation: list[Any],
        run_id: str,
        weight: int,
        on_stored: Callable[[BaseException | None], None],
        chain: Chain,
    ) -> None:
        """
        Apply one of a run's checkpoint operations; `on_stored` gets the error if it was not stored.

        With `chain` none is stored behind one that was not: what follows in its history would hang in the
        air.
        """

    async def events_page(self, thread_id: str, after: int, run_id: str | None = None) -> list[Chunk]:
        """
        Return the next chunks behind `after`, of one run or of all, `EVENT_PAGE_BYTES` at most or one chunk.
        """

    async def chunk_joined(self, chunk: Chunk, kinds: Container[str] | None = None) -> Chunk:
        """
        Return a chunk whose records can be seen: with its whole states joined, those of records of some kinds
        or of all.

        Records with other states are left out, and so are those whose states can't be read.
        """

    async def events_replay_start(self, thread_id: str, since: int) -> int | None:
        """
        Return the number of the first event of the thread's runs that are active or ended since then (µs).
        """

    async def runs_over_before_the_last(self, thread_id: str, after: int) -> list[str]:
        """Return the runs of a thread that have ended behind a number, but for the one that ended last."""

    async def run_newest_if_recent(self, thread_id: str, since: int) -> str | None:
        """
        Return the run of a thread that was accepted last if it is active, or was accepted since then (µs).
        """

    async def events_gap(self, thread_id: str, after: int) -> int | None:
        """
        Return up to which number a thread's events behind `after` are not kept any more; None: they are.
        """

    async def run_events_gap(self, thread_id: str, run_id: str, after: int) -> tuple[int, int] | None:
        """Return the same of one run, and its attempt."""

    async def threads_to_prune(
        self, before: int, behind: tuple[int, str], limit: int
    ) -> list[tuple[int, str]]:
        """
        Return threads that may have events of runs that ended before then (µs), in pages by the pair
        returned.
        """

    async def thread_events_prune_step(self, thread_id: str, before: int, rows: int) -> bool:
        """
        Remove some of a thread's events of runs that ended before then (µs); True when no more may go now.
        """

    async def events_last(self, thread_id: str) -> tuple[int, int]:
        """Return number and time (ms) of the thread's newest event; zeros when there is none."""

    async def run_events_before(self, thread_id: str, run_id: str, checkpoint_id: str) -> int | None:
        """
        Return the number of a run's last event before a checkpoint was made, 0 if there is none.

        A checkpoint is stored while the next step has begun, so the time in its id tells where it belongs. An
        event's time is that of its arrival, so a few of the step's own events may count as later; none that
        is later is left out. None: the thread has no such checkpoint.
        """
