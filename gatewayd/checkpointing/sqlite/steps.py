"""Copying and pruning the checkpoints of a thread, as a whole or in steps that the writer can afford.

Functions run inside the caller's transaction, and the caller undoes what one that raised has done.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from gatewayd import wire
from gatewayd.blobs.sqlite import tables
from gatewayd.checkpointing.sqlite import statements
from gatewayd.errors import Conflict

if TYPE_CHECKING:
    import sqlite3


STEP_ROWS = 100
"""Rows of one step of a copy or prune (two at least) …"""
STEP_BYTES = 1 << 20
"""… and what they may hold together, beside a single larger one: a few milliseconds of the writer's time."""

_THREAD_HOLDS = """
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = ?) OR EXISTS (SELECT 1 FROM writes WHERE thread_id = ?)"""

_COPIED_RUN = "CASE WHEN run_id = '' OR run_id LIKE 'copy:%' THEN run_id ELSE 'copy:' || run_id END"
_CHECKPOINTS_COPY = f"""
INSERT INTO checkpoints ({statements.COLUMNS})
SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, {_COPIED_RUN}, format, type, checkpoint,
    CASE WHEN json_type(metadata, '$.thread_id') IS NULL THEN metadata
         ELSE json_set(metadata, '$.thread_id', :target) END,
    iif(metadata_packed IS NULL, NULL, metadata_moved(metadata_packed, :target))
FROM checkpoints WHERE thread_id = :source"""
_WRITES_COPY = f"""
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, {statements.WRITE})
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
        tables.adopt(connection, source, target)
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
    tables.mark(connection, thread_id)
    for done, (checkpoint_ns, latest, older) in enumerate(kept):
        if not room.takes(0):
            return done
        place = (thread_id, checkpoint_ns)
        listed = connection.execute(_PRUNABLE, (*place, latest, wire.text(older), room.rows + 1)).fetchall()
        doomed = [(*place, row[0]) for row in itertools.takewhile(lambda row: room.takes(row[1]), listed)]
        connection.executemany(statements.CHECKPOINT_DELETE, doomed)
        connection.executemany(statements.CHECKPOINT_WRITES_DELETE, doomed)
        if len(doomed) < len(listed):
            return done
        prune(connection, thread_id, [(checkpoint_ns, latest, older)])  # writes whose checkpoints never came
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


def copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    if connection.execute(_THREAD_HOLDS, (target, target)).fetchone()[0]:
        raise Conflict(f"Thread {target} has checkpoints already")
    tables.adopt(connection, source, target)
    names = {"source": source, "target": target}
    connection.execute(_CHECKPOINTS_COPY, names)
    connection.execute(_WRITES_COPY, names)


def prune(connection: sqlite3.Connection, thread_id: str, kept: Sequence[Sequence[Any]]) -> None:
    tables.mark(connection, thread_id)
    places = [(thread_id, checkpoint_ns, latest, wire.text(older)) for checkpoint_ns, latest, older in kept]
    connection.executemany(_CHECKPOINTS_PRUNE, places)
    connection.executemany(_WRITES_PRUNE, places)
