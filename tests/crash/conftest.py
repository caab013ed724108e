"""Daemons that are killed, on the sample project."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.crash import served as subject
from tests.processes import daemon

SAMPLE = daemon.ROOT / "gatewayd" / "sample"

Make = Callable[..., subject.Served]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make a daemon that is not started yet; what is left of it is killed when the test is over."""
    async with AsyncExitStack() as stack:

        def make(project: Path = SAMPLE, **settings: object) -> subject.Served:
            variables = {f"GATEWAYD_{name.upper()}": str(value) for name, value in settings.items()}
            made = subject.Served(project, tmp_path / "data", variables)
            stack.push_async_exit(made)
            session = aiohttp.ClientSession(made.url, timeout=aiohttp.ClientTimeout(total=30))
            stack.push_async_exit(session)
            made.http = session
            return made

        yield make
