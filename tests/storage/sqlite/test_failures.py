"""
What SQLite refuses reaches its callers as an error of ours, and a foreign lock holds nobody up for longer
than need be.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatewayd import errors
from gatewayd.model.caller import INTERNAL
from gatewayd.storage import store
from gatewayd.storage.sqlite.engine import database, failures, snapshots, writing
from gatewayd.storage.sqlite.store import SqliteStore


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file as another process does that writes for long."""
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("PRAGMA busy_timeout = 60000")
    foreign.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        foreign.execute("ROLLBACK")
        foreign.close()


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[writing.Writer]:
    connection = database.connect(path)
    connection.execute("CREATE TABLE notes (note TEXT)")
    made = writing.Writer(connection)
    made.start()
    yield made
    await made.close()


def insert(connection: sqlite3.Connection, note: str) -> str:
    connection.execute("INSERT INTO notes VALUES (?)", (note,))
    return note


def notes(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [note for (note,) in connection.execute("SELECT note FROM notes ORDER BY rowid")]
    connection.close()
    return found


# a foreign lock


async def test_a_short_lock_only_delays_what_is_asked_for(writer: writing.Writer, path: Path) -> None:
    with locked(path):
        asked = writer.submit(insert, "patient", promise=True)
        done, _ = await asyncio.wait({asked}, timeout=0.3)
        assert not done
        assert writer.locked_since is not None
    assert await asked == "patient"
    assert writer.locked_since is None
    assert notes(path) == ["patient"]


async def test_behind_a_long_lock_requests_are_refused_together_and_later_ones_hardly_wait(
    writer: writing.Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LOCK_PATIENCE_S", 3.0)
    monkeypatch.setattr(writing, "LOCK_GLANCE_S", 0.0)
    with locked(path):
        together = [writer.submit(insert, str(number)) for number in range(50)]
        refused = await asyncio.gather(*together, return_exceptions=True)
        assert {type(error) for error in refused} == {failures.Locked}
        begun = time.monotonic()
        for number in range(10):
            with pytest.raises(errors.Unavailable, match="another process holds the lock"):
                await writer.submit(insert, f"late {number}")
        assert time.monotonic() - begun < 10 * 3.0 / 2  # one after the other it would be twice that
    assert await writer.submit(insert, "after it") == "after it"
    assert notes(path) == ["after it"]


async def test_what_runs_have_sent_waits_for_a_long_lock_and_keeps_its_order(
    writer: writing.Writer, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "LOCK_PATIENCE_S", 0.0)
    monkeypatch.setattr(writing, "LOCK_GLANCE_S", 0.0)
    stored: list[str] = []
    failed: list[BaseException] = []
    chain = writing.Chain()

    def post(note: str, **how: object) -> None:
        writer.post(insert, note, on_stored=stored.append, on_error=failed.append, **how)  # type: ignore[arg-type]

    with locked(path):
        for number in range(5):
            post(str(number), weight=100, chain=chain)
            with pytest.raises(failures.Locked):
                await writer.submit(insert, "a request")
        post("5", promise=True, chain=chain)
        assert (stored, failed, writer.backlog) == ([], [], 500)
    assert await writer.submit(insert, "6") == "6"
    assert stored == ["0", "1", "2", "3", "4", "5"]
    assert notes(path) == ["0", "1", "2", "3", "4", "5", "6"]
    assert caplog.text.count("another process holds the lock of the database") == 1
    assert "was free after" in caplog.text


async def test_a_stop_does_not_wait_for_a_foreign_lock_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LOCK_PATIENCE_S", 0.1)
    connection = database.connect(path)
    connection.execute("CREATE TABLE notes (note TEXT)")
    made = writing.Writer(connection)
    made.start()
    failed: list[BaseException] = []
    with locked(path):
        made.post(insert, "lost", on_stored=lambda _: None, on_error=failed.append)
        async with asyncio.timeout(60):
            await made.close()
            await asyncio.sleep(0)
    assert [type(error) for error in failed] == [failures.Locked]


# each of SQLite's errors, forced on a real file


@pytest.fixture
def filled(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE notes (note BLOB)")
    connection.executemany("INSERT INTO notes VALUES (randomblob(3000))", [()] * 200)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return connection


def busy(connection: sqlite3.Connection, path: Path) -> None:
    with locked(path):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("BEGIN IMMEDIATE")


def read_only(connection: sqlite3.Connection, path: Path) -> None:
    only = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        only.execute("DELETE FROM notes")
    finally:
        only.close()


def no_such_folder(connection: sqlite3.Connection, path: Path) -> None:
    sqlite3.connect(path / "nowhere" / "file")


def log_cut_off(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("UPDATE notes SET note = randomblob(3000)")
    os.truncate(f"{path}-wal", 4096)
    connection.execute("SELECT sum(length(note)) FROM notes").fetchall()


def full(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA max_page_count = 1")
    connection.execute("INSERT INTO notes VALUES (randomblob(3000000))")


def overwritten(connection: sqlite3.Connection, path: Path) -> None:
    damage(path)
    other = sqlite3.connect(path)
    try:
        other.execute("SELECT sum(length(note)) FROM notes").fetchall()
    finally:
        other.close()


def no_database(connection: sqlite3.Connection, path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"this is no database" * 1000)
    opened = sqlite3.connect(other)
    try:
        opened.execute("SELECT * FROM sqlite_schema").fetchall()
    finally:
        opened.close()


def damage(path: Path) -> None:
    """Overwrite a page in the middle of the file, and all behind it."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        file.write(b"\xa5" * (size - size // 2))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("force", "name", "kind"),
    [
        (busy, "SQLITE_BUSY", failures.Locked),
        (read_only, "SQLITE_READONLY", failures.Unusable),
        (no_such_folder, "SQLITE_CANTOPEN", failures.Unusable),
        (log_cut_off, "SQLITE_IOERR", failures.Unusable),
        (full, "SQLITE_FULL", failures.FullDisk),
        (overwritten, "SQLITE_CORRUPT", errors.Damaged),
        (no_database, "SQLITE_NOTADB", errors.Damaged),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_of_sqlite_becomes_one_of_ours(
    filled: sqlite3.Connection,
    path: Path,
    force: Callable[[sqlite3.Connection, Path], None],
    name: str,
    kind: type[errors.GatewaydError],
) -> None:
    with pytest.raises(sqlite3.DatabaseError) as raised:
        force(filled, path)
    assert raised.value.sqlite_errorname.startswith(name)
    ours = failures.translated(raised.value)
    assert type(ours) is kind
    assert ours.__cause__ is raised.value
    filled.close()


@pytest.mark.parametrize("error", [sqlite3.IntegrityError("unique"), ValueError("no"), sqlite3.Error("none")])
def test_a_fault_of_our_own_stays_what_it_is(error: Exception) -> None:
    assert failures.translated(error) is error


def code(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


def test_every_extended_code_of_these_families_is_translated() -> None:
    families = ("BUSY", "LOCKED", "IOERR", "CORRUPT", "READONLY", "CANTOPEN", "FULL", "NOTADB")
    names = [name for name in dir(sqlite3) if name.startswith(tuple(f"SQLITE_{each}" for each in families))]
    assert len(names) > 40
    for name in names:
        ours = failures.translated(code(name))
        assert isinstance(ours, errors.Unavailable | errors.InsufficientStorage), name


# through the operations


async def test_readers_and_scanners_raise_errors_of_ours_and_go_on_when_it_has_passed(
    storage: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [True]

    def broken(self: object, *args: object) -> object:
        if failing:
            raise code("SQLITE_IOERR_READ")
        return real(self, *args)  # type: ignore[arg-type]

    real = snapshots.SnapshotReader._connection
    monkeypatch.setattr(snapshots.SnapshotReader, "_connection", broken)
    search = store.ThreadSearch(metadata={})
    with pytest.raises(failures.Unusable, match="SQLITE_IOERR_READ"):
        await storage.threads_search(INTERNAL, search)
    failing.clear()
    await storage.threads_search(INTERNAL, search)

    connection = storage.readers._connections[0]
    await connection.execute("PRAGMA query_only = OFF")
    for _ in storage.readers._connections:
        with pytest.raises(failures.Unusable, match="SQLITE_READONLY"):
            await storage.readers.rows("DELETE FROM runs")


async def test_the_first_sign_of_damage_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    seen = failures.Damage(path)
    for _ in range(3):
        with pytest.raises(errors.Damaged, match="restore gatewayd"), seen.translating():
            raise code("SQLITE_CORRUPT_INDEX")
    assert len(caplog.records) == 1
    assert seen.found is not None
