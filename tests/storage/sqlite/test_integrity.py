"""
A damaged database: it does not start, and once it is seen to be damaged it is read, but not written any more.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gatewayd import errors
from gatewayd.model.caller import INTERNAL
from gatewayd.storage import opening, store
from gatewayd.storage.sqlite.engine import database, integrity

START = 1_700_000_000_000_000
PAGE = 4096


def overwrite(path: Path, table: str) -> None:
    """Overwrite the first page of a table or an index in the file itself."""
    connection = sqlite3.connect(path, isolation_level=None)
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        pass  # the daemon's own threads may be at it
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xa5" * PAGE)


def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize("table", ["crons", "runs", "boots", "migration", "threads"])
async def test_a_start_on_a_damaged_page_is_refused_with_the_file_and_what_to_do(
    path: Path, table: str
) -> None:
    database.opened(path).close()
    overwrite(path, table)
    before = content(path)
    with pytest.raises(errors.Damaged) as raised:
        await opening.open_storage(path, START, os.getpid(), "test")
    said = raised.value.detail
    assert said.startswith(f"the database {path} is damaged (")
    assert f"restore {path.name} from a backup" in said
    assert ".recover" in said
    assert "\n" not in said
    assert content(path) == before


def test_every_single_page_that_is_overwritten_is_refused_or_was_unused(path: Path) -> None:
    connection = database.opened(path)
    connection.close()
    whole = path.read_bytes()
    for number in range(len(whole) // PAGE):
        damaged = bytearray(whole)
        damaged[number * PAGE + (100 if number == 0 else 0) : (number + 1) * PAGE] = b"\xa5" * (
            PAGE - (100 if number == 0 else 0)
        )
        path.write_bytes(damaged)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        with pytest.raises(errors.Damaged):
            database.opened(path)


def test_the_look_takes_no_longer_than_it_may(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connection = database.opened(path)
    assert integrity.quick_check(connection, 60.0) == (None, True)
    monkeypatch.setattr(integrity, "STEPS", 1)
    assert integrity.quick_check(connection, 0.0) == (None, False)
    integrity.require(connection, path, 0.0)
    assert "a part of it was checked" in caplog.text
    assert connection.execute("SELECT 1").fetchone() == (1,)  # nothing interrupts what comes later
    assert connection.execute("PRAGMA ignore_check_constraints").fetchone() == (0,)
    connection.close()


def test_a_row_that_breaks_a_rule_of_its_table_is_no_damage(path: Path) -> None:
    connection = database.opened(path)
    connection.execute("CREATE TABLE rules (n INTEGER CHECK (n > 0)) STRICT")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("INSERT INTO rules VALUES (-1)")
    connection.close()
    database.opened(path).close()


async def test_the_first_sign_of_damage_ends_writing_not_reading(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = await opening.open_storage(path, START, os.getpid(), "test")
    await storage.system_assistants_sync({"chat": None}, START)
    overwrite(path, "crons_by_creation")
    written = content(path)
    assert storage.damage is None
    await storage.counters()

    with pytest.raises(errors.Damaged, match="Nothing more is written to it"):
        await storage.crons_search(INTERNAL, store.CronSearch(metadata={}))

    assert storage.damage is not None
    for promise in (False, True):
        with pytest.raises(errors.Damaged, match="Nothing more is written to it"):
            await storage.writer.submit(_insert, promise=promise)
    assert (await storage.counters())["n_pending"] == 0  # asked of the writer, for it changes nothing
    assert len(await storage.readers.rows("SELECT * FROM assistants")) == 1
    assert sum(record.levelno == logging.CRITICAL for record in caplog.records) == 1
    await storage.close(START)
    assert content(path) == written
    assert "the stop was not recorded" in caplog.text


async def test_what_is_in_one_transaction_with_the_first_sign_of_damage_is_not_stored(
    path: Path, second: Any
) -> None:
    storage = await opening.open_storage(path, START, os.getpid(), "test")
    overwrite(path, "crons")

    def find(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO boots (started_at, pid, version) VALUES (1, 1, 'beside')")
        connection.execute("SELECT * FROM crons").fetchall()

    futures = [storage.writer.submit(_insert), storage.writer.submit(find), storage.writer.submit(_insert)]
    for future in futures:
        with pytest.raises(errors.Damaged):
            await future
    assert second("SELECT count(*) FROM boots") == [(1,)]
    await storage.close(START)


def _insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO boots (started_at, pid, version) VALUES (1, 1, 'late')")


def test_the_look_at_a_large_file_is_cut_off_in_time(path: Path) -> None:
    connection = database.opened(path)
    connection.execute("CREATE TABLE large (a INTEGER PRIMARY KEY, b BLOB)")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
        "INSERT INTO large SELECT i, zeroblob(10) FROM n"
    )
    begun = time.monotonic()
    assert integrity.quick_check(connection, 0.0)[1] is False
    assert time.monotonic() - begun < 30
    connection.close()
