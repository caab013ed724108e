"""Invariants of the rows, as queries that return the violations.

Those over *active* rows are checked at every boot: they read only runs that wait or execute, and their
threads. The others read whole tables; they are for tests, soaks and operators with doubts. All hold between
any two transactions, with one exception: a lock may outlive its run while something of it still executes (see
`thread_locks`). So the whole check should be made while nothing executes.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gatewayd.storage.boots import Violation
from gatewayd.storage.sqlite import thread_locks, threads

BUSY_WITHOUT_RUN: Final = "a thread is busy without an active run"
NOT_BUSY: Final = "a thread with an active run is not busy"

ACTIVE: Final = {
    BUSY_WITHOUT_RUN: """
        SELECT thread_id FROM threads WHERE status = 'busy' AND deleted_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.ended_at IS NULL)""",
    NOT_BUSY: """
        SELECT DISTINCT thread_id FROM runs JOIN threads USING (thread_id)
        WHERE ended_at IS NULL AND threads.status <> 'busy'""",
    "an active run has no thread, or one that is deleted or hidden": """
        SELECT run_id FROM runs LEFT JOIN threads USING (thread_id) WHERE ended_at IS NULL
            AND (threads.thread_id IS NULL OR deleted_at IS NOT NULL OR hidden_at IS NOT NULL)""",
    "two runs of a thread are running": """
        SELECT thread_id FROM runs WHERE status = 'running' GROUP BY thread_id HAVING count(*) > 1""",
    "a running run does not hold its thread's lock": """
        SELECT run_id FROM runs WHERE status = 'running'
            AND NOT EXISTS (SELECT 1 FROM thread_locks WHERE thread_locks.thread_id = runs.thread_id AND holder = runs.run_id)""",
    "a running run belongs to an earlier boot": """
        SELECT run_id FROM runs WHERE status = 'running' AND boot <> (SELECT max(boot) FROM boots)""",
    "a lock is held by a run that is not active": f"SELECT holder FROM ({thread_locks.LOCKS_OF_ENDED_RUNS})",
}
"""Invariant → SELECT of the ids for which it does not hold; over active rows only."""

_ORPHANS = """
    SELECT DISTINCT thread_id FROM {table}
    WHERE NOT EXISTS (SELECT 1 FROM threads WHERE threads.thread_id = {table}.thread_id)"""

_TAGS = "SELECT thread_id, name, value FROM thread_tags"
_TAGS_DUE = """
    SELECT threads.thread_id, tag.key, CASE tag.type WHEN 'text' THEN 's' || tag.value
        WHEN 'integer' THEN tag.value WHEN 'real' THEN tag.value ELSE tag.type END
    FROM threads, json_each(threads.metadata) AS tag
    WHERE deleted_at IS NULL AND hidden_at IS NULL AND tag.type NOT IN ('object', 'array')
        AND length(tag.key) <= 200 AND (tag.type <> 'text' OR length(tag.value) <= 200)"""

WHOLE: Final = {
    "a thread's tags are not those of its metadata": f"""
        SELECT DISTINCT thread_id FROM (
            SELECT * FROM ({_TAGS} EXCEPT {_TAGS_DUE}) UNION ALL SELECT * FROM ({_TAGS_DUE} EXCEPT {_TAGS}))""",
    "an ended run lacks its last event": """
        SELECT run_id FROM runs JOIN threads USING (thread_id)
        WHERE ended_at IS NOT NULL AND (log_to IS NULL OR log_to > pruned_to) AND NOT EXISTS (
            SELECT 1 FROM events WHERE events.thread_id = runs.thread_id AND events.run_id = runs.run_id
                AND events.last_seq = runs.log_to)""",
    "an ended run that asked for a webhook has none, and has not been told long ago": """
        SELECT run_id FROM runs WHERE ended_at IS NOT NULL AND webhook IS NOT NULL
            AND ended_at > (SELECT coalesce(min(created_at), 0) FROM webhooks)
            AND NOT EXISTS (SELECT 1 FROM webhooks WHERE webhooks.run_id = runs.run_id)""",
    "a stateless run has ended and its thread still shows": """
        SELECT thread_id FROM threads WHERE ephemeral AND hidden_at IS NULL AND deleted_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.ended_at IS NULL)""",
    **{
        f"a row of {table} has no thread": _ORPHANS.format(table=table)
        for table in ("runs", "events", "checkpoints", "writes")
    },
}
"""Invariant → SELECT of the ids for which it does not hold; over all rows."""


def invariants_check(connection: sqlite3.Connection, whole: bool) -> list[Violation]:
    """Return the violations in the active rows, or with `whole` in all rows."""
    queries = {**ACTIVE, **WHOLE} if whole else ACTIVE
    return [
        Violation(name, subject)
        for name, query in queries.items()
        for (subject,) in connection.execute(query).fetchall()
    ]


def invariants_repair(connection: sqlite3.Connection, now: int) -> list[Violation]:
    """Correct the threads' statuses that are wrong; return all violations among the active rows."""
    violations = invariants_check(connection, False)
    for violation in violations:
        if violation.invariant in {BUSY_WITHOUT_RUN, NOT_BUSY}:
            threads.thread_status_derive(connection, violation.subject, now)
    return violations
