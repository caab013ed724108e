"""Translating SQLite's errors into gatewayd's; this is done in this module only.

    BUSY, LOCKED, PROTOCOL            `Locked`: another process holds the database's lock
    FULL, and writes that the disk    `FullDisk`
      refuses for lack of room
    CORRUPT, NOTADB                   `errors.Damaged`
    READONLY, CANTOPEN, PERM, AUTH,   `Unusable`: the files can't be used as they are now
      IOERR, NOLFS
    anything else                     unchanged: a fault of our statement

The owner of a connection translates its errors with `Damage.translated`, which also records the first sign of
damage. From then on the writer writes nothing more.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import define, field

from gatewayd import errors

log = logging.getLogger(__name__)

UNWRITABLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,  # a quota, a limit for the size of files
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,  # no room for the index of the write-ahead log
    }
)
"""SQLite's codes for a file that can't be written or can't grow."""
LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOLFS,
    }
)
PRIMARY: Final = 0xFF
"""Masks an extended result code to its primary code."""


class FullDisk(errors.InsufficientStorage):
    """The file system is full; nothing was stored."""


class Locked(errors.Unavailable):
    """Another process holds the lock of the database; nothing was stored or read."""


class Unusable(errors.Unavailable):
    """
    The operating system refuses access to the database's files: read-only, an I/O error, no permission.
    """


def translated(error: BaseException) -> BaseException:
    """Return our error for one of SQLite's, with that as its cause; return any other error unchanged."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return error
    named = f"{error} ({error.sqlite_errorname})"
    ours: errors.GatewaydError
    if code in UNWRITABLE:
        ours = FullDisk(f"the disk is full ({error}): nothing was stored; try again when there is room")
    elif code & PRIMARY in LOCKED:
        ours = Locked(f"another process holds the lock of the database ({error}); try again")
    elif code & PRIMARY in DAMAGED:
        ours = errors.Damaged(f"the database is damaged: {named}")
    elif code & PRIMARY in UNUSABLE:
        ours = Unusable(f"the database can't be used: {named}; see the server's log and /ok?check_db=1")
    else:
        return error
    ours.__cause__ = error
    return ours


def advice(path: Path) -> str:
    """Say what an operator can do about a damaged database."""
    return (
        f"restore {path.name} from a backup, or save what can be read of it with "
        f"sqlite3 '{path}' .recover | sqlite3 '{path.with_name('recovered.sqlite')}'"
    )


@define(eq=False)
class Damage:
    """Whether a database was found to be damaged. May be used from any thread."""

    path: Path
    found: str | None = field(default=None, init=False)
    """The first sign of it, as a sentence for refused clients."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def translated(self, error: BaseException) -> BaseException:
        """
        Return our error for one of SQLite's. The first sign of damage is recorded and logged.
        """
        ours = translated(error)
        if not isinstance(ours, errors.Damaged):
            return ours
        with self._lock:
            first = self.found is None
            if first:
                self.found = f"{ours.detail}. Nothing more is written to it: {advice(self.path)}"
        if first:
            log.critical(
                "%s is damaged (%s). From now on it is only read. Stop the server, then %s",
                self.path,
                error,
                advice(self.path),
            )
        damaged = errors.Damaged(self.found or ours.detail)
        damaged.__cause__ = error
        return damaged

    def met_elsewhere(self, code: int, name: str, text: str) -> BaseException:
        """Return our error for one that SQLite has raised in another process, as if this one had met it."""
        error = sqlite3.DatabaseError(text)
        error.sqlite_errorcode, error.sqlite_errorname = code, name
        return self.translated(error)

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Translate what is raised inside the block."""
        try:
            yield
        except sqlite3.Error as error:
            ours = self.translated(error)
            if ours is error:
                raise
            raise ours from error
