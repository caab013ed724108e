"""The rows of `thread_locks`: who may change a thread's state at the moment.

A run acquires its thread's lock at its first start and keeps it, through all requeues, until it has ended. A
run that was *fenced off* (recorded as ended while something of it still executed) keeps it until its worker
is gone. An operation (state update, copy, prune) has the lock for its duration. So neither sees incomplete
work of the other. Only a copy of a thread on which a run executes needs no lock: it is one transaction.

A run whose thread's lock is taken stays pending. An operation is refused if a run has the lock. A state
update is also refused while a run waits that has not begun: that run would start from a state its client has
not seen.

A boot releases the locks of operations and of runs that are not active, because nothing of an earlier boot
executes any more. A deleted thread loses its lock; the holder notices at its next step.
"""

from __future__ import annotations

import sqlite3

from gatewayd.errors import Conflict, NotFound
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import threads

ACTIVE = (
    "SELECT run_id FROM runs WHERE thread_id = ? AND ended_at IS NULL ORDER BY created_at, run_id LIMIT 100"
)

LOCKS_OF_ENDED_RUNS = """
SELECT thread_id, holder FROM thread_locks WHERE kind = 'run' AND NOT EXISTS (
    SELECT 1 FROM runs WHERE runs.run_id = thread_locks.holder AND runs.ended_at IS NULL)"""


def thread_lock_acquire_for_run(
    connection: sqlite3.Connection, thread_id: str, run_id: str, boot: int
) -> bool:
    """Acquire the thread's lock for a run; True if the run has it now, False if another holder has it."""
    connection.execute(
        "INSERT OR IGNORE INTO thread_locks VALUES (?, ?, 'run', ?)", (thread_id, run_id, boot)
    )
    row = connection.execute("SELECT holder FROM thread_locks WHERE thread_id = ?", (thread_id,)).fetchone()
    return bool(row[0] == run_id)


def thread_lock_release(connection: sqlite3.Connection, thread_id: str, holder: str) -> None:
    """Release the thread's lock if it is this holder's."""
    connection.execute("DELETE FROM thread_locks WHERE thread_id = ? AND holder = ?", (thread_id, holder))


def thread_locks_release_stale(connection: sqlite3.Connection, boot: int) -> None:
    """Release the locks of operations of earlier boots, and of runs that have ended."""
    connection.execute("DELETE FROM thread_locks WHERE kind = 'operation' AND boot <> ?", (boot,))
    for thread_id, holder in connection.execute(LOCKS_OF_ENDED_RUNS).fetchall():
        thread_lock_release(connection, thread_id, holder)


def thread_lock_acquire_for_operation(
    connection: sqlite3.Connection, thread_id: str, operation_id: str, boot: int, unless_pending: bool = False
) -> Thread:
    """
    Acquire the thread's lock for an operation and return the thread.

    Raises `NotFound`, and `Conflict` while a started run has not ended; with `unless_pending`, while any run
    is active.
    """
    thread = threads.thread_find(connection, thread_id)
    if thread is None:
        raise NotFound(f"Thread with ID {thread_id} not found")
    row = connection.execute(
        "SELECT holder, kind FROM thread_locks WHERE thread_id = ?", (thread_id,)
    ).fetchone()
    if row is not None and row[1] == "run":
        raise Conflict(f"Thread {thread_id} has in-flight runs: [{row[0]}]")
    if unless_pending and (active := connection.execute(ACTIVE, (thread_id,)).fetchall()):
        raise Conflict(
            f"Thread {thread_id} has in-flight runs: [{', '.join(run_id for (run_id,) in active)}]"
        )
    if row is not None:
        raise Conflict(f"Thread {thread_id} is being changed by another operation")
    connection.execute(
        "INSERT INTO thread_locks VALUES (?, ?, 'operation', ?)", (thread_id, operation_id, boot)
    )
    return thread


def thread_lock_holding_run(connection: sqlite3.Connection, thread_id: str) -> str | None:
    """Return the run that has the thread's lock, None if none has it."""
    row = connection.execute(
        "SELECT holder FROM thread_locks WHERE thread_id = ? AND kind = 'run'", (thread_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def thread_lock_held(connection: sqlite3.Connection, thread_id: str, operation_id: str) -> bool:
    """Return whether the operation still has the thread's lock."""
    row = connection.execute("SELECT holder FROM thread_locks WHERE thread_id = ?", (thread_id,)).fetchone()
    return row is not None and row[0] == operation_id


def thread_locks_release(connection: sqlite3.Connection, operation_id: str) -> None:
    """Release all locks of an operation."""
    connection.execute("DELETE FROM thread_locks WHERE holder = ?", (operation_id,))
