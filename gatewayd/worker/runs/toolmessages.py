"""Ids of the messages that tools answer with: one each, given before clients are told of it.

A tool's message has no id when the tool ends; the reducer of the state gives it one when the node's update is
applied. Clients are told of the result before that, and would know the same message by two ids. The handler
here, given to the graph as one callback more, gives the id when the tool ends. What happens to the message
between the tool and the state doesn't change that:

- a ``Command`` that a tool returns is copied with its messages, ids included;
- a message that a wrapper of the call has built from it, without an id, gets the id that was told when its
  node ends.

Callbacks come from the event loop and, for synchronous nodes, from threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langgraph.types import Command

Answer = ToolMessage | dict[str, Any]
"""The message of a tool, or what langchain makes one of."""


def answers(value: Any) -> Iterator[Answer]:
    """Yield the messages of tools in what a tool or a node has returned."""
    match value:
        case ToolMessage():
            yield value
        case Command():
            yield from answers(value.update)
        case {"role": "tool", "tool_call_id": str()} | {"type": "tool", "tool_call_id": str()}:
            yield value
        case dict():
            for child in value.values():
                if isinstance(child, (list, tuple, ToolMessage)):
                    yield from answers(child)
        case list() | tuple():
            for child in value:
                if isinstance(child, (dict, ToolMessage, Command)):
                    yield from answers(child)


def answer_to(call_id: str, output: Any) -> Answer | None:
    """Return the message in a tool's output that answers this call."""
    return next((answer for answer in answers(output) if _call_of(answer) == call_id), None)


class Ids(BaseCallbackHandler):
    """Gives the ids in one run."""

    run_inline = True

    def __init__(self) -> None:
        self._tasks: dict[UUID, str] = {}
        """Of the tools and nodes at work: the namespace of their task."""
        self._told: dict[str, dict[str, str]] = {}
        """By task: the ids that were given, by tool call."""

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Note in which task the tool is called."""
        self._tasks[run_id] = _task_of(metadata)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """Give ids to the messages in a tool's output."""
        task = self._tasks.pop(run_id, "")
        for message in answers(output):
            self._told.setdefault(task, {})[_call_of(message)] = _id_of(message) or _identify(
                message, str(uuid4())
            )

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._tasks.pop(run_id, None)

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Note which task the node carries out."""
        if metadata is not None and more.get("name") == metadata.get("langgraph_node"):
            self._tasks[run_id] = _task_of(metadata)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Give messages that the node has put in place of those told the same ids."""
        task = self._tasks.pop(run_id, None)
        if task is None or (told := self._told.pop(task, None)) is None:
            return
        found = list(answers(outputs))
        taken = {_id_of(message) for message in found}
        for message in found:
            known = told.get(_call_of(message))
            if known is not None and known not in taken and not _id_of(message):
                taken.add(_identify(message, known))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        if (task := self._tasks.pop(run_id, None)) is not None:
            self._told.pop(task, None)


def _task_of(metadata: dict[str, Any] | None) -> str:
    return str((metadata or {}).get("langgraph_checkpoint_ns") or "")


def _call_of(answer: Answer) -> str:
    return str(answer["tool_call_id"] if isinstance(answer, dict) else answer.tool_call_id)


def _id_of(answer: Answer) -> str | None:
    return answer.get("id") if isinstance(answer, dict) else answer.id


def _identify(answer: Answer, message_id: str) -> str:
    if isinstance(answer, dict):
        answer["id"] = message_id
    else:
        answer.id = message_id
    return message_id
