"""The queue of runs as a whole: how many wait, and for how long."""

from __future__ import annotations

from typing import Any, Final

from gatewayd.storage.runs import Queue

QUEUE: Final = """
WITH waiting AS (
    SELECT max(0, :now - runs.created_at) AS us,
           EXISTS (SELECT 1 FROM thread_locks WHERE thread_locks.thread_id = runs.thread_id) AS blocked
      FROM runs JOIN threads USING (thread_id)
     WHERE runs.status = 'pending' AND threads.deleted_at IS NULL
)
SELECT count(*), max(us), max(CASE WHEN blocked THEN NULL ELSE us END),
       (SELECT us FROM waiting ORDER BY us LIMIT 1 OFFSET (SELECT count(*) / 2 FROM waiting)),
       (SELECT count(*) FROM runs JOIN threads USING (thread_id)
         WHERE runs.status = 'running' AND threads.deleted_at IS NULL)
  FROM waiting
"""


def of_row(row: tuple[Any, ...]) -> Queue:
    """Make the record of the row of `QUEUE`."""
    return Queue(*row)
