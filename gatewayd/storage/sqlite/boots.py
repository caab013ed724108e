"""Boots: who runs on this file, and what earlier boots left behind."""

from __future__ import annotations

import sqlite3
from typing import Any

from gatewayd.model.run import Run
from gatewayd.storage.sqlite import runs, slots

SEQUENCE_JUMP = 1 << 20
"""Added to the numbering of threads with orphans: numbers lost with the power are never given again."""


def boot_begin(connection: sqlite3.Connection, now: int, pid: int, version: str) -> int:
    """Record a start and return its number; slots whose holder is gone are freed."""
    boot = connection.execute(
        "INSERT INTO boots (started_at, pid, version) VALUES (?, ?, ?) RETURNING boot", (now, pid, version)
    ).fetchone()[0]
    slots.slots_release_stale(connection, boot)
    return int(boot)


def orphans_park(connection: sqlite3.Connection, boot: int, now: int) -> list[Run]:
    """Make the running runs of earlier boots pending again; their slots stay theirs. Return them as they are now."""
    parked = connection.execute(
        """UPDATE runs SET status = 'pending', boot = NULL, updated_at = ?,
               suspicions = iif(progressed, 0, suspicions + 1)
           WHERE status = 'running' AND boot <> ? RETURNING run_id""",
        (now, boot),
    ).fetchall()
    return [run for (run_id,) in parked if (run := runs.run_find(connection, run_id)) is not None]


def runs_cancelled_pending(connection: sqlite3.Connection) -> list[Run]:
    """Return the pending runs that were cancelled before the stop: they are ended, never resumed."""
    where = "WHERE runs.status = 'pending' AND cancel_action IS NOT NULL"
    return runs.select(connection, where, ())


def boot_end(connection: sqlite3.Connection, boot: int, now: int) -> None:
    """Record an orderly stop."""
    connection.execute("UPDATE boots SET stopped_at = ? WHERE boot = ?", (now, boot))


def counters(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the numbers shown as queue depth: pending and running runs."""
    pending, running = connection.execute(
        "SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'running') "
        "FROM runs WHERE ended_at IS NULL"
    ).fetchone()
    return {"n_pending": pending, "n_running": running}
