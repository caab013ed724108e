"""
All workers: how many there are, which takes a run, who answers a question, and what follows when one ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

from attrs import define, field

from gatewayd import datadir, errors, logs, tasks
from gatewayd import loops as loops_
from gatewayd.supervisor import drain, memory, process, pulse, replicas
from gatewayd.supervisor import life as lives
from gatewayd.supervisor import plan as plans
from gatewayd.supervisor import worker as workers

log = logging.getLogger(__name__)

QUARANTINES = 2
"""Quarantine workers at a time."""
BLOCKED_AFTER_S = 2.0
"""Time without an answer to a ping after which a worker counts as blocked, and gets no new run."""
KILLED_AFTER = 4
"""
Multiple of the plan's `blocked_s` after which a blocked worker is killed for the sake of the other runs in
it.
"""
MOST_BLOCKED = 4
"""
Blocked workers that are left with their only run although another has replaced them; further ones are killed,
too.
"""
PING_EVERY_S = 0.5
LOADING_S = 15.0
"""Time a worker may take to load the project before the log says where it is."""


class WorkerEvents(Protocol):
    """Who owns the runs (the run manager)."""

    def worker_frame(self, source: workers.Worker, frame: list[Any], size: int) -> None:
        """A data frame of a run has arrived."""

    def worker_ready(self) -> None:
        """There may be a free place."""

    def worker_withdrew(self, source: workers.Worker, run_id: str, attempt: int) -> None:
        """A worker has given a run back that it had not begun."""

    def worker_gone(self, source: workers.Worker, runs: dict[str, int], alone: bool) -> None:
        """A worker has ended with these runs (id to attempt); `alone`: it had but one."""


@define(eq=False)
class Supervisor:
    """Owner of the worker processes."""

    plan: plans.Plan
    """How workers that are started now are made; a reload brings another."""
    read_failed: Callable[[int, str, str], BaseException]
    """Returns our error for what a worker has met when it read the database (`Storage.read_failed`)."""
    begin: process.Start = process.start
    """Starts a worker; another one lets a worker's core run in this process (tests, a debugger)."""
    loops: list[loops_.Loop] = field(factory=list)
    """What is known of its loops; the list may be shared."""
    listener: WorkerEvents = field(init=False)
    service_loaded: asyncio.Event = field(factory=asyncio.Event, init=False)
    """The service worker has loaded the project at least once."""
    failure: asyncio.Future[str] = field(init=False)
    """Set when the project can't be loaded at the first start."""
    _last_trace: str = field(default="", init=False)
    """Of the last load that failed."""
    deaths: Counter[str] = field(factory=Counter, init=False)
    """Workers that ended without having been told to, by role, since the start of the server."""
    trouble: str | None = field(default=None, init=False)
    """Why the present service worker can't answer, for /ok?check_db=1 and the log."""
    _took_at: float = field(factory=time.monotonic, init=False)
    """When a worker was last seen that takes runs."""
    _workers: list[workers.Worker] = field(factory=list, init=False)
    _tasks: tasks.Group = field(init=False)
    _service: workers.Worker | None = field(default=None, init=False)
    _service_changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _replicas: replicas.Replicas = field(init=False)
    _quarantined: int = field(default=0, init=False)
    """Suspects that have a quarantine worker or wait for one."""
    _quarantines: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(QUARANTINES), init=False)
    _stopping: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._tasks = tasks.Group("supervisor", self.loops)
        self._replicas = replicas.Replicas(self)

    async def start(self) -> None:
        """Start the service worker and the run workers; they load while the server already answers."""
        self.failure = asyncio.get_running_loop().create_future()
        for replica in self._replicas.replicas.values():
            self._tasks.spawn_forever(
                partial(self._replicas.keep, replica),
                f"keep {replica.name}",
                essential=True,
                until=lambda: self._replicas.closed,
            )
        self._tasks.spawn_forever(self._pinger, "pinger")
        if limit := self.plan.memory:
            self._tasks.spawn_forever(partial(memory.watch, self._workers, limit), "watch memory")

    async def stop(self) -> None:
        """
        End all workers: asked first, killed after a while. Their runs must have been handed back before.
        """
        self._stopping = self._replicas.closed = True
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + drain.STOP_S
        while self._workers:
            for worker in self._workers:
                if not worker.loaded or time.monotonic() > deadline:
                    worker.kill()
            await asyncio.sleep(0.01)
        await self._tasks.stop()

    # places

    @property
    def processes(self) -> list[workers.Worker]:
        """All workers that there are now."""
        return [*self._workers]

    def free(self) -> int:
        return sum(worker.free for worker in self._workers if worker.role == "run")

    def blocked(self) -> workers.Worker | None:
        """Return a run worker whose loop does not turn, if for its sake there are fewer places; else None."""
        run = [worker for worker in self._workers if worker.role == "run" and worker.loaded]
        if sum(worker.takes for worker in run) >= self.plan.workers:
            return None
        return next((worker for worker in run if worker.blocked_since is not None), None)

    def ready(self) -> int:
        """Number of run workers that have loaded the project."""
        return sum(worker.role == "run" and worker.loaded for worker in self._workers)

    def not_taking_s(self) -> float:
        """
        Return for how many seconds there has been no run worker that would take a run if it had a place.
        """
        now = time.monotonic()
        if any(worker.role == "run" and worker.takes for worker in self._workers):
            self._took_at = now
        return now - self._took_at

    def free_quarantines(self) -> int:
        """Places for suspects; each means a worker of its own."""
        return 0 if self._stopping else QUARANTINES - self._quarantined

    def take(self) -> workers.Worker | None:
        """Return the run worker with most free places, if it can be one whose loop turns; or None.

        While a reload goes on, those that have the new code come first: a run need not be handed over twice.
        """
        ready = [worker for worker in self._workers if worker.role == "run" and worker.free > 0]
        return max(
            ready, key=lambda worker: (not worker.pulse.late, worker.generation, worker.free), default=None
        )

    async def take_quarantine(self, run_id: str) -> workers.Worker | None:
        """
        Start a worker for one suspect; None when it could not be started (the run is to be requeued again).
        """
        worker = workers.Worker(
            name=f"quarantine-{run_id[-6:]}",
            role="quarantine",
            capacity=1,
            owner=self,
            generation=self._replicas.generation,
        )
        self._quarantined += 1
        begun = False
        try:
            await self._quarantines.acquire()
            try:
                await self.spawn(worker, self.plan)
                begun = True  # its end frees its place, see `gone`
            finally:
                if not begun:
                    self._quarantines.release()
        except OSError as error:
            log.error("no quarantine worker could be started: %s", error)
            return None
        finally:
            if not begun:
                self._quarantined -= 1
        await worker.until_settled()
        return worker if worker.loaded else None

    def release(self, worker: workers.Worker, run_id: str) -> None:
        """A run has left its worker."""
        worker.leave(run_id)
        if worker.role == "quarantine":
            worker.stop()

    def drain(self, reason: str) -> None:
        """Have every run handed back before its next step."""
        for worker in self._workers:
            worker.drain(None, reason)

    def cut(self) -> None:
        """
        Cancel the runs that have not been handed back yet; the workers of those that don't obey are killed.
        """
        for worker in self._workers:
            worker.cut()
        self._tasks.spawn(self._kill_busy(), "kill busy workers")

    async def _kill_busy(self) -> None:
        await asyncio.sleep(drain.CUT_S)
        for worker in self._workers:
            if worker.runs:
                fields = {"worker": worker.name, "runs": sorted(worker.runs)}
                log.warning(
                    "worker %s does not let go of its runs and is killed",
                    worker.name,
                    extra={"fields": fields},
                )
                worker.kill(blameless=True)

    # replacing them

    async def reload(self, plan: plans.Plan) -> None:
        """
        Have new workers load the project again, see `replicas.Posts.reload`.

        Raises `Unavailable` with the cause when it can't be.
        """
        await self._replicas.reload(plan)

    def retire(
        self,
        worker: workers.Worker,
        reason: str,
        *,
        abandoned: Collection[str] = (),
        gently: bool = False,
        blocked: bool = False,
    ) -> None:
        """
        Have a worker end without harm to its runs, while another takes its place at once.

        It gets no new runs; those that it has are handed back before their next step, without a strike, and
        go on elsewhere; see `drain.drain_by_deadline` for those that don't get there. `abandoned`: runs that
        will never end, and are not waited for; when only such are left the process is killed. With `gently`
        there is no hurry, see `drain.drain_patiently`; `blocked` says that this is because its loop does not
        turn. May be called again, to abandon more runs or to press for what was begun gently.
        """
        worker.abandon(abandoned)
        retired = worker.life.retired
        event = lives.Retire(reason, blocked) if gently else lives.Drain(reason)
        if self._stopping or not worker.advance(event):
            return
        if worker.life.retired and not retired:
            log.info(
                "worker %s (pid %d) is retired: %s; %d runs are left to it",
                worker.name,
                worker.pid,
                reason,
                len(worker.runs),
                extra={"fields": {"worker": worker.name, "pid": worker.pid, "runs": sorted(worker.runs)}},
            )
        if worker.loaded:
            work = (
                drain.drain_patiently(worker, reason) if gently else drain.drain_by_deadline(worker, reason)
            )
            self._tasks.spawn(work, f"retire {worker.name}")

    def flush_acks(self) -> None:
        """Send the acknowledgements of the last batch."""
        for worker in self._workers:
            worker.flush_acks()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading what workers send."""
        for worker in self._workers:
            worker.pause(paused)

    # questions

    async def until_loaded(self) -> None:
        """
        Wait, within the deadline of calls, until the project has been loaded for the first time.

        What is accepted before would be lost to its client if the load failed: the daemon ends then. Raises
        `Unavailable`.
        """
        if self.service_loaded.is_set():
            return
        waiting = tasks.Group("first load")
        loaded = waiting.spawn(self.service_loaded.wait(), "loaded")
        first: set[asyncio.Future[Any]] = {loaded, self.failure}
        try:
            await asyncio.wait(first, timeout=self.plan.call_deadline_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await waiting.stop()
        if not self.service_loaded.is_set():
            why = f": {self.failure.result()}" if self.failure.done() else " yet"
            raise errors.Unavailable(f"the project is not loaded{why}")

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """
        Ask the service worker; waits, within the deadline, until there is one that is ready.

        A question whose worker ends is asked once more: all of them may be. Raises `Unavailable`,
        `Unanswered`.
        """
        deadline_s = self.plan.call_deadline_s
        until = time.monotonic() + deadline_s
        for last in (False, True):
            service = await self._ready_service(until)
            try:
                return await service.call(method, params, until - time.monotonic())
            except workers.Gone:
                if last:
                    raise
        raise AssertionError

    async def _ready_service(self, until: float) -> workers.Worker:
        while self._service is None:
            self._service_changed.clear()
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await self._service_changed.wait()
            except TimeoutError:
                why = f": {self.trouble}" if self.trouble else ""
                raise errors.Unavailable(f"the project is not loaded{why}") from None
        return self._service

    # the workers' reports (workers.WorkerOwner)

    def frame(self, source: workers.Worker, frame: list[Any], size: int) -> None:
        """A data frame has arrived."""
        self.listener.worker_frame(source, frame, size)

    def loaded(self, source: workers.Worker) -> None:
        self._replicas.loaded(source)
        log.info(
            "worker %s is ready", source.name, extra={"fields": {"worker": source.name, "pid": source.pid}}
        )
        if source.role == "service" and source not in self._replicas.probes:
            self.set_service(source)
            self.service_loaded.set()
        self.listener.worker_ready()

    def set_service(self, service: workers.Worker) -> None:
        """Have a service worker answer what is asked from now on."""
        self.trouble = None
        self._service = service
        self._service_changed.set()

    def withdrawn(self, source: workers.Worker, run_id: str, attempt: int) -> None:
        """A worker whose loop does not turn has given a run back."""
        self.listener.worker_withdrew(source, run_id, attempt)

    def turned(self, source: workers.Worker) -> None:
        """A worker that was blocked can take runs again."""
        self.listener.worker_ready()

    def failed(self, source: workers.Worker, message: str, trace: str = "") -> None:
        """The project could not be loaded."""
        if trace and trace != self._last_trace:  # each worker sends it
            log.error("the project could not be loaded\n%s", logs.Whole(trace))
        self._last_trace = trace
        if source in self._replicas.probes:
            return
        if not self.service_loaded.is_set():
            if not self.failure.done():
                self.failure.set_result(message)
            return
        self.trouble = message
        log.error("worker %s could not load the project: %s", source.name, message)

    def given(self, source: workers.Worker) -> None:
        """A run worker that has been given enough runs makes room for another."""
        if source.role == "run" and 0 < self.plan.max_runs <= source.taken:
            self.retire(source, f"it was given {source.taken} runs", gently=True)

    def gone(self, source: workers.Worker) -> None:
        if source in self._workers:
            self._workers.remove(source)
        if source is self._service:
            self._service = None
        runs, source.runs = source.runs, {}
        if source.role == "quarantine":
            self._quarantined -= 1
            self._quarantines.release()
        fields = {"worker": source.name, "pid": source.pid, "runs": sorted(runs)}
        if source.retire_reason is not None:
            log.info(
                "worker %s (pid %d) has ended, retired: %s",
                source.name,
                source.pid,
                source.retire_reason,
                extra={"fields": fields},
            )
        elif not (source.life.expected or self._stopping):
            self.deaths[source.role] += 1
            log.error(
                "worker %s has ended (%s) with %d runs",
                source.name,
                source.how_ended,
                len(runs),
                extra={"fields": fields},
            )
            if (
                source.role == "service"
                and not self.service_loaded.is_set()
                and self._replicas.crash_looping(source)
            ):
                self.failed(source, f"{replicas.ENDED} again and again, at last by {source.how_ended}")
        if runs and not self._stopping:
            self.listener.worker_gone(source, runs, len(runs) == 1)
        self.listener.worker_ready()

    def asked(self, source: workers.Worker, number: int, method: str, params: dict[str, Any]) -> None:
        """A run worker asks the service worker something."""
        self._tasks.spawn(self._relay(source, number, method, params), f"relay {method}")

    async def _relay(self, source: workers.Worker, number: int, method: str, params: dict[str, Any]) -> None:
        try:
            source.answer(number, True, await self.call(method, params))
        except errors.GatewaydError as error:
            source.answer(number, False, error.detail)

    # keeping them

    async def spawn(self, worker: workers.Worker, plan: plans.Plan) -> None:
        """Start a worker's process; it loads the project then. Raises `OSError`."""
        self._workers.append(worker)
        order = process.Order(
            name=worker.name,
            environment=plan.environment,
            folder=plan.folder,
            lock=plan.data_dir / datadir.WORKERS_LOCK,
        )
        try:
            await worker.start(
                self.begin, order, {**plan.configuration, "role": worker.role, "name": worker.name}
            )
        except BaseException:
            worker.kill()
            self._workers.remove(worker)
            raise
        self._tasks.spawn(worker.watch(), f"watch {worker.name}")

    async def _pinger(self, turned: loops_.Turned) -> None:
        """Look whether the loops of the workers turn; log the place when one does not."""
        while True:
            await asyncio.sleep(PING_EVERY_S)
            now = time.monotonic()
            self.not_taking_s()
            for worker in self._workers:
                if worker.life.phase is lives.Phase.STARTING:
                    worker.look_at_loading(now, LOADING_S)
                elif worker.pulse.pinged_at is None:
                    worker.ping(now)
                elif now - worker.pulse.pinged_at >= min(BLOCKED_AFTER_S, self.plan.blocked_s):
                    self._blocked(worker, now)
            turned()

    def _blocked(self, worker: workers.Worker, now: float) -> None:
        """A worker's loop does not turn: log where it is, and have others do its work when it stays so."""
        block = worker.pulse.block
        if block is None:
            block = worker.pulse.block = pulse.Block(worker.pulse.pinged_at or now, now)
            worker.ask_stack()
            worker.withdraw()
        elif block.stack_asked_at is not None and now - block.stack_asked_at >= BLOCKED_AFTER_S:
            block.stack_asked_at = None
            log.warning(
                "worker %s is blocked in code that holds the interpreter; its threads are:",
                worker.name,
                extra={"fields": {"worker": worker.name, "runs": sorted(worker.runs)}},
            )
            worker.dump()
        if worker.role == "run" and worker not in self._replicas.probes:
            self._relieve(worker, block, now - block.since)
        if worker.role == "service" and now - block.since > self.plan.call_deadline_s:
            log.error(
                "the service worker has been blocked for %g s and is replaced", self.plan.call_deadline_s
            )
            worker.kill()

    def _relieve(self, worker: workers.Worker, block: pulse.Block, blocked_s: float) -> None:
        """Replace a blocked run worker; in the end kill it, for the sake of the other runs in it."""
        if blocked_s >= self.plan.blocked_s:
            reason = f"its event loop is blocked at {block.place or '?'}"
            self.retire(worker, reason, gently=True, blocked=True)
        if blocked_s < KILLED_AFTER * self.plan.blocked_s or block.examined:
            return
        left = sum(other.life.retired_for_block and other.pulse.block is not None for other in self._workers)
        if worker.life.phase in lives.ALIVE and (len(worker.runs) > 1 or left > MOST_BLOCKED):
            block.examined = True
            work = drain.kill_for_others(worker, block, blocked_s)
            self._tasks.spawn(work, f"end the blocked worker {worker.name}")
