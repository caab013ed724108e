"""
What ``/ok?check_db=1`` says: 503 with reasons while no run is accepted or started, 200 with warnings for all
else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatewayd import health, loops
from gatewayd.errors import Unavailable
from gatewayd.storage.sqlite import boots
from gatewayd.storage.sqlite.engine import writing

FINE = {"ok": True, "services": {}}


async def look(server: Any, status: int = 200) -> Any:
    """Ask as a probe that comes a second after the one before."""
    server.services.health._looked_at = float("-inf")
    assert await server.json("GET", "/ok") == FINE  # the process is fine in any case
    answer = await server.json("GET", "/ok?check_db=1", status=status)
    if status == 503:
        assert answer["detail"] == "; ".join(reason["detail"] for reason in answer["reasons"])
    return answer


def failing(name: str, *, essential: bool, failures: int = 2) -> loops.Loop:
    loop = loops.Loop(name, essential)
    for _ in range(failures):
        loop.failed(RuntimeError("broken"))
    return loop


async def test_all_is_well(server: Any) -> None:
    assert await look(server) == FINE


async def test_an_essential_loop_that_keeps_failing_or_has_ended_is_a_reason_until_it_works(
    server: Any,
) -> None:
    loop = failing("services: claimer", essential=True)
    server.services.loops.append(loop)
    told = await look(server, 503)
    detail = "the loop 'services: claimer' is down: RuntimeError: broken"
    assert told["reasons"] == [{"check": "loops", "detail": detail}]
    loop.turned()
    assert await look(server) == FINE
    loop.died(None)
    told = await look(server, 503)
    assert told["reasons"][0]["detail"] == "the loop 'services: claimer' is down: it has ended"


@pytest.mark.parametrize(("essential", "failures"), [(False, 9), (True, 1)])
async def test_another_loop_or_a_single_error_is_a_warning(
    server: Any, essential: bool, failures: int
) -> None:
    server.services.loops.append(failing("sweeper", essential=essential, failures=failures))
    told = await look(server)
    assert told == {**FINE, "warnings": [{"check": "loops", "detail": told["warnings"][0]["detail"]}]}


async def test_a_foreign_lock_is_a_reason_while_it_lasts_and_requests_are_told_to_come_again(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LOCK_PATIENCE_S", 0.0)
    monkeypatch.setattr(writing, "LOCK_GLANCE_S", 0.0)
    foreign = sqlite3.connect(server.services.storage.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    told = await look(server, 503)
    assert told["reasons"][0]["check"] == "storage"
    assert "another process holds the lock of the database" in told["detail"]
    async with server.client.post("/threads", data="{}") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert "another process holds the lock" in (await answer.json())["detail"]
    server.services.storage.writer.locked_since -= 60
    told = await look(server, 503)
    assert [reason["check"] for reason in told["reasons"]] == ["lock"]
    assert "has held the lock of the database for 6" in told["detail"]
    await server.json("POST", "/threads/search", {})  # reads are served
    foreign.execute("ROLLBACK")
    foreign.close()
    await server.thread()
    assert await look(server) == FINE


async def test_a_disk_that_is_full_or_read_only_is_a_reason(server: Any) -> None:
    connection = server.services.storage.writer.connection
    connection.execute("PRAGMA query_only = ON")
    told = await look(server, 503)
    assert told["reasons"][0]["check"] == "storage"
    assert "attempt to write a readonly database" in told["detail"]
    async with server.client.post("/threads", data="{}") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    connection.execute("PRAGMA query_only = OFF")
    assert await look(server) == FINE

    server.services.storage.quota.max_db_size = 1
    told = await look(server, 503)
    assert told["reasons"][0]["check"] == "room"
    assert "max_db_size" in told["detail"]


@pytest.mark.parametrize("error", [OSError("I/O error"), Unavailable("the disk is asleep")])
async def test_a_write_that_fails_or_never_comes_back_is_a_reason(
    server: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(_: sqlite3.Connection) -> None:
        raise error

    monkeypatch.setattr(boots, "trial_write", failing)
    told = await look(server, 503)
    assert str(error) in told["detail"]
    monkeypatch.setattr(health, "TRIAL_S", 0.0)
    told = await look(server, 503)
    assert "nothing could be stored within 0 s" in told["detail"]


def gone(path: Path) -> str:
    path.unlink()
    return f"{path} is gone"


def replaced(path: Path) -> str:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)
    return f"{path} was replaced by another file"


@pytest.mark.parametrize("change", [gone, replaced])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_a_file_of_the_database_that_is_gone_or_replaced_is_a_reason(
    server: Any, change: Callable[[Path], str], suffix: str
) -> None:
    path = Path(f"{server.services.storage.path}{suffix}")
    kept = os.open(path, os.O_RDONLY)  # its inode is not given to another file
    said = change(path)
    told = await look(server, 503)
    assert told["reasons"][0]["check"] == "files"
    assert told["detail"].startswith(said)
    os.close(kept)


async def test_no_worker_for_half_a_minute_is_a_reason_a_blocked_one_beside_others_a_warning(
    server: Any,
) -> None:
    server.workers.processes.append(SimpleNamespace(name="run-1", place="graph.py:7", blocked_since=0.0))
    told = await look(server)
    assert told["warnings"][0]["check"] == "workers"
    assert told["warnings"][0]["detail"].startswith("worker run-1 has been blocked at graph.py:7 for ")
    server.workers.idle_s = 29.0
    await look(server)
    server.workers.idle_s = 31.0
    told = await look(server, 503)
    assert told["detail"] == "no worker has been taking runs for 31 s"
    assert len(told["warnings"]) == 1


async def test_webhooks_that_could_not_be_delivered_are_a_warning(server: Any) -> None:
    thread_id = await server.thread()
    await server.completed(thread_id, webhook="http://127.0.0.1:9/nobody")
    await server.services.storage.writer.submit(
        lambda connection: connection.execute("UPDATE webhooks SET state = 'dead', due_at = NULL") and None
    )
    server.services.health.now = lambda: 0
    told = await look(server)
    assert told["warnings"] == [
        {"check": "webhooks", "detail": "1 webhooks of the last 24 hours could not be delivered"}
    ]


async def test_many_who_ask_at_once_or_within_a_second_cost_one_look(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    trial = boots.trial_write

    def counting(connection: sqlite3.Connection) -> None:
        nonlocal looks
        looks += 1
        trial(connection)

    monkeypatch.setattr(boots, "trial_write", counting)
    monkeypatch.setattr(health, "KEPT_S", 3600.0)
    await asyncio.gather(*(server.json("GET", "/ok?check_db=1") for _ in range(20)))
    await server.json("GET", "/ok?check_db=1")
    assert looks == 1
    monkeypatch.setattr(health, "KEPT_S", 0.0)
    await server.json("GET", "/ok?check_db=1")
    assert looks == 2


async def test_a_damaged_database_is_told_everywhere_and_what_can_be_read_is_served(server: Any) -> None:
    thread_id = await server.thread()
    path = server.services.storage.path
    other = sqlite3.connect(path, isolation_level=None)
    while other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        pass  # the server's own threads may be at it
    (root,) = other.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'crons_by_creation'").fetchone()
    other.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)

    answer = await server.json("POST", "/runs/crons/search", {}, status=503)
    assert "Nothing more is written to it: restore db from a backup" in answer["detail"]
    for path, body in (("/threads", {}), (f"/threads/{thread_id}/runs", {"assistant_id": "chat"})):
        answer = await server.json("POST", path, body, status=503)
        assert "Nothing more is written to it" in answer["detail"]
    assert (await server.json("GET", f"/threads/{thread_id}"))["thread_id"] == thread_id
    assert len(await server.json("POST", "/threads/search", {})) == 1
    told = await look(server, 503)
    assert [reason["check"] for reason in told["reasons"]] == ["integrity"]
    async with server.client.get("/metrics") as metrics:
        assert "gatewayd_database_damaged 1.0" in await metrics.text()


async def test_a_run_that_executes_when_the_damage_is_seen_is_left_to_the_next_start(server: Any) -> None:
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    server.services.storage.writer.damage.found = "it is damaged"
    n = server.worker.emit(run_id, "values", {})
    await server.worker.committed(run_id, n)  # refused
    server.worker.end(run_id, "error", error={"error": "E", "message": "refused"})
    async with asyncio.timeout(60):
        await server.services.runs.in_flight.empty(60)
    assert (await server.json("GET", f"/threads/{thread_id}/runs/{run_id}"))["status"] == "running"
