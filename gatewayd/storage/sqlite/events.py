"""The event log's rows: chunks, appended once, read in pages, and removed when they are old enough.

Chunks are compressed as they are stored, by the writer (2 to 5 µs each) and not by workers, since live
readers need them as they are. A token of a model, with all that is told around it, takes 214 bytes instead of
1,109.

A thread's log is removed from its beginning: what is kept is always a tail of it. A chunk is removed when its
run has ended long enough ago; the first one that has to stay holds up all behind it. The newest chunk stays,
because numbering goes on from it (`numbering`). The thread's row says up to which number its log has been
removed (`pruned_to`) and since when there may be more to remove (`events_since`), so that no table need be
searched for it; each run's row says whether it has lost events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import ormsgpack

from gatewayd.blobs import codec
from gatewayd.blobs.sqlite import sweep, tables
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.state import Parts
from gatewayd.storage.sqlite.engine import numbering

COLUMNS = "thread_id, run_id, first_seq, last_seq, time_ms, records, parts"

# The next chunks behind :after: as many as fit into :bytes together, one at least. The sizes are looked at
# first, so that a small chunk before large ones does not make the page large. What is left of a deleted
# thread is not read: a stream that waits for another thread under its id must not move behind that one's
# numbers.
_PAGE = f"""
SELECT {COLUMNS} FROM events WHERE {{whose}} AND last_seq > :after AND last_seq <= (
    SELECT max(last_seq) FROM (
        SELECT last_seq, size, sum(size) OVER (ORDER BY last_seq) AS total
        FROM (SELECT last_seq, length(records) + saved_bytes AS size FROM events WHERE {{whose}} AND last_seq > :after
              ORDER BY last_seq LIMIT :chunks))
    WHERE total <= :bytes OR total = size)
AND NOT EXISTS (SELECT 1 FROM threads WHERE threads.thread_id = :thread_id AND deleted_at IS NOT NULL)
ORDER BY last_seq"""
PAGE = _PAGE.format(whose="thread_id = :thread_id")
PAGE_OF_RUN = _PAGE.format(whose="run_id = :run_id AND thread_id = :thread_id")

LAST_OLDER = """
SELECT coalesce((
    SELECT last_seq FROM events WHERE run_id = :run_id AND time_ms < :time_ms ORDER BY last_seq DESC LIMIT 1), 0)
FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :checkpoint_id"""
"""
The number of a run's last event that is older than a checkpoint of its thread; no row if there is no such
one.
"""


REPLAY_START = """
SELECT min(first) FROM (
    SELECT (SELECT first_seq FROM events WHERE events.run_id = runs.run_id ORDER BY last_seq LIMIT 1) AS first
    FROM runs WHERE thread_id = :thread_id AND (ended_at IS NULL OR ended_at >= :since)
    UNION ALL
    SELECT first_seq FROM (
        SELECT first_seq, run_id, time_ms FROM events WHERE thread_id = :thread_id ORDER BY last_seq DESC LIMIT 1000)
    WHERE run_id = '' AND time_ms * 1000 >= :since
    UNION ALL
    SELECT (SELECT first_seq FROM events WHERE events.run_id = asking.run_id ORDER BY last_seq LIMIT 1)
    FROM (SELECT run_id FROM runs WHERE thread_id = :thread_id AND status = 'success'
          ORDER BY created_at DESC LIMIT 1) AS asking
    WHERE EXISTS (SELECT 1 FROM threads WHERE thread_id = :thread_id AND status = 'interrupted'
                  AND interrupts <> '{}'))"""
"""
Number of the first event of the runs that are active or ended since a moment, and of what came since of no
run.

The run whose questions wait for an answer belongs to them however old it is: clients know of a question, and
can answer it, only by its event.
"""

OVER_BEFORE_THE_LAST = """
SELECT run_id FROM runs WHERE thread_id = ? AND ended_at IS NOT NULL AND log_to > ?
ORDER BY log_to DESC LIMIT -1 OFFSET 1"""
"""Of the runs that have ended behind a number all but the one that ended last."""

NEWEST_RUN = """
SELECT run_id, ended_at IS NULL OR created_at >= ? FROM runs WHERE thread_id = ?
ORDER BY created_at DESC, run_id DESC LIMIT 1"""
"""The run of a thread that was accepted last, and whether it is active or was accepted since a moment."""

GAP_OF_RUN = """
SELECT min(threads.pruned_to, runs.log_to), runs.attempt FROM runs JOIN threads USING (thread_id)
WHERE runs.run_id = ? AND runs.thread_id = ? AND runs.pruned AND min(threads.pruned_to, runs.log_to) > ?"""
GAP = "SELECT pruned_to FROM threads WHERE thread_id = ? AND pruned_to > ?"

TO_PRUNE = """
SELECT events_since, thread_id FROM threads WHERE events_since < ? AND (events_since, thread_id) > (?, ?)
ORDER BY events_since, thread_id LIMIT ?"""

COMPRESSED = 64 << 10
"""Chunks of more bytes are stored as they are: compressing them would keep the writer for milliseconds."""

PRUNE_BYTES = 2 << 20
"""What one step of pruning removes, beside a single larger chunk."""


def append(connection: sqlite3.Connection, draft: Draft) -> Chunk:
    """Number records and store them; return the chunk. Raises `Rejected` if blobs would be missing."""
    chunk = numbered(connection, draft)
    store(connection, chunk)
    return chunk


def numbered(connection: sqlite3.Connection, draft: Draft) -> Chunk:
    """Give records their numbers, which are left out in the log unless they are stored then."""
    counters = numbering.of(connection)
    return draft.numbered(*counters.take(connection, draft.thread_id, draft.count, draft.time_ms))


def store(connection: sqlite3.Connection, chunk: Chunk) -> None:
    """Store records that have their numbers. Raises `Rejected` if blobs would be missing."""
    parts = None
    if chunk.parts:
        tables.store(connection, chunk.thread_id, chunk.blobs, [part.manifest for part in chunk.parts])
        parts = ormsgpack.packb([tuple(part) for part in chunk.parts])
    records = _stored(chunk.packed)
    connection.execute(
        f"INSERT INTO events ({COLUMNS}, saved_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            chunk.thread_id,
            chunk.run_id,
            chunk.first_seq,
            chunk.last_seq,
            chunk.time_ms,
            records,
            parts,
            chunk.size - len(records),
        ),
    )
    if not chunk.run_id:  # no run's end will tell that there is something to remove one day
        keep_from(connection, chunk.thread_id, chunk.time_ms * 1000)


def keep_from(connection: sqlite3.Connection, thread_id: str, now: int) -> None:
    """
    Note that there are events that may be removed when they are old enough: a run of the thread is over.
    """
    connection.execute(
        "UPDATE threads SET events_since = ? WHERE thread_id = ? AND events_since IS NULL", (now, thread_id)
    )


def prune_step(connection: sqlite3.Connection, thread_id: str, before: int, rows: int) -> bool:
    """
    Remove the first chunks of a thread's log, of runs that ended before `before` (µs); True when no more may
    go now.

    At most `rows` chunks and `PRUNE_BYTES`, or one chunk.
    """
    chunks = connection.execute(
        "SELECT last_seq, time_ms, run_id, length(records), parts IS NOT NULL FROM events WHERE thread_id = ? "
        "ORDER BY last_seq LIMIT ?",
        (thread_id, rows + 1),
    ).fetchall()
    over: dict[str, int | None] = {}
    boundary, size, since, parts = 0, 0, None, False
    done = (
        len(chunks) <= rows
    )  # else the last one is for the next step, as here it is the newest, which stays
    for last_seq, time_ms, run_id, length, has_parts in chunks[:-1]:
        if run_id not in over:
            over[run_id] = _over_since(connection, run_id, time_ms)
        ended_at = over[run_id]
        if ended_at is None or max(ended_at, time_ms * 1000) >= before:
            done, since = True, ended_at
            del over[run_id]
            break
        boundary, size, parts = last_seq, size + length, parts or bool(has_parts)
        if size >= PRUNE_BYTES:
            done = False
            break
    if parts:
        tables.mark(connection, thread_id)
    if boundary:
        connection.execute("DELETE FROM events WHERE thread_id = ? AND last_seq <= ?", (thread_id, boundary))
        connection.executemany("UPDATE runs SET pruned = 1 WHERE run_id = ?", [(run_id,) for run_id in over])
        connection.execute("UPDATE threads SET pruned_to = ? WHERE thread_id = ?", (boundary, thread_id))
    if done:
        connection.execute("UPDATE threads SET events_since = ? WHERE thread_id = ?", (since, thread_id))
    return done


def _over_since(connection: sqlite3.Connection, run_id: str, time_ms: int) -> int | None:
    """
    Return when a run ended, None if it has not; of one that is not there, and of no run, when its event came.
    """
    row = connection.execute("SELECT ended_at FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return time_ms * 1000 if row is None else row[0]


def last_seq(connection: sqlite3.Connection, thread_id: str) -> int:
    """Return the number of the thread's newest event, 0 when there is none."""
    row = connection.execute(numbering.LAST, (thread_id,)).fetchone()
    return int(row[0]) if row else 0


def chunk(row: tuple[str, str, int, int, int, bytes, bytes | None]) -> Chunk:
    """Make the record of a row with `COLUMNS`."""
    records, parts = row[5:]
    packed = codec.content(records) if records[0] in _KINDS else records
    return Chunk(
        *row[:5], packed, () if parts is None else [Parts(*part) for part in ormsgpack.unpackb(parts)]
    )


def _stored(packed: bytes) -> bytes:
    """Return the column of a chunk's records: its kind in front, or as they are."""
    if len(packed) > COMPRESSED:
        return packed
    return codec.smaller(packed, hasty=True) or packed


_KINDS = (codec.ZSTD, codec.PRIMED)
"""With these begins no array of MessagePack."""


def _manifests(parts: bytes) -> Iterator[bytes]:
    return (manifest for manifest, _ in ormsgpack.unpackb(parts))


SOURCE = sweep.Source(
    "events INDEXED BY events_with_parts", ("rowid",), (-1,), "parts", "parts IS NOT NULL", _manifests
)
"""Where the log has manifests."""
