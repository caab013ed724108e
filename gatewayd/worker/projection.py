"""A thread's state as the daemon stores it when a run ends: values, interrupts, next; and what `wait` answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.types import Interrupt, StateSnapshot

from gatewayd.worker import serialise


def of_snapshot(
    snapshot: StateSnapshot, asking: Callable[[str], Mapping[str, Sequence[Interrupt]]]
) -> dict[str, Any]:
    """
    Return the projection of a snapshot (the keys of `model.run.RunOutcome`).

    `values` is JSON, or None on a thread without any checkpoint; `interrupts` maps the ids of tasks that wait to their
    interrupts; `result` is the values with ``__interrupt__`` if there are any. `asking` returns the tasks that wait on
    a checkpoint, with those that no snapshot shows (`resume.tasks_that_ask`).
    """
    values = serialise.dumps(snapshot.values)
    checkpoint_id = snapshot.config["configurable"].get("checkpoint_id")
    waiting = {task.id: task.interrupts for task in snapshot.tasks if task.interrupts and not task.result}
    if checkpoint_id is not None:
        shown_tasks = {task.id for task in snapshot.tasks}
        waiting |= {
            task_id: tuple(mine)
            for task_id, mine in asking(checkpoint_id).items()
            if task_id not in shown_tasks
        }
    pending = [one for mine in waiting.values() for one in mine]
    return {
        "values": None if checkpoint_id is None else values,
        "interrupts": {task_id: [shown(one) for one in mine] for task_id, mine in waiting.items()},
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
