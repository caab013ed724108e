"""The official JavaScript clients over a kill: they reconnect by themselves and miss nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.processes import daemon
from tests.wire import node
from tests.wire.conversation import PROJECT

pytestmark = [node.needed, pytest.mark.slow, pytest.mark.crash]


async def test_streams_joins_and_pages_go_on_after_the_daemon_was_killed(tmp_path: Path) -> None:
    node.install()
    async with daemon.Daemon(PROJECT, tmp_path / "data") as served, AsyncExitStack() as stack:
        await served.start()
        scripts = [
            await stack.enter_async_context(
                node.Script("over_restart.mjs", node.environment(served.url, version, tmp_path))
            )
            for version in node.SDKS
        ]
        async with asyncio.timeout(node.TIMEOUT_S):
            for script in scripts:
                await script.says("halfway")
            served.kill()
            await served.wait()
            await served.start("listening")
            for script in scripts:
                script.tell("back")
            await asyncio.gather(*(script.succeeds() for script in scripts))
