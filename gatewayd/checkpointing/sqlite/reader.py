"""The reads of a worker in SQLite: one read-only connection, short reads, any thread.

A read is a whole statement fetched at once: no cursor outlives a call, for an open one keeps the write-ahead
log from being folded back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gatewayd.blobs.seal import Seal
from gatewayd.blobs.sqlite import tables
from gatewayd.checkpointing import reader, rows
from gatewayd.checkpointing.sqlite import search, statements

BUSY_MS = 5_000
"""How long a read waits for a lock (recovery after a crash) before it fails, in milliseconds."""
CACHE_KB = 8192
"""
Of pages, taken as they are read: the pieces of a long state lie in all places, and SQLite's 2 MB hold too few
of them.
"""


class SqliteReader:
    """A `reader.Reader`: a read-only connection that threads take turns in using."""

    def __init__(self, path: str | Path, *, serde: reader.Serde, seal: Seal | None = None) -> None:
        """
        Open the database file at `path`, which the daemon has made.

        States are serialised with `serde` and sealed with `seal`.
        """
        self.serde = serde
        self.seal = seal
        self.on_failed: Callable[[reader.Failed], None] = lambda _: None
        self._turn = threading.Lock()
        self._connection = sqlite3.connect(
            f"{Path(path).absolute().as_uri()}?mode=ro",
            uri=True,
            check_same_thread=False,
            isolation_level=None,
        )
        self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._connection.execute("PRAGMA query_only = ON")
        statements.prepare(self._connection)
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")

    def close(self) -> None:
        """Close the connection; may be called twice."""
        with self._turn:
            self._connection.close()

    def latest(self, thread_id: str, checkpoint_ns: str) -> rows.CheckpointRow | None:
        return _first(self._fetch(statements.TUPLE_LATEST, (thread_id, checkpoint_ns)))

    def by_id(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> rows.CheckpointRow | None:
        return _first(self._fetch(statements.TUPLE_BY_ID, (thread_id, checkpoint_ns, checkpoint_id)))

    def page(
        self, wanted: reader.Search, after: rows.CheckpointRow | None, limit: int
    ) -> list[rows.CheckpointRow]:
        return [rows.CheckpointRow._make(row) for row in self._fetch(*search.page(wanted, after, limit))]

    def writes(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> list[rows.WriteRow]:
        stored = self._fetch(statements.WRITES, (thread_id, checkpoint_ns, checkpoint_id))
        return [rows.WriteRow._make(row) for row in stored]

    def questions(self, thread_id: str, checkpoint_ns: str) -> list[rows.WriteRow]:
        stored = self._fetch(statements.QUESTIONS, (thread_id, checkpoint_ns))
        return [rows.WriteRow._make(row) for row in stored]

    def namespaces(self, thread_id: str) -> list[str]:
        return [checkpoint_ns for (checkpoint_ns,) in self._fetch(statements.NAMESPACES, (thread_id,))]

    def delta_channels(self, thread_id: str, checkpoint_ns: str) -> set[str]:
        return {name for (name,) in self._fetch(statements.DELTA_CHANNELS, (thread_id, checkpoint_ns))}

    def newest(self) -> Sequence[tuple[str, int, bytes]]:
        return [
            (kind, version, value)
            for statement in statements.NEWEST.values()
            for kind, version, value in self._fetch(statement)
        ]

    def sizes(self, thread_id: str) -> tuple[reader.Size, reader.Size]:
        (checkpoints,) = self._fetch(statements.CHECKPOINTS_SIZE, (thread_id,))
        (writes,) = self._fetch(statements.WRITES_SIZE, (thread_id,))
        return reader.Size(*checkpoints), reader.Size(*writes)

    def values_manifest(self, thread_id: str) -> bytes | None:
        stored = self._fetch(statements.VALUES_MANIFEST, (thread_id,))
        return stored[0][0] if stored else None

    def run_has_begun(self, run_id: str) -> bool:
        return bool(self._fetch(statements.RUN_HAS_BEGUN, (run_id, run_id))[0][0])

    def run_arguments(self, run_id: str) -> reader.RunArguments | None:
        stored = self._fetch(statements.RUN_ARGUMENTS, (run_id,))
        return reader.RunArguments(*stored[0]) if stored else None

    def run_to_merge(self, thread_id: str, into_run: str) -> reader.RunToMerge | None:
        stored = self._fetch(statements.RUN_TO_MERGE, (thread_id, into_run))
        return reader.RunToMerge(*stored[0]) if stored else None

    def blobs(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[Any, ...]]:
        return tables.blobs(self._fetch, thread_id, hashes)

    def segments(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        return tables.segments(self._fetch, thread_id, hashes)

    def _fetch(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement; only for those that give few."""
        with self._turn:
            try:
                return self._connection.execute(statement, params).fetchall()
            except sqlite3.Error as error:
                failed = _failure(error)
                failed.__cause__ = error
        self.on_failed(failed)
        raise failed


def _first(stored: Sequence[tuple[Any, ...]]) -> rows.CheckpointRow | None:
    return rows.CheckpointRow._make(stored[0]) if stored else None


def _failure(error: sqlite3.Error) -> reader.Failed:
    """Return the error of a read; one without a code of SQLite's is that the connection is closed."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    name = getattr(error, "sqlite_errorname", "SQLITE_MISUSE")
    return reader.Failed(str(error), code, name)
