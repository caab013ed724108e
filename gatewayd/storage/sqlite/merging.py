"""Merging the runs that wait on a thread into the oldest of them.

One transaction stores all of it: the oldest run's new input, and for each other run the wish to end it. So a
crash leaves either nothing merged or everything, and a boot ends what was merged as it ends other cancelled
runs. A run that starts first is no part of it: starts are operations of the same writer.

The oldest may in turn be merged into the run that executes. Only the wish for that is stored
(`runs.into_run`): the merge happens at a step of that run, in the transaction that stores the input as an
update of the state (`runs`).

Runs are merged only if nothing but their inputs tells them apart, and the inputs can be joined: each has the
same single key, and its value is a list. Everything else is refused, and nothing is changed.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from attrs import frozen

from gatewayd import wire
from gatewayd.blobs import codec
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.run import Run
from gatewayd.storage.sqlite import runs, threads

LARGEST: Final = 8 << 20
"""Bytes of inputs that are merged: the writer joins them, and everybody else waits for it."""

OF_REQUEST: Final = frozenset(
    {"run_id", "langgraph_request_id", "__request_start_time_ms__", "__after_seconds__"}
)
"""Keys of `configurable` that tell requests apart and are no settings."""

OF_THREAD: Final = frozenset({"graph_id"})
"""Keys of the metadata that a thread gets with its first run: the second run has them, the first has not."""


@frozen(kw_only=True)
class Merged:
    """What `runs_merge_if_alike` did."""

    run: Run
    """The oldest run, with all inputs."""
    ended: list[Run]
    """The others, oldest first; they are to be ended."""
    into: str | None = None
    """The run that executes, which is to take its input in turn."""


def runs_merge_if_alike(
    connection: sqlite3.Connection, thread_id: str, now: int, into_running: bool = False
) -> Merged:
    """
    Have the oldest of a thread's waiting runs take the inputs of all others, in order, and cancel those.

    A run waits if it has not been started yet and is not cancelled. With `into_running` the oldest is to be
    merged into the run that was started and has not ended. Raises `NotFound` (thread), and `Conflict` if too
    few runs wait, none was started, or they can't be merged.
    """
    if threads.thread_find(connection, thread_id) is None:
        raise NotFound(f"Thread with ID {thread_id} not found")
    tail = (
        f"{runs.ACTIVE_ON_THREAD} AND runs.status = 'pending' AND runs.attempt = 0 AND runs.cancel_action IS NULL "
        "ORDER BY runs.created_at, runs.run_id"
    )
    waiting = runs.select(connection, tail, (thread_id,))
    if len(waiting) < (1 if into_running else 2):
        raise Conflict(f"Nothing to merge: {len(waiting)} pending runs wait on thread {thread_id}")
    oldest, *others = waiting
    joined = _joined(waiting, now)
    into = _started(connection, oldest) if into_running else None
    kwargs = {**oldest.kwargs, "input": joined}
    connection.execute(
        """UPDATE runs SET kwargs = '{}', kwargs_packed = ?, updated_at = max(?, updated_at + 1),
               into_run = coalesce(?, into_run) WHERE run_id = ?""",
        (codec.column(wire.packed(kwargs), hasty=True), now, into, oldest.run_id),
    )
    error = runs.merged_error(oldest.run_id)
    marked = (runs.run_cancel_if_active(connection, each.run_id, "interrupt", error, now) for each in others)
    run = runs.run_find(connection, oldest.run_id)
    assert run is not None
    return Merged(run=run, ended=[each for each in marked if each is not None], into=into)


def _started(connection: sqlite3.Connection, oldest: Run) -> str:
    """
    Return the id of the thread's run that was started. Raises `Conflict`: there is none, or it is of another
    kind.
    """
    tail = f"{runs.ACTIVE_ON_THREAD} AND runs.attempt > 0 AND runs.cancel_action IS NULL"
    found = runs.select(connection, tail, (oldest.thread_id,))
    if not found:
        raise Conflict(f"No run of thread {oldest.thread_id} is running")
    settings, own = _settings(found[0]), _settings(oldest)
    for name in ("assistant", "graph", "config"):
        if _difference({name: settings[name]}, {name: own[name]}) is not None:
            raise _refusal(oldest, f"differs from the running run {found[0].run_id} in its {name}")
    return found[0].run_id


def _joined(waiting: list[Run], now: int) -> dict[str, list[Any]]:
    """Return the inputs of runs as one. Raises `Conflict` for what tells them apart."""
    oldest = waiting[0]
    settings = _settings(oldest)
    key, joined, size = "", list[Any](), 0
    for run in waiting:
        size += _size(run.kwargs.get("input"))
        if size > LARGEST:
            raise Conflict(
                f"The inputs of the pending runs are too large to be merged: more than {LARGEST} bytes"
            )
        if run.created_at > now:
            raise _refusal(run, "is not due yet")
        if run.kwargs.get("command") is not None:
            raise _refusal(run, "has a command")
        if "checkpoint_id" in _configurable(run):
            raise _refusal(run, "starts from a checkpoint of its own")
        if (differs := _difference(settings, _settings(run))) is not None:
            raise _refusal(run, f"differs from run {oldest.run_id} in its {differs}")
        own, values = _listed(run)
        if key and own != key:
            raise _refusal(run, f"has an input of another key than run {oldest.run_id}: {own!r}, not {key!r}")
        key = own
        joined += values
    return {key: joined}


def _size(value: Any) -> int:
    return len(value.data) if isinstance(value, wire.Raw) else len(wire.packed(value))


def _listed(run: Run) -> tuple[str, list[Any]]:
    """Return the key and the list of a run's input. Raises `Conflict` if it is anything else."""
    given = wire.opened(run.kwargs.get("input"))
    if isinstance(given, dict) and len(given) == 1:
        ((key, values),) = given.items()
        if isinstance(values, list):
            return key, values
    raise _refusal(run, "has an input that is not one key with a list")


def _configurable(run: Run) -> dict[str, Any]:
    return (run.kwargs.get("config") or {}).get("configurable") or {}


def _settings(run: Run) -> dict[str, Any]:
    """Return everything that decides how a run is executed, but for its input, under names for a refusal."""
    config = dict(run.kwargs.get("config") or {})
    metadata = config.pop("metadata", None) or {}
    configurable = config.pop("configurable", None) or {}
    apart = {"config", "input", "command"}
    return {
        "assistant": run.assistant_id,
        "graph": run.graph_id,
        "config": {
            **config,
            "configurable": {name: each for name, each in configurable.items() if name not in OF_REQUEST},
            "metadata": {name: each for name, each in metadata.items() if name not in OF_THREAD},
        },
        **{name: each for name, each in run.kwargs.items() if name not in apart},
    }


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Return the first name whose values differ."""
    names = [*one, *(name for name in other if name not in one)]
    return next((name for name in names if wire.opened(one.get(name)) != wire.opened(other.get(name))), None)


def _refusal(run: Run, why: str) -> Conflict:
    return Conflict(f"Run {run.run_id} can't be merged: it {why}")
