"""Migrations: applied once, in order, whole or not at all, and never to a file that is not ours."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gatewayd
from gatewayd import errors
from gatewayd.storage import opening
from gatewayd.storage.sqlite.engine import database, migrate

FOLDER = Path(__file__).parents[3] / "migrations" / "sqlite"

FIRST = migrate.Script(number=1, name="first", text="CREATE TABLE first (a TEXT) STRICT;")
SECOND = migrate.Script(
    number=2,
    name="second",
    text="ALTER TABLE first ADD COLUMN b TEXT;\nUPDATE first SET b = a || a; -- doubled",
)
THIRD = migrate.Script(number=3, name="third", text="CREATE INDEX first_by_b ON first (b)")


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    made = database.connect(path)
    yield made
    made.close()


def schema(connection: sqlite3.Connection) -> list[Any]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()


def copies(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if ".before-" in entry.name)


def test_the_shipped_migrations_are_numbered_from_one_without_gaps_and_nothing_else_lies_there() -> None:
    names = sorted(entry.name for entry in FOLDER.iterdir())
    assert all(migrate.NAME.fullmatch(name) for name in names), names
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert [f"{script.number:04}_{script.name}.sql" for script in migrate.scripts()] == names


FROZEN = {"0001_initial.sql": "ab3e6731fd08f732952c3072ff31cb3534ff5aeff1ed6b8aa8e516e4ac04691a"}
"""Databases have been made with these: a change goes into a script of its own."""


def test_the_shipped_migrations_are_what_they_were() -> None:
    shipped = {f"{script.number:04}_{script.name}.sql": script.sha256 for script in migrate.scripts()}
    assert shipped == FROZEN


def test_every_table_of_the_shipped_schema_is_strict(connection: sqlite3.Connection, path: Path) -> None:
    migrate.migrate(connection, path)
    lax = [
        name
        for (name, strict) in connection.execute(
            "SELECT name, strict FROM pragma_table_list WHERE schema = 'main'"
        )
        if not strict and not name.startswith("sqlite_")
    ]
    assert lax == []


def test_a_fresh_file_gets_all_scripts_and_a_second_pass_does_nothing(
    connection: sqlite3.Connection, path: Path
) -> None:
    assert migrate.migrate(connection, path, [FIRST, SECOND, THIRD]) == 3
    assert migrate.migrate(connection, path, [FIRST, SECOND, THIRD]) == 0
    rows = connection.execute("SELECT number, name, sha256 FROM migration ORDER BY number").fetchall()
    assert rows == [
        (script.number, script.name, hashlib.sha256(script.text.encode()).hexdigest())
        for script in (FIRST, SECOND, THIRD)
    ]
    assert connection.execute("PRAGMA application_id").fetchone() == (migrate.APPLICATION_ID,)
    assert copies(path) == []


def test_a_migrated_file_has_the_schema_of_a_fresh_one(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    old = tmp_path / "old.sqlite"
    other = database.connect(old)
    for upto in range(1, 4):
        migrate.migrate(other, old, [FIRST, SECOND, THIRD][:upto])
    migrate.migrate(connection, tmp_path / "gatewayd.sqlite", [FIRST, SECOND, THIRD])
    assert schema(other) == schema(connection)
    other.close()


def test_a_copy_of_what_there_was_is_kept_before_the_first_pending_script(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate.migrate(connection, path, [FIRST])
    connection.execute("INSERT INTO first VALUES ('kept')")
    assert migrate.migrate(connection, path, [FIRST, SECOND, THIRD]) == 2
    assert copies(path) == [f"{path.name}.before-0002"]
    with sqlite3.connect(path.with_name(copies(path)[0])) as copy:
        assert copy.execute("SELECT * FROM first").fetchall() == [("kept",)]
        assert copy.execute("SELECT number FROM migration").fetchall() == [(1,)]
        assert copy.execute("PRAGMA application_id").fetchone() == (migrate.APPLICATION_ID,)
    copy.close()
    assert connection.execute("SELECT * FROM first").fetchall() == [("kept", "keptkept")]


@pytest.mark.parametrize(
    "broken",
    [
        "CREATE TABLE second (a TEXT) STRICT; INSERT INTO first VALUES ('x'); SELECT nonsense;",
        "CREATE TABLE second (a TEXT) STRICT; this is no SQL",
        "CREATE TABLE second (a TEXT PRIMARY KEY) STRICT; INSERT INTO second VALUES ('a'), ('a');",
    ],
)
def test_a_script_that_fails_leaves_nothing_and_can_be_tried_again(
    connection: sqlite3.Connection, path: Path, broken: str
) -> None:
    migrate.migrate(connection, path, [FIRST])
    before = schema(connection), list(connection.iterdump())
    with pytest.raises(sqlite3.Error):
        migrate.migrate(
            connection, path, [FIRST, migrate.Script(number=2, name="broken", text=broken), THIRD]
        )
    assert not connection.in_transaction
    assert (schema(connection), list(connection.iterdump())) == before
    assert copies(path) == []
    assert migrate.migrate(connection, path, [FIRST, SECOND, THIRD]) == 2


def test_a_first_script_that_fails_leaves_an_empty_file(connection: sqlite3.Connection, path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        migrate.migrate(
            connection, path, [migrate.Script(number=1, name="broken", text="CREATE TABLE a (x); oops")]
        )
    assert schema(connection) == []
    assert connection.execute("PRAGMA application_id").fetchone() == (0,)


def test_the_database_of_a_newer_version_is_refused(connection: sqlite3.Connection, path: Path) -> None:
    migrate.migrate(connection, path, [FIRST, SECOND])
    with pytest.raises(
        errors.BadConfiguration, match=r"newer gatewayd \(version 2 of the tables, this one knows 1\)"
    ):
        migrate.migrate(connection, path, [FIRST])


def test_a_script_that_was_changed_after_it_had_been_applied_is_refused(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate.migrate(connection, path, [FIRST, SECOND])
    changed = migrate.Script(number=1, name="first", text=FIRST.text + " ")
    with pytest.raises(errors.BadConfiguration, match=r"migration 0001 \w+ has changed") as refused:
        migrate.migrate(connection, path, [changed, SECOND, THIRD])
    for what in (
        str(path),
        f"another build of gatewayd (version {gatewayd.__version__})",
        "serve it with that build",
        f"move {path.name}, {path.name}-wal and {path.name}-shm away",
    ):
        assert what in refused.value.detail
    assert connection.execute("SELECT count(*) FROM migration").fetchone() == (2,)


FOREIGN = {
    "tables of another program": ["CREATE TABLE theirs (a)"],
    "another program's id": ["PRAGMA application_id = 7", "CREATE TABLE theirs (a)"],
    "an empty file with another program's id": ["PRAGMA application_id = 7"],
    "another program's table of migrations": ["CREATE TABLE migration (number, sha256)"],
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_database_is_refused_and_not_changed_by_a_byte(path: Path, statements: list[str]) -> None:
    theirs = sqlite3.connect(path)
    for statement in statements:
        theirs.execute(statement)
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(errors.BadConfiguration, match="another program"):
        database.connect(path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]


def test_a_file_that_is_no_database_is_refused_and_not_changed(path: Path) -> None:
    path.write_bytes(b"a letter to grandmother\n" * 100)
    with pytest.raises(errors.BadConfiguration, match="can't be read as a database"):
        database.connect(path)
    assert path.read_bytes() == b"a letter to grandmother\n" * 100


async def test_opening_a_refused_file_leaves_no_connection_behind(path: Path) -> None:
    connection = database.connect(path)
    migrate.migrate(connection, path)
    connection.execute("UPDATE migration SET sha256 = 'other'")
    connection.close()
    with pytest.raises(errors.BadConfiguration):
        await opening.open_storage(path, 0, os.getpid(), "test")
    alone = sqlite3.connect(path)
    alone.execute("PRAGMA locking_mode = EXCLUSIVE")
    alone.execute("PRAGMA journal_mode = DELETE")  # needs the file for itself
    alone.close()


def test_a_file_whose_tables_another_process_is_just_making_is_not_taken_for_foreign(path: Path) -> None:
    theirs = database.connect(path)
    ours = sqlite3.connect(path, isolation_level=None)

    def overtake(statement: str) -> None:
        if "sqlite_schema" in statement:
            ours.set_trace_callback(None)
            migrate.migrate(theirs, path)

    ours.set_trace_callback(overtake)
    migrate.refuse_foreign(ours, path)
    assert migrate.migrate(ours, path) == 0
    ours.close()
    theirs.close()


def test_of_two_processes_each_script_is_applied_by_one_and_both_go_on(path: Path) -> None:
    text = (
        "import sys, pathlib\n"
        "from gatewayd.storage.sqlite.engine import migrate\n"
        "from gatewayd.storage.sqlite.engine import database\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "connection = database.connect(path)\n"
        "print(migrate.migrate(connection, path), flush=True)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", text, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    applied = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(applied) == len(migrate.scripts())
    assert [process.returncode for process in processes] == [0] * 4


def test_a_process_that_comes_second_to_a_script_finds_it_done_and_keeps_the_first_ones_copy(
    connection: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.migrate(connection, path, [FIRST])
    connection.execute("INSERT INTO first VALUES ('kept')")
    other = database.connect(path)
    apply = migrate._apply

    def overtaken(late: sqlite3.Connection, script: migrate.Script) -> bool:
        monkeypatch.setattr(migrate, "_apply", apply)  # once: the other process does it all in this moment
        monkeypatch.setattr(migrate.os, "getpid", lambda: 1)
        assert migrate.migrate(other, path, [FIRST, SECOND, THIRD]) == 2
        return apply(late, script)

    monkeypatch.setattr(migrate, "_apply", overtaken)
    assert migrate.migrate(connection, path, [FIRST, SECOND, THIRD]) == 0
    other.close()
    assert copies(path) == [f"{path.name}.before-0002"]
    with sqlite3.connect(path.with_name(copies(path)[0])) as copy:
        assert copy.execute("SELECT * FROM first").fetchall() == [("kept",)]
    copy.close()
    assert connection.execute("SELECT * FROM first").fetchall() == [("kept", "keptkept")]


def test_all_that_was_applied_is_told_in_one_line(
    connection: sqlite3.Connection, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    migrate.migrate(connection, path, [FIRST])
    assert caplog.messages == ["the database was brought to this version: 0001 first"]
    caplog.clear()
    migrate.migrate(connection, path, [FIRST, SECOND, THIRD])
    assert (
        caplog.messages[-1]
        == "the database was brought to this version: 2 migrations, 0002 second to 0003 third"
    )
    caplog.clear()
    migrate.migrate(connection, path, [FIRST, SECOND, THIRD])
    assert caplog.messages == []
