"""Boots: who runs on this file, and what earlier boots left behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from gatewayd import wire
from gatewayd.checkpointing import sql as checkpoint_sql
from gatewayd.model.run import SUSPICIONS, Run
from gatewayd.storage.sqlite import runs, slots

DIED = "DaemonDied"
"""The error of a run that is put aside because the daemon dies at it."""

LAST_EVENT_MS = """coalesce((SELECT time_ms FROM events WHERE events.run_id = runs.run_id
    ORDER BY last_seq DESC LIMIT 1), 0)"""
"""When a run's last event was written, 0 if there is none. The first of an attempt is written as a worker
gets the run: one of which nothing was written since its attempt's start was never executed in it."""

SEQUENCE_JUMP = 1 << 20
"""Added to the numbering of threads with orphans: numbers lost with the power are never given again."""


def boot_begin(connection: sqlite3.Connection, now: int, pid: int, version: str) -> int:
    """Record a start and return its number; slots whose holder is gone are freed."""
    boot = connection.execute(
        "INSERT INTO boots (started_at, pid, version) VALUES (?, ?, ?) RETURNING boot", (now, pid, version)
    ).fetchone()[0]
    slots.slots_release_stale(connection, boot)
    return int(boot)


def orphans_requeue(
    connection: sqlite3.Connection, boot: int, now: int, policies: Mapping[str, str], default: str
) -> list[Run]:
    """
    Make the running runs of earlier boots pending again; their slots stay theirs. Return them as they are
    now.

    `policies` say by graph id, `default` for the others, what becomes of them: "resume" goes on from the last
    checkpoint, "restart" forgets what the run has stored and begins at its input, "error" and "interrupt"
    mark it to be ended that way; one that is being cancelled is ended by that, and keeps what it has stored
    until then. Its last event tells how long the cut attempt has executed at least.

    A run that had begun to execute and was cut off without progress is suspected to be what the daemon died
    of; under "restart" no progress lasts. One that was suspected `SUSPICIONS` times before, and was the only
    one that executed this time, is marked to be ended with an error.
    """
    orphans = connection.execute(
        f"""SELECT run_id, graph_id, cancel_action, {LAST_EVENT_MS} >= attempt_at / 1000 FROM runs
           WHERE status = 'running' AND boot <> ?""",
        (boot,),
    ).fetchall()
    executed = [run_id for run_id, *_, begun in orphans if begun]
    for run_id, graph_id, cancel_action, begun in orphans:
        policy = policies.get(graph_id, default)
        suspicions = _requeue(connection, run_id, now, begun=bool(begun), lasting=policy != "restart")
        if cancel_action is not None:
            continue
        if suspicions > SUSPICIONS and executed == [run_id]:
            message = (
                f"The daemon died {suspicions} times while it executed the run, without progress, the last time "
                "when nothing else was executed; the run was put aside"
            )
            _mark(connection, run_id, "error", {"error": DIED, "message": message})
        else:
            _apply(connection, run_id, policy)
    return [run for run_id, *_ in orphans if (run := runs.run_find(connection, run_id)) is not None]


def _requeue(connection: sqlite3.Connection, run_id: str, now: int, *, begun: bool, lasting: bool) -> int:
    """
    Make an orphan pending and return how often it is suspected now.

    `begun`: its attempt has begun to execute; `lasting`: it keeps the progress it has made.
    """
    row = connection.execute(
        f"""UPDATE runs SET status = 'pending', boot = NULL, updated_at = ?,
               executed_us = executed_us + max(0, {LAST_EVENT_MS} * 1000 - attempt_at),
               attempt_at = NULL, suspicions = iif(progressed AND ?, 0, suspicions + ?)
           WHERE run_id = ? RETURNING suspicions""",
        (now, lasting, begun, run_id),
    ).fetchone()
    return int(row[0])


def _apply(connection: sqlite3.Connection, run_id: str, policy: str) -> None:
    if policy == "restart":
        checkpoint_sql.run_delete(connection, run_id)
    elif policy != "resume":
        message = f"the server was restarted while the run was executing (on_restart={policy})"
        _mark(connection, run_id, policy, {"error": "ServerRestarted", "message": message})


def _mark(connection: sqlite3.Connection, run_id: str, action: str, error: dict[str, str]) -> None:
    """Have a run ended that way, see `runs_cancelled_pending`."""
    connection.execute(
        "UPDATE runs SET cancel_action = ?, cancel_error = ? WHERE run_id = ?",
        (action, wire.text(error), run_id),
    )


def run_find_to_try(connection: sqlite3.Connection) -> Run | None:
    """
    Return the pending run that is to be tried alone before others start, or None.

    Of several that which was the quickest to meet its daemon's end: those that are not to blame have executed
    longer.
    """
    found = runs.select(
        connection,
        "WHERE runs.status = 'pending' AND runs.suspicions >= ? AND runs.cancel_action IS NULL "
        "ORDER BY runs.executed_us, random() LIMIT 1",
        (SUSPICIONS,),
    )
    return found[0] if found else None


def runs_cancelled_pending(connection: sqlite3.Connection) -> list[Run]:
    """
    Return the pending runs that are to be ended, and not resumed: cancelled before the stop, or marked by a
    boot.
    """
    where = "WHERE runs.status = 'pending' AND cancel_action IS NOT NULL"
    return runs.select(connection, where, ())


def boot_end(connection: sqlite3.Connection, boot: int, now: int) -> None:
    connection.execute("UPDATE boots SET stopped_at = ? WHERE boot = ?", (now, boot))


def trial_write(connection: sqlite3.Connection) -> None:
    """Change the file's header: the number in `user_version`, which means nothing here."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {(number + 1) % (1 << 31)}")


def counters(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the numbers shown as queue depth: pending and running runs."""
    pending, running = connection.execute(
        "SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'running') "
        "FROM runs WHERE ended_at IS NULL"
    ).fetchone()
    return {"n_pending": pending, "n_running": running}
