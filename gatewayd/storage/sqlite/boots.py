"""Boots: the starts of the daemon on this file, and the runs that earlier ones left running."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from gatewayd import wire
from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.model.run import SUSPICIONS, Run
from gatewayd.storage.sqlite import runs, thread_locks
from gatewayd.storage.sqlite.engine import numbering

DIED = "DaemonDied"
"""The error of a run that is put aside because the daemon died while executing it."""

LAST_EVENT_MS = """coalesce((SELECT time_ms FROM events WHERE events.run_id = runs.run_id
    ORDER BY last_seq DESC LIMIT 1), 0)"""
"""When a run's last event was written, 0 if there is none. An attempt's first event is written when a worker
gets the run. So a run without an event since its attempt's start was not executed in that attempt."""


def boot_begin(connection: sqlite3.Connection, now: int, pid: int, version: str) -> int:
    """Record a start, release the locks whose holders no longer exist, and return the boot's number."""
    boot = connection.execute(
        "INSERT INTO boots (started_at, pid, version) VALUES (?, ?, ?) RETURNING boot", (now, pid, version)
    ).fetchone()[0]
    thread_locks.thread_locks_release_stale(connection, boot)
    return int(boot)


def orphans_requeue(
    connection: sqlite3.Connection, boot: int, now: int, policies: Mapping[str, str], default: str
) -> list[Run]:
    """
    Make the running runs of earlier boots pending again and return them. They keep their locks. The numbers
    of their threads' events jump, so that numbers lost in a power cut are never reused.

    `policies` maps graph ids to what happens to their runs; `default` is for all others. "resume" continues
    from the last checkpoint. "restart" removes what the run has stored and begins at its input. "error" and
    "interrupt" mark the run to be ended that way. A run that is being cancelled is ended by its cancel and
    keeps what it has stored. The run's last event gives the least time for which the lost attempt executed.

    A run that was executing and had made no progress is suspected of having killed the daemon. Under
    "restart" no progress counts. A run that was suspected `SUSPICIONS` times before, and was the only one
    executing this time, is marked to be ended with an error.
    """
    orphans = connection.execute(
        f"""SELECT run_id, thread_id, graph_id, cancel_action, {LAST_EVENT_MS} >= attempt_at / 1000 FROM runs
           WHERE status = 'running' AND boot <> ?""",
        (boot,),
    ).fetchall()
    executed = [run_id for run_id, *_, begun in orphans if begun]
    for run_id, thread_id, graph_id, cancel_action, begun in orphans:
        numbering.of(connection).jump(connection, thread_id)
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
    Make an orphan pending and return its number of suspicions.

    `begun`: its attempt was executing. `lasting`: it keeps the progress it has made.
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
        checkpoint_changes.run_delete(connection, run_id)
    elif policy != "resume":
        message = f"the server was restarted while the run was executing (on_restart={policy})"
        _mark(connection, run_id, policy, {"error": "ServerRestarted", "message": message})


def _mark(connection: sqlite3.Connection, run_id: str, action: str, error: dict[str, str]) -> None:
    """Mark a run to be ended with this action, see `runs_cancelled_pending`."""
    connection.execute(
        "UPDATE runs SET cancel_action = ?, cancel_error = ? WHERE run_id = ?",
        (action, wire.text(error), run_id),
    )


def run_find_to_try(connection: sqlite3.Connection) -> Run | None:
    """
    Return the pending run that is to be tried alone before others start, or None.

    Of several suspects, the one that has executed for the shortest time comes first: the others have executed
    longer without killing the daemon.
    """
    suspects = runs.select(
        connection,
        "WHERE runs.status = 'pending' AND runs.suspicions >= ? AND runs.cancel_action IS NULL "
        "ORDER BY runs.executed_us, random() LIMIT 1",
        (SUSPICIONS,),
    )
    return suspects[0] if suspects else None


def runs_cancelled_pending(connection: sqlite3.Connection) -> list[Run]:
    """
    Return the pending runs that are to be ended, not resumed: cancelled before the stop, or marked by a boot.
    """
    where = "WHERE runs.status = 'pending' AND cancel_action IS NOT NULL"
    return runs.select(connection, where, ())


def boot_end(connection: sqlite3.Connection, boot: int, now: int) -> None:
    connection.execute("UPDATE boots SET stopped_at = ? WHERE boot = ?", (now, boot))


def trial_write(connection: sqlite3.Connection) -> None:
    """Test whether the file can be written, by changing `user_version`, which gatewayd does not use."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {(number + 1) % (1 << 31)}")


def counters(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the queue's depth: the numbers of pending and running runs."""
    pending, running = connection.execute(
        "SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'running') "
        "FROM runs WHERE ended_at IS NULL"
    ).fetchone()
    return {"n_pending": pending, "n_running": running}
