"""What a run that was started over protocol v2 emits: langgraph's chunks as v2 events.

The graph is executed by `astream` like any other, with the modes that the protocol's channels need and
langgraph's switch for its newer message events; not by `astream_events`, whose pump hands events out later
than a checkpoint may wait for them (see `outbox`). What that function's transformers add is made here:

- the start of a subgraph is its first task, its end the result of the task that it is part of;
- parts of a message carry the message's id, the model call's run id and the node, so that messages that are
  streamed at the same time can be told apart;
- the result of a tool is told on the channel ``tools``, and as a message of the role "tool" too if the graph
  was compiled with the transformer for tools (prebuilt agents are), under the id that it has in the state
  (see `toolmessages`);
- a checkpoint is told before the state that it holds (langgraph emits it after): clients number messages with
  it, if they are told places. The state is kept back for the moment in between.

Tasks are told if the graph was compiled with the transformer for them: each repeats the whole state of its
node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import define, field
from langgraph.types import Command

from gatewayd.model import event, message
from gatewayd.model.event import Emitted, Item
from gatewayd.model.state import Cut
from gatewayd.worker.project import faults
from gatewayd.worker.runs import toolmessages
from gatewayd.worker.runs.transformers import Transformers
from gatewayd.worker.states import serialise

MODES: Final = frozenset({"values", "updates", "messages", "tools", "custom", "tasks", "checkpoints"})
"""langgraph's modes that the channels need."""


INTERRUPT: Final = "__interrupt__"
SHOWN: Final = event.V1 | event.THREAD | event.V2

Namespace = tuple[str, ...]


def item(
    method: str, namespace: Namespace, params: dict[str, Any], *, tail: str = "", full: bool = False
) -> Item:
    """Return an event as an item of the log; `tail` is the end of its id if the server gives it one."""
    kind = f"{event.V2_KIND}{method}={tail}" if tail else event.V2_KIND + method
    mask = event.V2 if method in ONLY_V2 else SHOWN
    return kind, "|".join(namespace), mask, serialise.dumps(params, full=full)


ONLY_V2: Final = frozenset({"lifecycle", "checkpoints", "tools"})


@define(eq=False)
class Protocol:
    """Makes the events of one run in one attempt."""

    with_tasks: bool
    """The graph was compiled with the transformer for tasks."""
    with_tool_messages: bool
    """The graph was compiled with the transformer for tools."""
    full: bool
    """Show clients the messages of all exceptions."""
    cut: Callable[[Any], bytes | Cut] = serialise.dumps
    """Encodes what has a whole state: `parts.States.cut`."""
    transformers: Transformers = field(factory=lambda: Transformers(()))
    """Those that the graph's author has compiled into it."""
    with_places: bool = True
    """
    Tell the parents and steps of checkpoints. The JavaScript SDK takes the parent of a message's first
    checkpoint for the place to which an edit of it goes back; until 1.11 it takes that of the newest one,
    whatever the message. Then it also takes the states of a run that has gone back for older ones by their
    steps, and goes on showing what was behind.
    """
    asked: dict[str, str] = field(factory=dict, init=False)
    """Interrupt id to the namespace in which it was raised, segments joined by "|"."""
    _open: dict[Namespace, str] = field(factory=dict, init=False)
    """Subgraphs at work, and the names of their graphs."""
    _seen: set[Namespace] = field(factory=set, init=False)
    _calls: dict[str, str] = field(factory=dict, init=False)
    """Task id to the id of the tool call that it carries out."""
    _messages: dict[str, str] = field(factory=dict, init=False)
    """Model call to the id of the message that it streams."""
    _held: dict[Namespace, Emitted] = field(factory=dict, init=False)
    """States that wait for their checkpoint."""

    def shape(self, namespace: Namespace, mode: str, payload: Any) -> Iterator[Emitted]:
        """
        Yield the events for one chunk of langgraph, behind those that the graph's own transformers push.
        """
        shown, payload = self.transformers.passes(namespace, mode, payload)
        yield from self._pushed()
        if shown or mode == "tasks" or (mode == "updates" and INTERRUPT in (payload or ())):
            yield from self._shape(namespace, mode, payload)

    def _pushed(self) -> Iterator[Emitted]:
        for name, payload in self.transformers.pushed():
            yield self._item("custom", (), {"data": {"name": name, "payload": payload}})

    def _shape(self, namespace: Namespace, mode: str, payload: Any) -> Iterator[Emitted]:
        if mode == "checkpoints":
            yield self._item("checkpoints", namespace, {"data": self._place(payload)})
        yield from self.release()
        match mode:
            case "values":
                kind, where, mask, _ = item("values", namespace, {})
                self._held[namespace] = kind, where, mask, self.cut({"data": self._state(payload)})
            case "updates":
                yield from self._update(namespace, payload)
            case "custom":
                yield self._item("custom", namespace, {"data": payload})
            case "messages":
                yield from self._message(namespace, *payload)
            case "tools":
                yield from self._tool(namespace, payload)
            case "tasks":
                yield from self._task(namespace, payload)

    def release(self) -> Iterator[Emitted]:
        """Yield the states that are kept back."""
        if self._held:
            held, self._held = self._held, {}
            yield from held.values()

    def close(self, status: str, error: str | None = None) -> Iterator[Emitted]:
        """Yield what is left at the end of the run, and the ends of the subgraphs that are still at work."""
        if status == "completed":
            self.transformers.finish()
        yield from self._pushed()
        yield from self.release()
        for namespace in sorted(self._open, key=len, reverse=True):
            yield self._ended(namespace, status, error)
        self._open.clear()

    def _item(self, method: str, namespace: Namespace, params: dict[str, Any], tail: str = "") -> Item:
        return item(method, namespace, params, tail=tail, full=self.full)

    def _state(self, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        shown = {name: each for name, each in values.items() if name != INTERRUPT}
        if isinstance(listed := shown.get("messages"), list):
            shown["messages"] = [_compact(message) for message in listed]
        return shown

    def _update(self, namespace: Namespace, payload: Any) -> Iterator[Item]:
        if isinstance(payload, dict) and INTERRUPT in payload:
            for one in payload[INTERRUPT]:
                where = "|".join(namespace)
                if len(where) >= len(self.asked.get(one.id, "")):
                    self.asked[one.id] = where
            # For readers of v1; those of v2 are asked at the end of the run, when an answer would be taken.
            v1_only = event.V1 | event.THREAD
            yield "updates", "|".join(namespace), v1_only, serialise.dumps(payload, full=self.full)
            return
        yield self._item("updates", namespace, {"data": payload})

    def _message(self, namespace: Namespace, part: Any, about: dict[str, Any]) -> Iterator[Item]:
        if not isinstance(part, dict):  # a whole message: the state tells it
            return
        call = str(about.get("run_id") or "")
        if part.get("event") == "message-start":
            self._messages[call] = part.get("id") or part.get("message_id") or f"lc_run--{call}"
        data = {**part, "id": self._messages.get(call, f"lc_run--{call}"), "run_id": call}
        if part.get("event") == "message-finish":
            self._messages.pop(call, None)
        yield self._item("messages", namespace, {"data": data, "node": about.get("langgraph_node")})

    def _tool(self, namespace: Namespace, payload: dict[str, Any]) -> Iterator[Item]:
        yield self._item("tools", namespace, {"data": payload})
        if self.with_tool_messages and payload.get("event") == "tool-finished":
            yield from self._tool_message(namespace, str(payload["tool_call_id"]), payload.get("output"))

    def _tool_message(self, namespace: Namespace, call: str, output: Any) -> Iterator[Item]:
        answer = toolmessages.answer_to(call, output)
        if answer is not None:
            shown = serialise.plain(answer)
            text, message_id = _text(shown.get("content")), shown.get("id") or f"tool-{call}"
        elif any(isinstance(value, Command) for value in (output if isinstance(output, list) else [output])):
            return  # the tool directs the graph, and has not answered
        else:  # the node that has called it may make a message of this, or none
            text, message_id = _text(serialise.plain(output)), f"tool-{call}"
        block = {"type": "text", "text": ""}
        whole = {"type": "text", "text": text}
        for data in (
            {"event": "message-start", "role": "tool"},
            {"event": "content-block-start", "index": 0, "content": block},
            {"event": "content-block-delta", "index": 0, "content": whole},
            {"event": "content-block-finish", "index": 0, "content": whole},
            {"event": "message-finish", "metadata": {}},
        ):
            told = {**data, "id": message_id, "tool_call_id": call}
            yield self._item("messages", (*namespace, f"tools:{call}"), {"data": told})

    def _task(self, namespace: Namespace, payload: dict[str, Any]) -> Iterator[Item]:
        task_id = payload["id"]
        if "result" in payload:
            for inner in [namespace_ for namespace_ in self._open if namespace_[:-1] == namespace]:
                if inner[-1].partition(":")[2] == task_id:
                    status, error = _end_of(payload)
                    if status != "interrupted":  # the end of the run tells that
                        yield self._ended(inner, status, error)
                        del self._open[inner]
        else:
            if (call := _tool_call(payload.get("input"))) is not None:
                self._calls[task_id] = call
            if namespace and namespace not in self._seen:
                yield self._started(namespace, payload)
        if self.with_tasks:
            yield self._item("tasks", namespace, {"data": payload})

    def _started(self, namespace: Namespace, payload: dict[str, Any]) -> Item:
        self._seen.add(namespace)
        node, _, trigger = namespace[-1].partition(":")
        agent = (payload.get("metadata") or {}).get("lc_agent_name")
        name = self._open[namespace] = agent or node
        data: dict[str, Any] = {
            "event": "started",
            "namespace": list(namespace),
            "graph_name": name,
            "trigger_call_id": trigger,
        }
        if agent is not None and trigger in self._calls:
            data["cause"] = {"type": "toolCall", "tool_call_id": self._calls[trigger]}
        return self._item("lifecycle", namespace, {"data": data})

    def _ended(self, namespace: Namespace, status: str, error: str | None) -> Item:
        data = {"event": status, "graph_name": self._open.get(namespace, namespace[-1].partition(":")[0])}
        if error is not None:
            data["error"] = error
        return self._item("lifecycle", namespace, {"data": data}, tail=status)

    def _place(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what of a checkpoint clients need to go back to it, or to the one before it."""
        parent = payload.get("parent_config") if self.with_places else None
        about = payload.get("metadata") or {}
        return {
            "id": payload["config"]["configurable"].get("checkpoint_id"),
            **({} if parent is None else {"parent_id": parent["configurable"].get("checkpoint_id")}),
            **({"step": about.get("step")} if self.with_places else {}),
            "source": about.get("source"),
        }


def _compact(value: Any) -> Any:
    """Return a message of a state in its compact form, anything else as it is."""
    shown = serialise.fields(value)
    return message.compact(shown) if message.is_message(shown) else value


def _tool_call(given: Any) -> str | None:
    """Return the id of the tool call that a task's input asks for."""
    calls = given if isinstance(given, list) else [given.get("tool_call")] if isinstance(given, dict) else []
    for call in calls:
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            return str(call["id"])
    return None


def _end_of(result: dict[str, Any]) -> tuple[str, str | None]:
    if result.get("interrupts"):
        return "interrupted", None
    if error := result.get("error"):
        return "failed", faults.text(error) if isinstance(error, BaseException) else faults.short(str(error))
    return "completed", None


def _text(content: Any) -> str:
    """Return what a tool has said as text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(block.get("text") or "") for block in content if isinstance(block, dict))
    return serialise.dumps(content).decode()
