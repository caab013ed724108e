"""The statements of the tables `checkpoints` and `writes`; who may overwrite what is in the package's
docstring.

Functions run inside the caller's transaction, and the caller undoes what one that raised has done. Reading
statements give whole `rows.CheckpointRow` and `rows.WriteRow`.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from gatewayd import wire
from gatewayd.blobs import codec, sweep
from gatewayd.blobs import sql as blobs_sql
from gatewayd.checkpointing import rows
from gatewayd.errors import Conflict, Rejected

if TYPE_CHECKING:
    import sqlite3

    from gatewayd.checkpointing.commands import Operation

STEP_ROWS = 100
"""Rows of one step of a copy or prune (two at least) …"""
STEP_BYTES = 1 << 20
"""… and what they may hold together, beside a single larger one: a few milliseconds of the writer's time."""

METADATA = "iif(metadata_packed IS NULL, metadata, metadata_json(metadata_packed))"
"""
The JSON of a checkpoint's metadata as text, in statements on a connection that was made ready by `prepare`.
"""

_CHECKPOINT = rows.CHECKPOINT
_COLUMNS = ", ".join((*rows.CheckpointRow._fields, "metadata_packed"))
_WRITE = ", ".join(rows.WriteRow._fields)

# Parameters: thread_id, checkpoint_ns.
TUPLE_LATEST = f"""
SELECT {_CHECKPOINT} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY checkpoint_id DESC LIMIT 1"""

# Parameters: thread_id, checkpoint_ns, checkpoint_id.
TUPLE_BY_ID = f"""
SELECT {_CHECKPOINT} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"""

# A checkpoint's writes of all runs, in the order in which langgraph applies them; `rows.newest` picks those
# that count. Parameters: thread_id, checkpoint_ns, checkpoint_id.
WRITES = f"""
SELECT {_WRITE} FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
ORDER BY task_path, task_id, idx, stamp"""

# The namespaces of a thread. Parameters: thread_id.
NAMESPACES = "SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = ?"

# What tasks of a namespace have asked, answered or not. Parameters: thread_id, checkpoint_ns.
QUESTIONS = f"""
SELECT {_WRITE} FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND channel = '__interrupt__'"""

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

# What a run is called with, where that is too large to be sent. Parameter: run_id.
RUN_ARGUMENTS = "SELECT kwargs_packed, answers FROM runs WHERE run_id = ?"

# The run that waits to be merged into another. Parameters: thread_id, run_id of the other.
RUN_TO_MERGE = """
SELECT run_id, updated_at, kwargs_packed FROM runs
WHERE thread_id = ? AND ended_at IS NULL AND into_run = ? AND status = 'pending' AND attempt = 0
    AND cancel_action IS NULL"""

_PUT = f"INSERT OR IGNORE INTO checkpoints ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{{}}', ?)"

# The WHERE keeps another run's row; then no row is changed and `_put` raises.
_PUT_AGAIN = """
UPDATE checkpoints SET parent_checkpoint_id = ?, format = ?, type = ?, checkpoint = ?, metadata = '{}', metadata_packed = ?
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND run_id = ?"""

# The clock orders the writes of different tasks; a task's own rows rise even if the clock is set back.
_STAMP = """
SELECT max(?, coalesce(max(stamp) + 1, 0)) FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ?"""

_WRITE_REGULAR = f"""
INSERT OR IGNORE INTO writes (thread_id, checkpoint_ns, checkpoint_id, {_WRITE})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WRITE_EXISTS = """
SELECT EXISTS (SELECT 1 FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ?
    AND idx = ? AND run_id = ?)"""
_WRITE_SPECIAL = _WRITE_REGULAR.replace("OR IGNORE", "OR REPLACE")

_THREAD_CHECKPOINTS_DELETE = "DELETE FROM checkpoints WHERE thread_id = ?"
_THREAD_WRITES_DELETE = "DELETE FROM writes WHERE thread_id = ?"
_RUN_CHECKPOINTS_DELETE = "DELETE FROM checkpoints WHERE run_id = ?"
_RUN_WRITES_DELETE = "DELETE FROM writes WHERE run_id = ?"
_CHECKPOINT_DELETE = "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_CHECKPOINT_WRITES_DELETE = _CHECKPOINT_DELETE.replace("checkpoints", "writes")

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
WHERE run_id = ? AND json_extract({METADATA}, '$.run_id') IN (SELECT value FROM json_each(?))"""

_THREAD_HOLDS = """
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = ?) OR EXISTS (SELECT 1 FROM writes WHERE thread_id = ?)"""

_RUN_THREADS = (
    "SELECT thread_id FROM checkpoints WHERE run_id = ? UNION SELECT thread_id FROM writes WHERE run_id = ?"
)

_COPIED_RUN = "CASE WHEN run_id = '' OR run_id LIKE 'copy:%' THEN run_id ELSE 'copy:' || run_id END"
_CHECKPOINTS_COPY = f"""
INSERT INTO checkpoints ({_COLUMNS})
SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, {_COPIED_RUN}, format, type, checkpoint,
    CASE WHEN json_type(metadata, '$.thread_id') IS NULL THEN metadata
         ELSE json_set(metadata, '$.thread_id', :target) END,
    iif(metadata_packed IS NULL, NULL, metadata_moved(metadata_packed, :target))
FROM checkpoints WHERE thread_id = :source"""
_WRITES_COPY = f"""
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, {_WRITE})
SELECT :target, checkpoint_ns, checkpoint_id, task_id, idx, {_COPIED_RUN}, stamp, task_path, channel, format, type,
    value
FROM writes WHERE thread_id = :source"""

# The same in steps: the keys of what comes next with a weight in bytes, and the copy of a range of keys.


@frozen
class _Copied:
    """How the rows of a table are copied in steps."""

    table: str
    key: tuple[str, ...]
    """The columns behind the thread in the table's key."""
    first: tuple[str | int, ...]
    """A key that sorts before all."""
    body: str
    """The column that holds what is large."""
    copy: str

    def next_keys(self) -> str:
        """
        Return the statement that lists keys and weights behind a key. Parameters: thread_id, key, limit.
        """
        marks = ", ".join("?" * len(self.key))
        key = ", ".join(self.key)
        return (
            f"SELECT {key}, length({self.body}) FROM {self.table} WHERE thread_id = ? AND ({key}) > ({marks}) "
            f"ORDER BY {key} LIMIT ?"
        )

    def copy_range(self) -> str:
        """Return the statement that copies the keys behind :after_0, … up to :last_0, …"""
        bounds = (
            ", ".join(f":{end}_{number}" for number in range(len(self.key))) for end in ("after", "last")
        )
        key = ", ".join(self.key)
        return f"{self.copy} AND ({key}) > ({next(bounds)}) AND ({key}) <= ({next(bounds)})"


_COPIED = (
    _Copied("checkpoints", ("checkpoint_ns", "checkpoint_id"), ("", ""), "checkpoint", _CHECKPOINTS_COPY),
    _Copied(
        "writes",
        ("checkpoint_ns", "checkpoint_id", "task_id", "idx", "run_id"),
        ("", "", "", 0, ""),
        "value",
        _WRITES_COPY,
    ),
)

# Parameters: thread_id, checkpoint_ns, latest, JSON list of ids to keep, limit.
_PRUNABLE = """
SELECT checkpoint_id, length(checkpoint) + (SELECT coalesce(sum(length(value)), 0) FROM writes AS w
    WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id)
FROM checkpoints AS c WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id < ?
AND checkpoint_id NOT IN (SELECT value FROM json_each(?)) ORDER BY checkpoint_id LIMIT ?"""

_PRUNE = """
DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id < ?
AND checkpoint_id NOT IN (SELECT value FROM json_each(?))"""
_CHECKPOINTS_PRUNE = _PRUNE.format(table="checkpoints")
_WRITES_PRUNE = _PRUNE.format(table="writes")


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
            blobs_sql.store(connection, thread_id, blobs, ())
            blobs_sql.mark(connection, thread_id)  # the row that they are for may never come
        case ["delete_thread", thread_id]:
            thread_delete(connection, thread_id)
        case ["delete_for_runs", run_ids]:
            _delete_for_runs(connection, run_ids, run_id)
        case ["copy_thread", source, target]:
            _copy_thread(connection, source, target)
        case ["prune", thread_id, kept]:
            _prune(connection, thread_id, kept)
        case _:
            raise Rejected(f"No such checkpoint operation: {operation[:1]!s}")
    return False


def run_has_begun(connection: sqlite3.Connection, run_id: str) -> bool:
    """Tell whether storage holds a checkpoint or write of the run, in any namespace."""
    return bool(connection.execute(RUN_HAS_BEGUN, (run_id, run_id)).fetchone()[0])


def run_delete(connection: sqlite3.Connection, run_id: str) -> None:
    """
    Delete exactly the rows of this run (rollback); what it wrote beside older rows no longer hides them.
    """
    blobs_sql.mark_where(connection, _RUN_THREADS, (run_id, run_id))
    connection.execute(_RUN_CHECKPOINTS_DELETE, (run_id,))
    connection.execute(_RUN_WRITES_DELETE, (run_id,))


def run_delete_orphans(connection: sqlite3.Connection, run_id: str) -> None:
    """Delete the writes of an ended run whose checkpoint never came."""
    deleted = connection.execute(_ORPHANS_DELETE, (run_id,)).fetchall()
    for thread_id in {thread_id for (thread_id,) in deleted}:
        blobs_sql.mark(connection, thread_id)


def thread_delete(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete all checkpoints and writes of a thread."""
    blobs_sql.mark(connection, thread_id)
    connection.execute(_THREAD_CHECKPOINTS_DELETE, (thread_id,))
    connection.execute(_THREAD_WRITES_DELETE, (thread_id,))


Position = tuple[int, tuple[str | int, ...]]
"""A place in a copy: which of the tables, and the key of the last row that was copied."""


def thread_copy_step(
    connection: sqlite3.Connection, source: str, target: str, after: Position | None
) -> Position | None:
    """
    Copy what comes behind `after`, as much as fits into a step; return the place of the last row, None: all
    is done.
    """
    if after is None:
        blobs_sql.adopt(connection, source, target)
    number, key = after or (0, _COPIED[0].first)
    how, room = _COPIED[number], _Room()
    listed = connection.execute(how.next_keys(), (source, *key, STEP_ROWS)).fetchall()
    fitting = [row[:-1] for row in itertools.takewhile(lambda row: room.takes(row[-1]), listed)]
    if not fitting:
        number += 1
        return (number, _COPIED[number].first) if number < len(_COPIED) else None
    names: dict[str, Any] = {"source": source, "target": target}
    names |= {f"after_{position}": part for position, part in enumerate(key)}
    names |= {f"last_{position}": part for position, part in enumerate(fitting[-1])}
    connection.execute(how.copy_range(), names)
    return number, fitting[-1]


def thread_prune_step(connection: sqlite3.Connection, thread_id: str, kept: Sequence[Sequence[Any]]) -> int:
    """Delete old checkpoints with their writes, oldest first, as many as fit into a step.

    `kept` is that of `commands.prune`; returns how many of its namespaces are done with.
    """
    room = _Room()
    blobs_sql.mark(connection, thread_id)
    for done, (checkpoint_ns, latest, older) in enumerate(kept):
        if not room.takes(0):
            return done
        place = (thread_id, checkpoint_ns)
        listed = connection.execute(_PRUNABLE, (*place, latest, wire.text(older), room.rows + 1)).fetchall()
        doomed = [(*place, row[0]) for row in itertools.takewhile(lambda row: room.takes(row[1]), listed)]
        connection.executemany(_CHECKPOINT_DELETE, doomed)
        connection.executemany(_CHECKPOINT_WRITES_DELETE, doomed)
        if len(doomed) < len(listed):
            return done
        _prune(connection, thread_id, [(checkpoint_ns, latest, older)])  # writes whose checkpoints never came
    return len(kept)


@define
class _Room:
    """What is left of a step."""

    rows: int = field(factory=lambda: STEP_ROWS)
    bytes: int = field(factory=lambda: STEP_BYTES)
    empty: bool = True

    def takes(self, weight: int) -> bool:
        """Take a row if there is room for it; the first large one always fits."""
        if self.rows <= 0 or (weight > self.bytes and not self.empty):
            return False
        self.rows -= 1
        self.bytes -= weight
        self.empty = self.empty and not weight
        return True


def _put(connection: sqlite3.Connection, row: Sequence[Any], run_id: str) -> bool:
    thread_id, checkpoint_ns, checkpoint_id, parent, version, kind, checkpoint, metadata, *blobs = row
    key = (thread_id, checkpoint_ns, checkpoint_id)
    if version == rows.PIECES:
        blobs_sql.store(connection, thread_id, blobs[0] if blobs else (), [checkpoint])
    body = (parent, version, kind, checkpoint, metadata)
    made = connection.execute(_PUT, (*key, parent, run_id, *body[1:])).rowcount
    if made:
        return True
    if connection.execute(_PUT_AGAIN, (*body, *key, run_id)).rowcount == 0:
        raise Conflict(f"Checkpoint {checkpoint_id} was made by another run")
    blobs_sql.mark(connection, thread_id)
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
        blobs_sql.store(connection, task[0], blobs, manifests)
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
        blobs_sql.mark(connection, task[0])
    return made > 0


def _delete_for_runs(connection: sqlite3.Connection, run_ids: Sequence[str], sender: str) -> None:
    named = wire.text(run_ids)
    doomed = connection.execute(_DOOMED, (named, sender, named)).fetchall()
    for thread_id in {place[0] for place in doomed}:
        blobs_sql.mark(connection, thread_id)
    for run_id in run_ids:
        blobs_sql.mark_where(connection, _RUN_THREADS, (run_id, run_id))
    connection.executemany(_CHECKPOINT_DELETE, doomed)
    connection.executemany(_CHECKPOINT_WRITES_DELETE, doomed)
    connection.executemany(_RUN_WRITES_DELETE, [(run_id,) for run_id in run_ids])


def _copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    if connection.execute(_THREAD_HOLDS, (target, target)).fetchone()[0]:
        raise Conflict(f"Thread {target} has checkpoints already")
    blobs_sql.adopt(connection, source, target)
    names = {"source": source, "target": target}
    connection.execute(_CHECKPOINTS_COPY, names)
    connection.execute(_WRITES_COPY, names)


def _prune(connection: sqlite3.Connection, thread_id: str, kept: Sequence[Sequence[Any]]) -> None:
    blobs_sql.mark(connection, thread_id)
    places = [(thread_id, checkpoint_ns, latest, wire.text(older)) for checkpoint_ns, latest, older in kept]
    connection.executemany(_CHECKPOINTS_PRUNE, places)
    connection.executemany(_WRITES_PRUNE, places)
