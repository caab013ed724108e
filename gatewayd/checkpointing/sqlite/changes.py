"""Changes of the tables `checkpoints` and `writes`; who may overwrite what is in the docstring of
`gatewayd.checkpointing`.

Functions run inside the caller's transaction, and the caller undoes what one that raised has done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gatewayd import wire
from gatewayd.blobs.sqlite import tables
from gatewayd.checkpointing import rows
from gatewayd.checkpointing.sqlite import statements, steps
from gatewayd.errors import Conflict, Rejected

if TYPE_CHECKING:
    import sqlite3

    from gatewayd.checkpointing.commands import Operation


_PUT = f"INSERT OR IGNORE INTO checkpoints ({statements.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{{}}', ?)"

# The WHERE keeps another run's row; then no row is changed and `_put` raises.
_PUT_AGAIN = """
UPDATE checkpoints SET parent_checkpoint_id = ?, format = ?, type = ?, checkpoint = ?, metadata = '{}', metadata_packed = ?
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND run_id = ?"""

# The clock orders the writes of different tasks; a task's own rows rise even if the clock is set back.
_STAMP = """
SELECT max(?, coalesce(max(stamp) + 1, 0)) FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ?"""

_WRITE_REGULAR = f"""
INSERT OR IGNORE INTO writes (thread_id, checkpoint_ns, checkpoint_id, {statements.WRITE})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WRITE_EXISTS = """
SELECT EXISTS (SELECT 1 FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ?
    AND idx = ? AND run_id = ?)"""
_WRITE_SPECIAL = _WRITE_REGULAR.replace("OR IGNORE", "OR REPLACE")

_THREAD_CHECKPOINTS_DELETE = "DELETE FROM checkpoints WHERE thread_id = ?"
_THREAD_WRITES_DELETE = "DELETE FROM writes WHERE thread_id = ?"
_RUN_CHECKPOINTS_DELETE = "DELETE FROM checkpoints WHERE run_id = ?"
_RUN_WRITES_DELETE = "DELETE FROM writes WHERE run_id = ?"

_ORPHANS_DELETE = """
DELETE FROM writes WHERE run_id = ? AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS c WHERE c.thread_id = writes.thread_id
    AND c.checkpoint_ns = writes.checkpoint_ns AND c.checkpoint_id = writes.checkpoint_id)
RETURNING thread_id"""

# By langgraph's word a run's checkpoints are those whose metadata name it; beyond the column that is looked
# for among the sender's own rows only, so that no call reads the whole table. Parameters: JSON list of runs,
# sender, JSON list.
_DOOMED = f"""
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE run_id IN (SELECT value FROM json_each(?))
UNION
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
WHERE run_id = ? AND json_extract({statements.METADATA}, '$.run_id') IN (SELECT value FROM json_each(?))"""

_RUN_THREADS = (
    "SELECT thread_id FROM checkpoints WHERE run_id = ? UNION SELECT thread_id FROM writes WHERE run_id = ?"
)


def apply(connection: sqlite3.Connection, operation: Operation, run_id: str) -> bool:
    """Execute one operation sent by run `run_id` ('' for an operation of the server).

    Return whether it stored a checkpoint or write that was not there before. Raises Conflict if it would
    change what another run has stored, Rejected if there is no such operation.
    """
    match operation:
        case ["put", *row]:
            return _put(connection, row, run_id)
        case ["writes", thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, values, *blobs]:
            task = (thread_id, checkpoint_ns, checkpoint_id, task_id)
            return _write(connection, task, task_path, values, blobs[0] if blobs else (), run_id)
        case ["blobs", thread_id, blobs]:
            tables.store(connection, thread_id, blobs, ())
            tables.mark(connection, thread_id)  # the row that they are for may never come
        case ["delete_thread", thread_id]:
            thread_delete(connection, thread_id)
        case ["delete_for_runs", run_ids]:
            _delete_for_runs(connection, run_ids, run_id)
        case ["copy_thread", source, target]:
            steps.copy_thread(connection, source, target)
        case ["prune", thread_id, kept]:
            steps.prune(connection, thread_id, kept)
        case _:
            raise Rejected(f"No such checkpoint operation: {operation[:1]!s}")
    return False


def run_delete(connection: sqlite3.Connection, run_id: str) -> None:
    """
    Delete exactly the rows of this run (rollback); what it wrote beside older rows no longer hides them.
    """
    tables.mark_where(connection, _RUN_THREADS, (run_id, run_id))
    connection.execute(_RUN_CHECKPOINTS_DELETE, (run_id,))
    connection.execute(_RUN_WRITES_DELETE, (run_id,))


def run_delete_orphans(connection: sqlite3.Connection, run_id: str) -> None:
    """Delete the writes of an ended run whose checkpoint never came."""
    deleted = connection.execute(_ORPHANS_DELETE, (run_id,)).fetchall()
    for thread_id in {thread_id for (thread_id,) in deleted}:
        tables.mark(connection, thread_id)


def thread_delete(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete all checkpoints and writes of a thread."""
    tables.mark(connection, thread_id)
    connection.execute(_THREAD_CHECKPOINTS_DELETE, (thread_id,))
    connection.execute(_THREAD_WRITES_DELETE, (thread_id,))


def _put(connection: sqlite3.Connection, row: Sequence[Any], run_id: str) -> bool:
    thread_id, checkpoint_ns, checkpoint_id, parent, version, kind, checkpoint, metadata, *blobs = row
    key = (thread_id, checkpoint_ns, checkpoint_id)
    if version == rows.PIECES:
        tables.store(connection, thread_id, blobs[0] if blobs else (), [checkpoint])
    body = (parent, version, kind, checkpoint, metadata)
    made = connection.execute(_PUT, (*key, parent, run_id, *body[1:])).rowcount
    if made:
        return True
    if connection.execute(_PUT_AGAIN, (*body, *key, run_id)).rowcount == 0:
        raise Conflict(f"Checkpoint {checkpoint_id} was made by another run")
    tables.mark(connection, thread_id)
    return False


def _write(
    connection: sqlite3.Connection,
    task: tuple[str, str, str, str],
    task_path: str,
    values: Sequence[Sequence[Any]],
    blobs: Sequence[Sequence[Any]],
    run_id: str,
) -> bool:
    manifests = [value for *_, version, _, value in values if version == rows.PIECES]
    if manifests:
        tables.store(connection, task[0], blobs, manifests)
    (stamp,) = connection.execute(_STAMP, (time.time_ns(), *task)).fetchone()
    stored = [(*task, idx, run_id, stamp, task_path, *rest) for idx, *rest in values]
    # langgraph repeats a task's regular writes, and the first of them is what its checkpoint was made from.
    regular = [row for row in stored if row[4] >= 0]
    made = connection.executemany(_WRITE_REGULAR, regular).rowcount
    for row in stored:
        if row[4] < 0:
            made += not connection.execute(_WRITE_EXISTS, row[:6]).fetchone()[0]
            connection.execute(_WRITE_SPECIAL, row)
    if manifests and made < len(stored):  # some were there already, or have taken the place of others
        tables.mark(connection, task[0])
    return made > 0


def _delete_for_runs(connection: sqlite3.Connection, run_ids: Sequence[str], sender: str) -> None:
    named = wire.text(run_ids)
    doomed = connection.execute(_DOOMED, (named, sender, named)).fetchall()
    for thread_id in {place[0] for place in doomed}:
        tables.mark(connection, thread_id)
    for run_id in run_ids:
        tables.mark_where(connection, _RUN_THREADS, (run_id, run_id))
    connection.executemany(statements.CHECKPOINT_DELETE, doomed)
    connection.executemany(statements.CHECKPOINT_WRITES_DELETE, doomed)
    connection.executemany(_RUN_WRITES_DELETE, [(run_id,) for run_id in run_ids])
