"""
Threads whose time is over, with real graphs: deleted, or cut to their latest states, unless somebody works on
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.errors import Unavailable
from gatewayd.maintenance import expiry
from gatewayd.model.caller import INTERNAL
from gatewayd.model.retention import Retention
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
HOUR = 3_600_000_000_000


async def walked(daemon: inprocess.Daemon, graph: str = "steps") -> str:
    """Return a thread on which the graph has run as far as it goes."""
    thread_id = ids.new_id()
    request = inprocess.request(graph, thread_id=thread_id, input={"word": "w", "path": []})
    assert (await daemon.finish(request)).status == "success"
    return thread_id


def expiring(daemon: inprocess.Daemon) -> expiry.Expiry:
    services = daemon.services
    return expiry.Expiry(storage=services.storage, changes=services.changes, rules=Retention)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that puts the clock forward by hours."""

    def put_forward(hours: int) -> None:
        now = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: now() + hours * HOUR)

    return put_forward


async def rows(daemon: inprocess.Daemon, table: str, thread_id: str) -> int:
    def count(connection: Any) -> int:
        return int(
            connection.execute(f"SELECT count(*) FROM {table} WHERE thread_id = ?", (thread_id,)).fetchone()[
                0
            ]
        )

    return await daemon.writer.submit(count)


async def history(daemon: inprocess.Daemon, thread_id: str) -> list[dict[str, Any]]:
    return wire.loads(await daemon.services.threads.history(INTERNAL, thread_id, limit=100))


async def test_threads_are_deleted_or_cut_to_their_latest_states_when_their_time_is_over(
    tmp_path: Path, later: Callable[[int], None]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        storage = daemon.services.storage
        doomed, cut, kept = [await walked(daemon) for _ in range(3)]
        await storage.thread_ttl_set(doomed, "delete", 60)
        await storage.thread_ttl_set(cut, "keep_latest", 60)
        before = await history(daemon, cut)
        assert len(before) > 3
        assert await expiring(daemon).sweep(100) == 0
        later(2)
        assert await expiring(daemon).sweep(100) == 2
        remaining = await storage.threads_search(INTERNAL, search())
        assert {thread.thread_id for thread in remaining.threads} == {cut, kept}
        (latest,) = await history(daemon, cut)
        assert latest["values"] == before[0]["values"]
        assert latest["checkpoint"] == before[0]["checkpoint"]
        assert len(await history(daemon, kept)) == len(before)
        assert await expiring(daemon).sweep(100) == 0


def search() -> Any:
    from gatewayd.storage import store

    return store.ThreadSearch(metadata={}, values={})


async def test_a_cut_thread_goes_on_and_is_cut_again_after_its_next_activity(
    tmp_path: Path, later: Callable[[int], None]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon)
        await daemon.services.storage.thread_ttl_set(thread_id, "keep_latest", 60)
        later(2)
        assert await expiring(daemon).sweep(100) == 1
        later(2)
        assert await expiring(daemon).sweep(100) == 0
        request = inprocess.request("steps", thread_id=thread_id, input={"word": "v", "path": []})
        assert (await daemon.finish(request)).status == "success"
        assert len(await history(daemon, thread_id)) > 3
        later(2)
        assert await expiring(daemon).sweep(100) == 1
        assert len(await history(daemon, thread_id)) == 1


async def test_a_thread_that_waits_for_an_answer_can_still_be_answered_after_it_was_cut(
    tmp_path: Path, later: Callable[[int], None]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "two_questions")
        await daemon.services.storage.thread_ttl_set(thread_id, "keep_latest", 60)
        later(2)
        assert await expiring(daemon).sweep(100) == 1
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "interrupted"
        request = inprocess.request("two_questions", thread_id=thread_id, command={"resume": "one"})
        assert (await daemon.finish(request)).status == "success"


async def test_no_more_threads_are_dealt_with_in_a_sweep_than_its_limit(
    tmp_path: Path, later: Callable[[int], None]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        storage = daemon.services.storage
        made = [await daemon.services.threads.create(INTERNAL, None, {}, do_nothing=False) for _ in range(5)]
        for thread in made:
            await storage.thread_ttl_set(thread.thread_id, "delete", 1)
        later(1)
        assert [await expiring(daemon).sweep(2) for _ in range(4)] == [2, 2, 1, 0]


async def test_while_the_service_worker_is_away_nothing_is_lost_and_the_next_sweep_does_it(
    tmp_path: Path, monkeypatch: Any, later: Callable[[int], None]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon)
        await daemon.services.storage.thread_ttl_set(thread_id, "keep_latest", 60)
        later(2)
        before = await rows(daemon, "checkpoints", thread_id)

        async def away(*_: Any) -> Any:
            raise Unavailable("no service worker")

        with monkeypatch.context() as context:
            context.setattr(type(daemon.services.workers), "call", away)
            try:
                await expiring(daemon).sweep(100)
            except Unavailable:
                pass
        assert await rows(daemon, "checkpoints", thread_id) == before
        assert await rows(daemon, "thread_locks", thread_id) == 0
        assert await expiring(daemon).sweep(100) == 1


async def test_the_project_s_default_reaches_new_threads_and_a_reload_changes_it(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, thread_ttl_s=3600.0) as daemon:
        thread_id = await walked(daemon)
        shown = await daemon.services.storage.thread_ttl_get(INTERNAL, thread_id)
        assert shown is not None
        assert (shown.strategy, shown.ttl_minutes) == ("delete", 60.0)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        assert await daemon.services.storage.thread_ttl_get(INTERNAL, await walked(daemon)) is None
        shown = await daemon.services.storage.thread_ttl_get(INTERNAL, thread_id)
        assert shown is not None
        assert shown.ttl_minutes == 60.0
