"""
The write-ahead log stays short: beside readers that overlap, after one that took long, and when nothing
happens.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatewayd import loops
from gatewayd.storage.sqlite.engine import database, wal, writing

KIB = 1024


@pytest.fixture
async def writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[writing.Writer]:
    monkeypatch.setattr(wal, "LIMIT", 256 * KIB)
    monkeypatch.setattr(wal, "LONG", 512 * KIB)
    monkeypatch.setattr(wal, "NEAR", 20)
    monkeypatch.setattr(wal, "PAUSE_S", 0.05)
    monkeypatch.setattr(wal, "AGAIN_S", 0.005)
    monkeypatch.setattr(wal, "PRAGMAS", ())
    connection = database.connect(path)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {wal.LIMIT}")
    connection.execute("CREATE TABLE notes (note BLOB)")
    made = writing.Writer(connection)
    made.start()
    yield made
    await made.close()


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes VALUES (randomblob(16384))")


def length(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


@contextmanager
def reading(path: Path, readers: int) -> Iterator[None]:
    """Read all the time, so that there is always a reader."""
    stop = threading.Event()

    def read() -> None:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        while not stop.is_set():
            connection.execute("SELECT * FROM notes ORDER BY rowid DESC LIMIT 20").fetchall()
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


async def until(writer: writing.Writer, happened: Callable[[], bool]) -> None:
    """Write on until something holds: on a busy machine it takes more writes."""
    async with asyncio.timeout(60):
        while not happened():
            await writer.submit(insert)


async def test_it_is_begun_anew_while_readers_overlap(writer: writing.Writer, path: Path) -> None:
    trimmer = writer._trimmer
    assert trimmer is not None
    with reading(path, 3):
        await until(writer, lambda: trimmer.restarts >= 2)
        await until(writer, lambda: length(path) < wal.LONG)


async def test_a_long_reader_holds_it_up_is_told_of_and_afterwards_it_is_short_again(
    writer: writing.Writer, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wal, "WARN", 1024 * KIB)
    caplog.set_level(logging.WARNING)
    await writer.submit(insert)
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    seen = reader.execute("SELECT count(*) FROM notes").fetchone()
    await until(writer, lambda: "kept the database open for long" in caplog.text)
    assert length(path) > 1024 * KIB
    assert reader.execute("SELECT count(*) FROM notes").fetchone() == seen
    reader.execute("COMMIT")
    reader.close()
    await until(writer, lambda: length(path) <= wal.LIMIT)


async def test_what_is_written_is_soon_in_the_database_file_without_further_writes(
    writer: writing.Writer, path: Path
) -> None:
    await writer.submit(insert)

    def copied() -> bool:
        for _ in range(1000):
            if path.stat().st_size >= 16 * KIB:
                return True
            time.sleep(0.01)  # nobody tells of it
        return False

    assert await asyncio.to_thread(copied)
    assert length(path) > 0


async def test_while_its_thread_fails_the_writer_does_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(loops, "LONGEST_PAUSE_S", 0.001)
    connection = database.connect(path)
    made = writing.Writer(connection)
    broken = threading.Event()
    broken.set()
    wait = wal.Trimmer._wait

    def waiting(trimmer: wal.Trimmer) -> bool:
        if broken.is_set():
            raise sqlite3.OperationalError("broken")
        return wait(trimmer)

    monkeypatch.setattr(wal.Trimmer, "_wait", waiting)

    def automatic(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO notes VALUES (1)")
        return int(connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0])

    async def becomes(pages: int) -> None:
        for _ in range(100_000):
            if await made.submit(automatic) == pages:
                return
        raise AssertionError("it does not happen")

    made.start()
    await made.submit(lambda connection: connection.execute("CREATE TABLE notes (note INTEGER)") and None)
    for _ in range(100_000):  # it may not have come to its first round yet
        if "the loop 'write-ahead log' failed" in caplog.text:
            break
        await made.submit(automatic)
    assert "the loop 'write-ahead log' failed" in caplog.text
    await becomes(1000)
    broken.clear()
    await becomes(0)
    await made.close()
