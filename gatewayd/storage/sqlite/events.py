"""The event log's rows: chunks, appended once and read in pages."""

from __future__ import annotations

import sqlite3

from gatewayd.model.event import Chunk

COLUMNS = "thread_id, run_id, first_seq, last_seq, time_ms, records"

# The next chunks behind :after: as many as fit into :bytes together, one at least. The sizes are looked at first, so
# that a small chunk before large ones does not make the page large.
_PAGE = f"""
SELECT {COLUMNS} FROM events WHERE {{whose}} AND last_seq > :after AND last_seq <= (
    SELECT max(last_seq) FROM (
        SELECT last_seq, size, sum(size) OVER (ORDER BY last_seq) AS total
        FROM (SELECT last_seq, length(records) AS size FROM events WHERE {{whose}} AND last_seq > :after
              ORDER BY last_seq LIMIT :chunks))
    WHERE total <= :bytes OR total = size)
ORDER BY last_seq"""
PAGE = _PAGE.format(whose="thread_id = :thread_id")
PAGE_OF_RUN = _PAGE.format(whose="run_id = :run_id AND thread_id = :thread_id")
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
