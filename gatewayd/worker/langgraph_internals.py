"""Internals of langgraph and langchain that the worker relies on, each with its purpose: the only module
that does.

None of them is promised by its authors. They were seen in langgraph 1.2.20 to 1.2.x and langchain-core 1.x;
`tests/worker/test_langgraph_internals.py` fails by name on the version in which one is missing, and runs
with both ends of the range that setup.cfg allows.

What happens when one is missing in a version that was installed against that range:

    a class            the worker does not start, and its ImportError names the class
    the queue of a graph's chunks, the exit of its loop
                       the project is not loaded (`require`): events could come after the checkpoint that
                       follows them, unnoticed
    a key of `configurable`
                       langgraph ignores it; what it is for, said beside each, does not happen
"""

from __future__ import annotations

import asyncio
import inspect
from importlib import metadata
from types import CodeType
from typing import Any, Final

from langchain_core.tracers.event_stream import _AstreamEventsCallbackHandler
from langgraph.pregel import Pregel
from langgraph.pregel._loop import AsyncPregelLoop
from langgraph.stream._mux import StreamMux
from langgraph_sdk.runtime import _ExecutionRuntime, _ReadRuntime

from gatewayd import errors
from gatewayd.model import run

__all__ = ["EventsHandler", "ExecutionRuntime", "ReadRuntime", "StreamMux"]

ExecutionRuntime = _ExecutionRuntime
"""
What a graph factory is given for a `ServerRuntime` when a run is to be executed; the public name is a
union.
"""
ReadRuntime = _ReadRuntime
"""The same when a state is only read."""
EventsHandler = _AstreamEventsCallbackHandler
"""
langchain's maker of events (stream mode ``events``). Its `_send(event, event_type)` is called with each;
the public `astream_events` executes the graph for its events alone, a task and two queues later.
"""

# Keys of a config's `configurable`. When langgraph stops knowing one, the sentence beside it no longer holds.

PREFIX: Final = "__pregel_"
"""Of langgraph's own keys, which steer its engine."""
TASK_ID: Final = "__pregel_task_id"
"""The task in which something executes; its presence tells a subgraph."""
STREAM_MESSAGES_V2: Final = "__pregel_stream_messages_v2"
"""Has chat models stream the message events of protocol v2 instead of chunks."""
STRICT_RESUME: Final = "__pregel_strict_resume"
"""Has a graph refuse answers that it can't match to its open questions."""
RUNTIME: Final = "__pregel_runtime"
"""The runtime that a factory may look at."""
CHECKPOINTER: Final = "__pregel_checkpointer"
"""The checkpointer that a factory may look at."""
FOR_EXECUTION: Final = "__is_for_execution__"
"""Tells a factory whether the graph is made to be executed. It is the reference server's, not langgraph's."""
RESUMING: Final = run.RESUMING
"""Has a graph go on with its open task; `RemoteGraph` sends it."""


class Changed(Exception):
    """langgraph is not built as it was: something that the worker relies on is not there."""


_ASTREAM: Final[CodeType] = Pregel.astream.__code__
_QUEUE: Final = "stream"
"""The variable of `Pregel.astream` that has the queue."""
_EXIT: Final = "__aexit__"
"""The method in which langgraph's loop stores the last checkpoint of ``durability="exit"``."""


def require() -> None:
    """Raise `BadConfiguration` if what would otherwise be missed in silence is not there."""
    missing = []
    if _QUEUE not in (*_ASTREAM.co_varnames, *_ASTREAM.co_cellvars):
        missing.append(f"the variable `{_QUEUE}` of Pregel.astream")
    if not inspect.iscoroutinefunction(getattr(AsyncPregelLoop, _EXIT, None)):
        missing.append(f"the coroutine AsyncPregelLoop.{_EXIT}")
    if missing:
        raise errors.BadConfiguration(
            f"langgraph {metadata.version('langgraph')} is not built as the versions that gatewayd knows: it lacks "
            f"{' and '.join(missing)}. Install one that gatewayd allows: pip install --upgrade gatewayd"
        )


def is_own(key: str) -> bool:
    """Whether a key of `configurable` is langgraph's own."""
    return key.startswith(PREFIX)


def queue_of(chunks: Any) -> asyncio.Queue[Any] | None:
    """
    Return langgraph's queue between a graph and the consumer of its `astream`, as long as the graph executes.

    What lies in it when a checkpoint is stored was emitted before, and must be sent before. None: the graph
    has not begun or has ended, or does not stream as langgraph's graphs do (a class of the user's own).
    """
    frame = getattr(chunks, "ag_frame", None)
    queue = frame.f_locals.get(_QUEUE) if frame is not None else None
    return queue if isinstance(queue, asyncio.Queue) else None


def queue_of_started(chunks: Any) -> asyncio.Queue[Any] | None:
    """
    Return the same of a graph that has yielded a chunk. Raises `Changed` if one of langgraph's has none.
    """
    queue = queue_of(chunks)
    if queue is None and getattr(chunks, "ag_code", None) is _ASTREAM:
        raise Changed(
            f"the queue of a graph's chunks is not where it was (the variable `{_QUEUE}` of Pregel.astream)"
        )
    return queue


def is_leaving(chunks: Any) -> bool:
    """
    Whether langgraph is in the exit of its loop: the step's last events are handed out only after it.
    """
    awaited = getattr(chunks, "ag_await", None)
    return inspect.iscoroutine(awaited) and awaited.__name__ == _EXIT
