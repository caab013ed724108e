"""The sizes of the rows of the database and the long-term store, by table and thread, for `gatewayd db
report`.

They are read through a connection of its own, beside a daemon if one runs, in short reads: a long one would
keep the write-ahead log from being restarted. So the figures of a busy file are not of one moment. They count
the bytes of texts and BLOBs, without SQLite's overhead (indexes, half-empty pages).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, fields, frozen

from gatewayd import errors
from gatewayd.storage import pages
from gatewayd.storage.retention import Space
from gatewayd.storage.sqlite.engine import migrate, space

PIECE_ROWS = 2_000
DAY_US = 86_400_000_000
UNIX_JULIAN = 2440587.5
"""The Julian day of Unix' epoch."""
UUID6_EPOCH = 0x01B21DD213814000
"""Ticks of 100 ns from the epoch of UUIDs (1582) to that of Unix."""


@define
class Table:
    """One table."""

    name: str
    rows: int = 0
    bytes: int = 0
    recent: int = 0
    """Bytes of rows that were stored in the period of the report; 0 where rows have no time."""


@frozen(kw_only=True)
class File:
    """The figures of a file."""

    path: Path
    file_bytes: int
    wal_bytes: int
    space: Space
    tables: list[Table]
    """The largest first."""


@frozen(kw_only=True)
class Usage(File):
    """The figures of the database."""

    threads: list[tuple[str, int]]
    """The threads with most bytes, and their bytes."""
    growth_a_day: int
    """Bytes per day that were stored in the last days and are still stored."""
    days: float
    """The number of these days: 7, or since the first start."""


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a gatewayd database for reading. Raises `BadConfiguration` if there is none."""
    if not path.is_file():
        raise errors.BadConfiguration(f"{path}: there is no database")
    with _telling(path):
        connection = _connect(path)
    migrate.refuse_foreign(connection, path)
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def look(path: Path, store: Path, now: int, largest: int) -> tuple[Usage, File | None]:
    """
    Return the figures of the database, with its `largest` threads, and of the long-term store if it exists.

    The growth is that of both files. Raises `BadConfiguration`.
    """
    connection = open_read_only(path)
    with _telling(path), contextlib.closing(connection):
        days = _days(connection, now)
        since = now - int(days * DAY_US)
        threads: Counter[str] = Counter()
        figures = _figures(connection, path, threads, since)
    items = _look_at_store(store, since) if store.is_file() else None
    recent = _recent(figures.tables) + sum(table.recent for table in (items.tables if items else ()))
    usage = Usage(
        **{attribute.name: getattr(figures, attribute.name) for attribute in fields(File)},
        threads=threads.most_common(largest),
        growth_a_day=int(recent / days),
        days=days,
    )
    return usage, items


def _look_at_store(path: Path, since: int) -> File:
    with _telling(path), contextlib.closing(_connect(path)) as connection:
        return _figures(connection, path, Counter(), since)


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise errors.BadConfiguration(f"{path} can't be read: {error}") from error


def _figures(connection: sqlite3.Connection, path: Path, threads: Counter[str], since: int) -> File:
    tables = [_table(connection, name, threads, since) for name in _tables(connection)]
    return File(
        path=path,
        file_bytes=path.stat().st_size,
        wal_bytes=pages.bytes_of(path.with_name(f"{path.name}-wal")),
        space=space.measure(connection),
        tables=sorted(tables, key=lambda table: (-table.bytes, table.name)),
    )


def _recent(tables: list[Table]) -> float:
    """
    Return the bytes of recent rows. Blobs have no time: they are assumed to be as old as the other rows.
    """
    recent = sum(table.recent for table in tables)
    pieces = sum(table.bytes for table in tables if table.name == "blobs")
    others = sum(table.bytes for table in tables) - pieces
    return recent * (1 + pieces / others) if others else 0.0


def _days(connection: sqlite3.Connection, now: int) -> float:
    (first,) = connection.execute("SELECT min(started_at) FROM boots").fetchone()
    age = 0.0 if first is None else (now - first) / DAY_US
    return max(1 / 24, min(7.0, age))


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return [name for (name,) in rows]


@frozen
class _Columns:
    size: str
    """SQL of a row's bytes."""
    thread: str
    """SQL of its thread, '' where it has none."""
    recent: str
    """SQL condition that it was stored after :since (µs), :since_ms, :since_uuid or :since_julian."""


_THREAD_OF_FAMILY = (
    "(SELECT min(thread_id) FROM thread_families WHERE thread_families.family_id = blobs.family_id)"
)
"""Blobs that a thread shares with its copies are counted for one thread."""


def _columns(connection: sqlite3.Connection, table: str) -> _Columns:
    types = {row[1]: row[2].upper() for row in connection.execute(f'PRAGMA table_info("{table}")')}
    size = " + ".join(
        f'coalesce(length(CAST("{name}" AS BLOB)), 0)' if kind == "TEXT" else f'coalesce(length("{name}"), 0)'
        for name, kind in types.items()
    )
    recent = "0"
    for name, bound in (
        ("time_ms", ":since_ms"),
        ("submitted_at", ":since"),
        ("created_at", ":since"),
        ("checkpoint_id", ":since_uuid"),
    ):
        if name in types:
            # The long-term store, whose tables are langgraph's, has its times as text.
            column = f'julianday("{name}")' if types[name] == "TIMESTAMP" else f'"{name}"'
            recent = f"{column} >= {':since_julian' if types[name] == 'TIMESTAMP' else bound}"
            break
    thread = "thread_id" if "thread_id" in types else _THREAD_OF_FAMILY if table == "blobs" else "''"
    return _Columns(size=size, thread=thread, recent=recent)


def _table(connection: sqlite3.Connection, name: str, threads: Counter[str], since: int) -> Table:
    total = Table(name)
    columns = _columns(connection, name)
    bounds = {
        "since": since,
        "since_ms": since // 1000,
        "since_uuid": _uuid6(since),
        "since_julian": since / DAY_US + UNIX_JULIAN,
    }
    for piece, parameters in _pieces(connection, name):
        for thread_id, rows, size, recent in connection.execute(
            f"""SELECT {columns.thread}, count(*), sum({columns.size}), sum(iif({columns.recent}, {columns.size}, 0))
                FROM "{name}" WHERE {piece} GROUP BY 1""",
            {**bounds, **parameters},
        ).fetchall():
            total.rows += rows
            total.bytes += size
            total.recent += recent
            if thread_id:
                threads[thread_id] += size
    return total


def _pieces(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Yield conditions that divide a table into short reads; a table without rowids is small and read at once.
    """
    (without_rowid,) = connection.execute(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    if without_rowid:
        yield "1", {}
        return
    behind = -1
    while True:
        (last,) = connection.execute(
            f'SELECT max(rowid) FROM (SELECT rowid FROM "{table}" WHERE rowid > ? ORDER BY rowid LIMIT ?)',
            (behind, PIECE_ROWS),
        ).fetchone()
        if last is None:
            return
        yield "rowid > :behind AND rowid <= :last", {"behind": behind, "last": last}
        behind = last


def _uuid6(moment: int) -> str:
    """Return the prefix of the ids that langgraph gives to checkpoints at a moment (µs)."""
    digits = f"{moment * 10 + UUID6_EPOCH:015x}"
    return f"{digits[:8]}-{digits[8:12]}-6{digits[12:]}"
