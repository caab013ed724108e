"""A rollback leaves the thread as if the run had never been: rows, state and open questions, byte by byte."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayd import datadir, ids
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import Run, RunRequest
from gatewayd.storage.sqlite import runs
from gatewayd.storage.sqlite.engine import database
from tests.engine import inprocess
from tests.engine.test_prefix import KINDS, PROJECT


def rows(data_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that the threads' states consist of."""
    connection = sqlite3.connect(data_dir / datadir.DATABASE)
    try:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in ("checkpoints", "writes", "thread_locks")
        }
    finally:
        connection.close()


def cancelled(data_dir: Path, run: Run) -> None:
    """Store the rollback, as if it had been the last thing before the machine died."""
    connection = database.connect(data_dir / datadir.DATABASE)
    try:
        assert runs.run_cancel_if_active(
            connection, run.run_id, "rollback", {"error": "E", "message": "m"}, 1
        )
    finally:
        connection.close()


async def seen(daemon: inprocess.Daemon, thread_id: str, graph: str) -> tuple[Any, ...]:
    thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
    return (
        thread.values or b"{}",
        thread.interrupts or {},
        thread.status,
        await daemon.state(thread_id, graph),
    )


async def abandoned(daemon: inprocess.Daemon, request: RunRequest, fatal: Callable[..., bool]) -> Run:
    """Begin a run and have the machine die at the operation that is `fatal`."""
    daemon.writer.crash_when(fatal)
    run = (await daemon.create(request)).run
    await daemon.writer.crashed.wait()
    daemon.abandon()
    return run


def at_its_end(function: Callable[..., Any], _: tuple[Any, ...]) -> bool:
    return function is runs.run_finish_if_active


def after(count: int) -> Callable[..., bool]:
    """Return what is true from a run's operation `count` on, or at its end."""
    taken = 0

    def fatal(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        nonlocal taken
        taken += function is runs.run_checkpoint_apply
        return at_its_end(function, args) or taken > count

    return fatal


@pytest.mark.parametrize("cut", [1, 3, None], ids=["early", "later", "at its end"])
@pytest.mark.parametrize("name", KINDS)
async def test_a_rolled_back_run_has_never_been(tmp_path: Path, name: str, cut: int | None) -> None:
    thread_id = ids.new_id()
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        await daemon.services.storage.thread_create(INTERNAL, thread_id, {}, do_nothing=True, now=1)
        request = await KINDS[name](daemon, thread_id)
        before = await seen(daemon, thread_id, request.assistant)
        stored = rows(tmp_path)
        run = await abandoned(daemon, request, at_its_end if cut is None else after(cut))
    cancelled(tmp_path, run)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        async with asyncio.timeout(20):
            await daemon.services.runs.over(INTERNAL, thread_id, run.run_id)
        assert rows(tmp_path) == stored
        assert await seen(daemon, thread_id, request.assistant) == before
        assert await daemon.services.storage.run_get(INTERNAL, thread_id, run.run_id) is None
