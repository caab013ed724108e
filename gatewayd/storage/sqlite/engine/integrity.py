"""Checking a database for damage within a time limit."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import Final

from gatewayd import errors
from gatewayd.storage.sqlite.engine import failures

log = logging.getLogger(__name__)

LIMIT_S: Final = 2.0
"""How long the check at the start may take, since clients wait. Of a large database a part is checked."""
STEPS: Final = 2000
"""Instructions of SQLite's virtual machine between two looks at the clock."""


def quick_check(connection: sqlite3.Connection, limit_s: float) -> tuple[str | None, bool]:
    """
    Return the first sign of damage, or None, and whether the whole file was checked.

    CHECK constraints are not tested, only the structure of the file. Raises `sqlite3.Error`.
    """
    until = time.monotonic() + limit_s
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None, False
    finally:
        connection.set_progress_handler(None, 0)
        connection.execute("PRAGMA ignore_check_constraints = OFF")
    return (None if verdict == "ok" else " ".join(str(verdict).split())), True


def require(connection: sqlite3.Connection, path: Path, limit_s: float | None = None) -> None:
    """Raise `Damaged` if the check of a database that is being opened finds damage in time."""
    limit_s = LIMIT_S if limit_s is None else limit_s
    try:
        sign, whole = quick_check(connection, limit_s)
    except sqlite3.Error as error:
        raise told(failures.translated(error), path) from error
    if sign is not None:
        raise errors.Damaged(f"the database {path} is damaged ({sign}): {failures.advice(path)}")
    if not whole:
        log.info("the database %s is large: a part of it was checked for damage in %g s", path, limit_s)


def told(error: BaseException, path: Path) -> BaseException:
    """Return an error of a start for the operator: one of damage names the file and says what to do."""
    if not isinstance(error, errors.Damaged):
        return error
    cause = error.__cause__ or error
    damaged = errors.Damaged(f"the database {path} is damaged ({cause}): {failures.advice(path)}")
    damaged.__cause__ = cause
    return damaged
