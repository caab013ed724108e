"""Whole states out of their columns: joined by whoever reads them, never by the writer.

Joining reads pieces, so row and pieces must be of one snapshot: else the sweep may have freed, in between,
what a newer row does not need any more. These functions run in one read transaction (`snapshots`).

A state that can't be read (a damaged file, a fault of an earlier version) must not take away what is shown
beside it: `shown` gives None for it and logs why.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from gatewayd.blobs import join
from gatewayd.errors import Unreadable
from gatewayd.model import state
from gatewayd.model.state import State

log = logging.getLogger(__name__)

VALUES: Final = (
    """iif(substr("values", 1, 1) = x'93', state_json(thread_id, "values"), CAST("values" AS TEXT))"""
)
"""The JSON of a thread's values as text, in statements on a connection that was made ready by `prepare`."""


def joined(connection: sqlite3.Connection, thread_id: str, found: State) -> bytes:
    """Return the JSON of a state of this thread. Raises `Unreadable`."""
    if isinstance(found, bytes):
        return found
    return _joiner(connection, thread_id).join(found.manifest)


def shown(connection: sqlite3.Connection, thread_id: str, found: State) -> bytes | None:
    """Return the JSON of a state of this thread, or None if it can't be read, which is logged."""
    try:
        return joined(connection, thread_id, found)
    except Unreadable as error:
        log.error("a state of thread %s is shown as null: %s", thread_id, error.detail)
        return None


def contents(connection: sqlite3.Connection, thread_id: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return what blobs of this thread stand for. Raises `Unreadable`."""
    joiner = _joiner(connection, thread_id)
    joiner.load_blobs(hashes)
    return {address: b"".join(joiner.below(address)) for address in hashes}


def prepare(connection: sqlite3.Connection) -> None:
    """
    Give a connection the SQL function that `VALUES` calls; the last state is kept for the next condition on
    it.
    """
    last: dict[tuple[str, bytes], str | None] = {}

    def state_json(thread_id: str, column: bytes) -> str | None:
        key = (thread_id, column)
        if key not in last:
            last.clear()
            found = shown(connection, thread_id, state.Parts(column))
            last[key] = None if found is None else found.decode()
        return last[key]

    connection.create_function("state_json", 2, state_json)


def _joiner(connection: sqlite3.Connection, thread_id: str) -> join.Joiner:
    def fetch(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return connection.execute(statement, parameters).fetchall()

    return join.Joiner(thread_id, fetch)
