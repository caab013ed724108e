"""Chat messages as JSON in the two forms of the wire: complete (protocol v1) and without empty keys (v2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KEYS: Final = ("type", "content", "id", "name", "tool_call_id", "status", "artifact", "response_metadata")
"""Keys of the compact form in the wire's order; empty ones are left out, except `ALWAYS`."""
ALWAYS: Final = frozenset({"content", "artifact"})
TOOL_CALL_KEYS: Final = ("type", "name", "args", "id")
INVALID_KEYS: Final = ("type", "name", "args", "id", "error")

_COMMON: Final[dict[str, Any]] = {"additional_kwargs": {}, "response_metadata": {}}
_OWN: Final[dict[str, dict[str, Any]]] = {
    "ai": {"tool_calls": [], "invalid_tool_calls": [], "usage_metadata": None},
    "tool": {"tool_call_id": None, "artifact": None, "status": "success"},
}


def is_message(value: Any) -> bool:
    """Whether a JSON value is a chat message."""
    return isinstance(value, Mapping) and isinstance(value.get("type"), str) and "content" in value


def compact(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compact form of a message, as v2 shows it in states."""
    shown: dict[str, Any] = {
        key: message[key] for key in KEYS if key in message and (key in ALWAYS or _filled(message[key]))
    }
    if shown.get("name") is None:
        shown.pop("name", None)
    for field, keys in (("tool_calls", TOOL_CALL_KEYS), ("invalid_tool_calls", INVALID_KEYS)):
        if calls := message.get(field):
            shown[field] = [{key: call[key] for key in keys if key in call} for call in calls]
    if usage := message.get("usage_metadata"):
        shown["usage_metadata"] = usage
    if extra := message.get("additional_kwargs"):
        shown["additional_kwargs"] = extra
    return shown


def _filled(value: Any) -> bool:
    return value is not None and value not in ({}, [], "")


def complete(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a compact message with all keys that v1 shows."""
    kind = str(message.get("type"))
    return {
        "content": message.get("content", ""),
        **_COMMON,
        "type": kind,
        "name": None,
        "id": None,
        **_OWN.get(kind, {}),
        **message,
    }
