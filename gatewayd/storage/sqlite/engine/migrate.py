"""The migration runner: numbered scripts, forward only, each in one transaction with its row.

`migrations/sqlite/NNNN_name.sql` are applied in order. The table `migration(number, name, sha256, applied_at,
by_version)` says what a file has had; `application_id` says that it is ours. Refused are a foreign file, a
newer database, and a script that was changed after it had been applied; a database from before the scripts
were folded into one is taken over (`folded`). Before the first pending script of a database that holds data,
and before it is taken over, a copy is made beside it (`….before-NNNN`): going back means putting it back.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from attrs import frozen

import gatewayd
from gatewayd import errors
from gatewayd.storage.sqlite.engine import failures, folded, integrity

log = logging.getLogger(__name__)

APPLICATION_ID = 0x67647764
"""The letters "gdwd"; `PRAGMA application_id` of our files."""

MAGIC = b"SQLite format 3\0"
"""How every SQLite database begins."""

NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@frozen(kw_only=True)
class Script:
    """One numbered migration."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Checksum of the text, kept to notice later changes."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def scripts() -> list[Script]:
    """Return all migrations in order, from the installed package or from the source tree."""
    folder: Traversable = resources.files("gatewayd") / "migrations" / "sqlite"
    if not folder.is_dir():
        folder = Path(gatewayd.__file__).parents[1] / "migrations" / "sqlite"
    found = []
    for entry in folder.iterdir():
        if match := NAME.fullmatch(entry.name):
            found.append(Script(number=int(match[1]), name=match[2], text=entry.read_text("utf-8")))
    return sorted(found, key=lambda script: script.number)


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `BadConfiguration` if the file is neither empty nor ours, and what keeps it from being read."""
    try:
        # Another process may be making the tables: both answers are of one moment.
        connection.execute("BEGIN")
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB and not _begins_as_database(path):
            raise errors.BadConfiguration(f"{path} can't be read as a database: {error}") from error
        raise integrity.told(failures.translated(error), path) from error
    if application != APPLICATION_ID and (application or tables):
        raise errors.BadConfiguration(f"{path} is the database of another program")


def _begins_as_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def migrate(connection: sqlite3.Connection, path: Path, migrations: list[Script] | None = None) -> int:
    """
    Bring the database to the newest version; return how many scripts were applied.

    Raises `BadConfiguration` if the database is foreign or newer, or an applied script has changed.
    """
    known = scripts() if migrations is None else migrations
    refuse_foreign(connection, path)
    applied = _applied(connection)
    if folded.has_all(applied):
        _take_over(connection, path, known[0])
        applied = _applied(connection)
        return _tell(
            [script for script in known if script.number not in applied and _apply(connection, script)]
        )
    _require_known(connection, path, applied, known)
    pending = [script for script in known if script.number not in applied]
    if not (pending and applied):
        return _tell([script for script in pending if _apply(connection, script)])
    with _copy_beside(connection, path, pending[0]) as keep_copy:
        applied_now = [script for script in pending[:1] if _apply(connection, script)]
        if applied_now:
            keep_copy()
    return _tell([*applied_now, *(script for script in pending[1:] if _apply(connection, script))])


def _require_known(
    connection: sqlite3.Connection, path: Path, applied: dict[int, str], known: list[Script]
) -> None:
    """Raise `BadConfiguration` if the tables were made by scripts that we don't have."""
    if folded.has_fewer(applied):
        raise errors.BadConfiguration(
            f"{path} was made by an early build of gatewayd ({max(applied)} of the {len(folded.CHECKSUMS)} migrations "
            f"from which this build takes over). Its data are untouched: serve it once with {folded.LAST_BUILD}, "
            f"then with this build; {_to_start_empty(path)}"
        )
    for script in known:
        if script.number in applied and applied[script.number] != script.sha256:
            raise errors.BadConfiguration(_of_another_build(connection, path, script))
    newest = known[-1].number
    if applied and max(applied) > newest:
        raise errors.BadConfiguration(
            f"{path} was written by a newer gatewayd (version {max(applied)} of the tables, this one knows {newest})"
        )


@contextlib.contextmanager
def _copy_beside(connection: sqlite3.Connection, path: Path, script: Script) -> Iterator[Callable[[], None]]:
    """Copy the database for as long as `script` is applied; with the function it is kept for good."""
    final = path.with_name(f"{path.name}.before-{script.number:04}")
    _remove_abandoned_copies(final)
    # Under a name of this process's own until its script is in: another one may be at the same work.
    draft = path.with_name(f"{final.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (str(draft),))
        yield lambda: log.info("the database as it was before is kept in %s", draft.replace(final))
    finally:
        draft.unlink(missing_ok=True)


def _remove_abandoned_copies(final: Path) -> None:
    """Remove the copies of processes that were killed before their script was in."""
    for draft in final.parent.glob(f"{final.name}.*"):
        with contextlib.suppress(ValueError, PermissionError):
            try:
                os.kill(int(draft.suffix[1:]), 0)
            except ProcessLookupError:
                draft.unlink(missing_ok=True)


def _take_over(connection: sqlite3.Connection, path: Path, script: Script) -> None:
    """Make a database of the migrations that were folded one of `script`, in one transaction."""
    with _copy_beside(connection, path, script) as keep_copy:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not folded.has_all(_applied(connection)):
                connection.execute("ROLLBACK")
                return  # another process was first
            folded.rename(connection, script.text)
            connection.execute("DELETE FROM migration")
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?, ?, ?)",
                (script.number, script.name, script.sha256, time.time_ns() // 1000, gatewayd.__version__),
            )
            keep_copy()  # before the commit: a process that is killed between the two has the old database and a copy
            connection.execute("COMMIT")
        except errors.BadConfiguration as error:
            connection.execute("ROLLBACK")
            raise errors.BadConfiguration(
                f"{path} can't be taken over from an earlier build of gatewayd: {error.detail}. Its data are untouched: "
                f"serve it with {folded.LAST_BUILD}; {_to_start_empty(path)}"
            ) from error
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    log.info("the database of an earlier build was taken over: %04d %s", script.number, script.name)


def _to_start_empty(path: Path) -> str:
    return (
        f"to start with an empty database move {path.name}, {path.name}-wal and {path.name}-shm away, or name another "
        "--data-dir"
    )


def _of_another_build(connection: sqlite3.Connection, path: Path, script: Script) -> str:
    """Return what to do with a database whose tables were made by a script that is not the one we have."""
    (version,) = connection.execute(
        "SELECT by_version FROM migration WHERE number = ?", (script.number,)
    ).fetchone()
    return (
        f"{path} was made by another build of gatewayd (version {version}), whose tables are not ours: migration "
        f"{script.number:04} {script.name} has changed since. Its data are untouched: to keep using them serve it with "
        f"that build; {_to_start_empty(path)}"
    )


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone():
        return {}
    return dict(connection.execute("SELECT number, sha256 FROM migration"))


def _apply(connection: sqlite3.Connection, script: Script) -> bool:
    """Apply one script with its row; False if another process has just done it."""
    now = time.time_ns() // 1000
    try:
        # The row comes first: of two processes the second waits for BEGIN and then fails at it, having
        # changed nothing.
        connection.executescript(
            f"""BEGIN IMMEDIATE;
            PRAGMA application_id = {APPLICATION_ID};
            CREATE TABLE IF NOT EXISTS migration (
                number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
                applied_at INTEGER NOT NULL, by_version TEXT NOT NULL
            ) STRICT;
            INSERT INTO migration
            VALUES ({script.number}, '{script.name}', '{script.sha256}', {now}, '{gatewayd.__version__}');
            {script.text}
            ;COMMIT"""  # names, numbers and checksums of our own files
        )
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if (
            isinstance(error, sqlite3.IntegrityError)
            and _applied(connection).get(script.number) == script.sha256
        ):
            return False
        raise
    return True


def _tell(applied: list[Script]) -> int:
    """Say in one line what was applied; return how many that were."""
    if applied:
        first, last = (f"{script.number:04} {script.name}" for script in (applied[0], applied[-1]))
        named = first if len(applied) == 1 else f"{len(applied)} migrations, {first} to {last}"
        log.info("the database was brought to this version: %s", named)
    return len(applied)
