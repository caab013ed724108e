"""All workers: how many there are, which takes a run, who answers a question, and what follows when one ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen

from gatewayd import errors, tasks
from gatewayd.workers import process, worker

log = logging.getLogger(__name__)

QUARANTINES = 2
"""Quarantine workers at a time."""
BLOCKED_AFTER_S = 2.0
"""Time without an answer to a ping after which a worker counts as blocked."""
PING_EVERY_S = 0.5
LOADING_S = 15.0
"""Time a worker may take to load the project before the log says where it is."""
LOADS = 3
"""Times the service worker may end while it loads the project for the first time; then the project counts as broken."""
CUT_S = 2.0
"""Time that runs which were cut have to end before their worker is killed."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before a worker is started again, by the number of ends in a row without a ready worker between."""
STOP_S = 3.0
"""Time that workers get to end by themselves before they are killed."""


@frozen(kw_only=True)
class Plan:
    """How workers are made."""

    workers: int
    jobs_per_worker: int
    data_dir: Path
    folder: Path
    environment: Mapping[str, str]
    configuration: dict[str, Any]
    """Sent to each worker first: `orders.Configuration` as a map, without its role."""
    call_deadline_s: float


class Listener(Protocol):
    """Who owns the runs (the run manager)."""

    def worker_frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        """A data frame of a run has arrived."""

    def worker_ready(self) -> None:
        """There may be a free place."""

    def worker_gone(self, source: worker.Worker, runs: dict[str, int], alone: bool) -> None:
        """A worker has ended with these runs (id to attempt); `alone`: it had but one."""


@define(eq=False)
class Supervisor:
    """Owner of the worker processes."""

    plan: Plan
    begin: process.Start = process.start
    """Starts a worker; another one lets a worker's core run in this process (tests, a debugger)."""
    listener: Listener = field(init=False)
    service_loaded: asyncio.Event = field(factory=asyncio.Event, init=False)
    """The service worker has loaded the project at least once."""
    failure: asyncio.Future[str] = field(init=False)
    """Set when the project can't be loaded at the first start."""
    trouble: str | None = field(default=None, init=False)
    """Why the present service worker can't answer, for /ok?check_db=1 and the log."""
    _workers: list[worker.Worker] = field(factory=list, init=False)
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("supervisor"), init=False)
    _service: worker.Worker | None = field(default=None, init=False)
    _service_changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _ends: dict[str, int] = field(factory=dict, init=False)
    _quarantined: int = field(default=0, init=False)
    """Suspects that have a quarantine worker or wait for one."""
    _quarantines: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(QUARANTINES), init=False)
    _stopping: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Start the service worker and the run workers; they load while the server already answers."""
        self.failure = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._keep("service", "service", 0), "keep service")
        for index in range(self.plan.workers):
            self._tasks.spawn(
                self._keep(f"run-{index + 1}", "run", self.plan.jobs_per_worker), f"keep run-{index + 1}"
            )
        self._tasks.spawn(self._pinger(), "pinger")

    async def stop(self) -> None:
        """End all workers: asked first, killed after a while. Their runs must have been handed back before."""
        self._stopping = True
        for each in self._workers:
            each.condemned = True
            if each.state == "ready":
                each.stop()
        deadline = time.monotonic() + STOP_S
        while self._workers:
            for each in self._workers:  # one that loads has nothing to end in order
                if each.state == "starting" or time.monotonic() > deadline:
                    each.kill()
            await asyncio.sleep(0.01)
        await self._tasks.stop()

    # places

    def free(self) -> int:
        """Places for ordinary runs."""
        return sum(each.free for each in self._workers if each.role == "run")

    def ready(self) -> int:
        """Number of run workers that have loaded the project."""
        return sum(each.role == "run" and each.state == "ready" for each in self._workers)

    def free_quarantines(self) -> int:
        """Places for suspects; each means a worker of its own."""
        return 0 if self._stopping else QUARANTINES - self._quarantined

    def take(self) -> worker.Worker | None:
        """Return the run worker with most free places, if it can be one whose loop turns; or None."""
        ready = [each for each in self._workers if each.role == "run" and each.free > 0]
        return max(ready, key=lambda each: (not each.late, each.free), default=None)

    async def take_quarantine(self, run_id: str) -> worker.Worker | None:
        """Start a worker for one suspect; None when it could not be started (the run is to be parked again)."""
        each = worker.Worker(name=f"quarantine-{run_id[-6:]}", role="quarantine", capacity=1, owner=self)
        self._quarantined += 1
        begun = False
        try:
            await self._quarantines.acquire()
            try:
                await self._begin(each)
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
        await each.settled.wait()
        return each if each.state == "ready" else None

    def release(self, each: worker.Worker, run_id: str) -> None:
        """A run has left its worker."""
        each.runs.pop(run_id, None)
        if each.role == "quarantine":
            each.condemned = True
            each.stop()

    def drain(self, reason: str) -> None:
        """Have every run handed back before its next step."""
        for each in self._workers:
            each.drain(None, reason)

    def cut(self) -> None:
        """Cancel the runs that have not been handed back yet; the workers of those that don't obey are killed."""
        for each in self._workers:
            each.cut()
        self._tasks.spawn(self._kill_busy(), "kill busy workers")

    async def _kill_busy(self) -> None:
        await asyncio.sleep(CUT_S)
        for each in self._workers:
            if each.runs:
                fields = {"worker": each.name, "runs": sorted(each.runs)}
                log.warning(
                    "worker %s does not let go of its runs and is killed", each.name, extra={"fields": fields}
                )
                each.condemned = True  # the runs are not to blame: no strikes
                each.kill()

    def retire(self, each: worker.Worker, reason: str, *, besides: Collection[str] = ()) -> None:
        """End a worker."""
        each.condemned = True
        each.kill()

    def flush_acks(self) -> None:
        """Send the acknowledgements of the last batch."""
        for each in self._workers:
            each.flush_acks()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading what workers send."""
        for each in self._workers:
            each.pause(paused)

    # questions

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """
        Ask the service worker; waits, within the deadline, until there is one that is ready.

        A question whose worker ends is asked once more: all of them may be. Raises `Unavailable`, `Unanswered`.
        """
        deadline_s = self.plan.call_deadline_s
        until = time.monotonic() + deadline_s
        for last in (False, True):
            service = await self._ready_service(until)
            try:
                return await service.call(method, params, until - time.monotonic())
            except errors.Unavailable:
                if last:
                    raise
        raise AssertionError

    async def _ready_service(self, until: float) -> worker.Worker:
        while self._service is None:
            self._service_changed.clear()
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await self._service_changed.wait()
            except TimeoutError:
                why = f": {self.trouble}" if self.trouble else ""
                raise errors.Unavailable(f"the project is not loaded{why}") from None
        return self._service

    # the workers' reports (worker.Owner)

    def frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        """A data frame has arrived."""
        self.listener.worker_frame(source, frame, size)

    def loaded(self, source: worker.Worker) -> None:
        """A worker is ready."""
        self._ends[source.name] = 0
        log.info(
            "worker %s is ready", source.name, extra={"fields": {"worker": source.name, "pid": source.pid}}
        )
        if source.role == "service":
            self.trouble = None
            self._service = source
            self._service_changed.set()
            self.service_loaded.set()
        self.listener.worker_ready()

    def turned(self, source: worker.Worker) -> None:
        """A worker that was blocked can take runs again."""
        self.listener.worker_ready()

    def failed(self, source: worker.Worker, message: str) -> None:
        """The project could not be loaded."""
        source.condemned = True  # its end needs no line of its own
        if not self.service_loaded.is_set():
            if not self.failure.done():
                self.failure.set_result(message)
            return
        self.trouble = message
        log.error("worker %s could not load the project: %s", source.name, message)

    def gone(self, source: worker.Worker, code: int) -> None:
        """A worker has ended."""
        if source in self._workers:
            self._workers.remove(source)
        if source is self._service:
            self._service = None
        runs, source.runs = source.runs, {}
        if source.role == "quarantine":
            self._quarantined -= 1
            self._quarantines.release()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not (source.condemned or self._stopping):
            fields = {"worker": source.name, "pid": source.pid, "runs": sorted(runs)}
            log.error(
                "worker %s has ended (%s) with %d runs", source.name, how, len(runs), extra={"fields": fields}
            )
            if (
                source.role == "service"
                and not self.service_loaded.is_set()
                and self._ends[source.name] >= LOADS
            ):
                self.failed(source, f"the process that was to load the project ended {LOADS} times ({how})")
        if runs and not self._stopping:
            self.listener.worker_gone(source, runs, len(runs) == 1)
        self.listener.worker_ready()

    def asked(self, source: worker.Worker, number: int, method: str, params: dict[str, Any]) -> None:
        """A run worker asks the service worker something."""
        self._tasks.spawn(self._relay(source, number, method, params), f"relay {method}")

    async def _relay(self, source: worker.Worker, number: int, method: str, params: dict[str, Any]) -> None:
        try:
            source.answer(number, True, await self.call(method, params))
        except errors.GatewaydError as error:
            source.answer(number, False, error.detail)

    # keeping them

    async def _keep(self, name: str, role: worker.Role, capacity: int) -> None:
        """Keep one worker: start it, wait for its end, start the next."""
        while True:
            ends = self._ends.get(name, 0)
            await asyncio.sleep(BACKOFF_S[min(ends, len(BACKOFF_S) - 1)])
            if self._stopping:
                return
            self._ends[name] = ends + 1
            each = worker.Worker(name=name, role=role, capacity=capacity, owner=self)
            try:
                ended = await self._begin(each)
            except OSError as error:
                log.error("worker %s could not be started: %s", name, error)
                continue
            await ended

    async def _begin(self, each: worker.Worker) -> asyncio.Task[None]:
        self._workers.append(each)
        order = process.Order(
            name=each.name,
            environment=self.plan.environment,
            folder=self.plan.folder,
            lock=self.plan.data_dir / "workers.lock",
        )
        try:
            await each.start(
                self.begin, order, {**self.plan.configuration, "role": each.role, "name": each.name}
            )
        except BaseException:
            each.kill()
            self._workers.remove(each)
            raise
        return self._tasks.spawn(each.watch(), f"watch {each.name}")

    async def _pinger(self) -> None:
        """Look whether the loops of the workers turn; log the place when one does not."""
        while True:
            await asyncio.sleep(PING_EVERY_S)
            now = time.monotonic()
            for each in self._workers:
                if each.state == "starting":
                    each.look_at_loading(now, LOADING_S)
                elif each.pinged_at is None:
                    each.ping(now)
                elif now - each.pinged_at >= BLOCKED_AFTER_S:
                    self._blocked(each, now)

    def _blocked(self, each: worker.Worker, now: float) -> None:
        """A worker's loop does not turn: log where it is; the service worker is replaced when it stays so."""
        if each.blocked_since is None:
            each.blocked_since = now - BLOCKED_AFTER_S
            each.asked_at = now
            each.ask_stack()
        elif each.asked_at is not None and now - each.asked_at >= BLOCKED_AFTER_S:
            each.asked_at = None
            log.warning(
                "worker %s is blocked in code that holds the interpreter; its threads are:",
                each.name,
                extra={"fields": {"worker": each.name, "runs": sorted(each.runs)}},
            )
            each.dump()
        if each.role == "service" and now - each.blocked_since > self.plan.call_deadline_s:
            log.error(
                "the service worker has been blocked for %g s and is replaced", self.plan.call_deadline_s
            )
            each.kill()
