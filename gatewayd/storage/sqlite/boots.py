"""Boots: who runs on this file, and what earlier boots left behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from gatewayd import wire
from gatewayd.checkpointing import sql as checkpoint_sql
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


def orphans_park(
    connection: sqlite3.Connection, boot: int, now: int, policies: Mapping[str, str], default: str
) -> list[Run]:
    """
    Make the running runs of earlier boots pending again; their slots stay theirs. Return them as they are now.

    `policies` say by graph id, `default` for the others, what becomes of them: "resume" goes on from the last
    checkpoint, "restart" forgets what the run has stored and begins at its input, "error" and "interrupt" mark it to be
    ended that way; one that is being cancelled is ended by that, and keeps what it has stored until then. Its last event tells how long the cut attempt has executed at least.
    """
    parked = connection.execute(
        """UPDATE runs SET status = 'pending', boot = NULL, updated_at = ?,
               executed_us = executed_us + max(0, coalesce((SELECT time_ms * 1000 FROM events
                   WHERE events.run_id = runs.run_id ORDER BY last_seq DESC LIMIT 1), 0) - attempt_at),
               attempt_at = NULL, suspicions = iif(progressed, 0, suspicions + 1)
           WHERE status = 'running' AND boot <> ? RETURNING run_id, graph_id, cancel_action""",
        (now, boot),
    ).fetchall()
    for run_id, graph_id, cancel_action in parked:
        if cancel_action is None:
            _apply(connection, run_id, policies.get(graph_id, default))
    return [run for run_id, *_ in parked if (run := runs.run_find(connection, run_id)) is not None]


def _apply(connection: sqlite3.Connection, run_id: str, policy: str) -> None:
    if policy == "restart":
        checkpoint_sql.run_delete(connection, run_id)
    elif policy != "resume":
        message = f"the server was restarted while the run was executing (on_restart={policy})"
        connection.execute(
            "UPDATE runs SET cancel_action = ?, cancel_error = ? WHERE run_id = ?",
            (policy, wire.text({"error": "ServerRestarted", "message": message}), run_id),
        )


def runs_cancelled_pending(connection: sqlite3.Connection) -> list[Run]:
    """Return the pending runs that are to be ended, and not resumed: cancelled before the stop, or marked by a boot."""
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
