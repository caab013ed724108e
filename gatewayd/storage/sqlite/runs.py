"""The rows of `runs`, and every transition of a stored run (`admission` stores new ones).

A run's status is changed only by the conditional UPDATEs of this module (`model.transitions` has the
picture), in the transaction that also derives the thread's status. For the thread's lock see `thread_locks`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from gatewayd import wire
from gatewayd.blobs import codec
from gatewayd.blobs.sqlite import sweep, tables
from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.errors import NotFound
from gatewayd.model import state, transitions
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.run import SUSPICIONS, Run, RunOutcome
from gatewayd.storage.runs import ClaimedRuns, DeletedRun, RunSearch
from gatewayd.storage.sqlite import events, firings, thread_locks, threads, webhooks

COLUMNS = (
    "runs.run_id, runs.thread_id, runs.assistant_id, runs.graph_id, runs.status, runs.created_at, runs.updated_at, "
    "runs.started_at, runs.ended_at, runs.metadata, coalesce(runs.kwargs_packed, runs.kwargs), runs.multitask_strategy, runs.answers, "
    "runs.attempt, runs.strikes, runs.suspicions, runs.executed_us, runs.cancel_action, runs.cancel_error, runs.result, runs.error, "
    "runs.log_from, runs.log_to, threads.ephemeral, runs.error_trace, runs.blocked"
)
ARGUMENTS = 10
"""The index of the kwargs in `COLUMNS`."""
SELECT = f"SELECT {COLUMNS} FROM runs JOIN threads USING (thread_id)"

ACTIVE_ON_THREAD = "WHERE runs.thread_id = ? AND runs.ended_at IS NULL"

_FAILED = "runs.status IN ('error', 'timeout', 'interrupted')"
_NARROWED = {
    "pending": "runs.ended_at IS NULL",
    "running": "runs.ended_at IS NULL",
    "error": _FAILED,
    "timeout": _FAILED,
    "interrupted": _FAILED,
}
"""Status → the condition it implies, in the terms of the partial index that has such runs."""

SUSPECT = f"(runs.strikes > 0 OR runs.suspicions >= {SUSPICIONS} OR runs.blocked)"
"""SQL condition that a run must execute in a worker of its own, as `Run.suspect`."""

DUE = f"""
SELECT run_id, thread_id, {SUSPECT} FROM runs
WHERE status = 'pending' AND created_at <= ? AND cancel_action IS NULL
    AND NOT EXISTS (SELECT 1 FROM thread_locks WHERE thread_locks.thread_id = runs.thread_id AND thread_locks.holder <> runs.run_id)
ORDER BY priority, created_at, run_id"""
"""The runs that may start, in the order in which they should, and whether they are suspects."""

EXECUTED = "executed_us = executed_us + max(0, coalesce(? - attempt_at, 0)), attempt_at = NULL"
"""Assignments that end the current attempt, if there is one. Parameter: the moment of the end."""

QUEUE_PLACE = f"""
SELECT runs.status, runs.created_at, iif(runs.status = 'pending', (SELECT count(*) + 1 FROM runs AS other
        WHERE other.status = 'pending'
            AND (other.priority, other.created_at, other.run_id) < (runs.priority, runs.created_at, runs.run_id)), NULL),
    thread_locks.holder, {SUSPECT}
FROM runs JOIN threads USING (thread_id)
    LEFT JOIN thread_locks ON thread_locks.thread_id = runs.thread_id AND thread_locks.holder <> runs.run_id
WHERE runs.run_id = ? AND runs.thread_id = ? AND threads.deleted_at IS NULL"""

SOURCE = sweep.Source(
    "runs INDEXED BY runs_with_parts", ("rowid",), (-1,), "result", "substr(result, 1, 1) = x'93'"
)
"""The results that have manifests, for the sweep of blobs."""


def _in(transition: transitions.Transition) -> str:
    """Return the condition that a run is in a status in which the transition is possible."""
    return f"status IN ({', '.join(repr(status) for status in sorted(transition.before))})"


def record(row: tuple[Any, ...]) -> Run:
    """Make the record of a row with `COLUMNS`."""
    loads = wire.loads
    return Run(
        run_id=row[0],
        thread_id=row[1],
        assistant_id=row[2],
        graph_id=row[3],
        status=row[4],
        created_at=row[5],
        updated_at=row[6],
        started_at=row[7],
        ended_at=row[8],
        metadata=loads(row[9]),
        kwargs=wire.unpacked(_expanded(row[ARGUMENTS])),
        multitask_strategy=row[11],
        answers=None if row[12] is None else wire.unpacked(row[12]),
        attempt=row[13],
        strikes=row[14],
        suspicions=row[15],
        executed_us=row[16],
        cancel_action=row[17],
        cancel_error=None if row[18] is None else loads(row[18]),
        result=state.loaded(row[19]),
        error=None if row[20] is None else loads(row[20]),
        log_from=row[21],
        log_to=row[22],
        ephemeral=bool(row[23]),
        trace=None if row[24] is None else codec.content(row[24]).decode(),
        blocked=bool(row[25]),
    )


def _expanded(column: str | bytes) -> str | bytes:
    """Return the JSON of a run's kwargs."""
    return column if isinstance(column, str) else codec.content(column)


def select(connection: sqlite3.Connection, tail: str, parameters: Iterable[Any]) -> list[Run]:
    """Return the runs that `tail` (WHERE …) selects."""
    return [record(row) for row in connection.execute(f"{SELECT} {tail}", tuple(parameters))]


def list_statement(thread_id: str, status: str | None, limit: int, offset: int) -> tuple[str, list[Any]]:
    """Return the SELECT of a thread's runs, latest due time first, and its parameters."""
    terms, parameters = ["runs.thread_id = ?", "threads.deleted_at IS NULL"], [thread_id]
    if status is not None:
        terms.append("runs.status = ?")
        parameters.append(status)
    narrowed = None if status is None else _NARROWED.get(status)
    if narrowed is not None:
        terms.append(narrowed)
    # The plus keeps SQLite from using an index for the order, which would read all runs to find the few
    # active.
    latest = "+runs.created_at" if narrowed == _NARROWED["pending"] else "runs.created_at"
    sql = f"{SELECT} WHERE {' AND '.join(terms)} ORDER BY {latest} DESC, runs.run_id DESC LIMIT ? OFFSET ?"
    return sql, [*parameters, limit, offset]


def runs_search(connection: sqlite3.Connection, search: RunSearch) -> list[Run]:
    """Return up to `limit` + 1 runs of all threads that match, latest request first."""
    terms, parameters = ["threads.deleted_at IS NULL"], list[Any]()
    for column in ("status", "assistant_id", "thread_id"):
        if (wanted := getattr(search, column)) is not None:
            terms.append(f"runs.{column} = ?")
            parameters.append(wanted)
    narrowed = None if search.status is None else _NARROWED.get(search.status)
    if narrowed is not None:
        terms.append(narrowed)
    # Run ids are ordered by the time of the request. The plus as in `list_statement`.
    latest = "+runs.run_id" if narrowed == _NARROWED["pending"] else "runs.run_id"
    tail = f"WHERE {' AND '.join(terms)} ORDER BY {latest} DESC LIMIT ? OFFSET ?"
    return select(connection, tail, (*parameters, search.limit + 1, search.offset))


def run_find(connection: sqlite3.Connection, run_id: str) -> Run | None:
    runs = select(connection, "WHERE runs.run_id = ?", (run_id,))
    return runs[0] if runs else None


# starting


def _start(connection: sqlite3.Connection, run_id: str, boot: int, now: int) -> None:
    connection.execute(
        f"""UPDATE runs SET status = 'running', boot = ?, attempt = attempt + 1, progressed = 0,
               attempt_at = ?, started_at = coalesce(started_at, ?) WHERE run_id = ? AND {_in(transitions.START)}""",
        (boot, now, now, run_id),
    )


def runs_claim_due(
    connection: sqlite3.Connection,
    boot: int,
    now: int,
    limit: int,
    suspects: int,
    except_runs: frozenset[str] = frozenset(),
    only: str | None = None,
) -> ClaimedRuns:
    """
    Start up to `limit` due runs whose thread is free, in due order.

    Suspects (their worker or their daemon died while executing them) execute alone: at most `suspects` of
    them are started, in addition to the limit. Cancelled runs are never started, nor those in `except_runs`.
    With `only` no other run is started.
    """
    taken: list[Run] = []
    for run_id, thread_id in _choose(connection, now, limit, suspects, except_runs, only):
        thread_locks.thread_lock_acquire_for_run(connection, thread_id, run_id, boot)
        _start(connection, run_id, boot, now)
        run = run_find(connection, run_id)
        assert run is not None
        taken.append(run)
    left, due = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM runs WHERE status = 'pending' AND created_at <= :now),
               (SELECT min(created_at) FROM runs WHERE status = 'pending' AND created_at > :now)""",
        {"now": now},
    ).fetchone()
    return ClaimedRuns(taken=taken, left=bool(left), next_due=due)


def _choose(
    connection: sqlite3.Connection,
    now: int,
    limit: int,
    suspects: int,
    except_runs: frozenset[str],
    only: str | None,
) -> list[tuple[str, str]]:
    """
    Return the run and thread ids of the runs to start: one per thread, within the limits of both kinds.
    """
    chosen: dict[str, str] = {}
    due = connection.execute(DUE, (now,))
    while limit > 0 or suspects > 0:
        row = due.fetchone()
        if row is None:
            break
        run_id, thread_id, suspect = row
        if (suspects if suspect else limit) <= 0 or thread_id in chosen or run_id in except_runs:
            continue
        if only is not None and run_id != only:
            continue
        chosen[thread_id] = run_id
        if suspect:
            suspects -= 1
        else:
            limit -= 1
    due.close()
    return [(run_id, thread_id) for thread_id, run_id in chosen.items()]


# while running


def run_progress(connection: sqlite3.Connection, run_id: str) -> None:
    """Record that this attempt has stored something new, so that a death of its worker is not a strike."""
    connection.execute(
        "UPDATE runs SET progressed = 1, strikes = 0, blocked = 0 WHERE run_id = ? AND status = 'running'",
        (run_id,),
    )


def run_requeue_if_running(
    connection: sqlite3.Connection, run_id: str, attempt: int, died: bool, now: int, blocked: bool = False
) -> Run | None:
    """
    Make a running run pending again: its worker died (a strike, unless it had progressed) or handed it back.

    With `blocked` the run has blocked its worker's event loop; it will execute alone.
    """
    row = connection.execute(
        f"""UPDATE runs SET status = 'pending', boot = NULL, updated_at = ?, {EXECUTED},
               strikes = iif(?, iif(progressed, 0, strikes + 1), strikes),
               suspicions = iif(progressed, 0, suspicions), blocked = max(blocked, ?)
           WHERE run_id = ? AND attempt = ? AND {_in(transitions.REQUEUE)} RETURNING run_id""",
        (now, now, died, blocked, run_id, attempt),
    ).fetchone()
    return run_find(connection, run_id) if row else None


def run_cancel_if_active(
    connection: sqlite3.Connection, run_id: str, action: str, error: dict[str, str], now: int
) -> Run | None:
    """
    Store how a run is to be ended; a rollback is never replaced by an interrupt. None: it has ended already.
    """
    row = connection.execute(
        f"""UPDATE runs SET cancel_error = iif(cancel_action IS NULL OR cancel_action <> 'rollback', ?, cancel_error),
               cancel_action = iif(cancel_action IS NULL OR cancel_action <> 'rollback', ?, cancel_action),
               updated_at = ?
           WHERE run_id = ? AND {_in(transitions.FINISH)} RETURNING run_id""",
        (wire.text(error), action, now, run_id),
    ).fetchone()
    return run_find(connection, run_id) if row else None


def run_checkpoint_apply(connection: sqlite3.Connection, operation: list[Any], run_id: str) -> None:
    """
    Apply an operation of a running run; the first one that stores something new is progress.

    What an earlier attempt has already stored is no progress: a run that repeats its last writes and dies
    gets no further.

    Raises `NotFound` if it is not running, and what `checkpointing.sqlite.changes.apply` raises.
    """
    row = connection.execute(
        "SELECT progressed FROM runs WHERE run_id = ? AND status = 'running'", (run_id,)
    ).fetchone()
    if row is None:
        raise NotFound("the run is not running any more")
    if operation[0] == "merge":
        _, merged, stamp, operation = operation
        if not _merge_if_unchanged(connection, merged, run_id, stamp):
            return
    new = checkpoint_changes.apply(connection, operation, run_id)
    if new and not row[0]:
        run_progress(connection, run_id)


def _merge_if_unchanged(connection: sqlite3.Connection, run_id: str, into: str, stamp: int) -> bool:
    """
    Cancel a waiting run whose input another run has taken over; False if it has changed or does not wait.
    """
    return bool(
        connection.execute(
            """UPDATE runs SET cancel_action = 'interrupt', cancel_error = ? WHERE run_id = ? AND into_run = ?
                   AND updated_at = ? AND status = 'pending' AND attempt = 0 AND cancel_action IS NULL""",
            (wire.text(merged_error(into)), run_id, into, stamp),
        ).rowcount
    )


def merged_error(run_id: str) -> dict[str, str]:
    """Return the error of a run whose input another run has taken over."""
    return {"error": "UserInterrupt", "message": f"merged:{run_id}"}


# ending


def run_finish_if_active(
    connection: sqlite3.Connection,
    run_id: str,
    attempt: int,
    outcome: RunOutcome,
    last: Draft,
    now: int,
) -> Chunk | None:
    """
    End a run: status, result, thread projection, last event, webhook and lock in one transaction.

    Writes of the run whose checkpoint never came are removed: a crash came between the two, and nothing reads
    them. (17 µs for 30 writes, 1.2 ms for 3,000.)

    Only the given attempt may end it (0: any). If a cancel is stored, the run can end only by it. Returns the
    last events; None: the run had ended already, or a cancel is stored, and nothing was changed. Raises
    `Rejected` if blobs of the values or the result are not stored.
    """
    end = events.numbered(connection, last)
    row = connection.execute(
        f"""UPDATE runs SET status = ?, ended_at = ?, updated_at = ?, boot = NULL, {EXECUTED}, result = ?, error = ?,
               error_trace = ?, end_checkpoint_id = ?, log_to = ?
           WHERE run_id = ? AND {_in(transitions.FINISH)} AND ? IN (0, attempt)
               AND coalesce(cancel_action, ?) = ? RETURNING thread_id, webhook""",
        (
            outcome.status,
            now,
            now,
            now,
            state.stored(outcome.result),
            None if outcome.error is None else wire.text(outcome.error),
            None if outcome.trace is None else codec.column(outcome.trace.encode(), hasty=True),
            outcome.end_checkpoint_id,
            end.last_seq,
            run_id,
            attempt,
            outcome.obeys,
            outcome.obeys,
        ),
    ).fetchone()
    if row is None:
        return None
    thread_id, webhook = row
    if isinstance(outcome.result, state.Parts) and (outcome.quiet or outcome.result != outcome.values):
        tables.store(connection, thread_id, outcome.blobs, [outcome.result.manifest])
    events.store(connection, end)
    events.keep_from(connection, thread_id, now)
    if webhook is not None and (ended := run_find(connection, run_id)) is not None:
        webhooks.webhook_owe(connection, ended, webhook, outcome, now)
    if outcome.rollback:
        checkpoint_changes.run_delete(connection, run_id)
        tables.mark(connection, thread_id)
        connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
    else:
        checkpoint_changes.run_delete_orphans(connection, run_id)
    if not outcome.fenced:
        thread_locks.thread_lock_release(connection, thread_id, run_id)
    if outcome.quiet:
        threads.thread_status_derive(connection, thread_id, now)
    else:
        threads.thread_project(connection, thread_id, outcome, now)
    firings.firing_end(connection, run_id, thread_id, outcome)
    return end


def run_delete(
    connection: sqlite3.Connection, thread_id: str, run_id: str, now: int, last: Draft | None = None
) -> DeletedRun | None:
    """
    Remove a run's row in any status. Return the run as it was, or None if there is none.

    The checkpoints of an ended run stay. Those of an active run are removed, and the thread shows the state
    before it.

    `last` are the events that tell the run's readers of its end. They are stored if readers may have seen the
    run's beginning and not its end. The lock of an executing run is freed when nothing of it executes any
    more.
    """
    run = run_find(connection, run_id)
    if run is None or run.thread_id != thread_id:
        return None
    if run.active:
        checkpoint_changes.run_delete(connection, run_id)
    if run.active or isinstance(run.result, state.Parts):
        tables.mark(connection, thread_id)
    connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
    if run.status == "pending":
        thread_locks.thread_lock_release(connection, thread_id, run_id)
    shown = run.active and run.attempt > 0
    end = events.append(connection, last) if last is not None and shown else None
    events.keep_from(connection, thread_id, now)
    threads.thread_status_derive(connection, thread_id, now)
    return DeletedRun(run=run, end=end)
