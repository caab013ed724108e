"""The run manager: admits runs, gives them to workers, stores what comes back. See the package."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
from attrs import define, field, frozen

from gatewayd import tasks, wire
from gatewayd.errors import NotFound, Unavailable
from gatewayd.model import event
from gatewayd.model.cron import Firing
from gatewayd.model.event import Item
from gatewayd.model.run import (
    CONTEXT_GIVEN,
    CancelAction,
    CancelReason,
    QueuePlace,
    Run,
    RunOutcome,
    RunRequest,
)
from gatewayd.model.state import Parts
from gatewayd.runs import cancels, endings, inflight, trials, waiters
from gatewayd.runs import counts as counts_
from gatewayd.storage import store
from gatewayd.streams import log as stream_log
from gatewayd.streams import v2
from gatewayd.supervisor import supervisor, worker

log = logging.getLogger(__name__)

T = TypeVar("T")

BACKLOG_HIGH = 32 << 20
"""Bytes waiting for the writer above which workers' data is not read."""
BACKLOG_LOW = 16 << 20


@frozen(kw_only=True)
class Admission:
    """An admitted run, and with `follow` the future of its end."""

    run: Run
    ended: asyncio.Future[waiters.Ended] | None
    repeated: bool = False
    """The request had come before, and this is the run that it made then."""


@define(eq=False)
class RunManager:
    """Owner of all runs that execute."""

    storage: store.Storage
    log: stream_log.Log
    workers: supervisor.Supervisor
    max_retries: int
    cancel_deadline_s: float
    job_timeout_s: float = 0.0
    """Seconds a run may execute, all its attempts together; 0: for ever."""
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    on_webhook_due: Callable[[], None] = lambda: None
    """Called when the end of a run has been stored that is to be told to a webhook."""
    retry_end_s: float = 0.5
    """Pause before the end of a run that could not be stored is tried again."""
    hint: tasks.Hint = field(factory=tasks.Hint, init=False)
    """Given when a due run may be startable; `claims` waits for it."""
    backlogged: bool = field(default=True, init=False)
    """Due runs may be waiting: whoever frees a place or a thread gives the hint."""
    stopping: bool = field(default=False, init=False)
    counts: counts_.Counts = field(factory=counts_.Counts, init=False)
    in_flight: inflight.InFlight = field(init=False)
    waiting: waiters.Waiters = field(init=False)
    ending: endings.Endings = field(init=False)
    cancelling: cancels.Cancels = field(init=False)
    trial: trials.Trial = field(init=False)
    settling: set[str] = field(factory=set, init=False)
    """Runs of dead workers whose fate is being decided; they are not to be started."""
    _reserved: int = field(default=0, init=False)
    _paused: bool = field(default=False, init=False)
    _requests: tasks.Group = field(factory=lambda: tasks.Group("requests"), init=False)
    """Short work in storage that requests wait for."""
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("run manager"), init=False)

    def __attrs_post_init__(self) -> None:
        storage, numbers, workers = self.storage, self.log, self.workers
        self.in_flight = inflight.InFlight(storage, workers, freed=self._freed, retry_s=self.retry_end_s)
        self.waiting = waiters.Waiters(storage)
        self.trial = trials.Trial(self._tasks, self._waits)
        self.ending = endings.Endings(
            storage,
            numbers,
            workers,
            self.in_flight,
            self.waiting,
            self.counts,
            self._tasks,
            now=self._now,
            on_webhook_due=self._webhook_due,
            retry_s=self.retry_end_s,
        )
        self.cancelling = cancels.Cancels(
            storage,
            numbers,
            workers,
            self.in_flight,
            self.waiting,
            self.ending,
            self._tasks,
            now=self._now,
            freed=self._freed,
            deadline_s=self.cancel_deadline_s,
            job_timeout_s=self.job_timeout_s,
        )
        workers.listener = self
        self.storage.writer.on_settled(self._settled)

    def _now(self) -> int:
        return self.now()

    def _webhook_due(self) -> None:
        self.on_webhook_due()

    @property
    def active(self) -> dict[str, inflight.ActiveRun]:
        return self.in_flight.active

    # admission

    async def create(
        self, request: RunRequest, *, follow: bool = False, begins: Callable[[str], None] = lambda _: None
    ) -> Admission:
        """
        Admit a run; it is stored when this returns, and already on its way if its thread and a worker are
        free.

        `begins` is called with the run's id before anything comes of it.
        Raises `NotFound`, `Conflict`, `Invalid`, and `Unavailable` while the server is stopping.
        """
        return await self._owned(self._create(request, follow, begins), "create a run")

    async def _owned(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """
        Do something to its end, even if the request that wanted it is cancelled meanwhile.

        Else a run started in storage would never be given to a worker, a stored cancel never carried out.
        """
        if self.stopping:
            work.close()
            raise Unavailable("the server is stopping")
        return await asyncio.shield(self._requests.spawn(work, name, awaited=True))

    async def carried(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Do the work of an operation on a thread (see `operations`) to its end. Raises `Unavailable`."""
        return await self._owned(work, name)

    async def _create(self, request: RunRequest, follow: bool, begins: Callable[[str], None]) -> Admission:
        admitted: list[Admission] = []
        with self._creating(1) as (claim, created):

            def stored(run: store.CreatedRun) -> None:
                created.append(run)
                begins(run.run.run_id)
                admitted.append(self._begin(run, follow))

            await self.storage.run_create(request, claim=claim > 0, early=stored)
        return admitted[0]

    @contextlib.contextmanager
    def _creating(self, most: int) -> Iterator[tuple[int, list[store.CreatedRun]]]:
        """
        Promise free places to as many new runs, `most` at most; what they supersede is cancelled at the end.

        Not before the creation is settled, with an error or without: what was stored before it, the start of
        such a run for one, has been seen to by then, and a cancel finds the run where it is.
        """
        created: list[store.CreatedRun] = []
        claim = min(most, max(0, self.places()))
        try:
            with self.reserved(claim):
                yield claim, created
        finally:
            for victim in (victim for each in created if not each.repeated for victim in each.cancelled):
                self.cancelling.carry_out(victim)

    async def create_all(self, requests: Sequence[RunRequest]) -> list[Admission]:
        """Admit all of several runs, or none. Raises what `create` raises."""
        return await self._owned(self._create_all(requests), "create runs")

    async def _create_all(self, requests: Sequence[RunRequest]) -> list[Admission]:
        admitted: list[Admission] = []
        with self._creating(len(requests)) as (claim, created):

            def stored(runs: Sequence[store.CreatedRun]) -> None:
                created.extend(runs)
                admitted.extend(self._begin(each, follow=False) for each in runs)

            await self.storage.runs_create_all(requests, claim=claim, early=stored)
        return admitted

    async def fire(self, firing: Firing) -> store.FiredCron:
        """
        Take one date of a cron and admit its run like any other; all of it is stored when this returns.

        Raises `Unavailable` while the server is stopping.
        """
        return await self._owned(self._fire(firing), f"fire cron {firing.cron_id}")

    async def _fire(self, firing: Firing) -> store.FiredCron:
        with self._creating(1) as (claim, created):

            def stored(fired: store.FiredCron) -> None:
                if fired.created is not None:
                    created.append(fired.created)
                    self._begin(fired.created, follow=False)

            return await self.storage.cron_fire_if_current(firing, claim=claim > 0, early=stored)

    def _begin(self, created: store.CreatedRun, follow: bool) -> Admission:
        """
        See to a new run itself.

        Called when it is committed and may not be synced yet: the run may end before its creation is
        answered, and what is committed happens, also if the disk does not confirm it.
        """
        run = created.run
        if created.repeated:
            work = self.waiting.wait_anyhow(run.thread_id, run.run_id) if follow else None
            again = None if work is None else self._tasks.spawn(work, f"wait for {run.run_id}")
            return Admission(run=run, ended=again, repeated=True)
        ended = self.waiting.follow(run.run_id) if follow else None
        if created.started:
            self.dispatch(run)
            run = attrs.evolve(run, status="pending", attempt=0, started_at=None)  # what was admitted
        else:
            self._waits()
        return Admission(run=run, ended=ended)

    async def queue_place(self, thread_id: str, run_id: str) -> tuple[QueuePlace, str | None, str | None]:
        """
        Tell where a run stands in the queue, why it waits, and where its worker is blocked. Raises
        `NotFound`.

        The reason is "delayed", "thread_busy", "trial" (another run is tried alone), "suspect" (it runs
        alone, and others do), "no_worker" (none is ready), "worker_blocked" (there are no places because the
        event loop of a worker does not turn, or the run is in such a worker), "concurrency_limit" (all places
        are taken), or None: it is about to start, or does not wait.
        """
        place = await self.storage.run_queue_place(thread_id, run_id)
        if place is None:
            raise NotFound("Not Found")
        reason = self._why_waiting(run_id, place)
        blocked_at = self._blocked_place(run_id, reason)
        return place, reason if blocked_at is None else "worker_blocked", blocked_at

    def _why_waiting(self, run_id: str, place: QueuePlace) -> str | None:
        if place.position is None:
            return None
        if place.due_at > self.now():
            return "delayed"
        if place.holder is not None:
            return "thread_busy"
        if self.trial.run_id not in (None, run_id):
            return "trial"
        if place.suspect:
            return "suspect" if self.workers.free_quarantines() <= 0 else None
        if self.places() <= 0 and self.workers.blocked() is not None:
            return "worker_blocked"
        if not self.workers.ready():
            return "no_worker"
        return "concurrency_limit" if self.places() <= 0 else None

    def _blocked_place(self, run_id: str, reason: str | None) -> str | None:
        """Return where the worker is blocked that a run waits for or is in, if it is."""
        active = self.active.get(run_id)
        source = self.workers.blocked() if reason == "worker_blocked" else active.source if active else None
        if source is None or source.blocked_since is None:
            return None
        return source.place or "?"

    def places(self) -> int:
        """Free places for ordinary runs that are not promised to anybody."""
        waiting = self.stopping or self.trial.run_id is not None
        return 0 if waiting else self.workers.free() - self._reserved

    @contextlib.contextmanager
    def reserved(self, places: int) -> Iterator[None]:
        """Promise free places to runs that are being started in storage."""
        self._reserved += places
        try:
            yield
        finally:
            self._reserved -= places

    def _waits(self) -> None:
        """A run waits in the table."""
        self.backlogged = True
        self.hint.give()

    def _freed(self) -> None:
        """A place or a thread is free; when nothing waits, the table need not be looked at."""
        if self.backlogged:
            self.hint.give()

    def thread_freed(self) -> None:
        """An operation has left its thread: a run may have waited for that."""
        self._freed()

    async def wait(self, thread_id: str, run_id: str) -> waiters.Ended:
        """Wait for the end of a run, or tell at once how it ended. Raises `NotFound`."""
        return await self.waiting.wait(thread_id, run_id)

    def following(
        self, thread_id: str, run_id: str
    ) -> contextlib.AbstractAsyncContextManager[asyncio.Future[waiters.Ended]]:
        """Provide a future of the end of a run, which is not missed from then on. Raises `NotFound`."""
        return self.waiting.following(thread_id, run_id)

    async def over(self, thread_id: str, run_id: str) -> waiters.Ended:
        """Wait until a run has ended, or is not there, and nothing of it executes any more."""
        # Of a run that was rolled back or deleted something may execute all the same.
        ended = await self.waiting.wait_anyhow(thread_id, run_id)
        active = self.active.get(run_id)
        if active is not None and active.run.thread_id == thread_id:
            await active.done.wait()
        return ended

    # starting

    def dispatch(self, run: Run) -> None:
        """Give a run that storage has started to a worker."""
        active = self.in_flight.start(run)
        self.trial.begin(active)
        if run.suspect:
            self._tasks.spawn(self._dispatch_alone(active), f"dispatch {run.run_id}")
        else:
            self._send(active, self.workers.take())

    async def _dispatch_alone(self, active: inflight.ActiveRun) -> None:
        """Give a suspect run to a worker of its own, which is started for it."""
        log.warning(
            "run %s runs alone: it has blocked its worker before"
            if active.run.blocked
            else "run %s runs alone: a process died at it before",
            active.run.run_id,
            extra=endings.fields(active.run),
        )
        self._send(active, await self.workers.take_quarantine(active.run.run_id))

    def _send(self, active: inflight.ActiveRun, source: worker.Worker | None) -> None:
        run = active.run
        if source is None or not source.loaded or self.stopping:
            if source is not None:
                self.workers.release(source, run.run_id)
            self._tasks.spawn(self._requeue(active, died=False), f"requeue {run.run_id}")
            return
        active.source = source
        if active.ended:  # deleted meanwhile
            self.in_flight.finish(active)
            return
        source.start_run(run.run_id, run.attempt, _order(run))
        self.counts.start(run)
        # Told here and not by the worker: the first that clients see need not wait for its turn.
        start = self.log.items(run.thread_id, run.run_id, _start(run))
        self.log.append(start, lambda: None, lambda _: None, active.chain)
        self.cancelling.watch_time(active)
        if active.merging:
            source.merge_run(run.run_id, run.attempt)
        if active.cancelling:
            self.cancelling.stop_active(active)

    # what workers report (supervisor.Listener)

    def worker_ready(self) -> None:
        """There may be a free place."""
        self._freed()

    def worker_frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        """Store what a run has produced; frames of runs that this worker does not have are dropped."""
        kind, run_id, attempt, n = frame[:4]
        active = self.active.get(run_id)
        if active is None or active.source is not source or active.run.attempt != attempt or active.ended:
            if kind != "ended":
                source.refuse(run_id, attempt, n, "the run is not executed by this worker any more")
            elif active is not None and active.source is source and active.run.attempt == attempt:
                self.in_flight.left(active)
            return

        def stored(error: BaseException | None = None) -> None:
            if error is None:
                source.ack(run_id, attempt, n)
            else:  # the run fails at its next saver call, rather than wait for ever
                source.refuse(run_id, attempt, n, str(error))

        match frame:
            case ["events", _, _, _, count, packed, *more]:
                parts, blobs = more or ((), ())
                states = [Parts(*each) for each in parts]
                draft = self.log.draft(active.run.thread_id, run_id, count, packed, states, blobs)
                self.log.append(draft, stored, stored, active.chain)
            case ["parts", _, _, _, blobs]:
                self.storage.parts_store_if_running(
                    active.run.thread_id, run_id, blobs, size, lambda _: stored(), stored
                )
            case ["checkpoint", _, _, _, ["merge", merged, *_] as operation]:
                done = partial(self._merged, merged, stored)
                self.storage.checkpoint_apply(operation, run_id, size, done, active.chain)
            case ["checkpoint", _, _, _, operation]:
                self.storage.checkpoint_apply(operation, run_id, size, stored, active.chain)
            case ["ended", _, _, _, outcome]:
                active.ended = True
                self._ended(active, outcome)
        if not self._paused and self.storage.writer.backlog > BACKLOG_HIGH:
            self._paused = True
            self.workers.pause(True)

    def _merged(
        self, run_id: str, stored: Callable[[BaseException | None], None], error: BaseException | None
    ) -> None:
        """A run has taken the input of one that waited, or it could not be stored."""
        if error is None:
            self._tasks.spawn(self.cancelling.merged(run_id), f"end {run_id}")
        stored(error)

    def _settled(self) -> None:
        self.workers.flush_acks()
        if self._paused and self.storage.writer.backlog < BACKLOG_LOW:
            self._paused = False
            self.workers.pause(False)

    def worker_withdrew(self, source: worker.Worker, run_id: str, attempt: int) -> None:
        """Requeue a run that its blocked worker has not begun."""
        active = self.active.get(run_id)
        if active is None or active.source is not source or active.run.attempt != attempt:
            return
        if active.ended:
            self.in_flight.left(active)
        else:
            active.ended = True
            self._tasks.spawn(self._requeue(active, died=False), f"requeue {run_id}")

    def worker_gone(self, source: worker.Worker, runs: dict[str, int], alone: bool) -> None:
        """Requeue the runs of a dead worker, or end those that are to be."""
        for run_id in runs:
            active = self.active.get(run_id)
            if active is None or active.source is not source:
                continue
            if active.ended:
                self.in_flight.left(active)
            else:
                active.ended = True
                self._tasks.spawn(
                    self._after_death(active, source.blames_runs, alone), f"after the death of {source.name}"
                )

    async def _after_death(self, active: inflight.ActiveRun, died: bool, alone: bool) -> None:
        run_id = active.run.run_id
        self.settling.add(run_id)  # before it is pending: the last death is not followed by another start
        try:
            blocked = active.source is not None and run_id in active.source.blockers
            requeued = await self._requeue(active, died=died, blocked=blocked)
            if requeued is not None and died and alone and requeued.strikes >= self.max_retries:
                await self._put_aside(requeued, active.source.how_ended if active.source is not None else "")
        finally:
            self.settling.discard(run_id)
            self._waits()

    async def _put_aside(self, run: Run, how: str) -> None:
        """End a run at which its process has died too often, the last time as `how` says."""
        if run.cancel_action is not None:
            return  # it has been ended already
        message = (
            f"The process that executed the run died {run.strikes} times without progress (the last time: {how}); "
            "the run was put aside"
        )
        log.error("run %s is put aside: %s", run.run_id, message, extra=endings.fields(run))
        error = {"error": "WorkerDied", "message": message}
        await self.ending.end_without_worker(run, RunOutcome(status="error", error=error))

    async def _requeue(self, active: inflight.ActiveRun, *, died: bool, blocked: bool = False) -> Run | None:
        """Make the run pending again, unless it was cancelled meanwhile: then it is ended."""
        run = active.run
        requeued = await tasks.until_done(
            lambda: self.storage.run_requeue_if_running(
                run.run_id, run.attempt, died=died, now=self.now(), blocked=blocked
            ),
            f"run {run.run_id} could not be made pending",
            self.retry_end_s,
        )
        self.in_flight.finish(active)
        if requeued is not None and requeued.cancel_action is not None:
            await self.ending.end_without_worker(requeued)
        else:
            self._waits()
        return requeued

    def _ended(self, active: inflight.ActiveRun, outcome: dict[str, Any]) -> None:
        """A run's last frame: end it, or requeue it if it was handed back."""
        run = active.run
        cut_at_a_stop = outcome["outcome"] == "cancelled" and run.cancel_action is None
        if outcome["outcome"] == "drained" or cut_at_a_stop:
            self._tasks.spawn(self._requeue(active, died=False), f"requeue {run.run_id}")
        else:
            self.ending.end(active, outcome)

    # ending them early

    async def cancel(
        self,
        thread_id: str,
        run_id: str,
        action: CancelAction,
        *,
        why: dict[str, str] | None = None,
        reason: CancelReason | None = None,
    ) -> Run:
        """
        Store the wish to end a run and carry it out; nothing of it executes when `over` returns. Raises
        `NotFound`.

        `why` is what the run's `cancel_reason` is made of (default: the request's sentence, with `reason`
        before it).
        """
        work = self.cancelling.cancel(thread_id, run_id, action, why, reason)
        return await self._owned(work, f"cancel {run_id}")

    async def merge(self, thread_id: str, *, into_running: bool = False) -> store.Merged:
        """
        Merge a thread's waiting runs into the oldest of them, and that into the run that executes if it is to
        be.

        Raises `NotFound`, `Conflict`, `Unavailable`.
        """
        work = self.cancelling.merge(thread_id, into_running=into_running)
        return await self._owned(work, f"merge the runs of {thread_id}")

    async def delete_run(self, thread_id: str, run_id: str) -> None:
        """Remove a run's record; if it executes, it is stopped. Raises `NotFound`."""
        await self._owned(self.cancelling.delete_run(thread_id, run_id), f"delete run {run_id}")

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with all its runs; those that execute are stopped. Raises `NotFound`."""
        await self._owned(self.cancelling.delete_thread(thread_id), f"delete thread {thread_id}")

    async def delete_thread_if_expired(self, expired: store.Expired) -> bool:
        """Delete a thread whose time is over, unless somebody works on it; tell whether."""
        work = self.cancelling.delete_thread_if_expired(expired)
        return await self._owned(work, f"delete thread {expired.thread_id}")

    # stopping

    async def stop(self, drain_s: float) -> None:
        """
        Admit nothing more and have every run handed back; returns when none executes. May be called twice.
        """
        self.stopping = True
        self.hint.give()
        self.workers.drain("shutdown")
        await self._requests.join()  # what they have started in storage is requeued, not left behind
        if not await self.in_flight.empty(drain_s):
            self.workers.cut()
            if not await self.in_flight.empty(self.cancel_deadline_s):
                log.error("%d runs did not stop in time; their workers are killed", len(self.active))
        await self._requests.stop()
        await self._tasks.stop()


def _start(run: Run) -> list[Item]:
    """Return the events of a run's start, those of both protocols."""
    data = wire.dumps({"run_id": run.run_id, "attempt": run.attempt})
    begun = v2.start_items(run.graph_id, run.attempt, list(run.answers or ()))
    return [("metadata", "", event.V1 | event.THREAD, data), *begun]


def _order(run: Run) -> dict[str, Any]:
    """Return what the worker gets of a run (`channel.orders.RunOrder` as a map)."""
    large = ("input", "command")
    stored = any(wire.has_raw(run.kwargs.get(name)) for name in large) or wire.has_raw(run.answers)
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "graph_id": run.graph_id,
        "attempt": run.attempt,
        "kwargs": run.kwargs | dict.fromkeys(large) if stored else run.kwargs,
        "metadata": run.metadata,
        "answers": None if stored else run.answers,
        "stored": stored,
        "executed_s": run.executed_us / 1e6,
        "context_given": bool(run.kwargs["config"]["configurable"].get(CONTEXT_GIVEN)),
    }
