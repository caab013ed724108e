"""Runs of protocol v2 for readers of v1: states, updates, custom events, tasks and messages.

A delta of a message becomes a tuple of a chunk and its metadata, as in the mode ``messages-tuple``. Every v2
event of a message carries the message's id, so no state is needed. Interrupts are also written in the form of
v1 when they are raised (`worker.runs.protocol`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gatewayd import wire
from gatewayd.model import message


def event(method: str, namespace: str, run_id: str, fragment: bytes) -> tuple[str, bytes] | None:
    """
    Return kind and data of the v1 event for a v2 method and ``{"data": …, "node"?: …}``; None if there is
    none.
    """
    convert = METHODS.get(method)
    if convert is None:
        return None
    converted = convert(wire.loads(fragment), namespace, run_id)
    return None if converted is None else (converted[0], wire.dumps(converted[1]))


def _values(params: dict[str, Any], namespace: str, run_id: str) -> tuple[str, Any]:
    values = params["data"]
    if isinstance(values, dict) and isinstance(listed := values.get("messages"), list):
        shown = [message.complete(item) if message.is_message(item) else item for item in listed]
        values = {**values, "messages": shown}
    return "values", values


def _updates(params: dict[str, Any], namespace: str, run_id: str) -> tuple[str, Any]:
    return "updates", params["data"]


def _custom(params: dict[str, Any], namespace: str, run_id: str) -> tuple[str, Any]:
    return "custom", params["data"]


def _tasks(params: dict[str, Any], namespace: str, run_id: str) -> tuple[str, Any]:
    return "tasks", params["data"]


def _messages(params: dict[str, Any], namespace: str, run_id: str) -> tuple[str, Any] | None:
    data = params["data"]
    if data.get("role") == "tool" or "tool_call_id" in data or "id" not in data:
        return None  # a tool's result; v1 shows it in the state
    chunk = _chunk(data)
    if chunk is None:
        return None
    shown = {
        "content": "",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "AIMessageChunk",
        "name": None,
        "id": data["id"],
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": None,
        "tool_call_chunks": [],
        "chunk_position": None,
        **chunk,
    }
    about = {"run_id": run_id, "langgraph_node": params.get("node"), "langgraph_checkpoint_ns": namespace}
    return "messages", [shown, about]


def _chunk(data: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a part of a message adds to its chunk."""
    match data:
        case {"event": "content-block-delta", "delta": {"type": "text-delta", "text": text}, "index": index}:
            return {"content": [{"type": "text", "text": text, "index": index}]}
        case {
            "event": "content-block-delta",
            "delta": {"type": "reasoning-delta", "reasoning": text},
            "index": index,
        }:
            return {"content": [{"type": "reasoning", "reasoning": text, "index": index}]}
        case {"event": "content-block-start", "content": {"type": "tool_call_chunk"} as call, "index": index}:
            part = {"name": call.get("name"), "args": call.get("args") or "", "id": call.get("id")}
            return {"tool_call_chunks": [{**part, "index": index, "type": "tool_call_chunk"}]}
        case {
            "event": "content-block-delta",
            "delta": {"type": "tool-call-delta", "args": args},
            "index": index,
        }:
            part = {"name": None, "args": args, "id": None, "index": index, "type": "tool_call_chunk"}
            return {"tool_call_chunks": [part]}
        case {"event": "message-finish"}:
            return {
                "usage_metadata": data.get("usage"),
                "response_metadata": data.get("metadata") or {},
                "chunk_position": "last",
            }
    return None


METHODS: Final[Mapping[str, Callable[[dict[str, Any], str, str], tuple[str, Any] | None]]] = {
    "values": _values,
    "updates": _updates,
    "custom": _custom,
    "tasks": _tasks,
    "messages": _messages,
}
