"""The event log's rows: chunks, appended once and read in pages."""

from __future__ import annotations

import sqlite3

from gatewayd.model.event import Chunk

COLUMNS = "thread_id, run_id, first_seq, last_seq, time_ms, records"

PAGE = f"SELECT {COLUMNS} FROM events WHERE thread_id = ? AND last_seq > ? ORDER BY last_seq LIMIT ?"
PAGE_OF_RUN = (
    f"SELECT {COLUMNS} FROM events WHERE run_id = ? AND last_seq > ? AND thread_id = ? ORDER BY last_seq LIMIT ?"
)
LAST = "SELECT last_seq, time_ms FROM events WHERE thread_id = ? ORDER BY last_seq DESC LIMIT 1"


def append(connection: sqlite3.Connection, chunk: Chunk) -> None:
    """Store one chunk; its numbers were given by `streams.log`."""
    connection.execute(
        f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
        (chunk.thread_id, chunk.run_id, chunk.first_seq, chunk.last_seq, chunk.time_ms, chunk.packed),
    )


def last_seq(connection: sqlite3.Connection, thread_id: str) -> int:
    """Return the number of the thread's newest event, 0 when there is none."""
    row = connection.execute(LAST, (thread_id,)).fetchone()
    return int(row[0]) if row else 0


def chunk(row: tuple[str, str, int, int, int, bytes]) -> Chunk:
    """Make the record of a row with `COLUMNS`."""
    return Chunk(*row)
