"""A thread's state as the daemon stores it when a run ends: values, interrupts, next; and what `wait` answers."""

from __future__ import annotations

from typing import Any

from langgraph.types import Interrupt, StateSnapshot

from gatewayd.worker import serialise


def of_snapshot(snapshot: StateSnapshot) -> dict[str, Any]:
    """
    Return the projection of a snapshot (the keys of `model.run.RunOutcome`).

    `values` is JSON, or None on a thread without any checkpoint; `interrupts` maps the ids of tasks that wait to their
    interrupts; `result` is the values with ``__interrupt__`` if there are any.
    """
    interrupts = {
        task.id: [shown(one) for one in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts and not task.result
    }
    values = serialise.dumps(snapshot.values)
    checkpoint_id = snapshot.config["configurable"].get("checkpoint_id")
    pending = [one for task in snapshot.tasks if task.id in interrupts for one in task.interrupts]
    return {
        "values": None if checkpoint_id is None else values,
        "interrupts": interrupts,
        "next": list(snapshot.next),
        "result": with_interrupts(snapshot.values, pending) if pending else values,
        "end_checkpoint_id": checkpoint_id,
    }


def shown(interrupt: Interrupt) -> dict[str, Any]:
    """Return an interrupt as threads and states show it: a response schema only if it has one."""
    parts: dict[str, Any] = serialise.plain({"id": interrupt.id, "value": interrupt.value})
    schema = getattr(interrupt, "response_schema", None)
    if schema is not None:
        parts["response_schema"] = serialise.plain(schema)
    return parts


def with_interrupts(values: Any, interrupts: list[Interrupt]) -> bytes:
    """Return the JSON of values with ``__interrupt__`` added."""
    if isinstance(values, dict):
        return serialise.dumps({**values, "__interrupt__": interrupts})
    return serialise.dumps({"__interrupt__": interrupts})
