"""Where readers of streams begin, and what they are told in place of what is not kept or not shown to them.

A position is the number behind which a reader reads. None stands for "from now on". A number from the future,
of a database that was replaced by an older copy, must not hide what comes, so it is cut to the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from gatewayd import ids, wire
from gatewayd.model import state
from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import Chunk
from gatewayd.model.run import Run
from gatewayd.storage import store
from gatewayd.streams import earlier, holds, subscriptions, tree, trimming, v2
from gatewayd.streams.convert import to_v2


@frozen
class Beginning:
    """The beginning of one reader of protocol v2."""

    after: int
    """The number behind which it starts."""
    gap: v2.View | None = None
    """The event that tells it of what is not kept."""
    trim: trimming.Trim = trimming.NOTHING
    """What of runs that have ended is left out."""
    ends: earlier.Ends = field(factory=earlier.Ends)
    """The ends of earlier runs that are kept back."""
    replays_ends: bool = False
    """It begins with runs of which the client may be told too early that they are over."""


@frozen(kw_only=True)
class Positions:
    """Answers readers of the logs of all threads."""

    storage: store.Storage
    now: Callable[[], int]
    """The time, in µs since the epoch."""
    replay_window_us: int
    """How long ago runs may have ended that are replayed to readers from the beginning."""

    async def last(self, thread_id: str) -> int:
        """Return the number of a thread's newest event, 0 if there is none."""
        last, _ = await self.storage.events_last(thread_id)
        return last

    # protocol v1

    async def behind(self, thread_id: str, number: int | None) -> int | None:
        """Return the position of a reader that has seen everything up to a number."""
        return None if number is None else min(number, await self.last(thread_id))

    async def in_run(
        self, run: Run, number: int | None, *, named: bool, checkpoint_id: str | None
    ) -> int | None:
        """
        Return the position of a reader of one run. `named`: the client has named a place, which may mean
        nothing; `checkpoint_id`: it has seen what came before that.
        """
        after = await self.behind(run.thread_id, number)
        if not named and self._has_outlived_a_start(run):
            after = run.log_from
        if checkpoint_id:
            # As in the reference, an id that the thread does not have is ignored.
            reached = await self.storage.run_events_before(run.thread_id, run.run_id, checkpoint_id)
            after = after if reached is None else max(after or 0, reached)
        return None if after is None else max(after, run.log_from)

    def _has_outlived_a_start(self, run: Run) -> bool:
        """
        Whether the run was created before this start of the server and has not ended before it.

        A client that reads such a run without naming a place has most likely been cut before its first
        event, and knows no id: it gets the run from its beginning, or the restart would have cost it what
        came before it was back.
        """
        started = self.storage.opened_at
        return ids.time_ms(run.run_id) * 1000 < started and (run.ended_at is None or run.ended_at >= started)

    async def latest_runs(self, thread_id: str) -> int | None:
        """Return the position before a thread's latest runs, for a reader from the beginning."""
        first = await self.storage.events_replay_start(thread_id, self.now() - self.replay_window_us)
        return None if first is None else first - 1

    async def end_of_run(self, thread_id: str, run_id: str) -> tuple[bool, int | None] | None:
        """Return whether a run is active and the number of its last event; None: there is no such run."""
        return await self.storage.run_log_end(thread_id, run_id)

    async def gap_of_run(self, thread_id: str, run_id: str, after: int) -> tuple[int, int] | None:
        """
        Return up to which number a run's events behind `after` are not kept, and its attempt; None: they
        are.
        """
        return await self.storage.run_events_gap(thread_id, run_id, after)

    # protocol v2

    async def begin(self, reader: holds.Reader, since: int | None) -> Beginning:
        """Return where a reader begins that knows everything up to `since`; None: nothing."""
        thread_id = reader.thread_id
        if since is None:
            return await self._from_the_beginning(reader)
        last = await self.last(thread_id)
        gone_to = await self.storage.events_gap(thread_id, since)
        if gone_to is None:
            return Beginning(min(since, last))
        return Beginning(gone_to, await self.state_after_gap(thread_id, gone_to))

    async def awaited(self, reader: holds.Reader, start: Beginning) -> Beginning:
        """Return where a reader begins once its client has had a moment to start a run."""
        if start.replays_ends and await reader.starts():
            return await self._from_the_beginning(reader)
        return start

    async def _from_the_beginning(self, reader: holds.Reader) -> Beginning:
        storage, thread_id, now = self.storage, reader.thread_id, self.now()
        newest, through = None, 0
        if reader.front_end:
            newest = await storage.run_newest_if_recent(thread_id, now - int(earlier.RECENT_S * 1e6))
            through = await self.last(thread_id)
        after = await subscriptions.replay_start(storage, thread_id, now - self.replay_window_us)
        return Beginning(
            after,
            trim=await trimming.trim(storage, thread_id, after),
            ends=earlier.Ends(newest, through),
            replays_ends=newest is None and after < through,
        )

    async def state_after_gap(self, thread_id: str, gone_to: int) -> v2.View:
        """Return the event that stands for what is not kept up to a number: the thread's values."""
        _, time_ms = await self.storage.events_last(thread_id)
        values = (await self.storage.thread_get(INTERNAL, thread_id)).values
        params = {"data": to_v2.state({} if values is None else wire.loads(state.text(values)))}
        return v2.state_after_gap(gone_to, time_ms, wire.dumps(params))

    async def page(self, thread_id: str, after: int) -> list[Chunk]:
        """Return the next chunks behind a position, with whole states; empty: there are none."""
        page = await self.storage.events_page(thread_id, after)
        if page:
            page[0] = page[0].behind(after)
        return [await self.storage.chunk_joined(chunk) for chunk in page]

    async def tree(self, thread_id: str) -> tuple[Any, int]:
        """See `tree.latest`."""
        return await tree.latest(self.storage, thread_id)
