"""Daemons with real workers on the project of bad graphs, and clients to them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import client as sdk

from tests.processes import daemon, story

PROJECT = Path(__file__).parent / "project"

OWN_FAULT = re.compile(r"ERROR gatewayd\.(api|storage|streams|tasks|daemon)\b|never retrieved|never awaited")
"""What may stand in no log, whatever graphs and clients do."""

Serve = Callable[..., Awaitable[daemon.Daemon]]
Tell = Callable[[daemon.Daemon], story.Story]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """
    Start a daemon: `await serve(workers=2, drain_s=1)`, settings by their names; killed when the test is
    over.
    """
    served_here: list[daemon.Daemon] = []
    async with AsyncExitStack() as stack:

        async def start(
            project: Path = PROJECT,
            *,
            data_dir: str = "data",
            env: dict[str, str] | None = None,
            **settings: Any,
        ) -> daemon.Daemon:
            variables = {f"GATEWAYD_{name.upper()}": str(value) for name, value in settings.items()}
            made = daemon.Daemon(project, tmp_path / data_dir, {**variables, **(env or {})})
            served_here.append(made)
            served = await stack.enter_async_context(made)
            await served.start()
            for index in range(int(settings.get("workers", 1))):
                await served.logged(f"worker run-{index + 1} is ready")
            return served

        yield start
    for served in served_here:
        assert not OWN_FAULT.search(served.log()), served.log()


@pytest.fixture
async def tell(tmp_path: Path) -> AsyncIterator[Tell]:
    """Make a client of a daemon that also reads the witness file of the graphs it runs."""
    async with AsyncExitStack() as stack:

        def make(served: daemon.Daemon) -> story.Story:
            client = sdk.get_client(url=served.url, api_key=None)
            stack.push_async_callback(client.http.client.aclose)
            return story.Story(served, client, tmp_path / "witness")

        yield make
