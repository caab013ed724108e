"""Runs of protocol v1 for readers of v2: states, updates, custom events and tasks.

Events that only v1 has (`debug`, `events`, chunks of messages, whole checkpoints) are not shown. The messages
of such a run come with its states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gatewayd import wire
from gatewayd.model import message

INTERRUPT: Final = "__interrupt__"


def fragment(kind: str, data: bytes) -> bytes | None:
    """
    Return ``{"data": …}`` (and ``"node"``) of the v2 event for a v1 kind and its data; None if there is none.
    """
    convert = KINDS.get(kind)
    if convert is None:
        return None
    converted = convert(wire.loads(data))
    return None if converted is None else wire.dumps(converted)


def state(values: Any) -> Any:
    """Return a state as v2 shows it: without interrupts, its list of messages in the compact form."""
    if not isinstance(values, dict):
        return values
    shown = {name: value for name, value in values.items() if name != INTERRUPT}
    if isinstance(listed := shown.get("messages"), list):
        shown["messages"] = [message.compact(item) if message.is_message(item) else item for item in listed]
    return shown


def _values(values: Any) -> dict[str, Any] | None:
    if isinstance(values, dict) and values.keys() == {INTERRUPT}:
        return None  # no state yet; the interrupt is an event of its own
    return {"data": state(values)}


def _updates(update: Any) -> dict[str, Any] | None:
    if not isinstance(update, dict) or len(update) != 1:
        return {"data": update}
    ((node, delta),) = update.items()
    return None if node == INTERRUPT else {"data": delta, "node": node}


def _custom(value: Any) -> dict[str, Any]:
    return {"data": {"payload": value}}


def _tasks(task: Any) -> dict[str, Any]:
    return {"data": task}


KINDS: Final[Mapping[str, Callable[[Any], dict[str, Any] | None]]] = {
    "values": _values,
    "updates": _updates,
    "custom": _custom,
    "tasks": _tasks,
}
