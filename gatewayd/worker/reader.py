"""A worker's own eyes on the database: one read-only connection, short reads, any thread.

A read is a whole statement fetched at once: no cursor outlives a call, for an open one keeps the write-ahead
log from being folded back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from gatewayd.blobs.seal import Seal
from gatewayd.checkpointing.sqlite import statements

BUSY_MS = 5_000
"""How long a read waits for a lock (recovery after a crash) before it fails, in milliseconds."""
CACHE_KB = 8192
"""
Of pages, taken as they are read: the pieces of a long state lie in all places, and SQLite's 2 MB hold too few
of them.
"""


class Failed(sqlite3.DatabaseError):
    """
    SQLite could not read the daemon's database. An agent's own databases raise sqlite3's errors themselves.
    """

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.sqlite_errorcode = error.sqlite_errorcode
        self.sqlite_errorname = error.sqlite_errorname

    @property
    def told(self) -> list[Any]:
        """What the daemon makes its own error of: code, name and text."""
        return [self.sqlite_errorcode, self.sqlite_errorname, str(self)]


class Reader:
    """
    A read-only connection that threads take turns in using, and what it takes to understand states read from
    it.
    """

    def __init__(
        self, path: str | Path, *, serde: SerializerProtocol | None = None, seal: Seal | None = None
    ) -> None:
        """
        Open the database file at `path`, which the daemon has made.

        States are serialised with `serde` (None: langgraph's defaults) and sealed with `seal`.
        """
        self.serde = JsonPlusSerializer() if serde is None else serde
        self.seal = seal
        self.on_failed: Callable[[Failed], None] = lambda _: None
        """Called, in any thread, when a read has failed."""
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

    def fetch(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """
        Return all rows of a statement; only for those that give few. Raises `Failed` with SQLite's code.
        """
        with self._turn:
            try:
                return self._connection.execute(statement, params).fetchall()
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) is None:  # the connection is closed, say
                    raise
                failed = Failed(error)
                failed.__cause__ = error
        self.on_failed(failed)
        raise failed

    def close(self) -> None:
        """Close the connection; may be called twice."""
        with self._turn:
            self._connection.close()
