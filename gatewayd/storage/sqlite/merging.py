"""Merging the runs that wait on a thread into the oldest of them.

One transaction stores the oldest run's new input and a cancel for each other run. So a crash leaves either
nothing merged or everything, and a boot ends the merged runs like other cancelled ones. A run that starts
before the merge is not part of it, since starts go through the same writer.

The oldest may in turn be merged into the run that executes. Then only the request for that is stored
(`runs.into_run`). The merge happens at a step of that run, in the transaction that stores the input as an
update of the state (`runs`).

Runs are merged only if they differ in nothing but their inputs, and the inputs can be joined: all have one
and the same key, and its values are lists. Anything else is refused, and nothing is changed.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from gatewayd import wire
from gatewayd.blobs import codec
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.run import Run
from gatewayd.storage.runs import Merged
from gatewayd.storage.sqlite import runs, threads

LARGEST: Final = 8 << 20
"""Bytes of inputs that are merged at most: all other writes wait while the writer joins them."""

OF_REQUEST: Final = frozenset(
    {"run_id", "langgraph_request_id", "__request_start_time_ms__", "__after_seconds__"}
)
"""Keys of `configurable` that identify a request; they are not settings."""

OF_THREAD: Final = frozenset({"graph_id"})
"""Keys of the metadata that a thread gets with its first run; only later runs have them."""


def runs_merge_if_alike(
    connection: sqlite3.Connection, thread_id: str, now: int, into_running: bool = False
) -> Merged:
    """
    Move the inputs of a thread's waiting runs to the oldest of them, in order, and cancel the others.

    A run waits if it has not been started yet and is not cancelled. With `into_running` the oldest is marked
    to be merged into the run that was started and has not ended. Raises `NotFound` (thread), and `Conflict`
    if too few runs wait, none was started, or they can't be merged.
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
    cancelled = (
        runs.run_cancel_if_active(connection, other.run_id, "interrupt", error, now) for other in others
    )
    run = runs.run_find(connection, oldest.run_id)
    assert run is not None
    return Merged(run=run, ended=[other for other in cancelled if other is not None], into=into)


def _started(connection: sqlite3.Connection, oldest: Run) -> str:
    """
    Return the id of the thread's started run. Raises `Conflict` if there is none, or its settings differ.
    """
    tail = f"{runs.ACTIVE_ON_THREAD} AND runs.attempt > 0 AND runs.cancel_action IS NULL"
    started = runs.select(connection, tail, (oldest.thread_id,))
    if not started:
        raise Conflict(f"No run of thread {oldest.thread_id} is running")
    settings, own = _settings(started[0]), _settings(oldest)
    for name in ("assistant", "graph", "config"):
        if _difference({name: settings[name]}, {name: own[name]}) is not None:
            raise _refusal(oldest, f"differs from the running run {started[0].run_id} in its {name}")
    return started[0].run_id


def _joined(waiting: list[Run], now: int) -> dict[str, list[Any]]:
    """Return the joined inputs of runs. Raises `Conflict` if the runs differ in anything else."""
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
    """Return the key and the list of a run's input. Raises `Conflict` for any other input."""
    value = wire.opened(run.kwargs.get("input"))
    if isinstance(value, dict) and len(value) == 1:
        ((key, values),) = value.items()
        if isinstance(values, list):
            return key, values
    raise _refusal(run, "has an input that is not one key with a list")


def _configurable(run: Run) -> dict[str, Any]:
    return (run.kwargs.get("config") or {}).get("configurable") or {}


def _settings(run: Run) -> dict[str, Any]:
    """Return everything but the input that decides how a run executes, under the names that refusals use."""
    config = dict(run.kwargs.get("config") or {})
    metadata = config.pop("metadata", None) or {}
    configurable = config.pop("configurable", None) or {}
    apart = {"config", "input", "command"}
    return {
        "assistant": run.assistant_id,
        "graph": run.graph_id,
        "config": {
            **config,
            "configurable": {name: value for name, value in configurable.items() if name not in OF_REQUEST},
            "metadata": {name: value for name, value in metadata.items() if name not in OF_THREAD},
        },
        **{name: value for name, value in run.kwargs.items() if name not in apart},
    }


def _difference(left: dict[str, Any], right: dict[str, Any]) -> str | None:
    """Return the first name whose values differ."""
    names = [*left, *(name for name in right if name not in left)]
    return next((name for name in names if wire.opened(left.get(name)) != wire.opened(right.get(name))), None)


def _refusal(run: Run, why: str) -> Conflict:
    return Conflict(f"Run {run.run_id} can't be merged: it {why}")
