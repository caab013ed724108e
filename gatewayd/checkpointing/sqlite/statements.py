"""The statements that read the tables `checkpoints` and `writes`, and what all statements on them share.

Reading statements select whole `rows.CheckpointRow` and `rows.WriteRow`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gatewayd.blobs import codec
from gatewayd.blobs.sqlite import sweep
from gatewayd.checkpointing import rows

if TYPE_CHECKING:
    import sqlite3

METADATA = "iif(metadata_packed IS NULL, metadata, metadata_json(metadata_packed))"
"""
The JSON of a checkpoint's metadata as text, in statements on a connection that was made ready by `prepare`.
"""

_CHECKPOINT = rows.CHECKPOINT
COLUMNS = ", ".join((*rows.CheckpointRow._fields, "metadata_packed"))
WRITE = ", ".join(rows.WriteRow._fields)

# Parameters: thread_id, checkpoint_ns.
TUPLE_LATEST = f"""
SELECT {_CHECKPOINT} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY checkpoint_id DESC LIMIT 1"""

# Parameters: thread_id, checkpoint_ns, checkpoint_id.
TUPLE_BY_ID = f"""
SELECT {_CHECKPOINT} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"""

# A checkpoint's writes of all runs, in the order in which langgraph applies them; `rows.newest` picks those
# that count. Parameters: thread_id, checkpoint_ns, checkpoint_id.
WRITES = f"""
SELECT {WRITE} FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
ORDER BY task_path, task_id, idx, stamp"""

# The namespaces of a thread. Parameters: thread_id.
NAMESPACES = "SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = ?"

# What tasks of a namespace have asked, answered or not. Parameters: thread_id, checkpoint_ns.
QUESTIONS = f"""
SELECT {WRITE} FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND channel = '__interrupt__'"""

# Type, format and column of those of a table's newest rows that may be sealed: enough to tell a wrong key.
_NEWEST = """
SELECT type, format, {column} FROM {table}
WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 100)
AND (format = 2 OR type LIKE '%+%')"""
NEWEST = {
    table: _NEWEST.format(table=table, column=column)
    for table, column in (("checkpoints", "checkpoint"), ("writes", "value"))
}

# Channels that were delta channels at some checkpoint of a namespace. Parameters: thread_id, checkpoint_ns.
DELTA_CHANNELS = f"""
SELECT DISTINCT counter.key
FROM checkpoints, json_each({METADATA}, '$.counters_since_delta_snapshot') AS counter
WHERE thread_id = ? AND checkpoint_ns = ?"""

# Whether the run has stored anything, in any namespace. Parameters: run_id, run_id.
RUN_HAS_BEGUN = """
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE run_id = ?) OR EXISTS (SELECT 1 FROM writes WHERE run_id = ?)"""

# Number and bytes of a thread's rows. Parameter: thread_id.
CHECKPOINTS_SIZE = """
SELECT count(*), coalesce(sum(length(checkpoint) + length(coalesce(metadata_packed, metadata))), 0)
FROM checkpoints WHERE thread_id = ?"""
WRITES_SIZE = "SELECT count(*), coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = ?"

# A thread's values, if they are stored as a manifest (an array of three in MessagePack).
# Parameter: thread_id.
VALUES_MANIFEST = """
SELECT "values" FROM threads WHERE thread_id = ? AND substr("values", 1, 1) = x'93'"""

# What a run is called with, where that is too large to be sent. Parameter: run_id.
RUN_ARGUMENTS = "SELECT kwargs_packed, answers FROM runs WHERE run_id = ?"

# The run that waits to be merged into another. Parameters: thread_id, run_id of the other.
RUN_TO_MERGE = """
SELECT run_id, updated_at, kwargs_packed FROM runs
WHERE thread_id = ? AND ended_at IS NULL AND into_run = ? AND status = 'pending' AND attempt = 0
    AND cancel_action IS NULL"""
CHECKPOINT_DELETE = "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
CHECKPOINT_WRITES_DELETE = CHECKPOINT_DELETE.replace("checkpoints", "writes")


SOURCES = (
    sweep.Source(
        "checkpoints", ("checkpoint_ns", "checkpoint_id"), ("", ""), "checkpoint", f"format = {rows.PIECES}"
    ),
    sweep.Source(
        "writes",
        ("checkpoint_ns", "checkpoint_id", "task_id", "idx", "run_id"),
        ("", "", "", -(2**63), ""),
        "value",
        f"format = {rows.PIECES}",
    ),
)
"""Where manifests are."""


def prepare(connection: sqlite3.Connection) -> None:
    """Give a connection the SQL functions for packed metadata."""
    connection.create_function("metadata_json", 1, _metadata_json, deterministic=True)
    connection.create_function("metadata_moved", 2, _metadata_moved, deterministic=True)


def _metadata_json(packed: bytes) -> str:
    return codec.content(packed).decode()


def _metadata_moved(packed: bytes, thread_id: str) -> bytes:
    """Return a checkpoint's metadata as a copy in another thread has them: with its id, if they have one."""
    told = codec.content(packed)
    if b'"thread_id"' not in told:
        return packed
    metadata = json.loads(told)
    if "thread_id" not in metadata:
        return packed
    return codec.column(
        json.dumps({**metadata, "thread_id": thread_id}, separators=(",", ":")).encode(), hasty=True
    )
