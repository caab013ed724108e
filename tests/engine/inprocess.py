"""The whole engine inside the test process: real SQLite, real channel, real graphs, but no worker processes.

`opened` yields a `Daemon`: what `services.open_services` makes, with workers that live here. Each worker is
the product's `worker.core.Core` on two socketpairs, in a thread with an event loop of its own (on the
daemon's loop it would stop the daemon whenever a graph blocks, and could never wait for a commit). It starts
in milliseconds; the project's modules are imported once for all of them.

    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        ended = await daemon.finish(inprocess.request("walk", thread_id=ids.new_id(), input={"steps": 3}))
        assert ended.status == "success"
        records = await daemon.log(thread_id)

A machine that dies:

    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        daemon.writer.crash_after(3)             # three more operations of runs are stored, then nothing is
        await daemon.create(request)
        await daemon.writer.crashed.wait()
        daemon.abandon()                         # workers are killed, the services dropped without another
                                                 word
    async with inprocess.opened(tmp_path, PROJECT) as daemon:    # the next boot on the same file
        ...

What is not like a process: a killed worker stores, sends and hears nothing any more, but user code that it
was executing in a thread runs on to its next call of the saver; ``os._exit`` ends the tests; and the
environment of the order is not set.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sqlite3
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import attrs
from attrs import define, field

from gatewayd import datadir, ids, project, settings, wire
from gatewayd.api.responses import reply
from gatewayd.channel import orders
from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import Record
from gatewayd.model.run import RunRequest
from gatewayd.runs import admission, waiters
from gatewayd.services import Services, open_services
from gatewayd.storage.sqlite import blobs, events, invariants, runs
from gatewayd.storage.sqlite.engine import database, writing
from gatewayd.supervisor import process, supervisor
from gatewayd.worker import core
from gatewayd.worker.process import link
from gatewayd.worker.process import loop as worker_loop
from tests import making

T = TypeVar("T")

URL = "http://127.0.0.1:2024"

OF_RUNS: frozenset[Callable[..., Any]] = frozenset(
    {
        events.append,
        runs.run_checkpoint_apply,
        runs.run_finish_if_active,
        blobs.parts_store_if_running,
    }
)
"""What the writer is asked to store on behalf of a worker's data frames."""

JOIN_S = 10.0
"""How long a worker's thread may take to end."""


LOADING = threading.Lock()
"""
Held while a worker imports the project: the modules are shared here, and importing them was not made for
threads.
"""


MAKING: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()
"""Held while services are made, for each loop: else a test that makes several at once mixes their workers."""


# workers


class Core(core.Core):
    """The worker's core, taking turns in loading."""

    def _load(self, configuration: orders.Configuration) -> core.Project:
        with LOADING:
            return super()._load(configuration)


@define(eq=False)
class Worker:
    """A worker in a thread: what `supervisor.process.Running` asks for."""

    name: str
    control: socket.socket
    """The daemon's ends of the two pairs."""
    data: socket.socket
    _theirs: tuple[socket.socket, socket.socket]
    pid: int = 0
    """Not the test's own: process groups of recorded workers are killed at the next boot."""
    core: Core | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _ended: asyncio.Future[int] = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._live, name=f"worker {self.name}", daemon=True)
        self._thread.start()

    async def ended(self) -> int:
        """Wait for its end; return what the exit code would be."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """Cut it off: what it has sent can still be read, nothing comes after it."""
        # Data first: at the end of either, the core begins to fail its runs, and must not be able to say so.
        for end in reversed(self._theirs):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._resolve(-signal.SIGKILL)

    def join(self) -> None:
        """Wait for the thread; one that does not end is a failure of the test."""
        self._thread.join(JOIN_S)
        assert not self._thread.is_alive(), f"the thread of worker {self.name} does not end"

    def _resolve(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    def _live(self) -> None:
        code = 1
        try:
            with asyncio.Runner(loop_factory=worker_loop.Loop) as runner:
                code = self._work(runner)
        finally:
            with contextlib.suppress(RuntimeError):  # the test's loop is closed
                self._loop.call_soon_threadsafe(self._resolve, code)

    def _work(self, runner: asyncio.Runner) -> int:
        """Do what `gatewayd.worker.main` does, without its process."""
        loop = runner.get_loop()
        working = self.core = Core(self.pid, loop)
        killed = threading.Event()

        def on_end(_: Exception | None) -> None:  # where a process would exit
            killed.set()
            working.stop_waiting()
            for execution in list(working._runs.values()):
                execution.outbox.refused("the worker was killed")
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(end)

        main: asyncio.Task[int] | None = None

        def end() -> None:
            if main is not None:
                main.cancel()

        working.link = link.Link(
            *self._theirs, on_control=working.on_control, on_data=working.on_data, on_end=on_end
        )
        working.link.start()

        async def work(project: core.Project) -> int:
            nonlocal main
            main = asyncio.ensure_future(working.main(project))
            if killed.is_set():
                main.cancel()
            try:
                return await main
            except asyncio.CancelledError:
                return -signal.SIGKILL
            finally:
                await self._drop(working)

        project = working.load()
        if project is None:
            working.link.close()
            return -signal.SIGKILL if killed.is_set() else 1
        return runner.run(work(project))

    async def _drop(self, working: core.Core) -> None:
        """Let nothing of a killed worker stay: its tasks, the questions it waits for, its connection."""
        if working._remote is not None:
            for future in working._remote._asked.values():
                future.cancel()
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.05)
        if working._around is not None:
            working._around.reader.close()
        working.link.close()


@define(eq=False)
class Workers:
    """Starts workers in this process: its `begin` is a `supervisor.process.Start`."""

    started: list[Worker] = field(factory=list, init=False)

    async def begin(self, order: process.Order) -> Worker:
        """Start one."""
        pairs = [socket.socketpair() for _ in range(2)]
        one = Worker(order.name, pairs[0][0], pairs[1][0], (pairs[0][1], pairs[1][1]))
        self.started.append(one)
        return one

    def named(self, name: str) -> Worker:
        """Return the newest worker of that name ("service", "run-1", …)."""
        return next(one for one in reversed(self.started) if one.name == name)

    def kill(self) -> None:
        """Kill all."""
        for one in self.started:
            one.kill()


# a writer that dies


@define(eq=False)
class CrashingWriter(writing.Writer):
    """A writer that can be told at which operation the machine dies.

    From that operation on nothing is stored and nobody is answered. It also notes what it takes for runs.
    """

    crashed: asyncio.Event = field(factory=asyncio.Event, init=False)
    taken: list[tuple[Callable[..., Any], tuple[Any, ...]]] = field(factory=list, init=False)
    """Operations of runs (`OF_RUNS`) that were let through: function and arguments, in their order."""
    _fatal: Callable[[Callable[..., Any], tuple[Any, ...]], bool] = field(
        default=lambda *_: False, init=False
    )

    def crash_when(self, fatal: Callable[[Callable[..., Any], tuple[Any, ...]], bool]) -> None:
        """
        Die at the first operation `(function, args)` of which `fatal` is true: it is not stored any more.
        """
        self._fatal = fatal

    def crash_after(self, count: int) -> None:
        """Let `count` more operations of runs through and die at the next."""
        last = len(self.taken) + count
        self.crash_when(lambda function, _: function in OF_RUNS and len(self.taken) >= last)

    def submit(self, function: Callable[..., T], *args: Any, **how: Any) -> asyncio.Future[T]:
        """Queue like a living writer, or lose it."""
        if self._passes(function, args):
            return super().submit(function, *args, **how)
        return asyncio.get_running_loop().create_future()

    def post(self, function: Callable[..., T], *args: Any, **how: Any) -> None:
        """Queue like a living writer, or lose it."""
        if self._passes(function, args):
            super().post(function, *args, **how)

    def _passes(self, function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        if self.crashed.is_set():
            return False
        if self._fatal(function, args):
            self.crashed.set()
            return False
        if function in OF_RUNS:
            self.taken.append((function, args))
        return True


# the daemon


@define(eq=False)
class Daemon:
    """Running services, and what tests do with them."""

    services: Services
    workers: Workers
    abandoned: bool = False

    @property
    def writer(self) -> Any:
        """The storage's writer: a `CrashingWriter` if it was opened with that."""
        return self.services.storage.writer

    async def create(self, request: RunRequest) -> admission.Admission:
        """Admit a run; `ended` of the answer is the future of its end."""
        return await self.services.runs.create(INTERNAL, request, follow=True)

    async def finish(self, request: RunRequest) -> waiters.Ended:
        """Admit a run and wait for its end."""
        admission = await self.create(request)
        assert admission.ended is not None
        return await admission.ended

    async def log(self, thread_id: str, run_id: str | None = None) -> list[Record]:
        """Return the stored events of a thread, or of one of its runs."""
        records: list[Record] = []
        storage = self.services.storage
        while page := await storage.events_page(thread_id, records[-1].seq if records else 0, run_id):
            records += [record for chunk in page for record in (await storage.chunk_joined(chunk)).records]
        return records

    async def state(self, thread_id: str, graph_id: str, **params: Any) -> dict[str, Any]:
        """Ask the service worker for a thread's latest state, subgraphs included."""
        asked = {"checkpoint_id": None, "checkpoint_ns": "", "subgraphs": True, **params}
        answer = await self.services.workers.call(
            "state", {"thread_id": thread_id, "graph_id": graph_id, **asked}
        )
        state: dict[str, Any] = wire.loads(answer)
        return state

    def abandon(self) -> None:
        """
        Drop it as a crash of the machine does: nothing is handed back, ended or stored when the context is
        left.
        """
        if isinstance(self.writer, CrashingWriter):
            self.writer.crashed.set()
        self.abandoned = True
        self.services.runs.dispatch.stopping = True
        self.services.runs.active.clear()
        self.services.storage.boot = 0  # no orderly stop is recorded
        self.workers.kill()


@asynccontextmanager
async def opened(
    data_dir: Path,
    config: Path,
    *,
    writer: Callable[[sqlite3.Connection], writing.Writer] = writing.Writer,
    workers: Workers | None = None,
    run_workers: int = 1,
    **overrides: Any,
) -> AsyncIterator[Daemon]:
    """Yield a daemon on `data_dir` that serves the project at `config` (a langgraph.json); `overrides` are
    settings.

    The service worker has loaded the project when it yields; runs that were pending may be at work already.
    Several in a row on one directory are several boots. `workers` are given by tests that need them before.
    What a boot that has stopped in order leaves behind must satisfy the invariants.
    """
    options, served = _configured(data_dir, config, {"workers": run_workers, **overrides})
    workers = workers or Workers()
    try:
        async with contextlib.AsyncExitStack() as stack:
            turn = MAKING.setdefault(asyncio.get_running_loop(), asyncio.Lock())
            async with turn:
                with (  # in the place of the product's own while the services are made
                    mock.patch.object(writing, "Writer", writer),
                    mock.patch.object(
                        supervisor, "Supervisor", partial(supervisor.Supervisor, begin=workers.begin)
                    ),
                ):
                    services = await stack.enter_async_context(
                        open_services(options, served, URL, partial(reply.run, api_url=URL))
                    )
            daemon = Daemon(services, workers)
            try:
                await _loaded(services)
                yield daemon
            except BaseException:  # a test that has failed does not wait for runs to be handed back
                daemon.abandon()
                raise
        if not daemon.abandoned:
            assert violations(data_dir) == []
    finally:
        workers.kill()
        for one in workers.started:
            await asyncio.to_thread(one.join)


def violations(data_dir: Path) -> list[invariants.Violation]:
    """Return what is wrong with the rows of a file on which no daemon works."""
    connection = database.connect(data_dir / datadir.DATABASE)
    try:
        return invariants.invariants_check(connection, True)
    finally:
        connection.close()


def _configured(
    data_dir: Path, config: Path, overrides: dict[str, Any]
) -> tuple[settings.Settings, project.Project]:
    data_dir.mkdir(exist_ok=True)
    loaded, served = settings.load({"config": config, "data_dir": data_dir}, {})
    return attrs.evolve(loaded, **overrides), served


async def _loaded(services: Services) -> None:
    loading = asyncio.ensure_future(services.workers.service_loaded.wait())
    await asyncio.wait([loading, services.workers.failure], return_when=asyncio.FIRST_COMPLETED)
    loading.cancel()
    assert not services.workers.failure.done(), services.workers.failure.result()


def request(
    graph: str,
    *,
    thread_id: str | None,
    input: Any = None,  # noqa: A002 - the wire's name
    command: Mapping[str, Any] | None = None,
    stream_mode: tuple[str, ...] = ("values", "updates"),
    multitask_strategy: str = "enqueue",
    config: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    after_s: float = 0.0,
    keep_thread: bool = False,
    **kwargs: Any,
) -> RunRequest:
    """
    Return what the API makes of a request; `kwargs` are `interrupt_before`, `durability`, `subgraphs`, … of
    the run.
    """
    defaults: dict[str, Any] = {
        "interrupt_before": None,
        "interrupt_after": None,
        "webhook": None,
        "feedback_keys": None,
        "temporary": thread_id is None and not keep_thread,
        "subgraphs": False,
        "resumable": False,
        "checkpoint_during": True,
        "durability": "async",
    }
    assert not (unknown := kwargs.keys() - defaults.keys()), unknown
    return making.run_request(
        assistant=graph,
        thread_id=thread_id,
        kwargs={"input": input, "command": command, "stream_mode": list(stream_mode), **defaults, **kwargs},
        config=config or {},
        context=context or {},
        metadata=metadata or {},
        multitask_strategy=multitask_strategy,
        after_s=after_s,
        keep_thread=keep_thread,
        request_id=ids.new_id(),
        received_at=time.time_ns() // 1000,
    )
