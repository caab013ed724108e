"""A daemon with crash points, asked over HTTP for what the tests want to know of it."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp

from tests.processes import daemon

LAUNCHER = Path(__file__).with_name("launcher.py")


class Served(daemon.Daemon):
    """A `Daemon` whose boots can be given a crash point."""

    http: aiohttp.ClientSession

    async def start(
        self,
        until: str = "serving",
        timeout_s: float = 90.0,
        *,
        crash_at: str | None = None,
        crash_when: Path | None = None,
    ) -> None:
        """Start it; `crash_at` and `crash_when` are as `launcher.py` knows them, for this boot only."""
        self.launcher = list(daemon.SERVE) if crash_at is None else [str(LAUNCHER)]
        for name, value in (("CRASH_AT", crash_at), ("CRASH_WHEN", crash_when)):
            self.environment.pop(name, None)
            if value is not None:
                self.environment[name] = str(value)
        await super().start(until, timeout_s)

    async def crashed(self, timeout_s: float = 90.0) -> None:
        """Wait until it has been killed."""
        assert await self.wait(timeout_s) == -9, self.log("last")

    async def get(self, path: str) -> Any:
        """Return the JSON of a GET that succeeds."""
        async with self.http.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the JSON of a POST that succeeds."""
        async with self.http.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def thread(self) -> str:
        """Create a thread and return its id."""
        created: str = (await self.post("/threads", {}))["thread_id"]
        return created

    async def walk_is_done(self, thread_id: str, run_id: str, steps: int) -> None:
        """Assert that a walk has ended well and left its thread as an undisturbed one does."""
        run = await self.get(f"/threads/{thread_id}/runs/{run_id}")
        assert run["status"] == "success"
        thread = await self.get(f"/threads/{thread_id}")
        assert thread["status"] == "idle"
        assert thread["values"]["path"] == list(range(1, steps + 1))
        state = await self.get(f"/threads/{thread_id}/state")
        assert state["values"]["path"] == list(range(1, steps + 1))
        assert state["next"] == []

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds in the database, read beside the daemon."""
        connection = sqlite3.connect(f"file:{self.data_dir / 'gatewayd.sqlite'}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


def kill(pid: int) -> None:
    """SIGKILL, if the process is still there."""
    send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Send a signal, if the process is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
