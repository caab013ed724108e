"""Turning rows that an older version has stored in one piece into manifests, one row at a time, in the
background.

What is to be done stands in the table `conversions`: a range of rowids for each table, fixed by the
migration. A row is found (`next_row`), cut outside the writer (`cut_row`), its blobs are stored a few at a
time (`store_some`), and at last the row is changed if it is still what was read (`finish`). Stopped anywhere,
it begins again at the same row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gatewayd.blobs import cut
from gatewayd.blobs.sqlite import tables
from gatewayd.checkpointing import pieces, rows, split

if TYPE_CHECKING:
    import sqlite3

ROWS: Final = 500
"""Rows looked at in one step."""
BLOBS: Final = 100
"""Blobs stored in one step."""

_BODY: Final = {"checkpoints": "checkpoint", "writes": "value"}


class OldRow(NamedTuple):
    """A row that is to be converted; without a body, a range that has been looked through."""

    table: str
    rowid: int
    thread_id: str = ""
    kind: str = ""
    body: bytes = b""


def expect(connection: sqlite3.Connection) -> None:
    """Rows of the first format will be stored from now on; `expected` says that they all have been."""
    for table in _BODY:
        connection.execute(
            f"""INSERT OR IGNORE INTO conversions
                SELECT '{table}', last, last FROM (SELECT coalesce(max(rowid), 0) AS last FROM {table})"""
        )


def expected(connection: sqlite3.Connection) -> None:
    """All that is stored by now is to be looked at."""
    for table in _BODY:
        connection.execute(
            f"UPDATE conversions SET until = (SELECT coalesce(max(rowid), 0) FROM {table}) WHERE name = '{table}'"
        )


def next_row(connection: sqlite3.Connection) -> OldRow | None:
    """Return the next row to convert, or how far the search has come; None when all is done."""
    waiting = connection.execute(
        "SELECT name, behind, until FROM conversions ORDER BY name LIMIT 1"
    ).fetchone()
    if waiting is None:
        return None
    table, behind, until = waiting
    last = min(until, behind + ROWS)
    body = _BODY[table]
    found = connection.execute(
        f"""SELECT rowid, thread_id, type, {body} FROM {table} WHERE rowid > ? AND rowid <= ?
            AND format = {rows.WHOLE} AND length({body}) > {pieces.SMALL} ORDER BY rowid LIMIT 1""",
        (behind, last),
    ).fetchone()
    if found is not None:
        return OldRow(table, *found)
    _done(connection, table, last)
    return OldRow(table, last)


def cut_row(found: OldRow, known: cut.Known) -> tuple[bytes, list[Sequence[cut.Blob]]]:
    """Return the row's manifest and its blobs that are not in `known`, in portions; they are added to it."""
    cutter = cut.Cutter(known, find=split.long_texts)
    _, _, manifest = pieces.pack(found.kind, found.body, cutter)
    known.update(cutter.blobs)
    return manifest, list(_portions(list(cutter.blobs.values())))


def _portions(blobs: Sequence[cut.Blob]) -> Iterator[Sequence[cut.Blob]]:
    for start in range(0, len(blobs), BLOBS):
        yield blobs[start : start + BLOBS]


def store_some(connection: sqlite3.Connection, thread_id: str, blobs: Sequence[cut.Blob]) -> None:
    """Store a portion of a row's blobs."""
    tables.store(connection, thread_id, blobs, ())


def finish(connection: sqlite3.Connection, found: OldRow, manifest: bytes) -> None:
    """Change the row, unless it has changed or gone meanwhile; then what was stored for it is garbage."""
    tables.store(connection, found.thread_id, (), [manifest])
    body = _BODY[found.table]
    changed = connection.execute(
        f"""UPDATE {found.table} SET format = {rows.PIECES}, {body} = ?
            WHERE rowid = ? AND thread_id = ? AND format = {rows.WHOLE} AND {body} = ?""",
        (manifest, found.rowid, found.thread_id, found.body),
    ).rowcount
    if not changed:
        tables.mark(connection, found.thread_id)
    _done(connection, found.table, found.rowid)


def _done(connection: sqlite3.Connection, table: str, rowid: int) -> None:
    connection.execute("UPDATE conversions SET behind = ? WHERE name = ?", (rowid, table))
    connection.execute("DELETE FROM conversions WHERE name = ? AND behind >= until", (table,))
