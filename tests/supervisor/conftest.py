"""
A supervisor on workers that are played: real sockets and frames, but what answers at the other end is the
test.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gatewayd.channel import frames
from gatewayd.storage.sqlite.engine import failures
from gatewayd.supervisor import plan as plans
from gatewayd.supervisor import process, supervisor, worker


@define(eq=False)
class Process:
    """A process without a process: it notes what it is told, and does of itself what `habits` name."""

    scene: Scene
    order: process.Order
    pid: int
    control: socket.socket
    data: socket.socket
    habits: set[str]
    told: list[list[Any]] = field(factory=list, init=False)
    """The frames it has got on control, pings aside."""
    killed: bool = field(default=False, init=False)
    refusal: str | None = None
    """Why it can't load the project."""
    _ended: asyncio.Future[int] = field(init=False)
    _writers: list[asyncio.StreamWriter] = field(factory=list, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def open(self, control: socket.socket, data: socket.socket) -> None:
        self._ended = asyncio.get_running_loop().create_future()
        reader, writer = await asyncio.open_connection(sock=control)
        _, other = await asyncio.open_connection(sock=data)
        self._writers = [writer, other]
        self._task = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        splitter = frames.Splitter()
        while data := await reader.read(65536):
            for frame, _ in splitter.feed(data):
                self._hear(frame)

    def _hear(self, frame: list[Any]) -> None:
        if frame[0] == "ping":
            if "block" not in self.habits:
                self.say("pong", frame[1])
            return
        self.told.append(frame)
        if frame[0] == "configure" and "configure" in self.habits:
            self.load()
        if frame[0] == "stop" and "stop" in self.habits:
            self.exit(0)
        self.scene.changed()

    # what the test has it do

    def say(self, *frame: Any) -> None:
        """Send a frame on control."""
        self._writers[0].write(frames.pack(*frame))

    def load(self) -> None:
        """Have loaded the project, or not be able to."""
        if self.refusal is None:
            self.say("loaded")
        else:
            self.say("failed", self.refusal, "")
            self.exit(1)

    def exit(self, code: int) -> None:
        """End."""
        for writer in self._writers:
            writer.close()
        if not self._ended.done():
            self._ended.set_result(code)

    def heard(self, name: str) -> list[list[Any]]:
        """Return what it was told of that name."""
        return [frame for frame in self.told if frame[0] == name]

    # process.Running

    async def ended(self) -> int:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        if not self._ended.done():
            self.killed = True
            self.exit(-signal.SIGKILL)
            self.scene.changed()

    def dump(self) -> None:
        pass

    async def close(self) -> None:
        self.kill()
        if self._task is not None:
            await self._task
        for writer in self._writers:
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@define(eq=False)
class Scene:
    """
    A supervisor, its workers' processes in the order of their starts, and what it tells the owner of the
    runs.
    """

    supervisor: supervisor.Supervisor
    processes: list[Process] = field(factory=list)
    habits: set[str] = field(factory=lambda: {"configure", "stop"})
    """Of processes that are started from now on."""
    refusal: str | None = None
    gone: list[tuple[worker.Worker, dict[str, int], bool]] = field(factory=list)
    """What the listener has heard of ends, with whether its runs are free from blame."""
    withdrawn: list[tuple[worker.Worker, str, int]] = field(factory=list)
    _event: asyncio.Event = field(factory=asyncio.Event)
    _pids: Iterator[int] = field(factory=lambda: itertools.count(2**22 + 1))
    """Above those that Linux gives out."""

    def changed(self) -> None:
        self._event.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._event.clear()
                await self._event.wait()

    async def begin(self, order: process.Order) -> Process:
        pairs = [socket.socketpair() for _ in range(2)]
        pid = next(self._pids)
        made = Process(self, order, pid, pairs[0][0], pairs[1][0], set(self.habits), refusal=self.refusal)
        await made.open(pairs[0][1], pairs[1][1])
        self.processes.append(made)
        self.changed()
        return made

    def of(self, name: str) -> list[Process]:
        """Return the processes that were started for a post, oldest first."""
        return [one for one in self.processes if one.order.name == name]

    async def started(self, name: str, count: int) -> Process:
        """Wait for the nth start at a post."""
        await self.until(lambda: len(self.of(name)) >= count)
        return self.of(name)[count - 1]

    def at(self, played: Process) -> worker.Worker:
        """Return the supervisor's side of a process."""
        return next(each for each in self.supervisor._workers if each.pid == played.pid)

    def give(self, run_id: str, to: worker.Worker | None = None) -> worker.Worker:
        """Give a run to a worker, by default to whom the supervisor chooses."""
        chosen = to or self.supervisor.take()
        assert chosen is not None
        chosen.start_run(run_id, 1, {"run_id": run_id})
        return chosen

    def release(self, each: worker.Worker, run_id: str) -> None:
        self.supervisor.release(each, run_id)

    # supervisor.Listener

    def worker_frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        raise AssertionError("no data is sent here")

    def worker_ready(self) -> None:
        self.changed()

    def worker_withdrew(self, source: worker.Worker, run_id: str, attempt: int) -> None:
        self.withdrawn.append((source, run_id, attempt))
        source.leave(run_id)
        self.changed()

    def worker_gone(self, source: worker.Worker, runs: dict[str, int], alone: bool) -> None:
        self.gone.append((source, runs, not source.blames_runs))
        self.changed()


def plan(tmp_path: Path, **changes: Any) -> plans.Plan:
    fields: dict[str, Any] = {
        "workers": 1,
        "jobs_per_worker": 10,
        "data_dir": tmp_path,
        "folder": tmp_path,
        "environment": {},
        "configuration": {"graphs": "old"},
        "call_deadline_s": 20.0,
    }
    return plans.Plan(**(fields | changes))


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Any]:
    """`await start(workers=2)`: a supervisor all of whose workers are ready."""
    scenes: list[Scene] = []

    async def begin(**changes: Any) -> Scene:
        made = supervisor.Supervisor(
            plan(tmp_path, **changes), failures.Damage(tmp_path / "db").met_elsewhere
        )
        scene = Scene(made)
        scenes.append(scene)
        made.begin, made.listener = scene.begin, scene
        await made.start()
        await scene.until(
            lambda: (
                made.service_loaded.is_set()
                and sum(each.free > 0 for each in made._workers) == made.plan.workers
            )
        )
        return scene

    yield begin
    for scene in scenes:
        for one in scene.processes:
            one.habits.add("stop")
        await scene.supervisor.stop()
        for one in scene.processes:
            await one.close()
