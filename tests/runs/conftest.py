"""A run manager on real storage, log and hub; the workers are played by the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gatewayd import ids, tasks
from gatewayd.checkpointing import commands
from gatewayd.errors import Unavailable
from gatewayd.maintenance import sweeper
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import Record
from gatewayd.model.run import Run, RunRequest
from gatewayd.model.thread import Thread
from gatewayd.runs import engine as engine_
from gatewayd.runs import manager
from gatewayd.storage import opening, store
from gatewayd.streams import hub, log
from tests import making


class Board:
    """Whoever changes something pins it here; whoever waits looks at every change."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def changed(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@define(eq=False)
class Worker:
    """A worker that does what the test says; it notes what it is told."""

    owner: Supervisor
    name: str
    role: str = "run"
    capacity: int = 10
    state: str = "ready"
    draining: bool = False
    killed: bool = False
    how_ended: str = ""
    blames_runs: bool = True
    blockers: frozenset[str] = frozenset()
    blocked_since: float | None = None
    place: str = ""
    runs: dict[str, int] = field(factory=dict)
    orders: dict[str, dict[str, Any]] = field(factory=dict)
    most: int = 0
    """The most runs it had at once."""
    cancels: list[tuple[str, int]] = field(factory=list)
    merges: list[tuple[str, int]] = field(factory=list)
    acked: list[tuple[str, int, int]] = field(factory=list)
    refused: list[tuple[str, int, int, str]] = field(factory=list)
    stopped: bool = False
    _acks: dict[str, tuple[int, int]] = field(factory=dict)
    _frames: defaultdict[tuple[str, int], int] = field(factory=lambda: defaultdict(int))

    # what the manager tells it

    @property
    def free(self) -> int:
        return self.capacity - len(self.runs) if self._takes else 0

    @property
    def loaded(self) -> bool:
        return self.state == "ready"

    @property
    def _takes(self) -> bool:
        return self.state == "ready" and not self.draining and self.blocked_since is None

    def start_run(self, run_id: str, attempt: int, order: dict[str, Any]) -> None:
        assert run_id not in self.runs, "started twice"
        self.runs[run_id] = attempt
        self.orders[run_id] = order
        self.most = max(self.most, len(self.runs))
        self.owner.board.changed()

    def cancel_run(self, run_id: str, attempt: int) -> None:
        self.cancels.append((run_id, attempt))
        self.owner.board.changed()

    def merge_run(self, run_id: str, attempt: int) -> None:
        self.merges.append((run_id, attempt))
        self.owner.board.changed()

    def ack(self, run_id: str, attempt: int, n: int) -> None:
        self._acks[run_id] = (attempt, n)

    def flush_acks(self) -> None:
        self.acked += [(run_id, attempt, n) for run_id, (attempt, n) in self._acks.items()]
        self._acks.clear()
        self.owner.board.changed()

    def refuse(self, run_id: str, attempt: int, n: int, why: str) -> None:
        self.refused.append((run_id, attempt, n, why))
        self.owner.board.changed()

    def kill(self) -> None:
        self.killed = True
        self.owner.board.changed()

    # what the test has it do

    async def started(self, run_id: str) -> int:
        """Wait until it has the run and return the attempt."""
        await self.owner.board.until(lambda: run_id in self.runs)
        return self.runs[run_id]

    def send(self, kind: str, run_id: str, *rest: Any, attempt: int | None = None) -> int:
        """Send a data frame and return its number."""
        attempt = self.runs[run_id] if attempt is None else attempt
        self._frames[run_id, attempt] += 1
        n = self._frames[run_id, attempt]
        self.owner.listener.worker_frame(self, [kind, run_id, attempt, n, *rest], 100)
        return n

    def emit(self, run_id: str, *data: bytes, kind: str = "values", **options: Any) -> int:
        items = [(kind, "", event.V1 | event.THREAD, one) for one in data or (b"{}",)]
        return self.send("events", run_id, len(items), event.pack(items), **options)

    def checkpoint(self, run_id: str, checkpoint_id: str, **options: Any) -> int:
        thread_id = self.orders[run_id]["thread_id"]
        operation = commands.put(thread_id, "", checkpoint_id, None, "msgpack", b"state", "{}")
        return self.send("checkpoint", run_id, operation, **options)

    def end(self, run_id: str, outcome: str = "success", **more: Any) -> None:
        self.send("ended", run_id, {"outcome": outcome, "next": [], "interrupts": {}, **more})

    async def committed(self, run_id: str, n: int) -> None:
        await self.owner.board.until(lambda: any(run == run_id and m >= n for run, _, m in self.acked))

    def die(self, how: str = "signal 9, SIGKILL") -> None:
        """End as a killed process does."""
        self.how_ended = how
        self.owner.gone(self)


@define(eq=False)
class Supervisor:
    """The workers."""

    board: Board = field(factory=Board)
    listener: Any = None
    workers: list[Worker] = field(factory=list)
    quarantines: list[Worker] = field(factory=list)
    room_for_quarantines: int = 2
    quarantine_gate: asyncio.Event = field(factory=asyncio.Event)
    quarantine_fails: bool = False
    calls: list[tuple[str, dict[str, Any]]] = field(factory=list)
    projection: dict[str, Any] | None = field(
        factory=lambda: {"next": [], "interrupts": {}, "values": b'{"old":1}'}
    )
    """What the service worker answers; None: there is no service worker."""
    call_gate: asyncio.Event = field(factory=asyncio.Event)
    paused: list[bool] = field(factory=list)
    drains: list[str] = field(factory=list)
    obeys_drain: bool = True
    cuts: int = 0
    retired: list[tuple[Worker, str, frozenset[str]]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.quarantine_gate.set()
        self.call_gate.set()
        self.add()

    def add(self, **options: Any) -> Worker:
        made = Worker(self, f"run-{len(self.workers) + 1}", **options)
        self.workers.append(made)
        return made

    def gone(self, each: Worker) -> None:
        """What the supervisor does when a worker has ended, followed by its next start."""
        each.state = "gone"
        runs, each.runs = each.runs, {}
        if each in self.workers:
            self.workers.remove(each)
        else:
            self.room_for_quarantines += 1
        if runs:
            self.listener.worker_gone(each, runs, len(runs) == 1)
        if not self.workers:
            self.add()
        self.listener.worker_ready()

    def free(self) -> int:
        return sum(each.free for each in self.workers)

    def ready(self) -> int:
        return sum(each.state == "ready" for each in self.workers)

    def blocked(self) -> Worker | None:
        return next((each for each in self.workers if each.blocked_since is not None), None)

    def free_quarantines(self) -> int:
        return self.room_for_quarantines

    def take(self) -> Worker | None:
        return max((each for each in self.workers if each.free > 0), key=lambda each: each.free, default=None)

    async def take_quarantine(self, run_id: str) -> Worker | None:
        self.room_for_quarantines -= 1
        made = Worker(self, f"quarantine-{len(self.quarantines) + 1}", role="quarantine", capacity=1)
        self.quarantines.append(made)
        self.board.changed()
        await self.quarantine_gate.wait()
        if self.quarantine_fails:
            self.room_for_quarantines += 1
            return None
        return made

    def release(self, each: Worker, run_id: str) -> None:
        each.runs.pop(run_id, None)
        if each.role == "quarantine" and each.state == "ready":
            each.draining, each.stopped, each.blames_runs = True, True, False
            self.gone(each)
        self.board.changed()

    def flush_acks(self) -> None:
        for each in [*self.workers, *self.quarantines]:
            each.flush_acks()

    def pause(self, paused: bool) -> None:
        self.paused.append(paused)
        self.board.changed()

    def drain(self, reason: str) -> None:
        self.drains.append(reason)
        if self.obeys_drain:
            self._hand_back()

    def cut(self) -> None:
        self.cuts += 1
        self._hand_back()

    def _hand_back(self) -> None:
        for each in [*self.workers, *self.quarantines]:
            for run_id in list(each.runs):
                each.end(run_id, "drained")

    def retire(self, each: Worker, reason: str, *, abandoned: Collection[str] = ()) -> None:
        """Have the runs beside those handed back; what is left is for the test to kill."""
        each.draining, each.blames_runs = True, False
        self.retired.append((each, reason, frozenset(abandoned)))
        for run_id in list(each.runs):
            if run_id not in abandoned:
                each.end(run_id, "drained")
        self.board.changed()

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        self.calls.append((method, params))
        self.board.changed()
        await self.call_gate.wait()
        if self.projection is None:
            raise Unavailable("the project is not loaded")
        return self.projection


@define(eq=False)
class Engine:
    """One boot."""

    storage: store.Storage
    hub: hub.Hub
    log: log.Log
    workers: Supervisor
    runs: manager.RunManager
    tasks: tasks.Group = field(factory=lambda: tasks.Group("test"))
    now: int = making.START

    @property
    def worker(self) -> Worker:
        return self.workers.workers[0]

    def clock(self) -> int:
        return self.now

    @property
    def sweeper(self) -> sweeper.Sweeper:
        return sweeper.Sweeper(storage=self.storage, hub=self.hub, now=self.clock)

    def claim(self) -> None:
        """Start the loop that starts what is due."""
        self.tasks.spawn_forever(self.runs.claimer, "claimer", until=lambda: self.runs.stopping)

    def request(self, thread_id: str | None, **changes: Any) -> RunRequest:
        self.now += 1000
        return making.run_request(**{"thread_id": thread_id, "received_at": self.now, **changes})

    async def create(self, thread_id: str | None = None, **changes: Any) -> Run:
        thread_id = thread_id or ids.new_id()
        return (await self.runs.create(INTERNAL, self.request(thread_id, **changes))).run

    async def executing(self, thread_id: str | None = None, **changes: Any) -> Run:
        """Create a run and wait until its worker has it."""
        run = await self.create(thread_id, **changes)
        await self.worker.started(run.run_id)
        return run

    async def run(self, run: Run) -> Run | None:
        return await self.storage.run_get(INTERNAL, run.thread_id, run.run_id)

    async def status(self, run: Run) -> str | None:
        found = await self.run(run)
        return None if found is None else found.status

    async def thread(self, run: Run) -> Thread:
        return await self.storage.thread_get(INTERNAL, run.thread_id)

    async def records(self, run: Run) -> list[Record]:
        """Return a run's records but for those of its start and those that v2 alone shows."""
        chunks, position = [], 0
        while page := await self.storage.events_page(run.thread_id, position, run.run_id):
            chunks += page
            position = page[-1].last_seq
        shown = (record for chunk in chunks for record in chunk.records if record.mask != event.V2)
        return [record for record in shown if record.kind != "metadata"]

    async def kinds(self, run: Run) -> list[str]:
        return [record.kind for record in await self.records(run)]

    async def landed(self) -> None:
        """Wait until nothing is in the air and no task of the manager is under way."""
        await self.runs.idle()

    async def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await self.storage.writer.submit(
            lambda connection: connection.execute(sql, parameters).fetchall()
        )

    @contextlib.contextmanager
    def writer_held(self) -> Iterator[None]:
        """Keep the writer busy: nothing is committed inside the block, everything in one batch after it."""
        entered, leave = threading.Event(), threading.Event()

        def busy(connection: sqlite3.Connection) -> None:
            entered.set()
            leave.wait(20)

        self.storage.writer.post(busy, on_stored=lambda _: None)
        assert entered.wait(20)
        try:
            yield
        finally:
            leave.set()


async def settle() -> None:
    """Let everything go on that waits for nobody else."""
    for _ in range(10):
        await asyncio.sleep(0)


@define
class Boots:
    """Starts engines on one file, one after the other."""

    path: Path
    engine: Engine | None = None
    now: int = making.START

    async def start(self, *, on_restart: str = "resume", **options: Any) -> Engine:
        """
        Begin a boot: the one before, if it still runs, is dropped as by `kill -9` after its writer was
        flushed.
        """
        await self.kill()
        storage = await opening.open_storage(self.path, making.START, os.getpid(), "test")
        await storage.system_assistants_sync({"chat": None}, making.START)
        published = hub.Hub(storage)
        numbers = log.Log(storage, published)
        workers = Supervisor()
        limits = {"max_retries": 3, "cancel_deadline_s": 600.0, "retry_s": 0.001} | options
        parts = engine_.Engine(storage=storage, log=numbers, workers=workers, now=lambda: boot.now, **limits)
        runs = manager.RunManager(parts)
        boot = self.engine = Engine(storage, published, numbers, workers, runs, now=self.now)
        await runs.recover({}, on_restart)
        return boot

    async def kill(self) -> None:
        """End the boot without handing anything back."""
        if self.engine is not None:
            engine, self.engine = self.engine, None
            self.now = engine.now
            for here in engine.runs.active.values():
                for timer in (here.deadline, here.overtime):
                    if timer is not None:
                        timer.cancel()
            await engine.tasks.stop()
            await engine.runs.close()
            await engine.storage.writer.close()
            engine.storage.boot = 0
            await engine.storage.close(making.START)


@pytest.fixture
async def boots(tmp_path: Path) -> AsyncIterator[Boots]:
    made = Boots(tmp_path / "gatewayd.sqlite")
    yield made
    await made.kill()


@pytest.fixture
async def engine(boots: Boots) -> Engine:
    """An engine whose claimer has looked at the table and waits."""
    made = await boots.start()
    made.claim()
    await settle()
    await made.storage.counters()
    await settle()
    assert made.runs.dispatch.slots() == 10
    return made


@pytest.fixture
def settled() -> Callable[[], Any]:
    return settle
