"""Replicas: the workers that there should be, the process that stands for each, and how it is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from attrs import define, field

from gatewayd import errors, loops
from gatewayd.supervisor import plan as plans
from gatewayd.supervisor import worker as workers

log = logging.getLogger(__name__)

LOADS = 3
"""
Times the service worker may end while it loads the project for the first time; then the project counts as
broken.
"""
KILLS = 10
"""Times it may be killed meanwhile, which says less: a machine short of memory, an operator."""
LOAD_LIMIT_S = 300.0
"""Time that a worker may take to load the project at a reload; then the reload has failed."""
ENDED = "the process that was to load the project ended"
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before a worker is started again, by the number of ends in a row without a ready worker between."""


class Spawner(workers.WorkerOwner, Protocol):
    """Who starts and ends the workers (the supervisor)."""

    plan: plans.Plan
    """How workers that are started now are made."""

    async def spawn(self, worker: workers.Worker, plan: plans.Plan) -> None:
        """Start a worker's process; it loads the project then. Raises `OSError`."""

    def set_service(self, service: workers.Worker) -> None:
        """Have a service worker answer what is asked from now on."""

    def retire(self, worker: workers.Worker, reason: str) -> None:
        """Have a worker end without harm to its runs."""


@define(eq=False)
class Replica:
    """One worker of the plan. Its processes follow each other."""

    name: str
    role: workers.Role
    capacity: int
    worker: workers.Worker | None = field(default=None, init=False)
    ends: int = field(default=0, init=False)
    """Starts since a worker was ready here."""
    kills: int = field(default=0, init=False)
    """How many of them ended by SIGKILL."""
    lock: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    """Held while the worker changes."""

    @property
    def staffed(self) -> bool:
        """Whether it has a worker that is to stay."""
        return self.worker is not None and not self.worker.leaving


@define(eq=False)
class Replicas:
    """All replicas by name: service, run-1, run-2, …"""

    spawner: Spawner
    generation: int = field(default=0, init=False)
    """How often the project has been loaded anew."""
    closed: bool = field(default=False, init=False)
    """No worker is started any more."""
    replicas: dict[str, Replica] = field(init=False)
    probes: set[workers.Worker] = field(factory=set, init=False)
    """
    Workers that a reload has started and that have no replica yet. The reload decides what becomes of them;
    how their loading ends is its affair alone.
    """

    def __attrs_post_init__(self) -> None:
        plan = self.spawner.plan
        replicas = [Replica("service", "service", 0)]
        replicas += [Replica(f"run-{n + 1}", "run", plan.jobs_per_worker) for n in range(plan.workers)]
        self.replicas = {replica.name: replica for replica in replicas}

    def loaded(self, source: workers.Worker) -> None:
        """A worker is ready: if it ends, the next is started at once."""
        if (replica := self.replicas.get(source.name)) is not None:
            replica.ends = replica.kills = 0

    def crash_looping(self, source: workers.Worker) -> bool:
        """
        Whether a replica's workers have ended so often while they loaded the project that it is no accident.

        To be asked once for each that has ended so.
        """
        replica = self.replicas.get(source.name)
        if replica is None:
            return False
        replica.kills += source.life.killed_from_outside
        return replica.ends - replica.kills >= LOADS or replica.kills >= KILLS

    async def keep(self, replica: Replica, turned: loops.Turned) -> None:
        """Keep a replica alive: start a worker, wait until it is to leave or has ended, start the next."""
        while not self.closed:
            if replica.worker is not None and replica.staffed:
                turned()
                await replica.worker.until_leaving()
                continue
            await asyncio.sleep(BACKOFF_S[min(replica.ends, len(BACKOFF_S) - 1)])
            async with replica.lock:
                if replica.staffed or self.closed:  # a reload has replaced it meanwhile
                    continue
                replica.ends += 1
                worker = self._for(replica, self.generation)
                try:
                    await self.spawner.spawn(worker, self.spawner.plan)
                except OSError as error:
                    log.error("worker %s could not be started: %s", replica.name, error)
                else:
                    replica.worker = worker

    def _for(self, replica: Replica, generation: int) -> workers.Worker:
        return workers.Worker(
            name=replica.name,
            role=replica.role,
            capacity=replica.capacity,
            owner=self.spawner,
            generation=generation,
        )

    async def reload(self, plan: plans.Plan) -> None:
        """
        Load the project again: every worker is replaced by one that has loaded it.

        The service worker comes first. If it can't load the project, nothing has changed; else it answers
        from now on, and the old one ends when it has answered what it was asked. Then come the run workers,
        each retired when the next is ready. Raises `Unavailable` with the cause if one of them can't load it:
        the worker in its place goes on as it was.
        """
        generation = self.generation + 1
        replica = self.replicas["service"]
        fresh = await self._probed(replica, plan, generation)
        self.spawner.plan, self.generation = plan, generation
        await self._install(replica, fresh)
        for replica in self.replicas.values():
            if replica.role == "run":
                await self._reload_run_worker(replica)

    async def _reload_run_worker(self, replica: Replica) -> None:
        holder = replica.worker
        if (
            holder is not None and replica.staffed and holder.generation == self.generation
        ):  # started since then
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOAD_LIMIT_S):
                    await holder.until_settled()
            if holder.loaded:
                return
        for last in (*[False] * (LOADS - 1), True):
            try:
                fresh = await self._probed(replica, self.spawner.plan, self.generation)
            except errors.Unavailable as error:
                log.error("worker %s could not load the project: %s", replica.name, error.detail)
                if last:
                    raise errors.Unavailable(
                        f"worker {replica.name} was not replaced: {error.detail}"
                    ) from None
            else:
                await self._install(replica, fresh)
                return

    async def _probed(self, replica: Replica, plan: plans.Plan, generation: int) -> workers.Worker:
        """
        Start a worker and return it when it is ready. Raises `Unavailable` with the cause if it can't be.
        """
        worker = self._for(replica, generation)
        self.probes.add(worker)
        try:
            await self.spawner.spawn(worker, plan)
            async with asyncio.timeout(LOAD_LIMIT_S):
                await worker.until_settled()
        except TimeoutError:
            raise errors.Unavailable(f"the project was not loaded within {LOAD_LIMIT_S:g} s") from None
        except OSError as error:
            raise errors.Unavailable(f"no process could be started: {error}") from None
        finally:
            if not worker.loaded:
                self.probes.discard(worker)
                worker.kill(blameless=True)
        if not worker.loaded:
            raise errors.Unavailable(worker.life.reason or f"{ENDED} ({worker.how_ended})")
        return worker

    async def _install(self, replica: Replica, fresh: workers.Worker) -> None:
        """Put a worker that is ready into its replica, and retire the one before."""
        async with replica.lock:
            old, replica.worker = replica.worker, fresh
        self.probes.discard(fresh)
        if replica.role == "service" and fresh.loaded:
            self.spawner.set_service(fresh)
        if old is not None:
            self.spawner.retire(old, "the project was loaded anew")
