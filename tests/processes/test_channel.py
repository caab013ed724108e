"""A worker process at the end of its channel: it goes with its daemon, and says what else has ended it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gatewayd.channel import frames
from gatewayd.supervisor import process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SOON_S = 90


@asynccontextmanager
async def started(tmp_path: Path) -> AsyncIterator[process.Process]:
    """A worker that has said hello and waits to be told what to load."""
    order = process.Order(
        name="run-1", environment=dict(os.environ), folder=tmp_path, lock=tmp_path / "workers.lock"
    )
    one = await process.start(order)
    try:
        one.control.setblocking(False)
        async with asyncio.timeout(SOON_S):
            await asyncio.get_running_loop().sock_recv(one.control, 1000)
        yield one
    finally:
        one.kill()
        one.control.close()
        one.data.close()


async def end(one: process.Process) -> int:
    async with asyncio.timeout(SOON_S):
        return await one.ended()


async def test_a_worker_whose_reader_thread_fails_says_why_and_has_an_exit_code_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with started(tmp_path) as one:
        one.data.sendall(b"\xff" * 8)
        assert await end(one) == frames.EXIT_FAILED
    told = capfd.readouterr().err
    assert "the worker's channel has failed" in told
    assert "Broken: a frame of" in told


async def test_a_worker_whose_daemon_is_gone_ends_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with started(tmp_path) as one:
        one.control.close()
        assert await end(one) == 0
    assert capfd.readouterr().err == ""
