"""Opening storage: the one place that knows which backend there is."""

from __future__ import annotations

from pathlib import Path

from gatewayd.storage import quota as quota_
from gatewayd.storage import store
from gatewayd.storage.sqlite.store import SqliteStore


async def open_storage(
    path: Path, now: int, pid: int, version: str, quota: quota_.Quota | None = None
) -> store.Storage:
    """
    Open the database file, bring it to the newest version and record the start.

    `quota` are the limits (default: none). Raises `BadConfiguration`, `Damaged`, `InsufficientStorage`.
    """
    return await SqliteStore.open(path, now, pid, version, quota)
