"""The size of a SQLite file by its header: what SQLite itself says of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gatewayd.storage import pages


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_the_header_says_what_sqlite_says_when_the_log_is_in_the_file(tmp_path: Path, page_size: int) -> None:
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE items (value BLOB)")
    connection.executemany("INSERT INTO items VALUES (?)", [(bytes(5_000),)] * 200)
    connection.execute("DELETE FROM items WHERE rowid > 50")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = pages.of_file(path)
    (count,), (free,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count")
    )
    connection.close()
    assert free > 0
    assert (found.page_size, found.pages, found.free_pages) == (page_size, count, free)
    assert found.used == (count - free) * page_size


@pytest.mark.parametrize("content", [None, b"", b"SQLite format 3", b"x" * 100])
def test_a_file_that_is_missing_or_no_database_holds_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "store.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert pages.of_file(path).used == 0
