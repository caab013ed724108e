"""
Another program holds the lock of a serving daemon's database for longer than anybody waits: nothing is lost
by it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import httpx

from tests.processes import daemon

PROJECT = Path(__file__).parents[1] / "engine" / "project"
BODY = {"assistant_id": "steps", "input": {"word": "a", "path": []}}


async def test_what_is_due_starts_when_a_long_foreign_lock_is_gone(tmp_path: Path) -> None:
    async with daemon.Daemon(PROJECT, tmp_path / "data") as served:
        await served.start()
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
            thread_id = (await client.post("/threads", json={})).json()["thread_id"]
            delayed = await client.post(f"/threads/{thread_id}/runs", json={**BODY, "after_seconds": 1})
            cron = await client.post("/runs/crons", json={**BODY, "schedule": "* * * * * *"})
            assert (delayed.status_code, cron.status_code) == (200, 200)

            foreign = sqlite3.connect(tmp_path / "data" / "gatewayd.sqlite", isolation_level=None)
            foreign.execute("PRAGMA busy_timeout = 60000")
            foreign.execute("BEGIN IMMEDIATE")
            await served.logged("the loop 'services: claimer' failed: another process holds the lock")
            await served.logged("cron .* could not be fired, it is tried again")
            begun = time.monotonic()
            for _ in range(10):
                refused = await client.post("/threads", json={})
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert time.monotonic() - begun < 25  # at five seconds each they would take fifty
            assert (await client.post("/threads/search", json={})).status_code == 200
            probe = await client.get("/ok", params={"check_db": 1})
            assert probe.status_code == 503
            assert "lock" in {reason["check"] for reason in probe.json()["reasons"]}
            assert (await client.get("/ok")).status_code == 200

            foreign.execute("ROLLBACK")
            foreign.close()
            await client.get(f"/threads/{thread_id}/runs/{delayed.json()['run_id']}/join")
            run = await client.get(f"/threads/{thread_id}/runs/{delayed.json()['run_id']}")
            assert run.json()["status"] == "success"
            await served.logged("cron .* fired: run")
            async with asyncio.timeout(60):
                while (await client.get("/ok", params={"check_db": 1})).is_error:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        assert await served.stop() == 0
