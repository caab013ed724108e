"""The run manager: admits runs, gives them to workers, stores what comes back, ends them. See the package."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
from attrs import define, field, frozen

from gatewayd import tasks, wire
from gatewayd.errors import GatewaydError, NotFound, Unavailable
from gatewayd.model import event
from gatewayd.model.cron import Firing
from gatewayd.model.event import Chunk, Item
from gatewayd.model.run import CancelAction, QueuePlace, Run, RunOutcome, RunRequest
from gatewayd.runs import flight
from gatewayd.storage import store
from gatewayd.streams import log as stream_log
from gatewayd.workers import supervisor, worker

log = logging.getLogger(__name__)

T = TypeVar("T")

BACKLOG_HIGH = 32 << 20
"""Bytes waiting for the writer above which workers' data is not read."""
BACKLOG_LOW = 16 << 20

NO_RUNS = "No runs found to cancel."
NO_MATCH = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, and the runs haven't been "
    "deleted or completed."
)
TIMEOUT = {"error": "TimeoutError", "message": ""}
REQUESTED = "requested via POST /threads/{thread_id}/runs/{run_id}/cancel"


@frozen(kw_only=True)
class Ended:
    """How a run ended, for whoever waits for it."""

    status: str
    """A run's final status, or "deleted"."""
    result: bytes | None
    error: dict[str, str] | None


DELETED = Ended(status="deleted", result=None, error=None)
"""The end of a run whose row is gone."""


@frozen(kw_only=True)
class Admission:
    """An admitted run, and with `follow` the future of its end."""

    run: Run
    ended: asyncio.Future[Ended] | None
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
    on_owed: Callable[[], None] = lambda: None
    """Called when the end of a run has been stored that is to be told to a webhook."""
    retry_end_s: float = 0.5
    """Pause before the end of a run that could not be stored is tried again."""
    hint: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when a due run may be startable; `claims` waits for it."""
    backlogged: bool = field(default=True, init=False)
    """Due runs may be waiting: whoever frees a place or a thread gives the hint."""
    stopping: bool = field(default=False, init=False)
    flights: dict[str, flight.Flight] = field(factory=dict, init=False)
    _waiting: defaultdict[str, list[asyncio.Future[Ended]]] = field(
        factory=lambda: defaultdict(list), init=False
    )
    settling: set[str] = field(factory=set, init=False)
    """Runs of dead workers whose fate is being decided; they are not to be started."""
    _ending: dict[str, Run] = field(factory=dict, init=False)
    """Runs without a worker that are being ended, as their latest cancel has left them."""
    _reserved: int = field(default=0, init=False)
    _paused: bool = field(default=False, init=False)
    _requests: tasks.Group = field(factory=lambda: tasks.Group("requests"), init=False)
    """Short work in storage that requests wait for."""
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("run manager"), init=False)

    def __attrs_post_init__(self) -> None:
        self.workers.listener = self
        self.storage.writer.on_settled(self._settled)

    # admission

    async def create(self, request: RunRequest, *, follow: bool = False) -> Admission:
        """
        Admit a run; it is stored when this returns, and already on its way if its thread and a worker are free.

        Raises `NotFound`, `Conflict`, `Invalid`, and `Unavailable` while the server is stopping.
        """
        return await self._owned(self._create(request, follow), "create a run")

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

    async def _create(self, request: RunRequest, follow: bool) -> Admission:
        claim = self.places() > 0
        with self.reserved(int(claim)):
            created = await self.storage.run_create(request, claim=claim)
        return self._admitted(created, follow)

    async def create_all(self, requests: Sequence[RunRequest]) -> list[Admission]:
        """Admit all of several runs, or none. Raises what `create` raises."""
        return await self._owned(self._create_all(requests), "create runs")

    async def _create_all(self, requests: Sequence[RunRequest]) -> list[Admission]:
        claim = min(len(requests), max(0, self.places()))
        with self.reserved(claim):
            created = await self.storage.runs_create_all(requests, claim=claim)
        return [self._admitted(each, follow=False) for each in created]

    async def fire(self, firing: Firing) -> store.Fired:
        """
        Take one date of a cron and admit its run like any other; all of it is stored when this returns.

        Raises `Unavailable` while the server is stopping.
        """
        return await self._owned(self._fire(firing), f"fire cron {firing.cron_id}")

    async def _fire(self, firing: Firing) -> store.Fired:
        claim = self.places() > 0
        with self.reserved(int(claim)):
            fired = await self.storage.cron_fire_if_current(firing, claim=claim)
        if fired.created is not None:
            self._admitted(fired.created, follow=False)
        return fired

    def _admitted(self, created: store.Created, follow: bool) -> Admission:
        """See to what the creation of a run in storage asks for."""
        run = created.run
        if created.repeated:
            again = self._tasks.spawn(self._ended_anyhow(run), f"wait for {run.run_id}") if follow else None
            return Admission(run=run, ended=again, repeated=True)
        ended = self._follow(run.run_id) if follow else None
        for victim in created.cancelled:
            self._end_cancelled(victim)
        if created.started:
            self.dispatch(run, fresh=True)
            run = attrs.evolve(run, status="pending", attempt=0, started_at=None)  # what was admitted
        else:
            self._waits()
        return Admission(run=run, ended=ended)

    async def queue_place(self, thread_id: str, run_id: str) -> tuple[QueuePlace, str | None]:
        """
        Tell where a run stands in the queue, and why it waits. Raises `NotFound`.

        The reason is "delayed", "thread_busy", "suspect" (it runs alone, and others do), "no_worker" (none is ready),
        "concurrency_limit" (all places are taken), or None: it is about to start, or does not wait.
        """
        place = await self.storage.run_queue_place(thread_id, run_id)
        if place is None:
            raise NotFound("Not Found")
        return place, self._why_waiting(place)

    def _why_waiting(self, place: QueuePlace) -> str | None:
        if place.position is None:
            return None
        if place.due_at > self.now():
            return "delayed"
        if place.holder is not None:
            return "thread_busy"
        if place.suspect:
            return "suspect" if self.workers.free_quarantines() <= 0 else None
        if not self.workers.ready():
            return "no_worker"
        return "concurrency_limit" if self.places() <= 0 else None

    def places(self) -> int:
        """Free places for ordinary runs that are not promised to anybody."""
        return 0 if self.stopping else self.workers.free() - self._reserved

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
        self.hint.set()

    def _freed(self) -> None:
        """A place or a thread is free; when nothing waits, the table need not be looked at."""
        if self.backlogged:
            self.hint.set()

    def thread_freed(self) -> None:
        """An operation has left its thread: a run may have waited for that."""
        self._freed()

    def _follow(self, run_id: str) -> asyncio.Future[Ended]:
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting[run_id].append(future)
        return future

    async def wait(self, thread_id: str, run_id: str) -> Ended:
        """Wait for the end of a run, or tell at once how it ended. Raises `NotFound`."""
        future = self._follow(run_id)
        try:
            run = await self.storage.run_get(thread_id, run_id)
            if run is None:
                raise NotFound("Run not found")
            if not run.active:
                return Ended(status=run.status, result=run.result, error=run.error)
            return await future
        finally:
            self._unfollow(run_id, future)

    async def _ended_anyhow(self, run: Run) -> Ended:
        try:
            return await self.wait(run.thread_id, run.run_id)
        except NotFound:
            return DELETED

    async def over(self, thread_id: str, run_id: str) -> Ended:
        """Wait until a run has ended, or is not there, and nothing of it executes any more."""
        try:
            ended = await self.wait(thread_id, run_id)
        except NotFound:  # of a run that was rolled back or deleted something may execute all the same
            ended = DELETED
        here = self.flights.get(run_id)
        if here is not None and here.run.thread_id == thread_id:
            await here.landed.wait()
        return ended

    def _unfollow(self, run_id: str, future: asyncio.Future[Ended]) -> None:
        if (waiting := self._waiting.get(run_id)) is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[run_id]

    def _tell(self, run_id: str, ended: Ended) -> None:
        for future in self._waiting.pop(run_id, ()):
            if not future.done():
                future.set_result(ended)

    # starting

    def dispatch(self, run: Run, *, fresh: bool = False) -> None:
        """Give a run that storage has started to a worker; `fresh`: it was created in the same moment."""
        here = self.flights[run.run_id] = flight.Flight(run)
        suspect = run.strikes > 0 or run.suspicions > 1
        # Where the log stood when an older run was created says nothing: others have written since.
        if not suspect and self.log.open_now(run.thread_id, empty=fresh and run.log_from == 0):
            self._send(here, self.workers.take())
        else:
            self._reserved += not suspect
            self._tasks.spawn(self._dispatch_slowly(here, suspect), f"dispatch {run.run_id}")

    async def _dispatch_slowly(self, here: flight.Flight, suspect: bool) -> None:
        try:
            await self.log.open(here.run.thread_id)
        finally:
            self._reserved -= not suspect
        if suspect:
            log.warning(
                "run %s runs alone: a process died at it before", here.run.run_id, extra=_fields(here.run)
            )
            self._send(here, await self.workers.take_quarantine(here.run.run_id))
        else:
            self._send(here, self.workers.take())

    def _send(self, here: flight.Flight, source: worker.Worker | None) -> None:
        run = here.run
        if source is None or source.state != "ready" or self.stopping:
            if source is not None:
                self.workers.release(source, run.run_id)
            self._tasks.spawn(self._park(here, died=False), f"park {run.run_id}")
            return
        here.source = source
        if here.ended:  # deleted meanwhile
            self._land(here)
            return
        source.start_run(run.run_id, run.attempt, _order(run))
        if self.job_timeout_s:
            left_s = max(0.0, self.job_timeout_s - run.executed_us / 1e6) + self.cancel_deadline_s
            here.overtime = asyncio.get_running_loop().call_later(left_s, self._overtime, here)
        if here.cancelling:
            self._cancel_flight(here)

    # what workers report (supervisor.Listener)

    def worker_ready(self) -> None:
        """There may be a free place."""
        self._freed()

    def worker_frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        """Store what a run has produced; frames of runs that this worker does not have are dropped."""
        kind, run_id, attempt, n = frame[:4]
        here = self.flights.get(run_id)
        if here is None or here.source is not source or here.run.attempt != attempt or here.ended:
            if kind != "ended":
                source.refuse(run_id, attempt, n, "the run is not executed by this worker any more")
            elif here is not None and here.source is source and here.run.attempt == attempt:
                self._left(here)
            return

        def stored(error: BaseException | None = None) -> None:
            if error is None:
                source.ack(run_id, attempt, n)
            else:  # the run fails at its next saver call, rather than wait for ever
                source.refuse(run_id, attempt, n, str(error))

        match frame:
            case ["events", _, _, _, count, packed]:
                chunk = self.log.number(here.run.thread_id, run_id, count, packed)
                self.log.append(chunk, stored, stored)
            case ["checkpoint", _, _, _, operation]:
                self.storage.checkpoint_apply(operation, run_id, size, stored)
            case ["ended", _, _, _, outcome]:
                here.ended = True
                self._ended(here, outcome)
        if not self._paused and self.storage.writer.backlog > BACKLOG_HIGH:
            self._paused = True
            self.workers.pause(True)

    def _settled(self) -> None:
        self.workers.flush_acks()
        if self._paused and self.storage.writer.backlog < BACKLOG_LOW:
            self._paused = False
            self.workers.pause(False)

    def worker_gone(self, source: worker.Worker, runs: dict[str, int], alone: bool) -> None:
        """Park the runs of a dead worker, or end those that are to be."""
        for run_id in runs:
            here = self.flights.get(run_id)
            if here is None or here.source is not source:
                continue
            if here.ended:
                self._left(here)
            else:
                here.ended = True
                died = not source.condemned
                self._tasks.spawn(self._after_death(here, died, alone), f"after the death of {source.name}")

    async def _after_death(self, here: flight.Flight, died: bool, alone: bool) -> None:
        run_id = here.run.run_id
        self.settling.add(run_id)  # before it is pending: the last death is not followed by another start
        try:
            parked = await self._park(here, died=died)
            if parked is not None and died and alone and parked.strikes >= self.max_retries:
                await self._put_aside(parked, here.source.how_ended if here.source is not None else "")
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
        log.error("run %s is put aside: %s", run.run_id, message, extra=_fields(run))
        error = {"error": "WorkerDied", "message": message}
        await self.end_without_worker(run, RunOutcome(status="error", error=error))

    async def _park(self, here: flight.Flight, *, died: bool) -> Run | None:
        """Make the run pending again, unless it was cancelled meanwhile: then it is ended."""
        run = here.run
        parked = await self._surely(
            lambda: self.storage.run_park_if_running(run.run_id, run.attempt, died=died, now=self.now()),
            f"run {run.run_id} could not be made pending",
        )
        self._land(here)
        if parked is not None and parked.cancel_action is not None:
            await self.end_without_worker(parked)
        else:
            self._waits()
        return parked

    async def _surely(self, write: Callable[[], Awaitable[T]], what: str) -> T:
        """
        Do what nobody would do again, however often storage fails: until it is done, or the server stops.

        Else a run would stay in the air for ever, with its place and its thread, because the disk was full for once.
        """
        while True:
            try:
                return await write()
            except Exception as error:
                log.error("%s, trying again: %s", what, error)
                await asyncio.sleep(self.retry_end_s)

    # ending

    def _ended(self, here: flight.Flight, outcome: dict[str, Any]) -> None:
        """A run's last frame: end it, or park it if it was handed back."""
        run = here.run
        match outcome["outcome"]:
            case "drained":
                self._tasks.spawn(self._park(here, died=False), f"park {run.run_id}")
            case _ if run.cancel_action == "rollback":
                self._tasks.spawn(self._rollback(here), f"roll back {run.run_id}")
            case "cancelled" if run.cancel_action is None:  # cut at a stop
                self._tasks.spawn(self._park(here, died=False), f"park {run.run_id}")
            case "cancelled":
                self._finish(run, _outcome(outcome, "interrupted", thread_error=run.cancel_error), here)
            case status:
                self._finish(run, _outcome(outcome, status), here)

    def _finish(
        self, run: Run, outcome: RunOutcome, here: flight.Flight | None, items: list[Item] | None = None
    ) -> None:
        """Post the end of a run to the writer; `items` are events that come before its last one."""
        data = wire.dumps({"status": "run_done", "run_id": run.run_id})
        last: Item = (event.END, "", event.THREAD, data)
        attempt = run.attempt if here is not None else 0

        def done(chunk: Chunk, stored: bool) -> None:
            if not stored:
                self._tasks.spawn(self._refused(run, outcome, here), f"look what became of {run.run_id}")
                return
            self.log.hub.publish(chunk)
            status = "deleted" if outcome.rollback else outcome.status
            self._tell(run.run_id, Ended(status=status, result=outcome.result, error=outcome.error))
            log.info("run %s ended: %s", run.run_id, outcome.status, extra=_fields(run))
            if run.kwargs.get("webhook"):
                self.on_owed()
            self._over(run, here)

        def failed(error: BaseException) -> None:
            log.error("the end of run %s could not be stored, trying again: %s", run.run_id, error)
            asyncio.get_running_loop().call_later(self.retry_end_s, post)

        def post() -> None:
            # Numbered at every try: what others have written on the thread meanwhile has been published.
            chunk = self.log.chunk(run.thread_id, run.run_id, [*(items or ()), last])
            try:
                self.storage.run_finish_if_active(
                    run.run_id, attempt, outcome, chunk, self.now(), partial(done, chunk), failed
                )
            except Unavailable:
                log.warning(
                    "run %s ends at the next start: storage is closed", run.run_id, extra=_fields(run)
                )

        post()

    async def _refused(self, run: Run, outcome: RunOutcome, here: flight.Flight | None) -> None:
        """A run's end was not taken: it has ended already or was deleted, or a rollback had been stored before."""
        latest = await self._surely(
            lambda: self.storage.run_get_anywhere(run.run_id),
            f"what became of run {run.run_id} could not be read",
        )
        if latest is None or not latest.active or (here is not None and latest.attempt != run.attempt):
            self._over(run, here)
            return
        undone = await self._undone(latest)
        self._finish(latest, attrs.evolve(undone, fenced=outcome.fenced), here)

    def _over(self, run: Run, here: flight.Flight | None) -> None:
        """The end of a run is stored."""
        if here is None:
            self.log.close(run.thread_id)
        else:
            here.recorded = True
            if here.gone or not here.fenced:
                self._land(here)
        self._freed()

    def _left(self, here: flight.Flight) -> None:
        """Nothing more of a run executes that was deleted or fenced off."""
        here.gone = True
        if here.vanished or (here.fenced and here.recorded):
            self._land(here)

    def _land(self, here: flight.Flight) -> None:
        """The flight is over: free its place."""
        run_id = here.run.run_id
        here.ended = True
        for timer in (here.deadline, here.overtime):
            if timer is not None:
                timer.cancel()
        if self.flights.get(run_id) is here:
            del self.flights[run_id]
            self.log.close(here.run.thread_id)
        if here.source is not None:
            self.workers.release(here.source, run_id)
        if here.vanished or here.fenced:
            self._release_slot(here.run)
        here.landed.set()

    def _release_slot(self, run: Run) -> None:
        """Free the slot that was kept because something of the run still executed."""

        def failed(error: BaseException) -> None:
            log.error("the slot of run %s could not be freed, trying again: %s", run.run_id, error)
            asyncio.get_running_loop().call_later(self.retry_end_s, self._release_slot, run)

        with contextlib.suppress(Unavailable):  # storage is closed: the next start frees it
            self.storage.slot_release(run.thread_id, run.run_id, lambda _: self._freed(), failed)

    async def _rollback(self, here: flight.Flight) -> None:
        """Undo a run that was cancelled for rollback and executes no more."""
        outcome = await self._undone(here.run)
        self._finish(here.run, outcome, here)

    async def _undone(self, run: Run) -> RunOutcome:
        await self._surely(
            lambda: self.storage.run_checkpoints_delete(run.run_id), f"run {run.run_id} could not be undone"
        )
        projection = await self._projection(run)
        return attrs.evolve(projection, status="interrupted", rollback=True, thread_error=run.cancel_error)

    async def _projection(self, run: Run) -> RunOutcome:
        """Have the service worker compute the thread's state; if it can't, the old values stay."""
        try:
            state = await self.workers.call("project", {"thread_id": run.thread_id, "graph_id": run.graph_id})
        except GatewaydError as error:
            log.warning("the state of thread %s could not be computed: %s", run.thread_id, error.detail)
            return RunOutcome(status="interrupted")
        return _outcome(state, "interrupted")

    async def end_without_worker(self, run: Run, outcome: RunOutcome | None = None) -> None:
        """
        End a pending run that no worker has: cancelled, or put aside with `outcome`.

        One that had never started leaves its thread as it was. Of several calls for a run the strongest cancel counts.
        """
        earlier = self._ending.get(run.run_id)
        self._ending[run.run_id] = run
        if earlier is not None:
            return  # the call under way takes the newer word
        try:
            await self.log.open(run.thread_id)
            final, items = await self._unattended(run, outcome)
            if (latest := self._ending[run.run_id]).cancel_action != run.cancel_action:
                final, items = await self._unattended(latest, outcome)
        finally:
            del self._ending[run.run_id]
        self._finish(run, final, None, items)

    async def _unattended(self, run: Run, outcome: RunOutcome | None) -> tuple[RunOutcome, list[Item]]:
        """Return how a run ends that no worker has, and the events that come before its last one."""
        items: list[Item] = []
        if run.attempt == 0:
            final = RunOutcome(status="interrupted", quiet=True, rollback=run.cancel_action == "rollback")
        elif outcome is not None:
            projection = await self._projection(run)
            final = attrs.evolve(projection, status=outcome.status, error=outcome.error)
            items.append(("error", "", event.V1 | event.THREAD, wire.dumps(outcome.error)))
        else:
            final = await self._cancelled(run)
            if final.error is not None:
                items.append(("error", "", event.V1 | event.THREAD, wire.dumps(final.error)))
        return final, items

    async def _cancelled(self, run: Run) -> RunOutcome:
        """Return how a cancelled run ends whose worker does not say it."""
        if run.cancel_action == "rollback":
            return await self._undone(run)
        projection = await self._projection(run)
        if run.cancel_action == "error":
            return attrs.evolve(projection, status="error", error=run.cancel_error)
        return attrs.evolve(projection, status="interrupted", thread_error=run.cancel_error)

    # cancelling

    async def cancel(
        self, thread_id: str, run_id: str, action: CancelAction, *, why: dict[str, str] | None = None
    ) -> Run:
        """
        Store the wish to end a run and carry it out; nothing of it executes when `over` returns. Raises `NotFound`.

        `why` is what the thread's error will say (default: the request's sentence).
        """
        return await self._owned(self._cancel(thread_id, run_id, action, why), f"cancel {run_id}")

    async def _cancel(
        self, thread_id: str, run_id: str, action: CancelAction, why: dict[str, str] | None
    ) -> Run:
        found = await self.storage.run_get(thread_id, run_id)
        if found is None:
            raise NotFound(NO_RUNS)
        kind = "UserInterrupt" if action == "interrupt" else "UserRollback"
        error = why or {"error": kind, "message": f"{action} {REQUESTED}"}
        marked = await self.storage.run_cancel_if_active(run_id, action, error, self.now())
        if marked is None:
            raise NotFound(NO_MATCH)
        self._end_cancelled(marked)
        return marked

    def _end_cancelled(self, run: Run) -> None:
        """Carry out a stored cancel."""
        here = self.flights.get(run.run_id)
        if here is not None:
            here.run = attrs.evolve(here.run, cancel_action=run.cancel_action, cancel_error=run.cancel_error)
            if here.source is not None and not here.ended:
                self._cancel_flight(here)
        elif run.status == "pending":
            self._tasks.spawn(self.end_without_worker(run), f"end {run.run_id}")

    def _cancel_flight(self, here: flight.Flight) -> None:
        assert here.source is not None
        here.source.cancel_run(here.run.run_id, here.run.attempt)
        if here.deadline is None:
            loop = asyncio.get_running_loop()
            here.deadline = loop.call_later(self.cancel_deadline_s, self._overdue, here)

    def _overdue(self, here: flight.Flight) -> None:
        """A cancel was not obeyed in time."""
        self._give_up(here, f"did not obey its cancel within {self.cancel_deadline_s:g} s")

    def _overtime(self, here: flight.Flight) -> None:
        """The job timeout has passed and the worker has not ended the run by it: it does not turn."""
        self._give_up(here, f"did not end at its timeout of {self.job_timeout_s:g} s")

    def _give_up(self, here: flight.Flight, why: str) -> None:
        """Fence a run off, and have its worker end."""
        source = here.source
        if source is None or here.landed.is_set() or (here.ended and not here.vanished):
            return
        log.error(
            "run %s %s: it is fenced off, and its worker %s is given up",
            here.run.run_id,
            why,
            source.name,
            extra=_fields(here.run),
        )
        if not here.vanished:
            self._fence(here)
        lost = {
            run_id
            for run_id, each in self.flights.items()
            if each.source is source and (each.fenced or each.vanished)
        }
        self.workers.retire(source, f"run {here.run.run_id} {why}", besides=lost)

    def _fence(self, here: flight.Flight) -> None:
        """Record a run as ended although something of it still executes; its frames are refused from now on."""
        here.ended = here.fenced = True
        here.recorded = False
        self._tasks.spawn(self._record_fenced(here), f"fence off {here.run.run_id}")

    async def _record_fenced(self, here: flight.Flight) -> None:
        if here.cancelling:
            outcome = await self._cancelled(here.run)
        else:
            projection = await self._projection(here.run)
            outcome = attrs.evolve(projection, status="timeout", error=TIMEOUT)
        self._finish(here.run, attrs.evolve(outcome, fenced=True), here)

    async def delete_run(self, thread_id: str, run_id: str) -> None:
        """Remove a run's record; if it executes, it is stopped. Raises `NotFound`."""
        await self._owned(self._delete_run(thread_id, run_id), f"delete run {run_id}")

    async def _delete_run(self, thread_id: str, run_id: str) -> None:
        run = await self.storage.run_delete(thread_id, run_id, self.now())
        if run is None:
            raise NotFound("Run not found")
        self._vanished(run.thread_id, [run.run_id])

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with all its runs; those that execute are stopped. Raises `NotFound`."""
        await self._owned(self._delete_thread(thread_id), f"delete thread {thread_id}")

    async def _delete_thread(self, thread_id: str) -> None:
        self._vanished(thread_id, await self.storage.thread_delete(thread_id, self.now()))
        self.log.forget(thread_id)
        self.log.hub.forget(thread_id)

    def _vanished(self, thread_id: str, run_ids: list[str]) -> None:
        for run_id in run_ids:
            if (here := self.flights.get(run_id)) is not None:
                here.vanished = True
                if not here.ended:
                    here.ended = True
                    if here.source is not None:
                        self._cancel_flight(here)  # its place is free when nothing of it executes any more
            self._tell(run_id, DELETED)
        self.log.hub.nudge(thread_id)
        self._freed()

    # stopping

    async def stop(self, drain_s: float) -> None:
        """Admit nothing more and have every run handed back; returns when none executes. May be called twice."""
        self.stopping = True
        self.hint.set()
        self.workers.drain("shutdown")
        await self._requests.join()  # what they have started in storage is parked, not left behind
        if not await self._landed(drain_s):
            self.workers.cut()
            if not await self._landed(self.cancel_deadline_s):
                log.error("%d runs did not stop in time; their workers are killed", len(self.flights))
        await self._requests.stop()
        await self._tasks.stop()

    async def _landed(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                while self.flights:
                    await next(iter(self.flights.values())).landed.wait()
        except TimeoutError:
            return False
        return True


def _outcome(frame: dict[str, Any], status: str, *, thread_error: dict[str, str] | None = None) -> RunOutcome:
    """Make the outcome of a worker's map (see `channel.orders`)."""
    return RunOutcome(
        status=status,  # type: ignore[arg-type]  # the worker's words are those of the table, which checks them
        error=frame.get("error"),
        thread_error=thread_error,
        result=frame.get("result"),
        values=frame.get("values"),
        interrupts=frame.get("interrupts"),
        next=frame.get("next"),
        end_checkpoint_id=frame.get("end_checkpoint_id"),
        quiet=frame.get("quiet", False),
    )


def _order(run: Run) -> dict[str, Any]:
    """Return what the worker gets of a run (`channel.orders.RunOrder` as a map)."""
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "graph_id": run.graph_id,
        "attempt": run.attempt,
        "kwargs": run.kwargs,
        "metadata": run.metadata,
        "answers": run.answers,
        "executed_s": run.executed_us / 1e6,
        "context_given": bool(run.kwargs["config"]["configurable"].get("__context_provided__")),
    }


def _fields(run: Run) -> dict[str, Any]:
    return {"fields": {"run_id": run.run_id, "thread_id": run.thread_id, "attempt": run.attempt}}
