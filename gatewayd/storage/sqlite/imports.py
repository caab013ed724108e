"""Importing a thread with its history, in steps.

Like a copy, the thread is marked as deleted and has a lock until the last step makes it visible. What an
interrupted import has left is swept by the next daemon or replaced by the next import. An imported thread has
no time to live, even if there is a default: its owner has not agreed to lose it. Its states are stored as
they come, in one piece each, and queued for conversion by the daemon.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.checkpointing import rows
from gatewayd.checkpointing.commands import Operation
from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.checkpointing.sqlite import convert
from gatewayd.errors import NotFound
from gatewayd.model.run import RunOutcome
from gatewayd.storage.sqlite import thread_locks, threads


def thread_import_begin(
    connection: sqlite3.Connection,
    thread_id: str,
    metadata: dict[str, Any],
    operation_id: str,
    boot: int,
    now: int,
) -> bool:
    """Create an invisible thread; False if there is a thread with this id, which is not changed."""
    if threads.thread_find(connection, thread_id) is not None:
        return False
    connection.execute("DELETE FROM thread_locks WHERE thread_id = ?", (thread_id,))
    threads.thread_insert(connection, thread_id, metadata, now)
    connection.execute(
        "UPDATE threads SET deleted_at = ?, ttl = NULL, ttl_strategy = NULL WHERE thread_id = ?",
        (now, thread_id),
    )
    connection.execute(
        "INSERT INTO thread_locks VALUES (?, ?, 'operation', ?)", (thread_id, operation_id, boot)
    )
    convert.expect(connection)
    return True


def thread_import_step(
    connection: sqlite3.Connection, thread_id: str, operation_id: str, changes: Sequence[Operation]
) -> None:
    """Store some checkpoints and writes. Raises `NotFound` if the operation has lost the lock."""
    if not thread_locks.thread_lock_held(connection, thread_id, operation_id):
        raise NotFound(f"Thread with ID {thread_id} not found")
    for operation in changes:
        checkpoint_changes.apply(connection, operation, rows.OPERATION)
    convert.expected(connection)


def thread_import_end(
    connection: sqlite3.Connection,
    thread_id: str,
    operation_id: str,
    projection: RunOutcome,
    created_at: int,
    updated_at: int,
) -> None:
    """
    Store the thread's values, interrupts and times, make it visible and release its lock. Raises `NotFound`.
    """
    if not thread_locks.thread_lock_held(connection, thread_id, operation_id):
        raise NotFound(f"Thread with ID {thread_id} not found")
    threads.thread_project(connection, thread_id, projection, updated_at)
    connection.execute(
        "UPDATE threads SET deleted_at = NULL, created_at = ?, updated_at = ? WHERE thread_id = ?",
        (created_at, updated_at, thread_id),
    )
    thread_locks.thread_locks_release(connection, operation_id)
