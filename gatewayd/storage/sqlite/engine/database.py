"""The connections to the one file: that of the writer (`writing`), and the readers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiosqlite
from attrs import define, field

from gatewayd import errors, permissions
from gatewayd.checkpointing.sqlite import statements
from gatewayd.storage.sqlite.engine import failures, integrity, migrate, numbering, wal

MINIMUM = (3, 38, 0)
"""Needed for RETURNING, STRICT and ->>."""

PRAGMAS = (
    "page_size = 4096",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    *wal.PRAGMAS,
    "cache_size = -32768",
    "temp_store = MEMORY",
)
"""Of the writing connection. Page size and auto_vacuum take effect in a new file only."""


FOLDED = "folded"
"""SQL function for comparing without regard to case in all alphabets; SQLite's lower() handles ASCII only."""


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the writing connection with `PRAGMAS`; transactions are begun explicitly.

    Raises `BadConfiguration` if the file is not a gatewayd database, and `Damaged`, before changing anything.
    """
    if sqlite3.sqlite_version_info < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise errors.BadConfiguration(
            f"SQLite {sqlite3.sqlite_version} is too old: at least {wanted} is needed"
        )
    with contextlib.suppress(OSError):  # SQLite's own message is better
        permissions.create(path)
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
        factory=numbering.Connection,
    )
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        migrate.refuse_foreign(connection, path)
        integrity.require(connection, path)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        statements.prepare(connection)
        connection.create_function(FOLDED, 1, str.casefold, deterministic=True)
    except BaseException:
        connection.close()
        raise
    return connection


def opened(path: Path) -> sqlite3.Connection:
    """
    Open the writing connection and bring the file to the newest version.

    Raises `BadConfiguration`, `Damaged`, `Unavailable` and `InsufficientStorage`.
    """
    try:
        connection = connect(path)
        try:
            migrate.migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise integrity.told(failures.translated(error), path) from error
    return connection


@define(eq=False)
class Readers:
    """Read-only connections, used in turn; each query is one short read with a small result."""

    damage: failures.Damage
    count: int = 2
    _connections: list[aiosqlite.Connection] = field(factory=list, init=False)
    _turn: int = field(default=0, init=False)

    async def open(self) -> None:
        """Open the connections; the file must exist."""
        with self.damage.translating():
            for _ in range(self.count):
                await self._open()

    async def _open(self) -> None:
        connection = await aiosqlite.connect(
            f"file:{self.damage.path}?mode=ro", uri=True, isolation_level=None
        )
        self._connections.append(connection)
        await connection.execute("PRAGMA query_only = ON")
        await connection.execute("PRAGMA busy_timeout = 5000")
        await connection.execute("PRAGMA cache_size = -16384")
        await connection.create_function(FOLDED, 1, str.casefold, deterministic=True)

    async def rows(
        self, sql: str, parameters: Iterable[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return all rows of one statement. Raises `Unavailable` if they can't be read now."""
        self._turn = (self._turn + 1) % len(self._connections)
        with self.damage.translating():
            rows = await self._connections[self._turn].execute_fetchall(sql, parameters)
        return rows  # type: ignore[return-value]  # without a row factory rows are tuples

    async def close(self) -> None:
        """Close the connections; their threads end."""
        while self._connections:
            await self._connections.pop().close()
