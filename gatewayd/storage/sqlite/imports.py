"""Bringing in a thread with its history from elsewhere, step by step.

Like a copy it is made under the mark of a deleted thread, with a slot of its own, until the last step shows
it: what is left of one that was cut short is swept by the next daemon, or made anew by the next import. An
imported thread has no time to live, whatever the default is: nobody has agreed to lose it. Its states come as
they were stored, in one piece each; they are on the list of what the daemon converts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.checkpointing import convert, rows
from gatewayd.checkpointing import sql as checkpoint_sql
from gatewayd.checkpointing.commands import Operation
from gatewayd.errors import NotFound
from gatewayd.model.run import RunOutcome
from gatewayd.storage.sqlite import slots, threads


def thread_import_begin(
    connection: sqlite3.Connection,
    thread_id: str,
    metadata: dict[str, Any],
    operation_id: str,
    boot: int,
    now: int,
) -> bool:
    """Make an invisible thread; False: there is one of this id already, and it stays as it is."""
    if threads.thread_find(connection, thread_id) is not None:
        return False
    connection.execute("DELETE FROM slots WHERE thread_id = ?", (thread_id,))
    threads.thread_insert(connection, thread_id, metadata, now)
    connection.execute(
        "UPDATE threads SET deleted_at = ?, ttl = NULL, ttl_strategy = NULL WHERE thread_id = ?",
        (now, thread_id),
    )
    connection.execute("INSERT INTO slots VALUES (?, ?, 'operation', ?)", (thread_id, operation_id, boot))
    convert.expect(connection)
    return True


def thread_import_step(
    connection: sqlite3.Connection, thread_id: str, operation_id: str, changes: Sequence[Operation]
) -> None:
    """Store some checkpoints and writes. Raises `NotFound` if the operation has lost its slot."""
    if not slots.slot_held(connection, thread_id, operation_id):
        raise NotFound(f"Thread with ID {thread_id} not found")
    for operation in changes:
        checkpoint_sql.apply(connection, operation, rows.OPERATION)
    convert.expected(connection)


def thread_import_end(
    connection: sqlite3.Connection,
    thread_id: str,
    operation_id: str,
    projection: RunOutcome,
    created_at: int,
    updated_at: int,
) -> None:
    """Give the thread its values, interrupts and times, show it and free its slot. Raises `NotFound`."""
    if not slots.slot_held(connection, thread_id, operation_id):
        raise NotFound(f"Thread with ID {thread_id} not found")
    threads.thread_project(connection, thread_id, projection, updated_at)
    connection.execute(
        "UPDATE threads SET deleted_at = NULL, created_at = ?, updated_at = ? WHERE thread_id = ?",
        (created_at, updated_at, thread_id),
    )
    slots.slots_release(connection, operation_id)
