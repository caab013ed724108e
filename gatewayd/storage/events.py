"""The log of events: what workers send, stored in the order of arrival, and what readers want of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from gatewayd import ids
from gatewayd.model.event import Chunk, Draft
from gatewayd.storage import desk
from gatewayd.storage.sqlite import blobs, events, runs
from gatewayd.storage.sqlite.engine import numbering, writing

EVENT_PAGE_BYTES = 96 * 1024
"""What one reader of the log holds at most, beside a single larger chunk."""

EVENT_PAGE_CHUNKS = 200


class Events(desk.Desk):
    """Operations on the log, and on what comes from workers with it."""

    __slots__ = ()

    def events_append(
        self,
        draft: Draft,
        done: Callable[[Chunk], None],
        failed: Callable[[BaseException], None],
        chain: writing.Chain | None = None,
    ) -> None:
        """
        Number and store events; `done` gets the chunk after the commit.

        `failed` if it was not stored, or something before it in `chain` was not.
        """
        self.writer.post(events.append, draft, done=done, failed=failed, weight=draft.weight, chain=chain)

    def parts_store_if_running(
        self,
        thread_id: str,
        run_id: str,
        some: Sequence[Sequence[Any]],
        weight: int,
        done: Callable[[None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Store blobs of a state whose record follows."""
        self.writer.post(
            blobs.parts_store_if_running, thread_id, run_id, some, done=done, failed=failed, weight=weight
        )

    def checkpoint_apply(
        self,
        operation: list[Any],
        run_id: str,
        weight: int,
        done: Callable[[BaseException | None], None],
        chain: writing.Chain,
    ) -> None:
        """
        Apply one of a run's checkpoint operations; `done` gets the error if it was not stored.

        With `chain` none is stored behind one that was not: what follows in its history would hang in the
        air.
        """
        self.writer.post(
            runs.run_checkpoint_apply, operation, run_id, done=done, failed=done, weight=weight, chain=chain
        )

    async def events_page(self, thread_id: str, after: int, run_id: str | None = None) -> list[Chunk]:
        """
        Return the next chunks behind `after`, of one run or of all, `EVENT_PAGE_BYTES` at most or one chunk.
        """
        parameters = {
            "thread_id": thread_id,
            "run_id": run_id,
            "after": after,
            "bytes": EVENT_PAGE_BYTES,
            "chunks": EVENT_PAGE_CHUNKS,
        }
        statement = events.PAGE if run_id is None else events.PAGE_OF_RUN
        return [events.chunk(row) for row in await self.readers.rows(statement, parameters)]

    async def chunk_joined(self, chunk: Chunk, kinds: Container[str] | None = None) -> Chunk:
        """
        Return a chunk whose records can be seen: with its whole states joined, those of records of some kinds
        or of all.

        Records with other states are left out, and so are those whose states can't be read.
        """
        if not chunk.parts:
            return chunk
        found: dict[int, bytes] = {}
        for number in chunk.needed(kinds):
            state = await self.state_joined(chunk.thread_id, chunk.parts[number])
            if state is not None:
                found[number] = state
        return chunk.whole(found)

    async def events_replay_start(self, thread_id: str, since: int) -> int | None:
        """
        Return the number of the first event of the thread's runs that are active or ended since then (µs).
        """
        rows = await self.readers.rows(events.REPLAY_START, {"thread_id": thread_id, "since": since})
        return rows[0][0]  # type: ignore[no-any-return]

    async def runs_over_before_the_last(self, thread_id: str, after: int) -> list[str]:
        """Return the runs of a thread that have ended behind a number, but for the one that ended last."""
        return [
            run_id for (run_id,) in await self.readers.rows(events.OVER_BEFORE_THE_LAST, (thread_id, after))
        ]

    async def run_newest_if_recent(self, thread_id: str, since: int) -> str | None:
        """
        Return the run of a thread that was accepted last if it is active, or was accepted since then (µs).
        """
        rows = await self.readers.rows(events.NEWEST_RUN, (since, thread_id))
        return rows[0][0] if rows and rows[0][1] else None

    async def events_gap(self, thread_id: str, after: int) -> int | None:
        """
        Return up to which number a thread's events behind `after` are not kept any more; None: they are.
        """
        rows = await self.readers.rows(events.GAP, (thread_id, after))
        return rows[0][0] if rows else None

    async def run_events_gap(self, thread_id: str, run_id: str, after: int) -> tuple[int, int] | None:
        """Return the same of one run, and its attempt."""
        rows = await self.readers.rows(events.GAP_OF_RUN, (run_id, thread_id, after))
        return (rows[0][0], rows[0][1]) if rows else None

    async def threads_to_prune(
        self, before: int, behind: tuple[int, str], limit: int
    ) -> list[tuple[int, str]]:
        """
        Return threads that may have events of runs that ended before then (µs), in pages by the pair
        returned.
        """
        rows = await self.readers.rows(events.TO_PRUNE, (before, *behind, limit))
        return [(since, thread_id) for since, thread_id in rows]

    async def thread_events_prune_step(self, thread_id: str, before: int, rows: int) -> bool:
        """
        Remove some of a thread's events of runs that ended before then (µs); True when no more may go now.
        """
        return await self.writer.submit(events.prune_step, thread_id, before, rows)

    async def events_last(self, thread_id: str) -> tuple[int, int]:
        """Return number and time (ms) of the thread's newest event; zeros when there is none."""
        rows = await self.readers.rows(numbering.LAST, (thread_id,))
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    async def run_events_before(self, thread_id: str, run_id: str, checkpoint_id: str) -> int | None:
        """
        Return the number of a run's last event before a checkpoint was made, 0 if there is none.

        A checkpoint is stored while the next step has begun, so the time in its id tells where it belongs. An
        event's time is that of its arrival, so a few of the step's own events may count as later; none that
        is later is left out. None: the thread has no such checkpoint.
        """
        made = ids.checkpoint_time_ms(checkpoint_id)
        if made is None:
            return None
        parameters = {
            "thread_id": thread_id,
            "run_id": run_id,
            "checkpoint_id": checkpoint_id,
            "time_ms": made,
        }
        rows = await self.readers.rows(events.LAST_OLDER, parameters)
        return rows[0][0] if rows else None
