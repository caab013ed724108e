"""A disk that fills while everything is at work: what was acknowledged stays, what is refused says so, and it
passes.

The disk is SQLite's own limit of pages (the same error as from the file system), so that it can be as full as
a test wants. What is beside the database file (its log, the disk itself) is tried with a real file system in
tests/processes.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import InsufficientStorage
from gatewayd.model.caller import INTERNAL
from gatewayd.storage import pages
from gatewayd.storage.sqlite import invariants
from gatewayd.storage.sqlite.engine import failures
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
LARGE = random.Random(1).randbytes(150_000).hex()
"""Compression makes half of it."""
PAGE = 4096


async def limit(daemon: inprocess.Daemon, pages: int | None) -> None:
    """Leave so many free pages on the disk, or no limit."""

    def set_limit(connection: sqlite3.Connection) -> None:
        (used,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        most = (1 << 31) if pages is None else used - free + pages
        connection.execute(f"PRAGMA max_page_count = {most}")

    await daemon.writer.submit(set_limit)


async def until(daemon: inprocess.Daemon, happened: Callable[[], bool]) -> None:
    """Wait until something holds that follows from what the writer does."""
    settled = asyncio.Event()
    daemon.writer.on_settled(settled.set)
    while not happened():
        settled.clear()
        await asyncio.wait_for(settled.wait(), 20)


def request(thread_id: str, word: str = LARGE) -> Any:
    return inprocess.request("steps", thread_id=thread_id, input={"word": word, "path": []})


async def sound(daemon: inprocess.Daemon) -> None:
    def check(connection: sqlite3.Connection) -> None:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert invariants.invariants_check(connection, True) == []

    await daemon.writer.submit(check)


async def test_a_run_for_which_the_disk_is_full_ends_by_that_when_there_is_room_and_the_next_one_succeeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        before, thread_id = ids.new_id(), ids.new_id()
        assert (await daemon.finish(request(before, "small"))).status == "success"
        kept = await daemon.state(before, "steps")
        await daemon.finish(request(thread_id, "small"))
        await limit(daemon, 120)  # enough for the input and not for the states of it
        admission = await daemon.create(request(thread_id))
        assert admission.ended is not None
        await until(daemon, lambda: "full" in caplog.text)  # its end may fit in
        await limit(daemon, None)
        ended = await admission.ended
        assert ended.status == "error"
        assert ended.error is not None
        assert "full" in ended.error["message"]
        assert (await daemon.services.storage.thread_get(INTERNAL, thread_id)).status == "error"
        assert (await daemon.finish(request(thread_id))).status == "success"
        assert await daemon.state(before, "steps") == kept
        await sound(daemon)


async def test_runs_beside_each_other_on_a_full_disk_all_end_and_those_that_fail_say_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        threads = [ids.new_id() for _ in range(4)]
        for thread_id in threads:
            await daemon.finish(request(thread_id, "small"))
        await limit(daemon, 120)
        large = await daemon.create(request(threads[0]))
        small = [await daemon.create(request(thread_id, "s")) for thread_id in threads[1:]]
        await until(daemon, lambda: "full" in caplog.text or (large.ended is not None and large.ended.done()))
        await limit(daemon, None)
        ends = [await each.ended for each in (large, *small) if each.ended is not None]
        # How full the disk is when each of them comes to it is not ours to say; none hangs, and what fails
        # says why.
        assert len(ends) == 4
        assert all(end.status == "success" or "full" in str(end.error) for end in ends)
        await sound(daemon)


async def test_what_is_asked_for_on_a_full_disk_is_refused_and_stores_nothing(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(request(thread_id, "small"))
        await limit(daemon, 2)
        services = daemon.services
        asked: list[Callable[[], Any]] = [
            lambda: daemon.create(request(thread_id)),
            lambda: services.runs.create_all(INTERNAL, [request(ids.new_id(), "s"), request(ids.new_id())]),
            lambda: services.threads.create(INTERNAL, None, {"large": LARGE}, do_nothing=False),
            lambda: services.changes.update_state(
                INTERNAL, thread_id, values={"word": LARGE}, as_node=None, place={}
            ),
        ]
        for ask in asked:
            with pytest.raises(InsufficientStorage, match="full"):
                await ask()
        await limit(daemon, None)
        state = await daemon.state(thread_id, "steps")
        assert state["values"]["word"] == "small"
        assert (await daemon.finish(request(thread_id))).status == "success"
        await sound(daemon)


async def test_deleting_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        large, thread_id = ids.new_id(), ids.new_id()
        await daemon.finish(request(large))
        await daemon.finish(request(thread_id, "small"))
        await limit(daemon, 1)
        with pytest.raises(failures.FullDisk):
            await daemon.create(request(thread_id))
        await daemon.services.runs.delete_thread(INTERNAL, large)
        assert await daemon.services.sweeper.sweep(0) == 1
        assert (await daemon.finish(request(thread_id, "y" * 1000))).status == "success"
        await sound(daemon)


async def test_at_its_limit_the_database_takes_nothing_new_lets_runs_end_and_recovers_by_deleting(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        services = daemon.services
        room = services.storage.quota
        large, thread_id = ids.new_id(), ids.new_id()
        await daemon.finish(request(large))
        under_way = await daemon.create(request(thread_id))
        room.max_db_size = services.storage.space.used
        assert under_way.ended is not None
        assert (await under_way.ended).status == "success"
        asked: list[Callable[[], Any]] = [
            lambda: daemon.create(request(thread_id, "s")),
            lambda: services.runs.create_all(INTERNAL, [request(thread_id, "s")]),
            lambda: services.threads.create(INTERNAL, None, {}, do_nothing=False),
            lambda: services.changes.copy(INTERNAL, thread_id),
        ]
        for ask in asked:
            with pytest.raises(InsufficientStorage, match="max_db_size"):
                await ask()
        await services.runs.delete_thread(INTERNAL, large)
        await services.sweeper.sweep(0)
        assert room.store is not None
        room.max_db_size = services.storage.space.used + pages.of_file(room.store).used + 20 * PAGE
        assert (await daemon.finish(request(thread_id, "s"))).status == "success"


async def test_the_reserve_on_the_disk_is_kept_by_refusing_what_is_new(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, min_free_disk=1000) as daemon:
        room = daemon.services.storage.quota
        free = [999]
        room.free = lambda _: free[0]
        room._looked_at = -1.0
        with pytest.raises(InsufficientStorage, match="min_free_disk"):
            await daemon.create(request(ids.new_id(), "s"))
        free[0] = 1000
        room._looked_at = -1.0
        assert (await daemon.finish(request(ids.new_id(), "s"))).status == "success"


async def test_free_pages_go_back_to_the_file_system_in_steps(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        large = ids.new_id()
        for _ in range(5):
            await daemon.finish(request(large))
        storage = daemon.services.storage
        await daemon.services.runs.delete_thread(INTERNAL, large)
        await daemon.services.sweeper.sweep(0)
        before = storage.space
        assert before.free > 100 * PAGE
        keep = 50 * PAGE
        assert await daemon.services.sweeper.vacuum(keep) > 1
        assert storage.space.free <= keep
        assert storage.space.pages < before.pages
        assert storage.space.used <= before.used
        assert await daemon.services.sweeper.vacuum(keep) == 0
        await sound(daemon)
