"""A run's stream modes: what is asked of langgraph for them, and what its chunks become on the wire.

Most modes of langgraph are the wire's, under the same names. The others:

- ``messages-tuple`` is langgraph's "messages".
- ``messages``, the older form of the same: for every message one ``messages/metadata``, then what has been
  streamed of it so far as a ``messages/partial`` per chunk, or all at once as ``messages/complete``. The
  names have no namespace. Beside ``messages-tuple`` it is silent.
- ``tools`` is told in the words of the SDKs, ``on_tool_start`` and so on, each with the name of its tool.
- ``debug`` shows checkpoints with their addresses, for clients that want to fork from them.
- ``events`` are no mode of langgraph: see `callbacks`.

Everything comes from one execution of the graph, in the order in which langgraph emits it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field
from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.project import faults

INTERNAL = ("values", "updates")
"""Modes that are always asked of langgraph: the result and the interrupts are read off them."""

EVENTS = "events"

ADDRESS = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")

Shape = Callable[[Any], Iterable[tuple[str, Any]]]
"""From a chunk's payload to names and payloads of the wire."""


@define(eq=False)
class Modes:
    """
    The modes that a client wants, in the wire's words; of a run without checkpoints of its own if
    `temporary`.
    """

    wanted: frozenset[str]
    temporary: bool = False
    asked: frozenset[str] = field(init=False)
    """The same in langgraph's words."""
    shapes: dict[str, Shape] = field(factory=dict, init=False)
    """How chunks are shown that are not shown as they are, by langgraph's mode."""

    def __attrs_post_init__(self) -> None:
        asked = set(self.wanted) - {EVENTS}
        if "messages-tuple" in asked:
            asked = (asked - {"messages-tuple"}) | {"messages"}
        elif "messages" in asked:
            self.shapes["messages"] = Whole().shape
        if "tools" in asked:
            self.shapes["tools"] = Calls().shape
        if "debug" in asked:
            self.shapes["debug"] = _debug_of_temporary if self.temporary else _debug
        if self.temporary:
            asked.discard("checkpoints")
        self.asked = frozenset(asked)

    @property
    def events(self) -> bool:
        """Whether langchain's events are wanted."""
        return EVENTS in self.wanted

    def of_langgraph(self) -> list[str]:
        """Return the modes to ask langgraph for."""
        return list(dict.fromkeys([*sorted(self.asked), *INTERNAL]))


@define(eq=False)
class Whole:
    """Messages in the older form: what has been streamed of each so far."""

    _known: dict[str | None, BaseMessage] = field(factory=dict, init=False)
    """By id: what has arrived of a message; only the id of one that came at once."""

    def shape(self, payload: tuple[BaseMessage, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Yield the events that tell of a message or a part of one."""
        message, metadata = payload
        before = self._known.get(message.id)
        if message.id not in self._known:
            yield "messages/metadata", {message.id: {"metadata": metadata}}
        if isinstance(message, BaseMessageChunk):
            so_far = before + message if isinstance(before, BaseMessageChunk) else message
            self._known[message.id] = so_far
            yield "messages/partial", [message_chunk_to_message(so_far)]
        else:
            self._known[message.id] = message
            yield "messages/complete", [message]


@define(eq=False)
class Calls:
    """Calls of tools, as the SDKs' types have them; langgraph names the tool only at the start of a call."""

    _names: dict[str, str] = field(factory=dict, init=False)
    """Of the calls in progress, by their ids."""

    def shape(self, payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """
        Yield what a call's start, delta, end or error is on the wire; nothing of what else there may be.
        """
        call_id = payload["tool_call_id"]
        about: dict[str, Any] = {"toolCallId": call_id, "name": self._names.get(call_id, "")}
        match payload["event"]:
            case "tool-started":
                about["name"] = self._names[call_id] = payload["tool_name"]
                yield "tools", {"event": "on_tool_start", **about, "input": payload.get("input")}
            case "tool-output-delta":
                yield "tools", {"event": "on_tool_event", **about, "data": payload["delta"]}
            case "tool-finished":
                self._names.pop(call_id, None)
                yield "tools", {"event": "on_tool_end", **about, "output": payload["output"]}
            case "tool-error":
                self._names.pop(call_id, None)
                yield (
                    "tools",
                    {"event": "on_tool_error", **about, "error": faults.short(str(payload["message"]))},
                )


def _debug(payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if payload["type"] != "checkpoint":
        yield "debug", payload
        return
    shown = payload["payload"]
    more = {
        "checkpoint": _address(shown["config"]),
        "parent_checkpoint": _address(shown["parent_config"]),
        "tasks": [_debug_task(task) for task in shown["tasks"]],
    }
    yield "debug", {**payload, "payload": {**shown, **more}}


def _debug_task(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task with the address of its subgraph's checkpoints instead of the config that leads there."""
    state = task.get("state")
    if not isinstance(state, dict):
        return task
    return {**{name: each for name, each in task.items() if name != "state"}, "checkpoint": _address(state)}


def _debug_of_temporary(payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A thread that goes with its run has, for clients, no checkpoints to go back to."""
    if payload["type"] != "checkpoint":
        yield "debug", payload


def _address(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what of a checkpoint's config addresses it."""
    if config is None:
        return None
    configurable = config["configurable"]
    return {name: configurable[name] for name in ADDRESS if name in configurable}


def last_checkpoint(config: RunnableConfig, snapshot: StateSnapshot) -> Iterator[tuple[str, Any]]:
    """
    Yield, for a run that had ended before its process did, what langgraph shows of the last checkpoint, by
    mode.

    With durability "sync" it shows a checkpoint only after its commit, and a crash in between would hide it.
    """
    if not snapshot.config["configurable"].get("checkpoint_id"):
        return
    payload = {
        "config": _shown(config, snapshot.config),
        "parent_config": None if snapshot.parent_config is None else _shown(config, snapshot.parent_config),
        "values": snapshot.values,
        "metadata": snapshot.metadata,
        "next": list(snapshot.next),
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                **({"error": task.error} if task.error else {}),
                **({"result": task.result} if task.result and not task.error else {}),
                **({} if task.error else {"interrupts": task.interrupts}),
                "state": task.state,
            }
            for task in snapshot.tasks
        ],
    }
    yield "checkpoints", payload
    step = (snapshot.metadata or {}).get("step")
    now = dt.datetime.now(dt.UTC).isoformat()
    yield "debug", {"step": step, "timestamp": now, "type": "checkpoint", "payload": payload}


def _shown(config: RunnableConfig, place: RunnableConfig) -> dict[str, Any]:
    """Return the config of a checkpoint as langgraph shows it in a run with `config`."""
    configurable = {**config["configurable"], **place["configurable"]}
    return {"configurable": {k: v for k, v in configurable.items() if not internals.is_own(k)}}
