"""Admission: new runs are stored, with what the multitask strategy does to the thread's others.

A run is started in the transaction that creates it if its thread and a slot are free. Where a run stands that
waits, and why it does, is told here, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import attrs
from attrs import define, frozen

from gatewayd.errors import NotFound
from gatewayd.model.caller import INTERNAL, Caller
from gatewayd.model.cron import Firing
from gatewayd.model.run import QueuePlace, Run, RunRequest
from gatewayd.runs import cancels, dispatch, engine, inflight, waiters
from gatewayd.storage import store


@frozen(kw_only=True)
class Admission:
    """An admitted run, and with `follow` the future of its end."""

    run: Run
    ended: asyncio.Future[waiters.Ended] | None
    repeated: bool = False
    """The request had come before, and this is the run that it made then."""


@define(eq=False)
class Admissions:
    """Admits runs."""

    engine: engine.Engine
    in_flight: inflight.InFlight
    waiting: waiters.Waiters
    cancelling: cancels.Cancels
    dispatch: dispatch.Dispatch

    async def create(
        self, whose: Caller, request: RunRequest, follow: bool, begins: Callable[[str], None]
    ) -> Admission:
        """Admit a run; `begins` is called with its id before anything comes of it."""
        admitted: list[Admission] = []
        with self._creating(1) as (claim, created):

            def on_commit(run: store.CreatedRun) -> None:
                created.append(run)
                begins(run.run.run_id)
                admitted.append(self._begin(run, follow))

            await self.engine.storage.run_create(whose, request, claim=claim > 0, on_commit=on_commit)
        return admitted[0]

    async def create_all(self, whose: Caller, requests: Sequence[RunRequest]) -> list[Admission]:
        """Admit all of several runs, or none."""
        admitted: list[Admission] = []
        with self._creating(len(requests)) as (claim, created):

            def on_commit(runs: Sequence[store.CreatedRun]) -> None:
                created.extend(runs)
                admitted.extend(self._begin(run, follow=False) for run in runs)

            await self.engine.storage.runs_create_all(whose, requests, claim=claim, on_commit=on_commit)
        return admitted

    async def fire(self, firing: Firing) -> store.FiredCron:
        """Take one date of a cron, and admit its run like any other."""
        with self._creating(1) as (claim, created):

            def on_commit(fired: store.FiredCron) -> None:
                if fired.created is not None:
                    created.append(fired.created)
                    self._begin(fired.created, follow=False)

            return await self.engine.storage.cron_fire_if_current(
                firing, claim=claim > 0, on_commit=on_commit
            )

    @contextlib.contextmanager
    def _creating(self, most: int) -> Iterator[tuple[int, list[store.CreatedRun]]]:
        """
        Promise free slots to as many new runs, `most` at most; what they supersede is cancelled at the end.

        Not before the creation is settled, with an error or without: what was stored before it, the start of
        such a run for one, has been seen to by then, and a cancel finds the run where it is.
        """
        created: list[store.CreatedRun] = []
        claim = min(most, max(0, self.dispatch.slots()))
        try:
            with self.dispatch.reserved(claim):
                yield claim, created
        finally:
            for victim in (victim for new in created if not new.repeated for victim in new.cancelled):
                self.cancelling.carry_out(victim)

    def _begin(self, created: store.CreatedRun, follow: bool) -> Admission:
        """
        See to a new run itself.

        Called when it is committed and may not be synced yet: the run may end before its creation is
        answered, and what is committed happens, also if the disk does not confirm it.
        """
        run = created.run
        if created.repeated:
            work = self.waiting.wait_anyhow(INTERNAL, run.thread_id, run.run_id) if follow else None
            again = None if work is None else self.engine.tasks.spawn(work, f"wait for {run.run_id}")
            return Admission(run=run, ended=again, repeated=True)
        ended = self.waiting.follow(run.run_id) if follow else None
        if created.started:
            self.dispatch.start(run)
            run = attrs.evolve(run, status="pending", attempt=0, started_at=None)  # what was admitted
        else:
            self.engine.queue.waits()
        return Admission(run=run, ended=ended)

    # runs that wait

    async def queue_place(
        self, whose: Caller, thread_id: str, run_id: str
    ) -> tuple[QueuePlace, str | None, str | None]:
        """
        Tell where a run stands in the queue, why it waits, and where its worker is blocked. Raises
        `NotFound`.

        The reason is "delayed", "thread_busy", "trial" (another run is tried alone), "suspect" (it runs
        alone, and others do), "no_worker" (none is ready), "worker_blocked" (there are no slots because the
        event loop of a worker does not turn, or the run is in such a worker), "concurrency_limit" (all slots
        are taken), or None: it is about to start, or does not wait.
        """
        place = await self.engine.storage.run_queue_place(whose, thread_id, run_id)
        if place is None:
            raise NotFound("Not Found")
        reason = self._why_waiting(run_id, place)
        blocked_at = self._blocked_at(run_id, reason)
        return place, reason if blocked_at is None else "worker_blocked", blocked_at

    def _why_waiting(self, run_id: str, place: QueuePlace) -> str | None:
        workers, slots = self.engine.workers, self.dispatch.slots()
        if place.position is None:
            return None
        if place.due_at > self.engine.now():
            return "delayed"
        if place.holder is not None:
            return "thread_busy"
        if self.dispatch.trial.run_id not in (None, run_id):
            return "trial"
        if place.suspect:
            return "suspect" if workers.free_quarantines() <= 0 else None
        if slots <= 0 and workers.blocked() is not None:
            return "worker_blocked"
        if not workers.ready():
            return "no_worker"
        return "concurrency_limit" if slots <= 0 else None

    def _blocked_at(self, run_id: str, reason: str | None) -> str | None:
        """Return where the worker is blocked that a run waits for or is in, if it is."""
        active = self.in_flight.active.get(run_id)
        blocked = self.engine.workers.blocked()
        source = blocked if reason == "worker_blocked" else active.source if active else None
        if source is None or source.blocked_since is None:
            return None
        return source.place or "?"
