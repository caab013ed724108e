"""
A thread's state as the daemon stores it when a run ends: values, interrupts, next; and what `wait` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.types import Interrupt, StateSnapshot

from gatewayd.channel import messages
from gatewayd.worker.project import graphs
from gatewayd.worker.states import parts, serialise

Shown = Callable[[Any], Any]
"""Takes the values of a state; returns those that are a run's output (`output_of` with its graph)."""
Asking = Callable[[str], Mapping[str, Sequence[Interrupt]]]
"""
Returns the tasks that wait on a checkpoint, with those that no snapshot shows (`questions.tasks_that_ask`).
"""


def has_private_values(graph: graphs.AnyPregel) -> bool:
    """Whether the states of a graph hold more than its output schema shows."""
    output, every = graph.output_channels, graph.stream_channels_asis
    return not isinstance(output, str) and not isinstance(every, str) and not set(every) <= set(output)


def output_of(graph: graphs.AnyPregel, values: Any) -> Any:
    """Return what of a state is its graph's output."""
    if not isinstance(values, dict) or not has_private_values(graph):
        return values
    return {name: values[name] for name in graph.output_channels if name in values}


def of_snapshot(
    snapshot: StateSnapshot,
    asking: Asking,
    states: parts.States,
    output: Shown,
) -> messages.Projection:
    """
    Return the projection of a snapshot.

    `values` is None on a thread without any checkpoint; `interrupts` maps the ids of tasks that wait to their
    interrupts; `result` is the output with ``__interrupt__`` if there are any; both are JSON or a manifest,
    to which `blobs` belong.
    """
    waiting = _waiting(snapshot, asking)
    values = states.shown(snapshot.values)
    shows = output(snapshot.values)
    if any(waiting.values()):
        result = states.shown(_with_interrupts(shows, waiting))
    else:
        result = values if shows is snapshot.values else states.shown(shows)
    checkpoint_id = snapshot.config["configurable"].get("checkpoint_id")
    return messages.Projection(
        values=None if checkpoint_id is None else parts.inline(values),
        interrupts={
            task_id: [shown(interrupt) for interrupt in interrupts] for task_id, interrupts in waiting.items()
        },
        next=list(snapshot.next),
        result=parts.inline(result),
        blobs=parts.blobs_of(values, result),
        end_checkpoint_id=checkpoint_id,
    )


def result_of(snapshot: StateSnapshot, asking: Asking, output: Shown) -> Any:
    """Return what `wait` answers, as an object."""
    waiting, shows = _waiting(snapshot, asking), output(snapshot.values)
    return _with_interrupts(shows, waiting) if any(waiting.values()) else shows


def _waiting(snapshot: StateSnapshot, asking: Asking) -> dict[str, Sequence[Interrupt]]:
    checkpoint_id = snapshot.config["configurable"].get("checkpoint_id")
    waiting: dict[str, Sequence[Interrupt]] = {
        task.id: task.interrupts for task in snapshot.tasks if task.interrupts and not task.result
    }
    if checkpoint_id is not None:
        shown_tasks = {task.id for task in snapshot.tasks}
        waiting |= {
            task_id: tuple(mine)
            for task_id, mine in asking(checkpoint_id).items()
            if task_id not in shown_tasks
        }
    return waiting


def shown(interrupt: Interrupt) -> dict[str, Any]:
    """Return an interrupt as threads and states show it: a response schema only if it has one."""
    found: dict[str, Any] = serialise.plain({"id": interrupt.id, "value": interrupt.value})
    schema = getattr(interrupt, "response_schema", None)
    if schema is not None:
        found["response_schema"] = serialise.plain(schema)
    return found


def _with_interrupts(values: Any, waiting: Mapping[str, Sequence[Interrupt]]) -> dict[str, Any]:
    """Return values with ``__interrupt__`` added."""
    pending = [interrupt for asked in waiting.values() for interrupt in asked]
    return {**values, "__interrupt__": pending} if isinstance(values, dict) else {"__interrupt__": pending}
