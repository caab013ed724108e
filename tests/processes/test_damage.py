"""A daemon on a damaged database: one line and an exit code of its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.processes import daemon

PROJECT = Path(__file__).parents[1] / "engine" / "project"


def overwrite(path: Path, name: str) -> None:
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)


@pytest.mark.parametrize("name", ["runs", "boots", "checkpoints", "crons_by_creation"])
async def test_it_does_not_start_and_says_in_one_line_what_to_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data" / "gatewayd.sqlite"
    async with daemon.Daemon(PROJECT, tmp_path / "data") as served:
        await served.start(until="listening")
        await served.logged("worker service is ready")
        assert await served.stop() == 0
        overwrite(path, name)
        await served.spawn()
        assert await served.wait() == 65
        said = [line for line in served.log("last").splitlines() if line.startswith("gatewayd:")]
        assert len(said) == 1
        assert said[0].startswith(f"gatewayd: the database {path} is damaged (")
        assert "restore gatewayd.sqlite from a backup" in said[0]
        assert "Traceback" not in served.log("last")
