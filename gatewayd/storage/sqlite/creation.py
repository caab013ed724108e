"""Creating threads with a time to live and with initial states, which a worker has computed.

All of it is one transaction, so that no thread exists without its initial states.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from gatewayd.checkpointing import rows
from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.retention import NewTtl
from gatewayd.model.thread import FirstState, Thread
from gatewayd.storage.sqlite import retention, threads


def thread_create_with(
    connection: sqlite3.Connection,
    thread_id: str,
    metadata: dict[str, Any],
    do_nothing: bool,
    now: int,
    once: Idempotency | None,
    ttl: NewTtl | None,
    state: FirstState | None,
) -> Thread:
    """
    Store a new thread with its time to live and its states; an existing thread is not changed.

    Raises `Conflict`, and `Invalid` for an idempotency key of another request or an impossible time to live.
    """
    existing = threads.thread_find(connection, thread_id)
    thread = threads.thread_create(connection, thread_id, metadata, do_nothing, now, once)
    if existing is not None or thread.thread_id != thread_id:  # the second: a repeat of an idempotent request
        return thread if state is None else threads.thread_find(connection, thread.thread_id) or thread
    if ttl is not None:
        retention.thread_ttl_set(connection, thread_id, ttl.strategy, ttl.ttl_minutes)
    if state is None:
        return thread
    for change in state.changes:
        checkpoint_changes.apply(connection, change, rows.OPERATION)
    threads.thread_project(connection, thread_id, state.projection, now)
    made = threads.thread_find(connection, thread_id)
    assert made is not None
    return made


def thread_patch_with(
    connection: sqlite3.Connection, thread_id: str, metadata: dict[str, Any], now: int, ttl: NewTtl
) -> Thread:
    """Merge metadata and set the time to live. Raises `NotFound`, `Invalid`."""
    patched = threads.thread_patch(connection, thread_id, metadata, now)
    retention.thread_ttl_set(connection, thread_id, ttl.strategy, ttl.ttl_minutes)
    return patched
