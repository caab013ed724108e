"""A database of before the migrations were folded into one is taken over with all that it has, or refused."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gatewayd import errors
from gatewayd.storage.sqlite.engine import database, folded, migrate
from tests.processes import daemon
from tests.takeover.answers import IN_FLIGHT, Asker

PROJECT = Path(__file__).with_name("project")
TEN_YEARS_S = str(3650 * 86_400)

NAMES = {
    "slots": "thread_locks",
    "threads.kept": "cron_failed",
    "events.joined": "saved_bytes",
    "conversions.behind": "done_to",
    "conversions.until": "last_row",
}
"""What tables and columns of before are called now."""


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows, by the tables' and columns' names of now."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        return {
            NAMES.get(table, table): sorted(
                (
                    {NAMES.get(f"{table}.{column}", column): row[column] for column in row.keys()}  # noqa: SIM118
                    for row in connection.execute(f'SELECT * FROM "{table}"')
                ),
                key=repr,
            )
            for table in names
            if table != "migration" and not table.startswith("sqlite_")
        }
    finally:
        connection.close()


def copies(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if ".before-" in entry.name)


def applied(path: Path) -> dict[int, str]:
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT number, sha256 FROM migration"))
    finally:
        connection.close()


def take_over(path: Path) -> int:
    connection = database.connect(path)
    try:
        return migrate.migrate(connection, path)
    finally:
        connection.close()


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_every_row_is_kept_under_the_names_of_now_and_a_copy_of_before_lies_beside(path: Path) -> None:
    before = rows(path)
    assert all(before[table] for table in before if table not in ("conversions", "default_ttl"))
    take_over(path)
    assert rows(path) == before
    assert applied(path) == {script.number: script.sha256 for script in migrate.scripts()}
    assert copies(path) == ["gatewayd.sqlite.before-0001"]
    copy = path.with_name(copies(path)[0])
    assert rows(copy) == before
    assert applied(copy) == folded.CHECKSUMS
    assert take_over(path) == 0


def test_its_tables_are_those_of_a_fresh_database(path: Path, tmp_path: Path) -> None:
    take_over(path)
    fresh = tmp_path / "fresh.sqlite"
    take_over(fresh)
    described = []
    for file in (path, fresh):
        connection = sqlite3.connect(file)
        described.append(
            [
                (*table, connection.execute(f"SELECT * FROM pragma_table_xinfo('{table[2]}')").fetchall())
                for table in connection.execute(
                    "SELECT type, name, tbl_name, rootpage IS NULL FROM sqlite_schema ORDER BY type, name"
                )
            ]
        )
        connection.close()
    assert described[0] == described[1]


KILLED = """
import os, pathlib, signal, sys
from gatewayd.storage.sqlite.engine import database, migrate
path, last = pathlib.Path(sys.argv[1]), int(sys.argv[2])
connection = database.connect(path)
count = 0
def see(statement):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
connection.set_trace_callback(see)
migrate.migrate(connection, path)
print(count)
"""


def run_until(path: Path, statement: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(statement)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_killed_before_any_statement_it_is_the_old_or_the_new_database_and_the_next_start_completes_it(
    path: Path, tmp_path: Path
) -> None:
    before, content = rows(path), path.read_bytes()
    whole = tmp_path / "whole" / path.name
    whole.parent.mkdir()
    whole.write_bytes(content)
    ended = run_until(whole, 0)
    assert ended.returncode == 0, ended.stderr
    taken_over = {script.number: script.sha256 for script in migrate.scripts()}
    seen = []
    for statement in range(1, int(ended.stdout) + 1):
        file = tmp_path / str(statement) / path.name
        file.parent.mkdir()
        file.write_bytes(content)
        assert run_until(file, statement).returncode == -signal.SIGKILL
        seen.append(applied(file))
        assert seen[-1] in (folded.CHECKSUMS, taken_over)
        assert rows(file) == before
        take_over(file)
        assert rows(file) == before
        assert applied(file) == taken_over
        assert copies(file) == ["gatewayd.sqlite.before-0001"]
    assert folded.CHECKSUMS in seen


def test_of_two_processes_one_takes_it_over_and_both_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(path)
    rename, overtaken = folded.has_all, []

    def has_all(found: Any) -> bool:
        if not overtaken:  # the other process does it all between the first look and the copy
            overtaken.append(True)
            answer = rename(found)
            take_over(path)
            return answer
        return rename(found)

    monkeypatch.setattr(folded, "has_all", has_all)
    assert take_over(path) == 0
    assert rows(path) == before
    assert copies(path) == ["gatewayd.sqlite.before-0001"]


def test_copies_of_processes_that_are_gone_are_removed_and_of_others_are_not(path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = path.with_name(f"{path.name}.before-0001.{gone.pid}")
    foreign = path.with_name(f"{path.name}.before-0001.mine")
    for file in (left, foreign):
        file.touch()
    take_over(path)
    assert copies(path) == ["gatewayd.sqlite.before-0001", foreign.name]


def refused(path: Path) -> str:
    """Return why the database is not taken over; it is as it was."""
    before, had = rows(path), applied(path)
    with pytest.raises(errors.BadConfiguration) as refusal:
        take_over(path)
    assert "newer" not in refusal.value.detail
    assert "Its data are untouched" in refusal.value.detail
    assert (rows(path), applied(path)) == (before, had)
    assert copies(path) == []
    return refusal.value.detail


@pytest.mark.parametrize("last", [1, 9, 11])
def test_a_database_with_fewer_migrations_is_refused_with_the_build_that_brings_it_on(
    path: Path, last: int
) -> None:
    change(path, f"DELETE FROM migration WHERE number > {last}")
    reason = refused(path)
    assert f"{last} of the 12 migrations" in reason
    assert f"serve it once with {folded.LAST_BUILD}, then with this build" in reason


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE migration SET sha256 = 'other' WHERE number = 12",
        "UPDATE migration SET sha256 = 'other' WHERE number = 1",
        "INSERT INTO migration VALUES (13, 'of_a_fork', 'other', 0, '0.1.0')",
    ],
    ids=["the last is another", "the first is another", "one more"],
)
def test_a_database_of_other_migrations_is_refused_as_that_of_another_build(path: Path, changed: str) -> None:
    change(path, changed)
    assert "made by another build of gatewayd" in refused(path)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("CREATE INDEX runs_by_hand ON runs (metadata)", "runs_by_hand"),
        ("DROP INDEX runs_due", "runs_due"),
        ("ALTER TABLE runs ADD COLUMN by_hand TEXT", "runs"),
        ("DROP TRIGGER ttl_of_new_threads", "ttl_of_new_threads"),
        ("DROP TABLE slots", "slots"),
    ],
)
def test_a_database_whose_tables_were_changed_by_hand_is_refused_by_name(
    path: Path, changed: str, named: str
) -> None:
    change(path, changed)
    reason = refused(path)
    assert "were changed by hand" in reason
    assert named in reason


def test_the_command_line_refuses_it_with_exit_code_78(path: Path) -> None:
    change(path, "DELETE FROM migration WHERE number > 9")
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "gatewayd",
            "serve",
            "--config",
            str(PROJECT / "langgraph.json"),
            "--data-dir",
            str(path.parent),
            "--port",
            "0",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=daemon.environment(),
    )
    assert ended.returncode == 78
    assert "9 of the 12 migrations" in ended.stderr


async def test_served_from_it_every_answer_is_what_the_server_of_before_gave(
    path: Path, tmp_path: Path, answers: Any
) -> None:
    go = tmp_path / "go"
    go.touch()
    settings = {
        "GO": str(go),
        "GATEWAYD_EVENTS_TTL_S": TEN_YEARS_S,
        "GATEWAYD_FAILED_CRON_TTL_S": TEN_YEARS_S,
        "GATEWAYD_SWEEP_INTERVAL_S": "86400",
    }
    async with (
        daemon.Daemon(PROJECT, path.parent, settings) as served,
        aiohttp.ClientSession(served.url) as session,
    ):
        await served.start()
        asker = Asker(session, served.url)
        (_, (in_flight,)) = await asker.post("/threads/search", {"metadata": IN_FLIGHT})
        (_, runs) = await asker.get(f"/threads/{in_flight['thread_id']}/runs")
        for run in runs:
            await asker.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
        now = await asker.everything()
    assert sorted(now) == sorted(answers)
    assert [request for request in answers if now[request] != answers[request]] == []
