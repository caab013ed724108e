"""A daemon with few descriptors and many connections that send half a head: runs and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

from langgraph_sdk import client as sdk

from tests.processes import daemon

PROJECT = Path(__file__).parent / "project"

HARD = 300
"""Open files that the daemon may have."""
MANY = 250
"""Connections; with the reserve they are too many."""
LAUNCHER = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {HARD}))
sys.argv[0] = "gatewayd"
sys.argv.insert(1, "serve")
runpy.run_module("gatewayd", run_name="__main__")
"""


async def half_sent(served: daemon.Daemon) -> socket.socket:
    """Open a connection and send half a head."""
    made = socket.socket()
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, ("127.0.0.1", served.port))
    with contextlib.suppress(ConnectionError):  # it may have been refused already
        await loop.sock_sendall(made, b"GET /ok HT")
    return made


async def answer(made: socket.socket) -> bytes:
    """Return all that comes until the end."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.get_running_loop().sock_recv(made, 65536):
            got += data
    return got


async def test_half_sent_requests_take_neither_the_descriptors_nor_the_places_of_others(
    tmp_path: Path,
) -> None:
    environment = {"GATEWAYD_RECEIVE_TIMEOUT_S": "3"}
    launcher = ("-c", LAUNCHER)
    async with (
        daemon.Daemon(PROJECT, tmp_path / "data", environment, launcher=launcher) as served,
        contextlib.AsyncExitStack() as stack,
        asyncio.timeout(120),
    ):
        await served.start()
        client = sdk.get_client(url=served.url, api_key=None)
        stack.push_async_callback(client.http.client.aclose)
        thread = await client.threads.create()
        connections = [stack.enter_context(contextlib.closing(await half_sent(served))) for _ in range(MANY)]
        assert await client.runs.wait(
            thread["thread_id"], "steps", input={"witness": str(tmp_path / "witness")}
        )
        answers = await asyncio.gather(*map(answer, connections))
        kinds = {each.split(b" ", 2)[1] if each else b"" for each in answers}
        assert b"408" in kinds
        assert b"503" in kinds
        log = served.log()
        assert "connections instead of 10000" in log
        assert log.count("connections or requests; the last was of") == 1
        assert "Too many open files" not in log
