"""The official JavaScript clients over a kill: they reconnect by themselves and miss nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.processes import daemon
from tests.wire import node
from tests.wire.conversation import PROJECT

pytestmark = [node.needed, pytest.mark.slow, pytest.mark.crash]


async def test_streams_joins_and_pages_go_on_after_the_daemon_was_killed(tmp_path: Path) -> None:
    node.install()
    async with daemon.Daemon(PROJECT, tmp_path / "data") as served:
        await served.start()
        scripts = [
            await asyncio.create_subprocess_exec(
                *node.COMMAND,
                "over_restart.mjs",
                cwd=node.FOLDER,
                env=node.environment(served.url, version, tmp_path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            for version in node.SDKS
        ]
        try:
            async with asyncio.timeout(node.TIMEOUT_S):
                told = [await _halfway(script) for script in scripts]
                served.kill()
                await served.wait()
                await served.start("listening")
                rests = await asyncio.gather(*(script.communicate(b"back\n") for script in scripts))
                for before, (rest, _), script in zip(told, rests, scripts, strict=True):
                    assert script.returncode == 0, before + rest.decode()
        finally:
            for script in scripts:
                if script.returncode is None:
                    script.kill()
                    await script.wait()


async def _halfway(script: asyncio.subprocess.Process) -> str:
    """Read what a script prints until it waits for the kill."""
    assert script.stdout is not None
    told = ""
    while "halfway" not in told:
        line = await script.stdout.readline()
        assert line, told
        told += line.decode()
    return told
