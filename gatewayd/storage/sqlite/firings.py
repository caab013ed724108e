"""
The rows of `firings` beside their key: which cron a run belongs to, and what the cron is told of the run's
end.
"""

from __future__ import annotations

import sqlite3

from gatewayd import wire
from gatewayd.model import transitions
from gatewayd.model.run import Run, RunOutcome


def firing_begin(connection: sqlite3.Connection, cron_id: str, due: int, run: Run, now: int) -> None:
    """Note the run that a cron's date has made."""
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
    Note on a run's cron, if it has one, how the run has ended; the thread of one that failed is kept for
    longer.

    A cancel neither counts as a failure nor ends a series of them.
    """
    found = connection.execute("SELECT cron_id FROM firings WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
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
            "cron_id": found[0],
        },
    )
    if outcome.status in transitions.FAILED:
        connection.execute("UPDATE threads SET kept = 1 WHERE thread_id = ? AND ephemeral", (thread_id,))
