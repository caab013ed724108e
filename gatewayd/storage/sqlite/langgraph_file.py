"""Reading the database of a stock `langgraph-checkpoint-sqlite` saver (SqliteSaver, AsyncSqliteSaver).

Its tables, as its documentation of the format shows them: checkpoints(thread_id, checkpoint_ns,
checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata) and writes(thread_id, checkpoint_ns,
checkpoint_id, task_id, idx, channel, type, value). `type` and the BLOB beside it are the output of
langgraph's serialiser, which is gatewayd's format 1; `metadata` is JSON. So nothing has to be unpacked, and
langgraph is not needed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from attrs import define

from gatewayd import errors, wire
from gatewayd.checkpointing import commands

FORMAT = 1
"""The storage format of these rows: the serialiser's output in one piece."""

PAGE = 50
"""Checkpoints in one step; each may be a whole state."""

NEEDED = {
    "checkpoints": {
        "thread_id",
        "checkpoint_ns",
        "checkpoint_id",
        "parent_checkpoint_id",
        "type",
        "checkpoint",
        "metadata",
    },
    "writes": {
        "thread_id",
        "checkpoint_ns",
        "checkpoint_id",
        "task_id",
        "idx",
        "channel",
        "type",
        "value",
    },
}

_CHECKPOINTS = """
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints
WHERE thread_id = ? AND (checkpoint_ns, checkpoint_id) > (?, ?) ORDER BY checkpoint_ns, checkpoint_id LIMIT ?"""

_WRITES = """
SELECT task_id, idx, channel, type, value FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? ORDER BY task_id, idx"""


@define(eq=False)
class LanggraphFile:
    """An open file of langgraph-checkpoint-sqlite."""

    path: Path
    _connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path) -> LanggraphFile:
        """
        Open a file for reading. Raises `BadConfiguration` if it is not one of langgraph-checkpoint-sqlite.
        """
        if not path.is_file():
            raise errors.BadConfiguration(f"{path}: no such file")
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            for table, needed in NEEDED.items():
                columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
                if missing := sorted(needed - columns):
                    raise errors.BadConfiguration(
                        f"{path} is not the database of langgraph-checkpoint-sqlite: "
                        f"{table} has no {', '.join(missing)}"
                    )
        except sqlite3.DatabaseError as error:
            connection.close()
            raise errors.BadConfiguration(f"{path} can't be read as a database: {error}") from error
        except errors.BadConfiguration:
            connection.close()
            raise
        return cls(path, connection)

    def close(self) -> None:
        self._connection.close()

    def threads(self) -> list[str]:
        """Return the ids of the threads that have checkpoints."""
        rows = self._connection.execute("SELECT DISTINCT thread_id FROM checkpoints ORDER BY thread_id")
        return [str(thread_id) for (thread_id,) in rows.fetchall()]

    def span(self, thread_id: str) -> tuple[str, str]:
        """Return the first and the last id of a thread's root checkpoints, '' for both if it has none."""
        first, last = self._connection.execute(
            "SELECT min(checkpoint_id), max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''",
            (thread_id,),
        ).fetchone()
        return first or "", last or ""

    def steps(self, thread_id: str, target: str) -> Iterator[list[commands.Operation]]:
        """
        Yield, in pages, the operations that store a thread's checkpoints and writes under the id `target`.

        Raises `Rejected` for an invalid row.
        """
        place = ("", "")
        while page := self._connection.execute(_CHECKPOINTS, (thread_id, *place, PAGE)).fetchall():
            step: list[commands.Operation] = []
            for ns, checkpoint_id, parent, kind, checkpoint, metadata in page:
                metadata_json = _metadata(checkpoint_id, metadata)
                if not isinstance(kind, str) or not isinstance(checkpoint, bytes):
                    raise errors.Rejected(f"checkpoint {checkpoint_id} is not serialised as it should be")
                step.append(commands.put(target, ns, checkpoint_id, parent, kind, checkpoint, metadata_json))
                step += self._writes(thread_id, target, ns, checkpoint_id)
            yield step
            place = page[-1][:2]

    def _writes(
        self, thread_id: str, target: str, ns: str, checkpoint_id: str
    ) -> Iterator[commands.Operation]:
        rows = self._connection.execute(_WRITES, (thread_id, ns, checkpoint_id)).fetchall()
        for task_id, task_rows in groupby(rows, key=lambda row: row[0]):
            values = [
                [idx, channel, FORMAT, kind, value or b""] for _, idx, channel, kind, value in task_rows
            ]
            yield ["writes", target, ns, checkpoint_id, task_id, "", values]


def _metadata(checkpoint_id: str, metadata: str | bytes | None) -> str:
    """Return a checkpoint's metadata as JSON text; older savers store bytes, which may contain NaN."""
    try:
        value = json.loads(metadata or "{}")
        if isinstance(value, dict):
            return wire.text(value)
    except (ValueError, TypeError) as error:
        raise errors.Rejected(f"the metadata of checkpoint {checkpoint_id} can't be read: {error}") from error
    raise errors.Rejected(f"the metadata of checkpoint {checkpoint_id} is no JSON object")
