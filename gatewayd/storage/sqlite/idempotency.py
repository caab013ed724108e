"""The rows of `idempotency`: which request has made what, so that its repeat makes nothing.

Whoever makes a run or a thread calls `find` before and `record` after, in the same transaction: the row and
the thing are stored together or not at all, and of two requests with one key the second finds the first's
row.
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
    Return what the request has made before, as it was then, or None. Raises `Invalid` if another one has the
    key.
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
    """Tell whether the request has made its thing before."""
    if once is None:
        return False
    found = connection.execute(
        "SELECT 1 FROM idempotency WHERE owner = ? AND key = ?", (once.owner, once.key)
    ).fetchone()
    return found is not None


def record(connection: sqlite3.Connection, once: Idempotency | None, record: Any, now: int) -> None:
    """Note what the request has made: an attrs record of JSON-shaped fields."""
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
    """Forget up to `rows` requests that are older than `before`; return how many."""
    return connection.execute(
        """DELETE FROM idempotency WHERE (owner, key) IN
               (SELECT owner, key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)""",
        (before, rows),
    ).rowcount
