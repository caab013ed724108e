"""
The worker between its link and its work: frames in, runs and answers out. Knows no process and no transport.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field, frozen

from gatewayd import tasks, wire
from gatewayd.blobs import codec
from gatewayd.channel import orders, refusals
from gatewayd.checkpointing import reader
from gatewayd.errors import (
    BadConfiguration,
    Conflict,
    GatewaydError,
    Invalid,
    NotFound,
    ProjectRefusal,
    ReadFailed,
    Rejected,
    Unanswered,
    Unusable,
)
from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.process import link, prints, stacks, threads
from gatewayd.worker.process import loop as worker_loop
from gatewayd.worker.project import faults, graphs, missing, usercode
from gatewayd.worker.runs import execute
from gatewayd.worker.service import descriptions, state, update
from gatewayd.worker.states import serde
from gatewayd.worker.store import embeddings, items

log = logging.getLogger(__name__)

Answer = Callable[..., Awaitable[Any]]

TOLD_AS_THEY_ARE = (NotFound, Conflict, Invalid, Rejected, ProjectRefusal, Unanswered, ReadFailed)
"""What a call may end with on purpose; anything else is a fault, and logged."""


@frozen(kw_only=True)
class Project:
    """The project as a worker has loaded it."""

    configuration: orders.Configuration
    graphs: graphs.Graphs
    embedding: embeddings.Embedder | None
    reader: reader.Reader


@define(eq=False)
class Core:
    """
    One worker: `load`, then `main` in the loop, both in the thread that makes the core; frames are handed in
    by the reader thread from the first moment.

    The project is loaded before the loop runs (see `importing`). Until then pings are answered by the reader
    thread, and what belongs to the loop waits in it.
    """

    pid: int
    _loop: asyncio.AbstractEventLoop
    link: link.Link = field(init=False)
    _thread: int = field(factory=threading.get_ident, init=False)
    _stop: asyncio.Event = field(factory=asyncio.Event, init=False)
    _configured: concurrent.futures.Future[orders.Configuration] = field(
        factory=concurrent.futures.Future, init=False
    )
    _turning: bool = field(default=False, init=False)
    """The loop answers; before, the reader thread does."""
    _waiting: dict[tuple[str, int], bool] = field(factory=dict, init=False)
    """
    Runs (with their attempts) that the loop has not begun yet; who takes one out begins it, or gives it back.
    """
    _runs: dict[str, execute.Execution] = field(factory=dict, init=False)
    _around: execute.Surroundings | None = field(default=None, init=False)
    _answers: dict[str, Answer] = field(factory=dict, init=False)
    _remote: items.RemoteStore | None = field(default=None, init=False)
    _pool: threads.Pool = field(factory=threads.Pool, init=False)
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("worker"), init=False)

    def __attrs_post_init__(self) -> None:
        self._loop.set_default_executor(self._pool)
        if isinstance(self._loop, worker_loop.Loop):
            self._loop.pace = self._pace

    # threads of runs

    def _pace(self, item: object) -> None:
        """
        A thread is about to hand something to a queue of the loop; if it is a run's, the run's pace may hold
        it up.
        """
        execution = self._runs.get(threads.CURRENT.get())
        if execution is not None:
            execution.pace.handed(item)

    # the reader thread

    def on_control(self, frame: list[Any]) -> None:
        """Take a control frame; most belong to the event loop."""
        match frame:
            case ["configure", configuration] if not self._configured.done():
                if self._configured.set_running_or_notify_cancel():  # else it is to stop already
                    self._configured.set_result(orders.Configuration(**configuration))
            case ["ping", number] if not self._turning:
                self.link.control("pong", number)
            case ["stop"] if self._configured.cancel():
                pass  # there is nothing to load, and so nothing to stop
            case ["stack", number]:
                self.link.control("stack", number, *self._place())
            case ["start", order]:
                self._waiting[order["run_id"], order["attempt"]] = True
                self._loop.call_soon_threadsafe(self._handle, frame)
            case ["withdraw", run_id, attempt]:
                if self._waiting.pop((run_id, attempt), False):
                    self.link.control("withdrawn", run_id, attempt)
            case ["reply", number, ok, payload]:
                if self._remote is not None:
                    self._remote.replied(number, ok, payload)
            case _:
                self._loop.call_soon_threadsafe(self._handle, frame)

    def _place(self) -> tuple[str, str, str]:
        """
        Return where the loop's thread is, its stack, and in whose code it is: a run's id or ''.

        Reading a stack runs code of others (module loaders) and may fail.
        """
        run_id = stacks.run_in(self._thread)
        try:
            return *stacks.of_thread(self._thread), run_id
        except Exception as error:
            return "?", f"the stack can't be read: {type(error).__name__}: {error}", run_id

    def on_data(self, frame: list[Any]) -> None:
        """
        Take an acknowledgement or a refusal to the run's outbox, where somebody may be waiting in any thread.
        """
        match frame:
            case ["ack", entries]:
                for run_id, attempt, n in entries:
                    execution = self._runs.get(run_id)
                    if execution is not None and execution.order.attempt == attempt:
                        execution.outbox.acknowledged(n)
            case ["refuse", run_id, attempt, _, why]:
                execution = self._runs.get(run_id)
                if execution is not None and execution.order.attempt == attempt:
                    execution.outbox.refused(why)

    # before the event loop runs

    def load(self) -> Project | None:
        """
        Wait for the configuration and import what it names.

        None: it can't be loaded, which the daemon is told, or the worker is to stop before it has loaded
        anything.
        """
        self.link.control("hello", self.pid, {"langgraph": metadata.version("langgraph")})
        try:
            return self._load(self._configured.result())
        except concurrent.futures.CancelledError:
            return None
        except BadConfiguration as error:
            self.link.control("failed", str(error), usercode.trace(error) or "")
            return None

    def stop_waiting(self) -> None:
        """Have `load` return if it waits for the configuration; from any thread."""
        self._configured.cancel()

    def _load(self, configuration: orders.Configuration) -> Project:
        internals.require()
        usercode.extend_path(Path(entry) for entry in configuration.search_path)
        specs = {graph_id: (str(path), about) for graph_id, (path, about) in configuration.graphs.items()}
        folder = Path(configuration.folder)
        try:
            loaded = graphs.Graphs.load(specs, folder)
            embedding = items.embedder(configuration)
        except usercode.LoadError as error:
            hint = missing.hint(error, folder, configuration.dependencies)
            raise usercode.LoadError(error.path, error.cause + hint, error.graph) from error
        return Project(
            configuration=configuration,
            graphs=loaded,
            embedding=embedding,
            reader=serde.opened(configuration, os.environ),
        )

    # the event loop

    async def main(self, project: Project) -> int:
        """Work until told to stop; return the exit code."""
        self._turning = True
        configuration, loaded, database = project.configuration, project.graphs, project.reader
        database.on_failed = self._read_failed
        async with items.opened(configuration, self.link, project.embedding) as store:
            if isinstance(store, items.RemoteStore):
                self._remote = store
            self._around = execute.Surroundings(
                channel=self.link,
                graphs=loaded,
                reader=database,
                pool=self._pool,
                store=store,
                window=configuration.window,
                backlog=configuration.backlog,
                job_timeout_s=configuration.job_timeout_s,
                patience_s=configuration.patience_s,
                full_errors=configuration.full_errors,
                v2_places=configuration.v2_places,
            )
            states = state.States(loaded, database, store, configuration.full_errors)
            updates = update.Updates(loaded, database, store, configuration.full_errors)
            described = descriptions.Descriptions(loaded, store)
            self._answers = {
                "graph": described.graph,
                "schemas": described.schemas,
                "subgraphs": described.subgraphs,
                "state": states.state,
                "history": states.history,
                "project": states.project,
                "kept": states.kept,
                "storage": states.storage,
                "supersteps": updates.supersteps,
                "update": updates.update,
            }
            if not isinstance(store, items.RemoteStore):
                self._answers["store"] = items.Answering(store).batch
            self.link.control("loaded")
            await self._stop.wait()
            await self._tasks.stop()
        database.close()
        return 0

    def _handle(self, frame: list[Any]) -> None:
        match frame:
            case ["ping", number]:
                self.link.control("pong", number)
            case ["start", order]:
                self._start(orders.parse(order))
            case ["cancel" | "merge" as word, run_id, attempt]:
                for execution in self._chosen(run_id, attempt):
                    (execution.cancel if word == "cancel" else execution.merge)()
            case ["drain", run_id, reason]:
                for execution in self._chosen(run_id):
                    execution.drain(reason)
            case ["cut"]:
                for execution in self._chosen(None):
                    execution.cancel()
            case ["call", number, method, params, deadline_s]:
                self._tasks.spawn(self._answer(number, method, params, deadline_s), f"answer {method}")
            case ["stop"]:
                self._stop.set()
            case _:
                log.error("the daemon sent an unknown frame %r", frame[:1])

    def _chosen(self, run_id: str | None, attempt: int | None = None) -> list[execute.Execution]:
        if run_id is None:
            return list(self._runs.values())
        execution = self._runs.get(run_id)
        return [execution] if execution is not None and attempt in (None, execution.order.attempt) else []

    def _complete(self, order: orders.RunOrder) -> orders.RunOrder:
        """
        Return an order with what was too large to be in it; a run that is deleted meanwhile is cancelled
        anyway.
        """
        assert self._around is not None
        stored = self._around.reader.run_arguments(order.run_id) if order.stored else None
        if stored is None:
            return order
        kwargs: dict[str, Any] = wire.opened(wire.unpacked(codec.content(stored.kwargs)))
        answers = None if stored.answers is None else wire.opened(wire.unpacked(stored.answers))
        return attrs.evolve(order, kwargs=kwargs, answers=answers)

    def _read_failed(self, failed: reader.Failed) -> None:
        """Tell the daemon, which stops writing if it was damage: what a run meets is not told otherwise."""
        self.link.control("read_failed", failed.code, failed.name, failed.detail)

    def _start(self, order: orders.RunOrder) -> None:
        assert self._around is not None
        if not self._waiting.pop((order.run_id, order.attempt), False):
            return  # it was withdrawn
        unreadable: Exception | None = None
        try:
            order = self._complete(order)
        except Exception as error:  # the run ends by it, rather than stay open for ever
            unreadable = error
        execution = self._runs[order.run_id] = execute.Execution(order, self._around, unreadable)
        execution.task = self._tasks.spawn(self._execute(execution), f"run {order.run_id}")

    async def _execute(self, execution: execute.Execution) -> None:
        try:
            await execution.run()
        finally:
            prints.flush(execution.order.run_id)
            if self._runs.get(execution.order.run_id) is execution:
                del self._runs[execution.order.run_id]

    async def _answer(self, number: int, method: str, params: dict[str, Any], deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                result = await self._answers[method](**params)
        except TimeoutError:
            return  # the daemon has given up by itself
        except Exception as error:
            self.link.control("answer", number, False, refusals.pack(_refusal(method, error)))
        else:
            self.link.control("answer", number, True, result)


def _refusal(method: str, error: Exception) -> GatewaydError:
    """Return what the daemon is told of a failed call; a fault is logged here, with its trace."""
    if isinstance(error, TOLD_AS_THEY_ARE):
        error.detail = faults.short(error.detail)
        return error
    if isinstance(error, graphs.InvalidGraph):
        return Unusable(faults.short(error.detail))
    if isinstance(error, embeddings.EmbeddingFailed):
        return GatewaydError(faults.short(error.detail))
    log.error("the call %s failed", method, exc_info=error)
    return GatewaydError(f"{type(error).__name__}: {faults.text(error)}")
