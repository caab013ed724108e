"""Who may read the files of a running server, and those of its agents."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gatewayd import datadir
from tests.processes import conftest, daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_the_servers_files_are_its_accounts_own_and_those_of_agents_follow_the_operators_umask(
    tell: conftest.Tell, tmp_path: Path
) -> None:
    async with daemon.Daemon(conftest.PROJECT, tmp_path / "data") as served:
        await served.spawn(umask=0o022)
        await served.until(lambda: " serving " in served.printed(), "serving", 90.0)
        told = tell(served)
        await told.client.store.put_item(["notes"], key="one", value={"said": "private"})
        run = await told.begin("steps", steps=1)
        assert (await told.ended(run))["status"] == "success"
        assert modes(tmp_path)["witness"] == 0o644
        found = modes(served.data_dir)
        assert found.keys() >= {
            datadir.DATABASE,
            f"{datadir.DATABASE}-wal",
            f"{datadir.DATABASE}-shm",
            datadir.STORE,
            f"{datadir.STORE}-wal",
            f"{datadir.STORE}-shm",
            "daemon.lock",
            "workers.lock",
            "reload.json",
            ".gitignore",
        }
        assert set(found.values()) == {0o600}
        assert modes(tmp_path)["data"] == 0o700
        assert await served.stop() == 0
        command = [sys.executable, "-m", "gatewayd", "db", "compact", "--data-dir", str(served.data_dir)]
        compacted = await asyncio.create_subprocess_exec(
            *command, umask=0o022, env=daemon.environment(), stdout=subprocess.DEVNULL
        )
        assert await compacted.wait() == 0
        assert set(modes(served.data_dir).values()) == {0o600}
