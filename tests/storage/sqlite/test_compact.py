"""Rebuilding the file: it becomes small, gives free pages back from then on, and is never left half made."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gatewayd.checkpointing import conversion
from gatewayd.checkpointing.sqlite import convert
from gatewayd.errors import BadConfiguration, InsufficientStorage
from gatewayd.storage.sqlite.engine import compact, database, migrate, space


def old_file(path: Path) -> list[Any]:
    """Make a file as it was before free pages could be given back, half of it free; return its rows."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate.migrate(connection, path)
    connection.execute("CREATE TABLE notes (note BLOB)")
    for number in range(100):
        connection.execute("INSERT INTO notes VALUES (?)", (bytes([number]) * 20_000,))
    connection.execute("DELETE FROM notes WHERE rowid % 2")
    rows = connection.execute("SELECT rowid, note FROM notes").fetchall()
    assert not space.measure(connection).incremental
    connection.close()
    return rows


def rows_of(path: Path) -> list[Any]:
    connection = database.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT rowid, note FROM notes").fetchall()
    finally:
        connection.close()


def test_an_old_file_becomes_small_and_gives_free_pages_back_from_then_on(path: Path) -> None:
    rows = old_file(path)
    path.chmod(0o640)
    done = compact.compact(path)
    assert done.converted
    assert done.after < done.before * 0.6
    assert path.stat().st_size == done.after
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert rows_of(path) == rows
    connection = database.connect(path)
    assert space.measure(connection).incremental
    assert migrate.migrate(connection, path) == 0
    connection.execute("DELETE FROM notes")
    while not space.vacuum_step(connection, 0):
        pass
    assert space.measure(connection).free_pages == 0
    connection.close()
    assert not compact.compact(path).converted


def test_without_room_for_the_copy_it_is_refused_with_both_figures_and_the_file_stays(path: Path) -> None:
    rows = old_file(path)
    with pytest.raises(InsufficientStorage, match=r"has 1\.0 MB free; the new file needs 1\d\.\d MB"):
        compact.compact(path, free=lambda _: 1_000_000)
    assert rows_of(path) == rows


def test_a_file_that_somebody_has_open_stays_as_it_is(path: Path) -> None:
    rows = old_file(path)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM notes").fetchone()
    with pytest.raises(BadConfiguration, match="it is as it was"):
        compact.compact(path)
    reader.close()
    assert rows_of(path) == rows
    assert not path.with_name(f"{path.name}.compact").exists()


def test_a_foreign_file_and_a_damaged_one_are_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(BadConfiguration, match="another program"):
        compact.compact(path)
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(BadConfiguration, match="read as a database"):
        compact.compact(path)


def test_rows_that_are_still_to_be_converted_keep_their_numbers(path: Path) -> None:
    connection = database.opened(path)
    for number in range(1, 21):
        connection.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, run_id, format, type, checkpoint, metadata) "
            "VALUES ('t', '', ?, '', 1, 'msgpack', ?, '{}')",
            (f"{number:04}", bytes(2000)),
        )
    connection.execute("INSERT INTO conversions VALUES ('checkpoints', 10, 20)")
    connection.execute("DELETE FROM checkpoints WHERE rowid <= 10")
    connection.close()
    compact.compact(path)
    connection = database.connect(path)
    converted = 0
    while (found := convert.next_row(connection)) is not None:
        if found.body:
            manifest, portions = conversion.cut_row(found, set())
            for portion in portions:
                convert.store_some(connection, found.thread_id, portion)
            convert.finish(connection, found, manifest)
            converted += 1
    assert (
        converted
        == connection.execute("SELECT count(*) FROM checkpoints WHERE format = 2").fetchone()[0]
        == 10
    )
    connection.close()
