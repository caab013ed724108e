"""What the disk refuses: SQLite's errors that mean it, and what is told of them."""

from __future__ import annotations

import sqlite3
from typing import Any

from gatewayd import errors

UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,  # a quota, a limit for the size of files
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,  # no room for the index of the write-ahead log
    }
)
"""SQLite's codes for a file that can't be written or can't grow."""


class Unconfirmed(errors.InsufficientStorage):
    """What was asked for is stored, but the disk has not confirmed it; `result` is what there is to follow from it."""

    def __init__(self, detail: str, result: Any) -> None:
        super().__init__(detail)
        self.result = result


class FullDisk(errors.InsufficientStorage):
    """The file system has no room for what should be stored; nothing of it was."""


def translated(error: BaseException) -> BaseException:
    """Return `FullDisk` for SQLite's error that means it, else the error itself."""
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in UNWRITABLE:
        full = FullDisk(f"the disk is full ({error}): nothing was stored; try again when there is room")
        full.__cause__ = error
        return full
    return error
