"""The rows of `slots`: who may change a thread's state at the moment.

A run takes its thread's slot at its first start and keeps it, through all requeues, until it has ended. A run
that was *fenced off* (recorded as ended while something of it still executed) keeps it until its worker is
gone. An operation (state update, copy, prune) has the slot for its duration. So neither sees incomplete work
of the other. Only a copy of a thread on which a run executes needs no slot: it is one transaction.

A run whose thread's slot is taken stays pending. An operation is refused if a run has the slot. A state
update is also refused while a run waits that has not begun: that run would start from a state its client has
not seen.

A boot frees the slots of operations and of runs that are not active, because nothing of an earlier boot
executes any more. A deleted thread loses its slot; the holder notices at its next step.
"""

from __future__ import annotations

import sqlite3

from gatewayd.errors import Conflict, NotFound
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import threads

ACTIVE = (
    "SELECT run_id FROM runs WHERE thread_id = ? AND ended_at IS NULL ORDER BY created_at, run_id LIMIT 100"
)

SLOT_OF_ENDED = """
SELECT thread_id, holder FROM slots WHERE kind = 'run' AND NOT EXISTS (
    SELECT 1 FROM runs WHERE runs.run_id = slots.holder AND runs.ended_at IS NULL)"""


def slot_take_for_run(connection: sqlite3.Connection, thread_id: str, run_id: str, boot: int) -> bool:
    """Take the thread's slot for a run; True if the run has it now, False if another holder has it."""
    connection.execute("INSERT OR IGNORE INTO slots VALUES (?, ?, 'run', ?)", (thread_id, run_id, boot))
    row = connection.execute("SELECT holder FROM slots WHERE thread_id = ?", (thread_id,)).fetchone()
    return bool(row[0] == run_id)


def slot_release(connection: sqlite3.Connection, thread_id: str, holder: str) -> None:
    """Free the thread's slot if it is this holder's."""
    connection.execute("DELETE FROM slots WHERE thread_id = ? AND holder = ?", (thread_id, holder))


def slots_release_stale(connection: sqlite3.Connection, boot: int) -> None:
    """Free the slots of operations of earlier boots, and of runs that have ended."""
    connection.execute("DELETE FROM slots WHERE kind = 'operation' AND boot <> ?", (boot,))
    for thread_id, holder in connection.execute(SLOT_OF_ENDED).fetchall():
        slot_release(connection, thread_id, holder)


def slot_take_for_operation(
    connection: sqlite3.Connection, thread_id: str, operation_id: str, boot: int, unless_pending: bool = False
) -> Thread:
    """
    Take the thread's slot for an operation and return the thread.

    Raises `NotFound`, and `Conflict` while a started run has not ended; with `unless_pending`, while any run
    is active.
    """
    thread = threads.thread_find(connection, thread_id)
    if thread is None:
        raise NotFound(f"Thread with ID {thread_id} not found")
    row = connection.execute("SELECT holder, kind FROM slots WHERE thread_id = ?", (thread_id,)).fetchone()
    if row is not None and row[1] == "run":
        raise Conflict(f"Thread {thread_id} has in-flight runs: [{row[0]}]")
    if unless_pending and (active := connection.execute(ACTIVE, (thread_id,)).fetchall()):
        raise Conflict(
            f"Thread {thread_id} has in-flight runs: [{', '.join(run_id for (run_id,) in active)}]"
        )
    if row is not None:
        raise Conflict(f"Thread {thread_id} is being changed by another operation")
    connection.execute("INSERT INTO slots VALUES (?, ?, 'operation', ?)", (thread_id, operation_id, boot))
    return thread


def slot_run(connection: sqlite3.Connection, thread_id: str) -> str | None:
    """Return the run that has the thread's slot, None if none has it."""
    row = connection.execute(
        "SELECT holder FROM slots WHERE thread_id = ? AND kind = 'run'", (thread_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def slot_held(connection: sqlite3.Connection, thread_id: str, operation_id: str) -> bool:
    """Return whether the operation still has the thread's slot."""
    row = connection.execute("SELECT holder FROM slots WHERE thread_id = ?", (thread_id,)).fetchone()
    return row is not None and row[0] == operation_id


def slots_release(connection: sqlite3.Connection, operation_id: str) -> None:
    """Free all slots of an operation."""
    connection.execute("DELETE FROM slots WHERE holder = ?", (operation_id,))
