"""The execution of one run in one attempt: from its order to its last frame.

What ends it, and what the last frame says:

- the graph ends, with or without an interrupt: "success", with the thread's state;
- it raises: "error" with the state of the last checkpoint (the daemon makes the `error` event of it);
- it is cancelled: "cancelled", after everything of it has stopped, its threads included;
- it was asked to hand back and stopped before its next step: "drained";
- its attempts together take longer than the job timeout: "timeout".

Before a step the graph may also be stopped to take the input of a run that waits (`merging`); then it goes
on.

A run that was stopped (cancelled, or out of time) ends as that, whatever its nodes make of their
cancellation: one may raise something else, or swallow it and return.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Literal

import attrs
from attrs import define, field, frozen
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphDrained, UnknownInterruptError
from langgraph.prebuilt import ToolCallTransformer
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore
from langgraph.stream.transformers import TasksTransformer
from langgraph.types import Command, StateSnapshot

from gatewayd import logs
from gatewayd.channel import messages, orders
from gatewayd.checkpointing import commands, reader
from gatewayd.errors import GatewaydError
from gatewayd.model import event
from gatewayd.model.state import Cut
from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.process import link, pacing, stacks, threads
from gatewayd.worker.project import faults, graphs
from gatewayd.worker.runs import callbacks, merging, modes, outbox, protocol, resume, toolmessages
from gatewayd.worker.runs import config as run_config
from gatewayd.worker.runs.transformers import Transformers
from gatewayd.worker.states import checkpoints, parts, projection, questions, serialise

log = logging.getLogger(__name__)

SHOWN = event.V1 | event.THREAD
INTERRUPT = "__interrupt__"
LIFECYCLE = "lifecycle"
"""The mode that only runs have that were started over protocol v2."""


class StepControl(RunControl):
    """
    langgraph's drain control, which also counts steps: `drain_requested` is read once at each.

    `may_stop` is asked at each step, too, and may stop the run before it without a request.
    """

    __slots__ = ("may_stop", "steps")

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.may_stop: Callable[[], bool] = lambda: False

    @property
    def drain_requested(self) -> bool:
        """Whether the run is to stop before this step."""
        self.steps += 1
        return self.drain_reason is not None or self.may_stop()


@frozen(kw_only=True)
class Surroundings:
    """What executions share in a worker."""

    channel: link.Link
    graphs: graphs.Graphs
    reader: reader.Reader
    pool: threads.Pool
    store: BaseStore | None
    window: int
    backlog: int
    job_timeout_s: float
    patience_s: float
    """Seconds that the threads of a cancelled run have before they are interrupted."""
    full_errors: bool
    v2_places: bool = False


@define(eq=False)
class Execution:
    """One run in one attempt. `task` runs `run`; `cancel` and `drain` end it early."""

    order: orders.RunOrder
    around: Surroundings
    unreadable: Exception | None = None
    """Why its arguments could not be read; the run ends by it."""
    outbox: outbox.Outbox = field(init=False)
    pace: pacing.Pace = field(init=False)
    control: StepControl = field(factory=StepControl, init=False)
    task: asyncio.Task[None] | None = field(default=None, init=False)
    _loop_thread: int = field(factory=threading.get_ident, init=False)
    _begun: bool = field(default=False, init=False)
    """A task that is cancelled before its first turn never runs, and would never say its end."""
    _stop: Literal["cancelled", "timeout"] | None = field(default=None, init=False)
    """Why the run is being stopped, if it is."""
    _values: Any = field(default=None, init=False)
    """The last state of the root graph, and what was emitted of it, if it was."""
    _values_cut: bytes | Cut | None = field(default=None, init=False)
    _states: parts.States = field(init=False)
    _private: bool = field(default=False, init=False)
    """Whether the graph hands out less than its whole states."""
    _paused: bool = field(default=False, init=False)
    """The graph stopped at an interrupt or breakpoint."""
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    """Stops the run when its time is over."""
    _merge_wanted: bool = field(default=False, init=False)
    """A run may wait to be merged into this one."""
    _merge: merging.Waiting | None = field(default=None, init=False)
    """The graph was stopped before a step to take this run's input."""
    _root_steps: int = field(default=0, init=False)
    """Steps of the root graph since it was started last."""
    _agen: Any = field(default=None, init=False)
    _queue: asyncio.Queue[tuple[tuple[str, ...], str, Any]] | None = field(default=None, init=False)
    """Where langgraph keeps what the graph has emitted until ``astream`` hands it out."""
    _subgraphs: bool = field(default=False, init=False)
    _modes: modes.Modes = field(init=False)
    _events: callbacks.Events | None = field(default=None, init=False)
    """Emits langchain's events, if they are wanted."""
    _protocol: protocol.Protocol | None = field(default=None, init=False)
    """Makes the events of protocol v2, for a run that was started over it."""

    def __attrs_post_init__(self) -> None:
        around, order = self.around, self.order
        kwargs = order.kwargs
        self._states = parts.States(around.reader, order.thread_id)
        wanted = frozenset(kwargs.get("stream_mode") or ["values"])
        if LIFECYCLE in wanted:
            wanted = protocol.MODES
            cut = partial(self._states.cut, full=around.full_errors)
            self._protocol = protocol.Protocol(
                False, False, around.full_errors, cut, with_places=around.v2_places
            )
        self._modes = modes.Modes(wanted, temporary=bool(kwargs.get("temporary")))
        self._subgraphs = bool(kwargs.get("subgraphs"))
        self.outbox = outbox.Outbox(
            around.channel, order.run_id, order.attempt, window=around.window, backlog=around.backlog
        )
        self.pace = pacing.Pace(
            self.outbox, limit=around.backlog, hops=outbox.HOLD_PASSES, holds_loop=self._holds_loop
        )
        self._merge_wanted = order.attempt > 1  # a wish is stored, and the one who was told of it may be gone
        self.control.may_stop = self._stops_to_merge
        self.outbox.leaving = self._leaving
        self.outbox.drain = self._drain

    def _holds_loop(self) -> bool:
        """Whether the event loop's thread is in code of this run."""
        return stacks.run_in(self._loop_thread) == self.order.run_id

    def _let_threads_go(self) -> None:
        """Have no thread of the run wait until its events are stored: they are not consumed any more."""
        self.pace.end()
        self.outbox.let_threads_go()

    def drain(self, reason: str) -> None:
        """Have the run handed back before its next step."""
        self.control.request_drain(reason)

    def merge(self) -> None:
        """Have the run take, at a step, the input of the run that waits to be merged into it."""
        self._merge_wanted = True

    def cancel(self) -> None:
        """
        Stop the run, unless it is being stopped: a second cancellation would end the wait for what the first
        left.
        """
        self._stop_by("cancelled")

    def _stop_by(self, why: Literal["cancelled", "timeout"]) -> None:
        """Cancel the run's task; should a node swallow that, the run stops before its next step."""
        if self._stop is not None or self.task is None or self.task.cancelling():
            return
        self._stop = why
        self.control.request_drain(why)
        if self._begun:
            self.task.cancel()

    async def run(self) -> None:
        """Execute the run and send its last frame, whatever happens."""
        order = self.order
        threads.CURRENT.set(order.run_id)
        given = order.kwargs.get("config") or {}
        request_id = (given.get("configurable") or {}).get("langgraph_request_id")
        logs.attach(request_id=request_id, run_id=order.run_id, thread_id=order.thread_id)
        self._begun = True
        if self._stop is not None and self.task is not None:
            self.task.cancel()
        try:
            outcome = await self._ended()
        except Exception as error:  # a fault of this program: the run must not stay open for it
            log.exception("the end of the run can't be told")
            outcome = messages.Outcome(outcome="error", error=faults.describe(error))
        await self.outbox.end(messages.pack(outcome))

    async def _ended(self) -> messages.Outcome:
        """Return how the run has ended; nothing of it executes any more."""
        outcome = await self._outcome()
        self._close_events()
        return outcome if self._protocol is None else self._with_ends(self._protocol, outcome)

    def _with_ends(self, shaped: protocol.Protocol, outcome: messages.Outcome) -> messages.Outcome:
        """
        Emit how the subgraphs ended that were still at work; return the outcome with the places of its
        questions.
        """
        if outcome.outcome == "drained":
            return outcome
        status, error = ENDS.get(outcome.outcome, "interrupted"), outcome.error
        if outcome.outcome == "success" and outcome.interrupts:
            status = "interrupted"
        with contextlib.suppress(GatewaydError):
            self._emit_all(shaped.close(status, error["message"] if error and status == "failed" else None))
        return attrs.evolve(outcome, asked=shaped.asked)

    async def _outcome(self) -> messages.Outcome:
        order = self.order
        durability = _durability(order.kwargs)
        saver = checkpoints.Saver(
            self.around.reader,
            self.outbox,
            run_id=order.run_id,
            durability=durability,
            thread_id=order.thread_id,
            expendable=bool(order.kwargs.get("temporary")),
        )
        try:
            outcome = await self._own_end(saver, durability)
        except BaseException as failure:
            if self._stop is None and not isinstance(failure, asyncio.CancelledError):
                raise
            return await self._stopped_by(self._stop or "cancelled", failure, saver)
        return outcome if self._stop is None else await self._stopped_by(self._stop, None, saver)

    async def _own_end(self, saver: checkpoints.Saver, durability: str) -> messages.Outcome:
        """
        Return how the graph has ended; raises what it has made of its cancellation when the run is being
        stopped.
        """
        try:
            if self.unreadable is not None:
                raise self.unreadable
            return await self._timed(self._through_graph(saver, durability))
        except GraphDrained:
            return messages.Outcome(outcome="drained")
        except BaseException as error:
            if self._stop is not None or (
                isinstance(error, asyncio.CancelledError) and _cancelled_from_outside()
            ):
                raise
            return await self._failed(error, saver)

    async def _timed(self, work: Coroutine[Any, Any, messages.Outcome]) -> messages.Outcome:
        """Do the run's work; it is stopped when its time is over: its attempts are counted together."""
        limit_s = self.around.job_timeout_s
        if not limit_s:
            return await work
        left_s = max(0.0, limit_s - self.order.executed_s)
        self._timer = asyncio.get_running_loop().call_later(left_s, self._stop_by, "timeout")
        try:
            return await work
        finally:
            self._timer.cancel()

    async def _through_graph(self, saver: checkpoints.Saver, durability: str) -> messages.Outcome:
        order, around = self.order, self.around
        prepared = run_config.prepare(order)
        async with around.graphs.open(
            order.graph_id,
            config=prepared,
            access_context="threads.create_run",
            store=around.store,
            context=order.kwargs.get("context"),
            saver=saver,
        ) as graph:
            config, context = run_config.build(order, graph, prepared)
            plan = await resume.plan(order, graph, config, saver, around.reader)
            if self._stop is not None:  # a factory has swallowed its cancellation
                raise asyncio.CancelledError
            if plan.over:
                return await self._record_end(graph, plan.config)
            await self._consume(graph, plan, context, durability, saver)
            if self._timer is not None:
                self._timer.cancel()  # the graph has come to its end in time
            return await self._succeeded(graph, plan.config, saver)

    async def _consume(
        self,
        graph: graphs.AnyPregel,
        plan: resume.Plan,
        context: Any,
        durability: str,
        saver: checkpoints.Saver,
    ) -> None:
        """Drive the graph to its end; at steps it may take the inputs of runs that wait."""
        kwargs, config = self.order.kwargs, plan.config
        if self._modes.events:
            emit = partial(self._emit, modes.EVENTS, "")
            full = self.around.full_errors
            given = _as_given(plan.input, kwargs.get("command"))
            self._events = callbacks.Events(emit, self.order.run_id, given, full=full)
            config = merge_configs(config, {"callbacks": [self._events]})
        if self._protocol is not None or "tools" in self._modes.asked:
            config = merge_configs({"callbacks": [toolmessages.Ids()]}, config)
        more: dict[str, Any] = {}
        if self._protocol is not None:
            self._protocol.with_tasks = TasksTransformer in graph.stream_transformers
            self._protocol.with_tool_messages = ToolCallTransformer in graph.stream_transformers
            self._protocol.transformers = Transformers(graph.stream_transformers)
            config = merge_configs(config, {"configurable": {internals.STREAM_MESSAGES_V2: True}})
            more["version"] = "v2"
        else:
            self._private = projection.has_private_values(graph)
            if self._private and not self._modes.events:  # beside them the reference shows whole states
                more["output_keys"] = graph.output_channels
        astream: Callable[..., Any] = graph.astream  # its overloads know only literal modes
        stream = partial(
            astream,
            context=context,
            stream_mode=self._modes.of_langgraph(),
            subgraphs=self._subgraphs,
            interrupt_before=kwargs.get("interrupt_before"),
            interrupt_after=kwargs.get("interrupt_after"),
            durability=durability,
            control=self.control,
            **more,
        )
        self._agen = stream(plan.input, config)
        while not await self._taken_to_the_end():
            config = resume.latest(config)
            await self._store_merge(saver, config)
            self._agen = stream(None, config)

    async def _taken_to_the_end(self) -> bool:
        """Take what the graph emits; False: it was stopped before a step to take another run's input."""
        self._queue, self._root_steps = None, 0
        goes_on = False
        async with contextlib.aclosing(self._agen):
            try:
                await self._take()
            except GraphDrained:
                goes_on = self._merge is not None and self.control.drain_reason is None
                if not goes_on:
                    raise
            finally:
                if not goes_on:
                    self._let_threads_go()
        return not goes_on

    def _stops_to_merge(self) -> bool:
        """Whether the graph is to be stopped before this step, to take the input of a run that waits."""
        if merging.in_subgraph():
            return False
        self._root_steps += 1
        if not self._merge_wanted or self._root_steps < 2:
            return False
        self._drain()  # the last state of the graph may not have been handed out
        waiting = merging.find(self.around.reader, self.order.thread_id, self.order.run_id)
        if waiting is None:
            self._merge_wanted = False
        elif not merging.waits_for_tool(self._values, waiting.key):
            self._merge_wanted, self._merge = False, waiting
        return self._merge is not None

    async def _store_merge(self, saver: checkpoints.Saver, config: RunnableConfig) -> None:
        """Store the input of the run that is merged, as an update of the newest state."""
        waiting, self._merge = self._merge, None
        newest = await saver.aget_tuple(config)
        if waiting is None or newest is None:
            return
        wrapped = partial(commands.merge, waiting.run_id, waiting.stamp)
        writes = [(waiting.key, waiting.values)]
        saver.put_writes_as(newest.config, writes, merging.NO_TASK, "", wrapped)
        await self.outbox.committed()
        log.info("the input of run %s is merged into this one", waiting.run_id)

    async def _take(self) -> None:
        """Take the graph's chunks, wait for room at each step."""
        out, steps, events = self.outbox, self.control.steps, self._events
        out.consuming = True
        try:
            async for chunk in self._agen:
                self._queue = self._queue or internals.queue_of_started(self._agen)
                self._see(*_parts(chunk))
                if self._protocol is not None and (self._queue is None or self._queue.empty()):
                    self._emit_all(self._protocol.release())
                if events is not None and events.failure is not None:
                    raise events.failure
                if self.control.steps != steps and out.congested:
                    out.consuming = False
                    await out.wait_for_window()
                    out.consuming = True
                    out.resume_releasing()
                steps = self.control.steps
            if events is not None and events.failure is not None:
                raise events.failure
        finally:
            out.consuming = False

    def _drain(self) -> None:
        """
        Take what lies ready behind the graph: it is handed out too late for a checkpoint that is waited for.
        """
        queue = self._queue = self._queue or internals.queue_of(self._agen)
        while queue is not None and not queue.empty():
            namespace, mode, payload = queue.get_nowait()
            if mode in self._modes.asked or mode in modes.INTERNAL:
                self._see(namespace if self._subgraphs else (), mode, payload)
        if self._protocol is not None:
            self._emit_all(self._protocol.release())

    def _see(self, namespace: tuple[str, ...], mode: str, payload: Any) -> None:
        """Note what is needed for the result; emit what was asked for."""
        if not namespace:
            if mode == "values":
                self._values, self._values_cut = payload, None
            elif mode == "updates" and isinstance(payload, dict) and INTERRUPT in payload:
                self._paused = True
        if self._protocol is not None:
            self._emit_all(self._protocol.shape(tuple(namespace), mode, payload))
            return
        if mode not in self._modes.asked:
            return
        full = self.around.full_errors
        if shape := self._modes.shapes.get(mode):
            for kind, shown in shape(payload):
                where = "" if kind.startswith("messages/") else "|".join(namespace)
                self._emit(kind, where, self._data(kind, shown, full))
            return
        data = self._data(mode, payload, full)
        if mode == "values" and not namespace:
            self._values_cut = data
        self._emit(mode, "|".join(namespace), data)

    def _data(self, kind: str, shown: Any, full: bool) -> bytes | Cut:
        if kind in parts.KINDS:
            return self._states.cut(shown, full=full)
        return serialise.dumps(shown, full=full)

    def _emit(self, kind: str, namespace: str, data: bytes | Cut) -> None:
        self.outbox.emit((kind, namespace, SHOWN, data))

    def _emit_all(self, items: Iterable[event.Emitted]) -> None:
        for item in items:
            self.outbox.emit(item)

    def _close_events(self) -> None:
        if self._events is not None:
            self._events.close()

    def _leaving(self) -> bool:
        return internals.is_leaving(self._agen)

    # how it ended

    async def _succeeded(
        self, graph: graphs.AnyPregel, config: RunnableConfig, saver: checkpoints.Saver
    ) -> messages.Outcome:
        asks = self._paused or INTERRUPT in _keys(self._values)
        if self._values is None or ((self._private or asks) and not saver.given_up):
            return messages.Outcome.of(await self._state(graph, config), outcome="success")
        blobs: list[Sequence[Any]] = []
        values = self._values_cut
        if values is None or self.outbox.failed:
            self._forget_refused()
            values = self._states.cut(self._values)
            blobs = parts.blobs_of(values)
        return messages.Outcome(
            outcome="success",
            values=parts.inline(values),
            result=parts.inline(values),
            blobs=blobs,
            interrupts={},
            next=[],
            end_checkpoint_id=saver.last_root_checkpoint_id,
        )

    async def _record_end(self, graph: graphs.AnyPregel, config: RunnableConfig) -> messages.Outcome:
        """
        The run had ended before its process did: only the end is missing, and the state for those who stream.
        """
        snapshot = await self._snapshot(graph, config)
        if self._protocol is not None:
            self._emit_all(self._protocol.shape((), "values", snapshot.values))
            self._emit_all(self._protocol.release())
            return messages.Outcome.of(self._projected(graph, snapshot), outcome="success")
        if "values" in self._modes.asked:
            output = partial(projection.output_of, graph)
            self._emit("values", "", self._states.cut(projection.result_of(snapshot, self._asking(), output)))
        state = self._projected(graph, snapshot)
        for mode, payload in modes.last_checkpoint(config, snapshot):
            self._see((), mode, payload)
        return messages.Outcome.of(state, outcome="success")

    async def _failed(self, error: BaseException, saver: checkpoints.Saver) -> messages.Outcome:
        self.outbox.drain = lambda: None  # the error is the last event, whatever langgraph still has
        self._close_events()
        fault = faults.describe(error, full=self.around.full_errors)
        log.warning("the run failed: %s: %s", fault["error"], faults.text(error), exc_info=error)
        if isinstance(error, UnknownInterruptError):  # refused before anything was written
            refusal = {
                "reason": error.reason,
                "interrupt_ids": list(error.interrupt_ids),
                "pending_ids": list(error.pending_ids),
            }
            return messages.Outcome(outcome="error", error=fault, quiet=True, refusal=refusal)
        state = await self._state_anyhow(saver)
        return messages.Outcome.of(state, outcome="error", error=fault, trace=faults.trace(error))

    async def _stopped_by(
        self,
        why: Literal["cancelled", "timeout"],
        failure: BaseException | None,
        used: checkpoints.Saver,
    ) -> messages.Outcome:
        """
        Return the end of a run that was stopped, when nothing of it executes any more.

        What may still execute is the exit that langgraph left behind, and the run's threads. What the graph
        has made of its cancellation, a `failure` of another kind or none, is no end of its own.
        """
        if isinstance(failure, asyncio.CancelledError):
            for left in failure.args:
                if isinstance(left, asyncio.Future):
                    with contextlib.suppress(BaseException):
                        await _through_cancel(left)
        elif failure is not None:
            log.info("the run, %s, has raised: %s", why, faults.text(failure), exc_info=failure)
        await self.around.pool.idle(self.order.run_id, self.around.patience_s)
        # A run that is handed back must not store a step without its events.
        with contextlib.suppress(GatewaydError):
            self._drain()
        saver = checkpoints.Saver(
            self.around.reader, self.outbox, run_id=self.order.run_id, durability="async"
        )
        state = await self._state_anyhow(used if used.given_up else saver)
        return messages.Outcome.of(state, outcome=why, error=TIMEOUT if why == "timeout" else None)

    async def _state(self, graph: graphs.AnyPregel, config: RunnableConfig) -> messages.Projection:
        return self._projected(graph, await self._snapshot(graph, config))

    def _projected(self, graph: graphs.AnyPregel, snapshot: StateSnapshot) -> messages.Projection:
        self._forget_refused()
        output = partial(projection.output_of, graph)
        return projection.of_snapshot(snapshot, self._asking(), self._states, output)

    def _asking(self) -> projection.Asking:
        return partial(questions.tasks_that_ask, self.order.thread_id, storage=self.around.reader)

    def _forget_refused(self) -> None:
        """
        If something of the run was not stored, its last state leaves nothing out that may have been in it.
        """
        if self.outbox.failed:
            self._states.forget()

    async def _snapshot(self, graph: graphs.AnyPregel, config: RunnableConfig) -> StateSnapshot:
        with contextlib.suppress(checkpoints.SinkFailed):
            await self.outbox.committed()
        return await graph.aget_state(resume.latest(config))

    async def _state_anyhow(self, saver: checkpoints.Saver) -> messages.Projection:
        """
        Return the thread's state. When it can't be had (a step's writes may contradict each other), the last
        one that the graph handed out; without one the old values stay.
        """
        order = self.order
        if saver.given_up:
            return self._last_shown()
        try:
            config = resume.latest(run_config.prepare(order))
            async with self.around.graphs.open(
                order.graph_id,
                config=config,
                access_context="threads.read",
                store=self.around.store,
                saver=saver,
            ) as graph:
                return await self._state(graph, config)
        except Exception as error:
            log.warning("the state after the run can't be computed: %s", faults.text(error), exc_info=error)
            stored = await self._state_stored(saver)
            return stored or (messages.Projection() if self._private else self._last_shown())

    async def _state_stored(self, saver: checkpoints.Saver) -> messages.Projection | None:
        """
        Return the thread's state as it was stored last, without what was written since; None if it can't be
        had.
        """
        order = self.order
        config = resume.latest(run_config.prepare(order))
        try:
            async with self.around.graphs.open(
                order.graph_id,
                config=config,
                access_context="threads.read",
                store=self.around.store,
                saver=saver,
            ) as graph:
                async for snapshot in graph.aget_state_history(config, limit=1):
                    return self._projected(graph, snapshot)
        except Exception as error:
            log.warning("the stored state can't be had either: %s", faults.text(error), exc_info=error)
        return None

    def _last_shown(self) -> messages.Projection:
        """Return the last state that the graph has handed out."""
        if self._values is None:
            return messages.Projection()
        self._forget_refused()
        values = self._states.shown(self._values)
        shown = parts.inline(values)
        return messages.Projection(values=shown, result=shown, blobs=parts.blobs_of(values), interrupts={})


TIMEOUT = {"error": "TimeoutError", "message": ""}
ENDS = {"success": "completed", "error": "failed", "timeout": "failed"}
"""The outcome of a run as the end of its subgraphs that were still at work."""


def _as_given(graph_input: Any, command: dict[str, Any] | None) -> Any:
    """Return a graph's input as the client gave it: without what answers were bound to."""
    if not isinstance(graph_input, Command) or command is None:
        return graph_input
    return {name: command.get(name) for name in ("graph", "update", "resume", "goto")}


def _parts(chunk: Any) -> tuple[tuple[str, ...], str, Any]:
    """Return namespace, mode and payload of what `astream` has handed out, in any of its forms."""
    if isinstance(chunk, dict):
        return chunk["ns"], chunk["type"], chunk["data"]
    return chunk if len(chunk) == 3 else ((), *chunk)


def _keys(values: Any) -> Any:
    return values if isinstance(values, dict) else ()


def _durability(kwargs: dict[str, Any]) -> str:
    return str(kwargs.get("durability") or "async")


def _cancelled_from_outside() -> bool:
    """Whether this task was cancelled from outside (and not a node raised CancelledError by itself)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _through_cancel(left: asyncio.Future[Any]) -> None:
    """Await a task that may itself be cancelled or fail."""
    await asyncio.wait([left])
