"""Merging a run that waits into the one that executes on its thread ("steering").

The graph is stopped before a step as for a hand-back. The waiting run's input is then stored as an update of
the state, as langgraph stores that of a command: as writes on the newest checkpoint, by no task, so the tasks
that come next stay as they are. The same transaction marks the waiting run as merged (`storage.sqlite.runs`).
Then the graph goes on, in the same attempt; after a crash the next attempt finds either both or neither.

A step is fit for it if no message in the list that the input belongs to waits for a tool's answer: the
answers must follow their calls. The first step after the graph was started is not: its checkpoint may have
writes by no task already, those of a command or of another merge, and a second update would be taken for
their repetition.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from attrs import frozen
from langchain_core.runnables.config import var_child_runnable_config

from gatewayd import wire
from gatewayd.blobs import codec
from gatewayd.checkpointing import reader
from gatewayd.worker import langgraph_internals as internals

NO_TASK = "00000000-0000-0000-0000-000000000000"
"""langgraph's id of the task by which writes are stored that no task has made."""


@frozen
class Waiting:
    """The run that is to be merged."""

    run_id: str
    stamp: int
    """When it was changed last: if it has been changed since, its input is another, and it is not merged."""
    key: str
    values: list[Any]


def find(storage: reader.Reader, thread_id: str, into_run: str) -> Waiting | None:
    """Return the run that waits to be merged into another, if there is one."""
    run = storage.run_to_merge(thread_id, into_run)
    if run is None:
        return None
    ((key, values),) = wire.opened(wire.unpacked(codec.content(run.kwargs))["input"]).items()
    identified = [_identified(value, run.run_id, position) for position, value in enumerate(values)]
    return Waiting(run.run_id, run.updated_at, key, identified)


def _identified(value: Any, run_id: str, position: int) -> Any:
    """Return a message with an id, so that it has the same after a crash; anything else as it is."""
    if not isinstance(value, dict) or not (value.keys() & {"role", "type"}) or value.get("id"):
        return value
    return {**value, "id": str(uuid.uuid5(uuid.UUID(run_id), str(position)))}


def in_subgraph() -> bool:
    """Whether this is called while a node executes: by the loop of a subgraph."""
    config = var_child_runnable_config.get(None)
    return config is not None and internals.TASK_ID in (config.get("configurable") or {})


def waits_for_tool(values: Any, key: str) -> bool:
    """
    Whether a message of a state waits for a tool's answer; also if the state does not show its messages.
    """
    messages = values.get(key) if isinstance(values, dict) else None
    return not isinstance(messages, list) or bool(_calls(messages) - _answers(messages))


def _calls(messages: Iterable[Any]) -> set[Any]:
    return {
        _of(call, "id")
        for message in messages
        for call in _of(message, "tool_calls") or ()
        if _of(call, "id")
    }


def _answers(messages: Iterable[Any]) -> set[Any]:
    return {_of(message, "tool_call_id") for message in messages}


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
