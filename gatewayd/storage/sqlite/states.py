"""Reading whole states that are stored in pieces. Readers join the pieces, never the writer.

The row and its pieces must be read from one snapshot; otherwise the sweep may have removed pieces in between.
So these functions run in one read transaction (`snapshots`).

A state that can't be read (a damaged file, a fault of an earlier version) must not hide what is shown with
it: `shown` returns None for it and logs the reason.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from gatewayd.blobs import join
from gatewayd.blobs.sqlite import tables
from gatewayd.errors import Unreadable
from gatewayd.model import state
from gatewayd.model.state import State

log = logging.getLogger(__name__)

VALUES: Final = (
    """iif(substr("values", 1, 1) = x'93', state_json(thread_id, "values"), CAST("values" AS TEXT))"""
)
"""SQL of the JSON of a thread's values as text; the connection must have been through `prepare`."""


def joined(connection: sqlite3.Connection, thread_id: str, stored: State) -> bytes:
    """Return the JSON of a state of this thread. Raises `Unreadable`."""
    if isinstance(stored, bytes):
        return stored
    return _joiner(connection, thread_id).join(stored.manifest)


def shown(connection: sqlite3.Connection, thread_id: str, stored: State) -> bytes | None:
    """Return the JSON of a state of this thread; None, and a line in the log, if it can't be read."""
    try:
        return joined(connection, thread_id, stored)
    except Unreadable as error:
        log.error("a state of thread %s is shown as null: %s", thread_id, error.detail)
        return None


def contents(connection: sqlite3.Connection, thread_id: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the contents of blobs of this thread, by hash. Raises `Unreadable`."""
    joiner = _joiner(connection, thread_id)
    joiner.load_blobs(hashes)
    return {address: b"".join(joiner.below(address)) for address in hashes}


def prepare(connection: sqlite3.Connection) -> None:
    """
    Define the SQL function that `VALUES` calls. The last state is kept: a filter has several conditions on
    it.
    """
    last: dict[tuple[str, bytes], str | None] = {}

    def state_json(thread_id: str, column: bytes) -> str | None:
        key = (thread_id, column)
        if key not in last:
            last.clear()
            values = shown(connection, thread_id, state.Parts(column))
            last[key] = None if values is None else values.decode()
        return last[key]

    connection.create_function("state_json", 2, state_json)


def _joiner(connection: sqlite3.Connection, thread_id: str) -> join.Joiner:
    def fetch(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return connection.execute(statement, parameters).fetchall()

    return join.Joiner(thread_id, tables.Blobs(fetch))
