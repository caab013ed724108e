"""Who may read what the server makes, as far as one process shows it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd import datadir, permissions
from gatewayd.storage.sqlite.engine import database
from gatewayd.worker.store import itemfile


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_umask_is_private_while_the_data_directory_is_held_and_the_operators_is_remembered(
    tmp_path: Path,
) -> None:
    assert permissions.operators_umask() == permissions.UNCHANGED
    with datadir.held(tmp_path / "one"):
        assert (umask(), permissions.operators_umask()) == (0o077, 0o022)
        with datadir.held(tmp_path / "two"):
            assert (umask(), permissions.operators_umask()) == (0o077, 0o022)
        assert permissions.operators_umask() == 0o022
    assert (umask(), permissions.operators_umask()) == (0o022, permissions.UNCHANGED)


def test_files_and_folders_are_made_for_this_account_only(tmp_path: Path) -> None:
    with datadir.held(tmp_path / "outer" / "data"):
        made = [tmp_path / "outer", *(tmp_path / "outer").rglob("*")]
        assert {path.name: mode(path) for path in made} == {
            "outer": 0o700,
            "data": 0o700,
            "daemon.lock": 0o600,
            "workers.lock": 0o600,
            ".gitignore": 0o600,
        }
        assert (tmp_path / "outer" / "data" / ".gitignore").read_text() == "*\n"


def test_the_databases_are_private_also_under_a_umask_that_gives_rights(tmp_path: Path) -> None:
    connection = database.opened(tmp_path / "db")
    store = itemfile.ItemFile(str(tmp_path / "items"))
    store.open()
    try:
        modes = {path.name: mode(path) for path in tmp_path.iterdir()}
        assert modes.keys() >= {"db", "db-wal", "db-shm", "items", "items-wal", "items-shm"}
        assert set(modes.values()) == {0o600}
    finally:
        store.close()
        connection.close()


def test_what_an_earlier_version_made_for_all_is_closed_to_others_and_nothing_else(tmp_path: Path) -> None:
    ours = [
        tmp_path / name for name in ("gatewayd.sqlite", "gatewayd.sqlite.before-0002", "store.sqlite-wal")
    ]
    for path in (*ours, tmp_path / "notes.txt"):
        path.touch(mode=0o644)
    with datadir.held(tmp_path):
        assert [mode(path) for path in ours] == [0o600] * 3
        assert mode(tmp_path / "notes.txt") == 0o644


@pytest.mark.parametrize(("rights", "told"), [(0o700, False), (0o740, False), (0o755, True), (0o710, True)])
def test_a_data_directory_that_others_can_enter_is_warned_of_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rights: int, told: bool
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(rights)
    with datadir.held(data):
        assert mode(data) == rights
    found = [record.getMessage() for record in caplog.records if "can be entered by others" in record.message]
    assert [f"mode {rights:03o}" in line and "StateDirectoryMode=0700" in line for line in found] == [
        True
    ] * told


def test_git_add_stages_nothing_of_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with datadir.held(tmp_path / ".gatewayd"):
        subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    staged = subprocess.run(["git", "ls-files"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert staged.stdout.split() == ["langgraph.json"]


def test_a_folder_with_things_of_others_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").touch()
    with datadir.held(tmp_path):
        assert not (tmp_path / ".gitignore").exists()


def test_a_gitignore_of_the_operator_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("!kept\n")
    with datadir.held(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "!kept\n"
