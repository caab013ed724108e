"""What operations on threads store while they hold the slot: a state update at once, copies and prunes step
by step.

Every step finds out first whether the operation still has the slot: it has lost it when the thread was
deleted.

A copy is made under the mark of a deleted thread, which makes it invisible, with a slot of its own, which
keeps the sweeper away; the last step takes both marks off. After a crash the next boot clears the slot and
the sweeper removes what there was of the copy. A thread that a run works on is copied in one transaction
instead.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from gatewayd.checkpointing import rows
from gatewayd.checkpointing import sql as checkpoint_sql
from gatewayd.checkpointing.commands import Operation
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.event import Chunk
from gatewayd.model.run import RunOutcome
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import events, slots, threads


def _require(connection: sqlite3.Connection, thread_id: str, operation_id: str) -> None:
    if not slots.slot_held(connection, thread_id, operation_id):
        raise NotFound(f"Thread with ID {thread_id} not found")


def state_update_if_held(
    connection: sqlite3.Connection,
    thread_id: str,
    operation_id: str,
    changes: list[Operation],
    projection: RunOutcome,
    chunk: Chunk,
    now: int,
) -> None:
    """
    Store a state update in one piece: checkpoints and writes, the thread's projection, the event; and free
    the slot.

    Raises `NotFound` if the thread was deleted meanwhile; then nothing is stored.
    """
    _require(connection, thread_id, operation_id)
    for operation in changes:
        checkpoint_sql.apply(connection, operation, rows.OPERATION)
    threads.thread_project(connection, thread_id, projection, now)
    events.append(connection, chunk)
    slots.slots_release(connection, operation_id)


# copies

MOST_STEPS_AT_ONCE: Final = 50
"""Steps of a copy that are made in one transaction."""


def thread_copy_begin(
    connection: sqlite3.Connection, source: str, target: str, operation_id: str, boot: int, now: int
) -> None:
    """Take the source's slot and make the target, invisible. Raises `NotFound` and `Conflict`."""
    slots.slot_take_for_operation(connection, source, operation_id, boot)
    threads.thread_insert(connection, target, {}, now)
    connection.execute("UPDATE threads SET deleted_at = ? WHERE thread_id = ?", (now, target))
    connection.execute("INSERT INTO slots VALUES (?, ?, 'operation', ?)", (target, operation_id, boot))


def thread_copy_beside_run(
    connection: sqlite3.Connection, source: str, target: str, now: int
) -> Thread | None:
    """
    Copy a thread that a run works on, up to its last checkpoint, and return the copy; None if no run has its
    slot.

    All of it is one transaction, for the run goes on storing and may be undone. Raises `Conflict` if that
    would keep the writer from its other work for too long.
    """
    run_id = slots.slot_run(connection, source)
    if run_id is None:
        return None
    threads.thread_insert(connection, target, {}, now)
    position = None
    for _ in range(MOST_STEPS_AT_ONCE):
        position = checkpoint_sql.thread_copy_step(connection, source, target, position)
        if position is None:
            return _shown_copy(connection, source, target, now)
    raise Conflict(f"Thread {source} is too large to be copied while it has in-flight runs: [{run_id}]")


def thread_copy_step(
    connection: sqlite3.Connection,
    source: str,
    target: str,
    operation_id: str,
    after: checkpoint_sql.Position | None,
) -> checkpoint_sql.Position | None:
    """
    Copy the rows behind `after`, as many as fit into a step; return the last one's place, None when all is
    copied.
    """
    _require(connection, source, operation_id)
    return checkpoint_sql.thread_copy_step(connection, source, target, after)


def thread_copy_end(
    connection: sqlite3.Connection, source: str, target: str, operation_id: str, now: int
) -> Thread:
    """Give the copy what the source's row says of its state, show it, free both slots; return the copy."""
    _require(connection, source, operation_id)
    copy = _shown_copy(connection, source, target, now)
    slots.slots_release(connection, operation_id)
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
    Remove old checkpoints with their writes, oldest first, as many as fit into a step.

    `kept` is that of `checkpointing.commands.prune`; returns how many of its namespaces are done with. The
    step that is done with all frees the slot.
    """
    _require(connection, thread_id, operation_id)
    done = checkpoint_sql.thread_prune_step(connection, thread_id, kept)
    if done == len(kept):
        slots.slots_release(connection, operation_id)
    return done
