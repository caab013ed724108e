"""The slots: who may change a thread's state at the moment.

A run takes the slot of its thread at its first start and keeps it, through all parks, until it has ended. One that was
*fenced off* (it was recorded as ended while something of it still executed) keeps it beyond its end, until its worker
is gone. An operation holds it for its duration. A slot does not outlive its reason: a boot frees those of operations
and of runs that are not active, for nothing of an earlier boot executes any more.
"""

from __future__ import annotations

import sqlite3

SLOT_OF_ENDED = """
SELECT thread_id, holder FROM slots WHERE kind = 'run' AND NOT EXISTS (
    SELECT 1 FROM runs WHERE runs.run_id = slots.holder AND runs.ended_at IS NULL)"""


def slot_take(connection: sqlite3.Connection, thread_id: str, run_id: str, boot: int) -> bool:
    """Take the thread's slot for a run, or find that the run has it already; False: somebody else has it."""
    connection.execute("INSERT OR IGNORE INTO slots VALUES (?, ?, 'run', ?)", (thread_id, run_id, boot))
    row = connection.execute("SELECT holder FROM slots WHERE thread_id = ?", (thread_id,)).fetchone()
    return bool(row[0] == run_id)


def slot_release(connection: sqlite3.Connection, thread_id: str, holder: str) -> None:
    """Free the thread's slot if this is its holder."""
    connection.execute("DELETE FROM slots WHERE thread_id = ? AND holder = ?", (thread_id, holder))


def slots_release_stale(connection: sqlite3.Connection, boot: int) -> None:
    """Free the slots of operations of earlier boots, and of runs that have ended."""
    connection.execute("DELETE FROM slots WHERE kind = 'operation' AND boot <> ?", (boot,))
    for thread_id, holder in connection.execute(SLOT_OF_ENDED).fetchall():
        slot_release(connection, thread_id, holder)
