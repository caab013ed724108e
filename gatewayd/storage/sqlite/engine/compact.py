"""Rebuilding the file without free pages, with `auto_vacuum = INCREMENTAL` from then on.

The new file is made beside the old one, checked, and renamed over it. So after a crash at any point there is
one complete file. No other process may have the database open during this.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from gatewayd import errors
from gatewayd.storage.quota import free_disk, size
from gatewayd.storage.retention import Space
from gatewayd.storage.sqlite.engine import migrate, space

SPARE = 16 << 20
"""Bytes that must stay free on the disk."""


@frozen(kw_only=True)
class Compacted:
    """The file before and after."""

    before: int
    """Bytes."""
    after: int
    converted: bool
    """Before, it could not give free pages back to the file system."""


def compact(path: Path, free: Callable[[Path], int] = free_disk) -> Compacted:
    """
    Rebuild the database at `path`, which no process may have open.

    Raises `BadConfiguration` if it is missing or damaged, and `InsufficientStorage` without room for the
    copy.
    """
    if not path.is_file():
        raise errors.BadConfiguration(f"{path}: there is no database")
    draft = path.with_name(f"{path.name}.compact")
    draft.unlink(missing_ok=True)
    try:
        pages = _rebuild(path, draft, free)
        shutil.copymode(path, draft)
        after = draft.stat().st_size
        before = path.stat().st_size
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    except sqlite3.Error as error:
        raise errors.BadConfiguration(f"{path} could not be rebuilt, it is as it was: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return Compacted(before=before, after=after, converted=not pages.incremental)


def _rebuild(path: Path, draft: Path, free: Callable[[Path], int]) -> Space:
    """Make and check the new file; remove the old one's write-ahead log."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        migrate.refuse_foreign(connection, path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = space.measure(connection)
        if (room := free(path.parent)) < pages.used + SPARE:
            raise errors.InsufficientStorage(
                f"{path.parent} has {size(room)} free; the new file needs {size(pages.used + SPARE)} beside the old one"
            )
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM INTO ?", (str(draft),))
        # So that no log of the old file is left beside the new one.
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
    _check(draft)
    return pages


def _check(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok" or not space.measure(connection).incremental:
            raise errors.BadConfiguration(
                f"the rebuilt file is not sound ({verdict}); the old one is as it was"
            )
    finally:
        connection.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
