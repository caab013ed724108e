"""The rows of `webhooks` and `webhook_attempts`: deliveries that are due, their attempts and outcomes.

(a run ends) → owed ─ attempt: answered ──────────▶ delivered
                ▲ └── attempt: failed, try again ─▶ owed, due later
                │ └── attempt: failed for good ───▶ dead
                └──── redeliver ──────────────────── delivered, dead
"""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs

from gatewayd import ids, wire
from gatewayd.errors import Conflict, NotFound
from gatewayd.model import state
from gatewayd.model.run import Run, RunOutcome
from gatewayd.model.webhook import Attempt, Delivery
from gatewayd.storage.sqlite import states

COLUMNS = "delivery_id, url, run, status, error, created_at, state, attempts, due_at"
# Parameters: now, the hosts to leave out as a JSON array, limit.
DUE = f"""
SELECT {COLUMNS} FROM webhooks
WHERE state = 'owed' AND due_at <= ? AND NOT EXISTS (
    SELECT 1 FROM json_each(?) AS host
    WHERE substr(url, instr(url, '://') + 3, length(host.value)) = host.value
        AND substr(url || '/', instr(url, '://') + 3 + length(host.value), 1) IN ('/', '?', '#'))
ORDER BY due_at LIMIT ?"""
NEXT_DUE = "SELECT min(due_at) FROM webhooks WHERE state = 'owed' AND due_at > ?"
# Counted among the latest 1000 that are not owed, because it is read often, also on servers that send many.
GIVEN_UP = """
SELECT count(*) FROM (SELECT state FROM webhooks WHERE state <> 'owed' AND created_at > ?
                      ORDER BY created_at DESC LIMIT 1000) WHERE state = 'dead'"""
OF_RUN = f"SELECT {COLUMNS} FROM webhooks WHERE run_id = ? AND thread_id = ? ORDER BY delivery_id"
ONE = f"SELECT {COLUMNS} FROM webhooks WHERE delivery_id = ?"
LOG = """
SELECT attempt, started_at, took_us, status, error FROM webhook_attempts WHERE delivery_id = ? ORDER BY attempt"""

# A run's own result, if its row is still there, else the thread's values. Parameter: run_id, thread_id.
VALUES = """
SELECT (SELECT result FROM runs WHERE run_id = ?), (SELECT "values" FROM threads WHERE thread_id = ?)"""


def webhook_values(connection: sqlite3.Connection, run: Run) -> bytes | None:
    """
    Return the JSON of a run's result, or else of its thread's values; None if neither can be read.
    """
    row = connection.execute(VALUES, (run.run_id, run.thread_id)).fetchone()
    stored = state.loaded(next((column for column in row if column is not None), None))
    return None if stored is None else states.shown(connection, run.thread_id, stored)


def record(row: tuple[Any, ...]) -> Delivery:
    """Make the record of a row with `COLUMNS`."""
    return Delivery(
        delivery_id=row[0],
        url=row[1],
        run=Run(**wire.loads(row[2])),
        status=row[3],
        error=None if row[4] is None else wire.loads(row[4]),
        created_at=row[5],
        state=row[6],
        attempts=row[7],
        due_at=row[8],
    )


def attempt(row: tuple[Any, ...]) -> Attempt:
    """Make the record of a row of `LOG`."""
    return Attempt(attempt=row[0], started_at=row[1], took_us=row[2], status=row[3], error=row[4])


def webhook_owe(connection: sqlite3.Connection, run: Run, url: str, outcome: RunOutcome, now: int) -> None:
    """
    Record, in the transaction that ends a run, that a webhook is owed. `run` is its row at the end.
    """
    error = outcome.error or outcome.cancel_error
    connection.execute(
        f"INSERT INTO webhooks ({COLUMNS}, run_id, thread_id) VALUES (?, ?, ?, ?, ?, ?, 'owed', 0, ?, ?, ?)",
        (
            ids.new_id(now // 1000),
            url,
            wire.text(attrs.asdict(attrs.evolve(run, result=None, trace=None), recurse=False)),
            "rollback" if outcome.rollback else outcome.status,
            None if error is None else wire.text(error),
            now,
            now,
            run.run_id,
            run.thread_id,
        ),
    )


def webhook_attempt_end(
    connection: sqlite3.Connection, delivery_id: str, made: Attempt, due_at: int | None, delivered: bool
) -> bool:
    """
    Record how an attempt ended: delivered, to be retried at `due_at`, or dead.

    False if the webhook is not owed or the attempt was recorded before; nothing was changed.
    """
    state = "delivered" if delivered else "dead" if due_at is None else "owed"
    row = connection.execute(
        """UPDATE webhooks SET state = ?, attempts = ?, due_at = ?
           WHERE delivery_id = ? AND state = 'owed' AND attempts = ? - 1 RETURNING delivery_id""",
        (state, made.attempt, due_at, delivery_id, made.attempt),
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "INSERT INTO webhook_attempts VALUES (?, ?, ?, ?, ?, ?)",
        (delivery_id, made.attempt, made.started_at, made.took_us, made.status, made.error),
    )
    return True


def webhook_owe_again(connection: sqlite3.Connection, delivery_id: str, now: int) -> None:
    """
    Make a delivered or dead webhook owed again. Raises `NotFound`, and `Conflict` if it is owed.
    """
    row = connection.execute(
        "UPDATE webhooks SET state = 'owed', due_at = ? WHERE delivery_id = ? AND state <> 'owed' RETURNING 1",
        (now, delivery_id),
    ).fetchone()
    if row is None:
        if connection.execute("SELECT 1 FROM webhooks WHERE delivery_id = ?", (delivery_id,)).fetchone():
            raise Conflict(f"Webhook {delivery_id} is being delivered already")
        raise NotFound(f"Webhook {delivery_id} not found")


def webhooks_sweep_step(connection: sqlite3.Connection, before: int, rows: int) -> int:
    """Remove up to `rows` webhooks from before that moment that are not owed; return the number removed."""
    return connection.execute(
        """DELETE FROM webhooks WHERE delivery_id IN
               (SELECT delivery_id FROM webhooks WHERE state <> 'owed' AND created_at < ? LIMIT ?)""",
        (before, rows),
    ).rowcount
