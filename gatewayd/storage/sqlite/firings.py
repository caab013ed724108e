"""The runs of crons: which run a firing created, and how it ended, noted on its cron."""

from __future__ import annotations

import sqlite3

from gatewayd import wire
from gatewayd.model import transitions
from gatewayd.model.run import Run, RunOutcome


def firing_begin(connection: sqlite3.Connection, cron_id: str, due: int, run: Run, now: int) -> None:
    """Record the run that a firing created, on the firing and on its cron."""
    connection.execute(
        "UPDATE firings SET run_id = ? WHERE cron_id = ? AND due = ?", (run.run_id, cron_id, due)
    )
    connection.execute(
        """UPDATE crons SET last_run_id = ?, last_thread_id = ?, last_fired_at = ?, last_status = NULL, last_error = NULL
           WHERE cron_id = ?""",
        (run.run_id, run.thread_id, now, cron_id),
    )


def firing_end(connection: sqlite3.Connection, run_id: str, thread_id: str, outcome: RunOutcome) -> None:
    """
    Record on a run's cron, if it has one, how the run ended. The thread of a failed run is kept for longer.

    A cancelled run neither counts as a failure nor ends a series of failures.
    """
    row = connection.execute("SELECT cron_id FROM firings WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        return
    connection.execute(
        """UPDATE crons SET
               failures = CASE :status WHEN 'success' THEN 0 WHEN 'interrupted' THEN failures ELSE failures + 1 END,
               last_status = iif(last_run_id = :run_id, :status, last_status),
               last_error = iif(last_run_id = :run_id, :error, last_error)
           WHERE cron_id = :cron_id""",
        {
            "status": outcome.status,
            "run_id": run_id,
            "error": None if outcome.error is None else wire.text(outcome.error),
            "cron_id": row[0],
        },
    )
    if outcome.status in transitions.FAILED:
        connection.execute(
            "UPDATE threads SET cron_failed = 1 WHERE thread_id = ? AND ephemeral", (thread_id,)
        )
