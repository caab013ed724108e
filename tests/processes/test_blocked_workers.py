"""
A run that blocks its worker's event loop costs the others some seconds, no strike, and no step that is
executed twice at once.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.processes import conftest, daemon, story

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(300)]

BLOCKED_S = 1.0
WATCHED_S = 3.0
"""Long enough to be looked at before the worker is killed, at four times that."""
BLOCK = {"blocker": ({"seconds": 600}, "block start"), "regex": ({}, "backtrack start")}


async def asked(served: daemon.Daemon, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(served.url + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def place(told: story.Story, run: story.Stood) -> dict[str, Any]:
    found: dict[str, Any] = await asked(told.served, f"/threads/{run.thread_id}/runs/{run.run_id}/queue")
    return found


def rows(served: daemon.Daemon, columns: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(served.data_dir / "gatewayd.sqlite") as connection:
        return connection.execute(f"SELECT {columns} FROM runs").fetchall()


def pids(told: story.Story, run: story.Stood) -> list[int]:
    """Return the processes in which a run was executed, in their order."""
    return list(dict.fromkeys(mark.pid for mark in told.marks(run)))


async def beside(told: story.Story, done: Path, count: int) -> list[story.Stood]:
    """Begin runs whose synchronous node goes on until a file is there, and wait until they do."""
    runs = [await told.begin("ticker", how=str(done)) for _ in range(count)]
    for each in runs:
        await told.witnessed(each, "tick")
    return runs


async def test_the_runs_beside_a_blocker_go_on_elsewhere_and_none_is_executed_twice_at_once(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    served = await serve(workers=1, worker_blocked_s=WATCHED_S)
    told, done = tell(served), tmp_path / "done"
    bystanders = await beside(told, done, 3)
    blocker = await told.begin("blocker", seconds=600)
    await told.witnessed(blocker, "block start")
    (blocked,) = pids(told, blocker)
    new = await told.begin("steps", steps=2)

    found: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while found.get("reason") != "worker_blocked" or found["blocked_at"] == "?":
            found = await place(told, bystanders[0])
    assert re.fullmatch(rf"{conftest.PROJECT}/bad.py:\d+ in block", found["blocked_at"])
    metrics = (await asked(served, "/metrics?format=json"))["gatewayd"]["workers_blocked"]
    assert [each["blocked_at"] for each in metrics] == [found["blocked_at"]]
    assert (await told.ended(new))["status"] == "success", "a substitute takes what is new"
    assert blocked not in pids(told, new)

    for each in bystanders:
        await served.until(lambda each=each: len(pids(told, each)) > 1, "it goes on elsewhere")
        assert not told.twice_at_once(each)
    killed = await served.logged(
        r"worker run-1 \(pid (\d+)\) is killed with 4 runs.* blocked at (\S+) in block.* run (\S+) goes on alone"
    )
    assert (int(killed[1]), killed[3]) == (blocked, blocker.run_id)
    assert not daemon.running(blocked)
    await told.witnessed(blocker, "block start", 2)
    alone = pids(told, blocker)[1]
    assert alone not in {pid for each in [*bystanders, new] for pid in pids(told, each)}
    assert rows(served, "max(strikes), max(suspicions), sum(blocked)") == [(0, 0, 1)]

    done.touch()
    for each in bystanders:
        assert (await told.ended(each))["status"] == "success"
        assert not told.twice_at_once(each)
        assert story.attempts(await told.follow(each)) == [1, 2]
    await served.logged(r"worker quarantine-\S+ is blocked at")
    assert (await told.run(blocker))["status"] == "running", "it may block there"
    assert told.count(blocker, "block start") == 2
    await told.client.runs.cancel(blocker.thread_id, blocker.run_id, wait=True)
    assert (await told.run(blocker))["status"] == "interrupted"


async def test_if_c_code_holds_the_interpreter_each_run_of_the_worker_goes_on_alone(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    served = await serve(workers=1, worker_blocked_s=BLOCKED_S)
    told, done = tell(served), tmp_path / "done"
    (bystander,) = await beside(told, done, 1)
    blocker = await told.begin("regex")
    await told.witnessed(blocker, "backtrack start")
    (blocked,) = pids(told, blocker)
    await served.logged("each of them goes on alone")
    await told.witnessed(blocker, "backtrack start", 2)
    await served.until(lambda: len(pids(told, bystander)) > 1, "it goes on alone")
    assert len({blocked, pids(told, blocker)[1], pids(told, bystander)[1]}) == 3
    assert rows(served, "max(strikes), sum(blocked)") == [(0, 2)]
    done.touch()
    assert (await told.ended(bystander))["status"] == "success"
    assert not told.twice_at_once(bystander)
    assert (await told.run(blocker))["status"] == "running"


async def test_a_blocker_that_is_alone_in_its_process_is_left_there(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    served = await serve(workers=1, worker_blocked_s=BLOCKED_S)
    told = tell(served)
    blocker = await told.begin("blocker", seconds=6 * BLOCKED_S)
    await told.witnessed(blocker, "block start")
    new = await told.begin("steps", steps=2)
    assert (await told.ended(new))["status"] == "success"
    assert told.count(blocker, "block end") == 0
    assert (await told.ended(blocker))["status"] == "success"
    assert told.count(blocker, "block start") == 1
    assert pids(told, blocker) != pids(told, new)
    await served.logged(r"worker run-1 \(pid \d+\) has ended, retired: its event loop is blocked at")
    assert "is killed" not in served.log()
    assert len(served.workers("run-")) == 1


async def test_runs_beside_a_blocker_that_turns_again_in_time_stay_where_they_are(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    served = await serve(workers=1, worker_blocked_s=30)
    told, done = tell(served), tmp_path / "done"
    bystanders = await beside(told, done, 2)
    blocker = await told.begin("blocker", seconds=4)
    assert (await told.ended(blocker))["status"] == "success"
    done.touch()
    for each in bystanders:
        assert (await told.ended(each))["status"] == "success"
        assert len(pids(told, each)) == 1
    assert "retired" not in served.log()
