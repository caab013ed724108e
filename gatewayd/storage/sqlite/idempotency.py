"""The rows of `idempotency`: what each request with a key created, so that its repeat creates nothing.

The creation of a run or thread calls `find` before and `record` after, in one transaction. So the row and the
object are stored together or not at all, and of two requests with one key the second finds the first's row.
"""

from __future__ import annotations

import sqlite3
from typing import Any, TypeVar

import attrs

from gatewayd import wire
from gatewayd.errors import Invalid
from gatewayd.model.idempotency import Idempotency

T = TypeVar("T")

OTHER_REQUEST = "The Idempotency-Key was used for another request; its repeat must be the same, byte by byte"


def find(connection: sqlite3.Connection, once: Idempotency | None, kind: type[T]) -> T | None:
    """
    Return what the request created before, as it was then, or None. Raises `Invalid` if another request has
    used the key.
    """
    if once is None:
        return None
    row = connection.execute(
        "SELECT fingerprint, record FROM idempotency WHERE owner = ? AND key = ?", (once.owner, once.key)
    ).fetchone()
    if row is None:
        return None
    if row[0] != once.fingerprint:
        raise Invalid(OTHER_REQUEST)
    return kind(**wire.unpacked(row[1]))


def made(connection: sqlite3.Connection, once: Idempotency | None) -> bool:
    """Return whether the request is a repeat."""
    if once is None:
        return False
    row = connection.execute(
        "SELECT 1 FROM idempotency WHERE owner = ? AND key = ?", (once.owner, once.key)
    ).fetchone()
    return row is not None


def record(connection: sqlite3.Connection, once: Idempotency | None, record: Any, now: int) -> None:
    """Record what the request created: an attrs record whose fields have JSON values."""
    if once is not None:
        connection.execute(
            "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)",
            (
                once.owner,
                once.key,
                once.fingerprint,
                wire.packed(attrs.asdict(record, recurse=False)).decode(),
                now,
            ),
        )


def idempotency_sweep_step(connection: sqlite3.Connection, before: int, rows: int) -> int:
    """Remove up to `rows` requests older than `before`; return the number removed."""
    return connection.execute(
        """DELETE FROM idempotency WHERE (owner, key) IN
               (SELECT owner, key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)""",
        (before, rows),
    ).rowcount
