"""The rows of `threads`: a conversation's record and the projection of its last state.

A thread's status is always derived: busy while one of its runs is active, otherwise what the last ended run
left. Deleting sets a mark that every query sees at once; the sweeper removes the rows in small steps.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from attrs import evolve

from gatewayd import wire
from gatewayd.blobs.sqlite import sweep, tables
from gatewayd.errors import Conflict, NotFound
from gatewayd.model import state, transitions
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.run import RunOutcome
from gatewayd.model.state import State
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import idempotency
from gatewayd.storage.sqlite import states as state_rows
from gatewayd.storage.sqlite.engine import numbering
from gatewayd.storage.threads import DeletedThread

COLUMNS = (
    "thread_id, status, created_at, updated_at, state_updated_at, metadata, config, "
    '"values", interrupts, error'
)
VISIBLE = "deleted_at IS NULL AND hidden_at IS NULL"
FIND = f"SELECT {COLUMNS} FROM threads WHERE thread_id = ? AND {VISIBLE}"
READ = f"SELECT {COLUMNS} FROM threads WHERE thread_id = ? AND deleted_at IS NULL AND (hidden_at IS NULL OR cron_failed)"
"""For requests that only read: it also returns threads that are kept because a cron's run failed on them."""

SOURCE = sweep.Source("threads", ("rowid",), (-1,), '"values"', """substr("values", 1, 1) = x'93'""")
"""The values that have manifests, for the sweep of blobs."""

SWEPT = {
    "events": "records",
    "checkpoints": "checkpoint",
    "writes": "value",
    "runs": "coalesce(kwargs_packed, kwargs)",
}
"""Tables whose rows are removed before their thread's row, and the column that may be large."""

SWEPT_BYTES = 1 << 20
"""Bytes that one step removes at most, unless a single row is larger: a few ms of the writer's time."""

SWEPT_ROWS = 200
"""Rows that one step removes at most."""


class Unswept(Exception):
    """A thread can't be created yet: a deleted one with its id must be swept first, in several steps."""

    def __init__(self, thread_id: str) -> None:
        super().__init__(thread_id)
        self.thread_id = thread_id


def record(row: tuple[Any, ...]) -> Thread:
    """Make the record of a row with `COLUMNS`."""
    return Thread(
        thread_id=row[0],
        status=row[1],
        created_at=row[2],
        updated_at=row[3],
        state_updated_at=row[4],
        metadata=wire.loads(row[5]),
        config=wire.loads(row[6]),
        values=state.loaded(row[7]),
        interrupts=None if row[8] is None else wire.loads(row[8]),
        error=None if row[9] is None else wire.loads(row[9]),
    )


def thread_find(connection: sqlite3.Connection, thread_id: str) -> Thread | None:
    """Return the thread; None if there is none, or it is deleted or hidden."""
    row = connection.execute(FIND, (thread_id,)).fetchone()
    return record(row) if row else None


def thread_shown(connection: sqlite3.Connection, thread_id: str) -> Thread | None:
    """Return the thread for reading, with its values joined; None if there is none."""
    row = connection.execute(READ, (thread_id,)).fetchone()
    return None if row is None else shown(connection, record(row))


def shown(connection: sqlite3.Connection, thread: Thread) -> Thread:
    """
    Return a thread with its values joined, or None for values that can't be read.

    It must be called in the transaction that has read the thread.
    """
    if not isinstance(thread.values, state.Parts):
        return thread
    return evolve(thread, values=state_rows.shown(connection, thread.thread_id, thread.values))


def thread_insert(
    connection: sqlite3.Connection,
    thread_id: str,
    metadata: dict[str, Any],
    now: int,
    *,
    ephemeral: bool = False,
) -> Thread:
    """
    Store a new thread; it replaces a deleted one with its id if few rows of that are left.

    Raises `Conflict` and `Unswept`.
    """
    if connection.execute("SELECT 1 FROM threads WHERE thread_id = ?", (thread_id,)).fetchone():
        if thread_find(connection, thread_id) is not None:
            raise Conflict(f"Thread with ID {thread_id} already exists")
        if not thread_sweep_step(connection, thread_id, SWEPT_ROWS):
            raise Unswept(thread_id)
    connection.execute(
        "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, metadata, ephemeral) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (thread_id, now, now, now, wire.text(metadata), ephemeral),
    )
    return Thread(
        thread_id=thread_id,
        status="idle",
        created_at=now,
        updated_at=now,
        state_updated_at=now,
        metadata=metadata,
        config={},
        values=None,
        interrupts=None,
        error=None,
    )


def thread_create(
    connection: sqlite3.Connection,
    thread_id: str,
    metadata: dict[str, Any],
    do_nothing: bool,
    now: int,
    once: Idempotency | None = None,
) -> Thread:
    """
    Store a new thread; with `do_nothing`, return an existing one instead.

    A repeat of an idempotent request gets the thread as it was created. Raises `Conflict`, and `Invalid` for
    an idempotency key of another request.
    """
    if (made_before := idempotency.find(connection, once, Thread)) is not None:
        return made_before
    existing = thread_find(connection, thread_id) if do_nothing else None
    thread = existing or thread_insert(connection, thread_id, metadata, now)
    # Without the values: they may be large, and a new thread has none.
    idempotency.record(connection, once, evolve(thread, values=None), now)
    return thread


def thread_patch(
    connection: sqlite3.Connection, thread_id: str, metadata: dict[str, Any], now: int
) -> Thread:
    """Merge metadata at the top level. Raises `NotFound`."""
    thread = thread_find(connection, thread_id)
    if thread is None:
        raise NotFound("Not Found")
    merged = wire.text({**thread.metadata, **metadata})
    row = connection.execute(
        f"UPDATE threads SET metadata = ?, updated_at = ? WHERE thread_id = ? RETURNING {COLUMNS}",
        (merged, now, thread_id),
    ).fetchone()
    return record(row)


def thread_delete(connection: sqlite3.Connection, thread_id: str, now: int) -> DeletedThread:
    """Mark a thread as deleted. Raises `NotFound`."""
    # Without its values: SQLite needs room for the new row before it frees the old one, and the disk may be
    # full.
    row = connection.execute(
        f"""UPDATE threads SET deleted_at = ?, "values" = NULL WHERE thread_id = ? AND {VISIBLE} RETURNING thread_id""",
        (now, thread_id),
    ).fetchone()
    if row is None:
        raise NotFound(f"Thread with ID {thread_id} not found")
    active = connection.execute(
        "DELETE FROM runs WHERE thread_id = ? AND ended_at IS NULL RETURNING run_id, iif(attempt, graph_id, NULL)",
        (thread_id,),
    ).fetchall()
    connection.execute("DELETE FROM thread_locks WHERE thread_id = ?", (thread_id,))
    last_seq, last_ms = numbering.of(connection).last(connection, thread_id)
    return DeletedThread(active=dict(active), last_seq=last_seq, last_ms=last_ms)


def thread_project(connection: sqlite3.Connection, thread_id: str, outcome: RunOutcome, now: int) -> None:
    """
    Store the projection of a run's end or a state update (values, interrupts, next, error); derive the
    status.

    Raises `Rejected` if blobs of the values are not stored.
    """
    interrupts = None if outcome.interrupts is None else wire.text(outcome.interrupts)
    next_nodes = None if outcome.next is None else wire.text(outcome.next)
    if isinstance(outcome.values, state.Parts):
        tables.store(connection, thread_id, outcome.blobs, [outcome.values.manifest])
    if outcome.values is not None:
        _mark_replaced(connection, thread_id, outcome.values)
    connection.execute(
        """UPDATE threads SET "values" = coalesce(?, "values"), interrupts = coalesce(?, interrupts, '{}'),
               next = coalesce(?, next), error = ?, state_updated_at = ?
           WHERE thread_id = ?""",
        (
            state.stored(outcome.values),
            interrupts,
            next_nodes,
            None if outcome.error is None else wire.text(outcome.error),
            now,
            thread_id,
        ),
    )
    failed = outcome.status in transitions.FAILED
    thread_status_derive(connection, thread_id, now, failed=failed)


def _mark_replaced(connection: sqlite3.Connection, thread_id: str, by: State) -> None:
    """
    Mark the family for a sweep if a thread's values are about to be replaced and nothing else refers to them.

    Usually the run that made them is still stored with an equal result, and a sweep would free nothing.
    """
    row = connection.execute(
        """SELECT "values" IN (SELECT result FROM runs WHERE runs.thread_id = threads.thread_id
               ORDER BY created_at DESC LIMIT 8), "values" = ?
           FROM threads WHERE thread_id = ? AND substr("values", 1, 1) = x'93'""",
        (state.stored(by), thread_id),
    ).fetchone()
    if row is not None and not any(row):
        tables.mark(connection, thread_id)


def thread_status_derive(
    connection: sqlite3.Connection, thread_id: str, now: int, *, failed: bool = False
) -> None:
    """
    Set the status that follows from the thread's runs and its last state.

    An ephemeral thread without an active run is hidden.
    """
    row = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND ended_at IS NULL),
               next <> '[]' OR coalesce(interrupts, '{}') <> '{}' FROM threads WHERE thread_id = ?""",
        (thread_id,),
    ).fetchone()
    if row is None:
        return
    active, waiting = row
    status = transitions.thread_status(active=bool(active), failed=failed, waiting=bool(waiting))
    connection.execute(
        """UPDATE threads SET updated_at = :now, status = :status,
               hidden_at = iif(ephemeral AND NOT :active, coalesce(hidden_at, :now), hidden_at)
           WHERE thread_id = :thread_id""",
        {"now": now, "active": active, "status": status, "thread_id": thread_id},
    )


# sweeping


def sweep_candidates(
    connection: sqlite3.Connection, hidden_before: int, limit: int, kept_before: int = 0
) -> list[str]:
    """
    Return threads whose rows may be removed: deleted ones, and those of stateless runs that ended long enough
    ago, before `hidden_before`, or before `kept_before` if a cron's run failed on them.

    A deleted thread with a lock is an unfinished copy or import, and is left out.
    """
    rows = connection.execute(
        """SELECT thread_id FROM (
               SELECT thread_id, deleted_at AS since FROM threads WHERE deleted_at IS NOT NULL
               UNION ALL SELECT thread_id, hidden_at FROM threads
                   WHERE hidden_at IS NOT NULL AND deleted_at IS NULL AND cron_failed = 0 AND hidden_at <= ?
               UNION ALL SELECT thread_id, hidden_at FROM threads
                   WHERE hidden_at IS NOT NULL AND deleted_at IS NULL AND cron_failed = 1 AND hidden_at <= ?) AS gone
           WHERE NOT EXISTS (SELECT 1 FROM thread_locks WHERE thread_locks.thread_id = gone.thread_id) ORDER BY since LIMIT ?""",
        (hidden_before, kept_before, limit),
    )
    return [thread_id for (thread_id,) in rows]


def thread_sweep_step(connection: sqlite3.Connection, thread_id: str, rows: int) -> bool:
    """
    Remove up to `rows` rows of a deleted or hidden thread, and about `SWEPT_BYTES`; True when none are left.

    A thread that has been created again since it was chosen is not touched.
    """
    if thread_find(connection, thread_id) is not None:
        return True
    size = 0
    for table, body in SWEPT.items():
        listed = connection.execute(
            f"SELECT rowid, length({body}) FROM {table} WHERE thread_id = ? LIMIT ?", (thread_id, rows)
        ).fetchall()
        for rowid, length in listed:
            if size and size + length > SWEPT_BYTES:
                return False
            size += length
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
            rows -= 1
        if rows <= 0:
            return False
    tables.forget(connection, thread_id)
    numbering.of(connection).forget(thread_id)
    connection.execute("DELETE FROM thread_locks WHERE thread_id = ?", (thread_id,))
    connection.execute("DELETE FROM threads WHERE thread_id = ?", (thread_id,))
    return True
