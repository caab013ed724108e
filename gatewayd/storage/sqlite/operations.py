"""The writes of operations on threads, which hold the thread's lock: state updates, copies and prunes.

A state update is one write; copies and prunes go in steps. Every step first checks that the operation still
has the lock, which it loses when the thread is deleted.

A copy is marked as deleted, so that it is invisible, and has a lock, so that the sweeper leaves it alone. The
last step removes both. After a crash the next boot releases the lock and the sweeper removes the partial
copy. A thread on which a run executes is copied in one transaction instead.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from gatewayd.checkpointing import rows
from gatewayd.checkpointing.commands import Operation
from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.checkpointing.sqlite import steps
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import RunOutcome
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import events, thread_locks, threads


def _require(connection: sqlite3.Connection, thread_id: str, operation_id: str) -> None:
    if not thread_locks.thread_lock_held(connection, thread_id, operation_id):
        raise NotFound(f"Thread with ID {thread_id} not found")


def state_update_if_held(
    connection: sqlite3.Connection,
    thread_id: str,
    operation_id: str,
    changes: list[Operation],
    projection: RunOutcome,
    event: Draft,
    now: int,
) -> Chunk:
    """
    Store a state update (checkpoints and writes, the thread's projection, the event) and release the lock.

    Returns the event as it was stored. Raises `NotFound` if the thread has been deleted; then nothing is
    stored.
    """
    _require(connection, thread_id, operation_id)
    for operation in changes:
        checkpoint_changes.apply(connection, operation, rows.OPERATION)
    threads.thread_project(connection, thread_id, projection, now)
    chunk = events.append(connection, event)
    thread_locks.thread_locks_release(connection, operation_id)
    return chunk


# copies

MOST_STEPS_AT_ONCE: Final = 50
"""The most steps of a copy that are made in one transaction."""


def thread_copy_begin(
    connection: sqlite3.Connection, source: str, target: str, operation_id: str, boot: int, now: int
) -> None:
    """Acquire the source's lock and create the target, invisible. Raises `NotFound` and `Conflict`."""
    thread_locks.thread_lock_acquire_for_operation(connection, source, operation_id, boot)
    threads.thread_insert(connection, target, {}, now)
    connection.execute("UPDATE threads SET deleted_at = ? WHERE thread_id = ?", (now, target))
    connection.execute("INSERT INTO thread_locks VALUES (?, ?, 'operation', ?)", (target, operation_id, boot))


def thread_copy_beside_run(
    connection: sqlite3.Connection, source: str, target: str, now: int
) -> Thread | None:
    """
    Copy a thread whose lock a run has, up to the last checkpoint; None if no run has the lock.

    It is one transaction, because the run goes on storing and may be rolled back. Raises `Conflict` if the
    thread is too large for that.
    """
    run_id = thread_locks.thread_lock_holding_run(connection, source)
    if run_id is None:
        return None
    threads.thread_insert(connection, target, {}, now)
    position = None
    for _ in range(MOST_STEPS_AT_ONCE):
        position = steps.thread_copy_step(connection, source, target, position)
        if position is None:
            return _shown_copy(connection, source, target, now)
    raise Conflict(f"Thread {source} is too large to be copied while it has in-flight runs: [{run_id}]")


def thread_copy_step(
    connection: sqlite3.Connection,
    source: str,
    target: str,
    operation_id: str,
    after: steps.Position | None,
) -> steps.Position | None:
    """
    Copy as many rows behind `after` as fit into a step; return the last row's position, None at the end.
    """
    _require(connection, source, operation_id)
    return steps.thread_copy_step(connection, source, target, after)


def thread_copy_end(
    connection: sqlite3.Connection, source: str, target: str, operation_id: str, now: int
) -> Thread:
    """Copy the projection of the source's state, show the copy, release both locks; return the copy."""
    _require(connection, source, operation_id)
    copy = _shown_copy(connection, source, target, now)
    thread_locks.thread_locks_release(connection, operation_id)
    return copy


def _shown_copy(connection: sqlite3.Connection, source: str, target: str, now: int) -> Thread:
    connection.execute(
        """UPDATE threads SET deleted_at = NULL, created_at = :now, state_updated_at = :now, metadata = source.metadata,
               "values" = source."values", interrupts = source.interrupts, next = source.next, error = source.error
           FROM (SELECT * FROM threads WHERE thread_id = :source) AS source WHERE threads.thread_id = :target""",
        {"now": now, "source": source, "target": target},
    )
    (failed,) = connection.execute(
        "SELECT status = 'error' FROM threads WHERE thread_id = ?", (source,)
    ).fetchone()
    threads.thread_status_derive(connection, target, now, failed=bool(failed))
    copy = threads.thread_find(connection, target)
    assert copy is not None
    return copy


# prunes


def thread_prune_step(
    connection: sqlite3.Connection, thread_id: str, operation_id: str, kept: list[list[Any]]
) -> int:
    """
    Remove as many old checkpoints with their writes as fit into a step, oldest first.

    `kept` is as in `checkpointing.commands.prune`. Returns how many of its namespaces are done; the last step
    releases the lock.
    """
    _require(connection, thread_id, operation_id)
    done = steps.thread_prune_step(connection, thread_id, kept)
    if done == len(kept):
        thread_locks.thread_locks_release(connection, operation_id)
    return done
