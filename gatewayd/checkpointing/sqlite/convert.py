"""The rows that are converted into manifests (see `checkpointing.conversion`).

What is to be done stands in the table `conversions`: a range of rowids for each table, fixed by an import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gatewayd.blobs import cut
from gatewayd.blobs.sqlite import tables
from gatewayd.checkpointing import pieces, rows
from gatewayd.checkpointing.conversion import OldRow

if TYPE_CHECKING:
    import sqlite3

ROWS: Final = 500
"""Rows looked at in one step."""

_BODY: Final = {"checkpoints": "checkpoint", "writes": "value"}


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
            f"UPDATE conversions SET last_row = (SELECT coalesce(max(rowid), 0) FROM {table}) WHERE name = '{table}'"
        )


def next_row(connection: sqlite3.Connection) -> OldRow | None:
    """Return the next row to convert, or how far the search has come; None when all is done."""
    waiting = connection.execute(
        "SELECT name, done_to, last_row FROM conversions ORDER BY name LIMIT 1"
    ).fetchone()
    if waiting is None:
        return None
    table, done_to, last_row = waiting
    last = min(last_row, done_to + ROWS)
    body = _BODY[table]
    found = connection.execute(
        f"""SELECT rowid, thread_id, type, {body} FROM {table} WHERE rowid > ? AND rowid <= ?
            AND format = {rows.WHOLE} AND length({body}) > {pieces.SMALL} ORDER BY rowid LIMIT 1""",
        (done_to, last),
    ).fetchone()
    if found is not None:
        return OldRow(table, *found)
    _done(connection, table, last)
    return OldRow(table, last)


def store_some(connection: sqlite3.Connection, thread_id: str, blobs: Sequence[cut.Blob]) -> None:
    """Store a portion of a row's blobs."""
    tables.store(connection, thread_id, blobs, ())


def finish(connection: sqlite3.Connection, row: OldRow, manifest: bytes) -> None:
    """
    Change the row, unless it has changed or gone since it was read; then what was stored for it is garbage.
    """
    tables.store(connection, row.thread_id, (), [manifest])
    body = _BODY[row.table]
    changed = connection.execute(
        f"""UPDATE {row.table} SET format = {rows.PIECES}, {body} = ?
            WHERE rowid = ? AND thread_id = ? AND format = {rows.WHOLE} AND {body} = ?""",
        (manifest, row.rowid, row.thread_id, row.body),
    ).rowcount
    if not changed:
        tables.mark(connection, row.thread_id)
    _done(connection, row.table, row.rowid)


def _done(connection: sqlite3.Connection, table: str, rowid: int) -> None:
    connection.execute("UPDATE conversions SET done_to = ? WHERE name = ?", (rowid, table))
    connection.execute("DELETE FROM conversions WHERE name = ? AND done_to >= last_row", (table,))
