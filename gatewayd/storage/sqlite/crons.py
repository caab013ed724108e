"""The rows of `crons` and `firings`.

A cron is changed only by `cron_fire_if_current` (the clock) and `cron_update_if_current` (clients). Both act
on a row that was read at a `revision`, and do nothing if the row has changed since. Firing is one
transaction: it takes the date (the key of `firings`), creates the run and sets the next date. A crash leaves
all of it or nothing.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs

from gatewayd import wire
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.cron import Cron, Firing, LastRun
from gatewayd.storage.crons import CronSearch, FiredCron
from gatewayd.storage.sqlite import admission, assistants, filters, firings, threads

COLUMNS = (
    "cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, on_run_completed, enabled, "
    "next_run_date, payload, metadata, revision, created_at, updated_at"
)
# Until the run has ended, its status is in its own row.
LAST_RUN = (
    "last_run_id, last_thread_id, last_fired_at, "
    "coalesce(last_status, (SELECT runs.status FROM runs WHERE runs.run_id = last_run_id)), last_error, failures"
)
SELECT = f"SELECT {COLUMNS}, {LAST_RUN} FROM crons"
FIND = f"{SELECT} WHERE cron_id = ?"
DUE = f"""
{SELECT}
WHERE enabled AND next_run_date <= ? AND cron_id NOT IN (SELECT value FROM json_each(?))
ORDER BY next_run_date, cron_id LIMIT ?"""
NEXT = "SELECT min(next_run_date) FROM crons WHERE enabled AND next_run_date > ?"

KEPT_FIRINGS = 100
"""Firings that are kept for each cron."""

NO_THREAD = "Thread with ID '{}' not found. Please verify the ID is correct and the thread hasn't been deleted or expired."


def record(row: tuple[Any, ...]) -> Cron:
    """Make the record of a row of `SELECT`."""
    return Cron(
        cron_id=row[0],
        assistant_id=row[1],
        thread_id=row[2],
        user_id=row[3],
        schedule=row[4],
        timezone=row[5],
        end_time=row[6],
        on_run_completed=row[7],
        enabled=bool(row[8]),
        next_run_date=row[9],
        payload=wire.loads(row[10]),
        metadata=wire.loads(row[11]),
        revision=row[12],
        created_at=row[13],
        updated_at=row[14],
        last_run=_last_run(row[15:20]),
        failures=row[20],
    )


def _last_run(row: tuple[Any, ...]) -> LastRun | None:
    run_id, thread_id, fired_at, status, error = row
    if run_id is None:
        return None
    return LastRun(
        run_id=run_id,
        thread_id=thread_id,
        fired_at=fired_at,
        status=status,
        error=None if error is None else wire.loads(error),
    )


def cron_create(connection: sqlite3.Connection, cron: Cron) -> Cron:
    """Store a cron; its `assistant_id` may be a graph's id. Raises `NotFound` (assistant or thread)."""
    assistant = assistants.assistant_find(connection, cron.assistant_id)
    if assistant is None:
        raise NotFound(f"Assistant '{cron.assistant_id}' not found")
    if cron.thread_id is not None and threads.thread_find(connection, cron.thread_id) is None:
        raise NotFound(NO_THREAD.format(cron.thread_id))
    payload = {**cron.payload, "assistant_id": assistant.assistant_id}
    stored = attrs.evolve(cron, assistant_id=assistant.assistant_id, payload=payload)
    connection.execute(
        f"INSERT INTO crons ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            stored.cron_id,
            stored.assistant_id,
            stored.thread_id,
            stored.user_id,
            stored.schedule,
            stored.timezone,
            stored.end_time,
            stored.on_run_completed,
            stored.enabled,
            stored.next_run_date,
            wire.text(stored.payload),
            wire.text(stored.metadata),
            stored.revision,
            stored.created_at,
            stored.updated_at,
        ),
    )
    return stored


def cron_update_if_current(connection: sqlite3.Connection, cron: Cron) -> bool:
    """
    Store a client's changes of the cron that was read at `revision`; False if it has changed or is deleted.
    """
    changed = connection.execute(
        """UPDATE crons SET schedule = ?, timezone = ?, end_time = ?, on_run_completed = ?, enabled = ?,
               next_run_date = ?, payload = ?, metadata = ?, updated_at = ?, revision = revision + 1
           WHERE cron_id = ? AND revision = ?""",
        (
            cron.schedule,
            cron.timezone,
            cron.end_time,
            cron.on_run_completed,
            cron.enabled,
            cron.next_run_date,
            wire.text(cron.payload),
            wire.text(cron.metadata),
            cron.updated_at,
            cron.cron_id,
            cron.revision,
        ),
    )
    return changed.rowcount == 1


def cron_delete(connection: sqlite3.Connection, cron_id: str) -> bool:
    """Remove a cron; False if there is none. Its runs stay."""
    return connection.execute("DELETE FROM crons WHERE cron_id = ?", (cron_id,)).rowcount == 1


def cron_fire_if_current(connection: sqlite3.Connection, firing: Firing, boot: int, claim: bool) -> FiredCron:
    """
    Take one date of a cron: create its run (see `admission.run_create`) and set the next date.

    Nothing happens if the cron has changed since it was read. No run is created for a date that is not later
    than all dates taken before. If the run can't be created, the date is used up. If the assistant or the
    thread no longer exists, the cron is deleted. If only the assistant's graph has left the project, the cron
    stays, because the graph may return.
    """
    moved = connection.execute(
        """UPDATE crons SET next_run_date = :next, enabled = :next IS NOT NULL, revision = revision + 1
           WHERE cron_id = :cron_id AND revision = :revision AND enabled AND next_run_date = :due""",
        {
            "next": firing.next_run_date,
            "cron_id": firing.cron_id,
            "revision": firing.revision,
            "due": firing.due,
        },
    )
    if moved.rowcount == 0:
        return FiredCron(current=False)
    if firing.request is None or not _take_date(connection, firing):
        return FiredCron(current=True)
    connection.execute("SAVEPOINT creation")
    try:
        created = admission.run_create(connection, firing.request, boot, claim)
    except (NotFound, Conflict) as error:
        connection.execute("ROLLBACK TO creation")
        connection.execute("RELEASE creation")
        hidden = assistants.assistant_hidden(connection, firing.request.assistant)
        orphaned = isinstance(error, NotFound) and not hidden
        if orphaned:
            cron_delete(connection, firing.cron_id)
        return FiredCron(current=True, refusal=error.detail, deleted=orphaned)
    connection.execute("RELEASE creation")
    firings.firing_begin(connection, firing.cron_id, firing.due, created.run, firing.now)
    return FiredCron(current=True, created=created)


def _take_date(connection: sqlite3.Connection, firing: Firing) -> bool:
    """Take the date; False if it, or a later one, was taken before (the clock was set back)."""
    taken = connection.execute(
        """INSERT INTO firings (cron_id, due, fired_at) SELECT :cron_id, :due, :now
           WHERE NOT EXISTS (SELECT 1 FROM firings WHERE cron_id = :cron_id AND due >= :due)""",
        {"cron_id": firing.cron_id, "due": firing.due, "now": firing.now},
    )
    connection.execute(
        """DELETE FROM firings WHERE cron_id = ?1 AND due <=
               (SELECT due FROM firings WHERE cron_id = ?1 ORDER BY due DESC LIMIT 1 OFFSET ?2)""",
        (firing.cron_id, KEPT_FIRINGS),
    )
    return taken.rowcount == 1


# reading


def crons_search(connection: sqlite3.Connection, search: CronSearch) -> list[Cron]:
    """Return the page that a search asks for, and one cron more if there are more."""
    conditions = _conditions(search)
    direction = "DESC" if search.descending else "ASC"
    sql = (
        f"{SELECT} {_where(conditions)} "
        f"ORDER BY {search.sort_by} {direction}, cron_id {direction} LIMIT ? OFFSET ?"
    )
    rows = connection.execute(sql, [*conditions.parameters, search.limit + 1, search.offset])
    return [record(row) for row in rows]


def crons_count(connection: sqlite3.Connection, search: CronSearch) -> int:
    """Return the number of all results of a search."""
    conditions = _conditions(search)
    (number,) = connection.execute(
        f"SELECT count(*) FROM crons {_where(conditions)}", conditions.parameters
    ).fetchone()
    return int(number)


def _conditions(search: CronSearch) -> filters.Conditions:
    conditions = filters.matches("metadata", search.metadata)
    for column in ("assistant_id", "thread_id", "enabled"):
        wanted = getattr(search, column)
        if wanted is not None:
            conditions.add(f"{column} = ?", wanted)
    return conditions


def _where(conditions: filters.Conditions) -> str:
    return f"WHERE {' AND '.join(conditions.terms)}" if conditions.terms else ""
