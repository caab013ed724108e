"""How long threads are kept: their times to live, and the threads that have expired.

A time to live counts from the thread's last activity (`updated_at`: created, changed by a client, a run
admitted or ended, a state updated). A thread with an active run or a taken lock does not expire, and a thread
with enabled crons is not deleted. "delete" removes the thread with its runs, as DELETE does. "keep_latest"
removes all but its latest states, once after each activity; `ttl_done_at` is the activity after which it was
done.

New threads get the default, if there is one, by a trigger (see the migration). A change of the default does
not affect existing threads.
"""

from __future__ import annotations

import math
import sqlite3
from typing import Any

from gatewayd.errors import Invalid, NotFound
from gatewayd.model.retention import MOST_MINUTES, ThreadTtl, TtlStrategy
from gatewayd.storage.retention import Expired
from gatewayd.storage.sqlite import threads

MINUTE_US = 60_000_000

# A thread with enabled crons is not deleted: what is planned on it counts like a run that waits.
_UNTOUCHED = """
    NOT EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.ended_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM thread_locks WHERE thread_locks.thread_id = threads.thread_id)
    AND NOT (ttl_strategy = 'delete'
        AND EXISTS (SELECT 1 FROM crons WHERE crons.thread_id = threads.thread_id AND enabled))"""

# Expired threads on which nothing works, in pages by the pair (expires_at, thread_id). The first four terms
# are those of the index. Parameters: now, the last pair of the page before, limit.
EXPIRED = f"""
SELECT updated_at + ttl, thread_id, ttl_strategy, updated_at FROM threads
WHERE ttl IS NOT NULL AND deleted_at IS NULL AND hidden_at IS NULL AND ttl_done_at IS NOT updated_at
    AND updated_at + ttl <= ? AND (updated_at + ttl, thread_id) > (?, ?) AND {_UNTOUCHED}
ORDER BY updated_at + ttl, thread_id LIMIT ?"""

TTL = f"SELECT ttl_strategy, ttl, updated_at FROM threads WHERE thread_id = ? AND {threads.VISIBLE} AND ttl IS NOT NULL"


def record(row: tuple[Any, ...]) -> ThreadTtl:
    """Make the record of a row of `TTL`."""
    strategy, ttl, updated_at = row
    return ThreadTtl(strategy=strategy, ttl_minutes=ttl / MINUTE_US, expires_at=updated_at + ttl)


def microseconds(ttl_minutes: float) -> int:
    """
    Return a time to live in µs. Raises `Invalid` unless it is more than 0 and at most a century.
    """
    if not math.isfinite(ttl_minutes) or not 0 < ttl_minutes <= MOST_MINUTES:
        raise Invalid(f"ttl.ttl: must be a number of minutes, more than 0 and at most {MOST_MINUTES:g}")
    return max(1, round(ttl_minutes * MINUTE_US))


def thread_ttl_set(
    connection: sqlite3.Connection, thread_id: str, strategy: TtlStrategy | None, ttl_minutes: float | None
) -> None:
    """
    Set a thread's time to live; with None for both it is kept for ever.

    Raises `Invalid` for an impossible time, and `NotFound`.
    """
    assert (strategy is None) == (ttl_minutes is None)
    ttl = None if ttl_minutes is None else microseconds(ttl_minutes)
    changed = connection.execute(
        f"UPDATE threads SET ttl_strategy = ?, ttl = ?, ttl_done_at = NULL WHERE thread_id = ? AND {threads.VISIBLE}",
        (strategy, ttl, thread_id),
    )
    if changed.rowcount == 0:
        raise NotFound(f"Thread with ID {thread_id} not found")


def thread_ttl_get(connection: sqlite3.Connection, thread_id: str) -> ThreadTtl | None:
    """Return a thread's time to live; None if it is kept for ever, or there is no such thread."""
    row = connection.execute(TTL, (thread_id,)).fetchone()
    return record(row) if row else None


def default_ttl_set(
    connection: sqlite3.Connection, strategy: TtlStrategy | None, ttl_minutes: float | None
) -> None:
    """Set the default of threads that are created from now on; with None for both they are kept for ever."""
    connection.execute("DELETE FROM default_ttl")
    if strategy is not None and ttl_minutes is not None:
        row = (strategy, microseconds(ttl_minutes))
        connection.execute("INSERT INTO default_ttl (strategy, ttl) VALUES (?, ?)", row)


def thread_delete_if_expired(connection: sqlite3.Connection, expired: Expired, now: int) -> bool:
    """
    Mark a thread as deleted if it is still expired and nothing works on it; False otherwise.
    """
    if not _still(connection, expired):
        return False
    threads.thread_delete(connection, expired.thread_id, now)
    return True


def thread_keep_latest_done(connection: sqlite3.Connection, expired: Expired) -> None:
    """
    Record that all but the latest states of a thread are removed; it is done again after its next activity.
    """
    connection.execute(
        "UPDATE threads SET ttl_done_at = ? WHERE thread_id = ? AND ttl IS NOT NULL",
        (expired.updated_at, expired.thread_id),
    )


def _still(connection: sqlite3.Connection, expired: Expired) -> bool:
    row = connection.execute(
        f"""SELECT 1 FROM threads WHERE thread_id = ? AND updated_at = ? AND ttl_strategy = ? AND updated_at + ttl = ?
               AND {threads.VISIBLE} AND {_UNTOUCHED}""",
        (expired.thread_id, expired.updated_at, expired.strategy, expired.expired_at),
    ).fetchone()
    return row is not None
