"""
Every task and thread that is meant to live as long as the daemon goes on after an error, and health sees one
that doesn't.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, loops
from gatewayd.storage.sqlite.engine import syncing, wal, writing
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"

TASKS = {
    "services: claimer",
    "services: sweeper",
    "services: webhooks",
    "services: expiry of threads",
    "services: ticker",
    "supervisor: keep service",
    "supervisor: keep run-1",
    "supervisor: pinger",
    "supervisor: watch memory",
}
THREADS: dict[str, tuple[type, str]] = {
    "writer": (writing.Writer, "_run"),
    "sync": (syncing.Syncer, "_confirm"),
    "write-ahead log": (wal.Trimmer, "_copy"),
}
"""By loop: the method of its body that is made to fail."""
ESSENTIAL = {
    "services: claimer",
    "services: ticker",
    "supervisor: keep service",
    "supervisor: keep run-1",
    "writer",
    "sync",
}
OTHER_TASKS = ("supervisor: watch ", "Task-")
"""Of each worker process, which end with it; and those of the test."""
OTHER_THREADS = (
    "MainThread",
    "node_",
    "worker ",
    "channel ",
    "asyncio_",
    "scanner",
    "Thread-",
    "embeddings",
    "pytest",
)
"""
Those of aiosqlite and of pools, which pass on what goes wrong in them to whoever has asked; and those of
workers.
"""


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The names of loops that have failed, with the error; they go on at once."""
    noted: list[tuple[str, str]] = []
    failed = loops.Loop.failed

    def noting(loop: loops.Loop, error: BaseException) -> float:
        pause_s = failed(loop, error)
        assert loop.down
        noted.append((loop.name, loop.error))
        return min(pause_s, 0.01)

    monkeypatch.setattr(loops.Loop, "failed", noting)
    return noted


async def until(happened: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110  what a thread does tells no event of this loop
            await asyncio.sleep(0.01)


async def finishes(daemon: inprocess.Daemon) -> None:
    run = inprocess.request("steps", thread_id=ids.new_id(), input={"word": "a", "path": []})
    async with asyncio.timeout(60):
        assert (await daemon.finish(run)).status == "success"


async def test_whatever_lives_as_long_as_the_daemon_is_a_loop(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # of clients that other tests have left to the garbage collector
    async with inprocess.opened(tmp_path, PROJECT, worker_memory=1 << 40) as daemon:
        await finishes(daemon)
        known = daemon.services.loops
        await until(lambda: {loop.name for loop in known} == TASKS | set(THREADS))
        assert {loop.name for loop in known if loop.essential} == ESSENTIAL
        alive = {task.get_name() for task in asyncio.all_tasks()}
        assert {name for name in alive if name in TASKS or not name.startswith(OTHER_TASKS)} == TASKS
        running = {thread.name for thread in threading.enumerate() if thread not in before}
        assert {name for name in running if not name.startswith(OTHER_THREADS)} == set(THREADS)
    assert [loop.name for loop in known if loop.dead] == []


@pytest.mark.parametrize("name", sorted(TASKS))
async def test_a_task_goes_on_after_an_error(
    name: str, tmp_path: Path, failures: list[tuple[str, str]]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT, worker_memory=1 << 40) as daemon:
        await finishes(daemon)
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
        await until(lambda: _waiter(task))
        waiter = _waiter(task)
        assert waiter is not None
        waiter.set_exception(RuntimeError("what nobody thought of"))
        await until(lambda: failures == [(name, "RuntimeError: what nobody thought of")])
        await finishes(daemon)
        # Some do their work by the clock, hours apart: it is enough that they are back at waiting for it.
        await until(lambda: _waiter(task) not in {None, waiter})
        assert not task.done()


def _waiter(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """Return the plain future that a task waits for at the moment, if it is one and nothing has come yet."""
    waiter = task._fut_waiter  # type: ignore[attr-defined]
    plain = type(waiter) is type(asyncio.get_running_loop().create_future())
    return waiter if plain and not waiter.done() else None


@pytest.mark.parametrize("name", sorted(THREADS))
async def test_a_thread_goes_on_after_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: list[tuple[str, str]]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        await finishes(daemon)
        (loop,) = (loop for loop in daemon.services.loops if loop.name == name)
        owner, method = THREADS[name]
        real, broken = getattr(owner, method), True

        def failing(*args: Any, **how: Any) -> Any:
            if broken:
                raise RuntimeError("what nobody thought of")
            return real(*args, **how)

        monkeypatch.setattr(owner, method, failing)
        daemon.writer.post(lambda _: None, on_stored=lambda _: None, on_error=lambda _: None, promise=True)
        await until(lambda: (name, "RuntimeError: what nobody thought of") in failures)
        assert loop.down
        broken = False
        await finishes(daemon)
        await until(lambda: not loop.down)
