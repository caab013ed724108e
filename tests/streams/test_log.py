"""The numbers of a thread's log: none twice, none back, and where they stand is known or read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd.model import event
from gatewayd.storage import store
from gatewayd.streams import log


def clock(bench: Any, *moments: int) -> None:
    left = list(moments)
    bench.log.now_ms = lambda: left.pop(0)


def numbers(bench: Any, thread_id: str, count: int = 1) -> tuple[int, int]:
    chunk = bench.log.number(thread_id, "run", count, b"")
    return chunk.first_seq, chunk.last_seq


async def test_numbers_begin_with_one_and_follow_without_gaps_over_all_producers(bench: Any) -> None:
    await bench.log.open("a")
    await bench.log.open("a")
    await bench.log.open("b")
    assert [numbers(bench, "a", count) for count in (1, 5, 2)] == [(1, 1), (2, 6), (7, 8)]
    assert numbers(bench, "b") == (1, 1)
    bench.log.close("a")
    assert numbers(bench, "a") == (9, 9)


async def test_time_never_falls_within_a_thread(bench: Any) -> None:
    await bench.log.open("a")
    clock(bench, 1000, 900, 1001, 5)
    assert [bench.log.number("a", "run", 1, b"").time_ms for _ in range(4)] == [1000, 1000, 1001, 1001]


async def test_time_does_not_fall_below_what_is_stored_either(bench: Any) -> None:
    clock(bench, 5000)
    await bench.store()
    fresh = log.Log(bench.storage, bench.hub, now_ms=lambda: 7)
    await fresh.open("thread")
    chunk = fresh.number("thread", "run", 1, b"")
    assert (chunk.first_seq, chunk.time_ms) == (2, 5000)


async def test_an_opened_log_goes_on_behind_what_is_stored_and_after_a_crash_much_higher(bench: Any) -> None:
    await bench.store(records=7)
    for jump, first in ((False, 8), (True, 8 + store.SEQUENCE_JUMP)):
        fresh = log.Log(bench.storage, bench.hub)
        await fresh.open("thread", jump=jump)
        assert fresh.number("thread", "run", 1, b"").first_seq == first


async def test_of_two_that_open_a_log_at_once_both_count_with_one_counter(bench: Any) -> None:
    await bench.store(records=3)
    fresh = log.Log(bench.storage, bench.hub)
    await asyncio.gather(*(fresh.open("thread") for _ in range(5)))
    assert [fresh.number("thread", "run", 1, b"").first_seq for _ in range(3)] == [4, 5, 6]
    for _ in range(4):
        fresh.close("thread")
    assert fresh.number("thread", "run", 1, b"").first_seq == 7


async def test_a_counter_that_moved_while_another_producer_was_still_reading_is_not_put_back(
    bench: Any, monkeypatch: Any
) -> None:
    read, go = asyncio.Event(), asyncio.Event()
    last = bench.storage.events_last

    async def slow(thread_id: str) -> Any:
        found = await last(thread_id)
        read.set()
        await go.wait()
        return found

    monkeypatch.setattr(log.store.Storage, "events_last", lambda self, thread_id: slow(thread_id))
    opening = asyncio.ensure_future(bench.log.open("thread"))
    await read.wait()  # it has read: no events
    assert bench.log.open_now("thread", empty=True)
    assert numbers(bench, "thread", 5) == (1, 5)
    bench.log.close("thread")
    go.set()
    await opening
    assert numbers(bench, "thread") == (6, 6)


async def test_without_a_read_a_log_is_opened_only_if_its_counter_is_known_or_it_is_empty(bench: Any) -> None:
    await bench.store(records=3)
    fresh = log.Log(bench.storage, bench.hub)
    assert not fresh.open_now("thread")
    assert fresh.open_now("other", empty=True)
    assert fresh.number("other", "run", 1, b"").first_seq == 1
    await fresh.open("thread")
    fresh.close("thread")
    assert fresh.open_now("thread", empty=True)  # what is known counts more than what is said
    assert fresh.number("thread", "run", 1, b"").first_seq == 4


async def test_idle_counters_are_limited_and_busy_ones_are_kept_however_many_pass(
    bench: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(log, "IDLE_COUNTERS", 5)
    await bench.log.open("busy")
    numbers(bench, "busy", 3)
    for number in range(50):
        await bench.log.open(f"thread-{number}")
        bench.log.close(f"thread-{number}")
    assert len(bench.log._counters) == 1
    assert list(bench.log._idle) == [f"thread-{number}" for number in range(45, 50)]
    assert bench.log.open_now("thread-45")
    bench.log.close("thread-45")  # now the one that was used last
    await bench.log.open("another")
    bench.log.close("another")
    assert "thread-45" in bench.log._idle
    assert "thread-46" not in bench.log._idle
    assert numbers(bench, "busy") == (4, 4)


async def test_forgetting_drops_an_idle_counter_and_leaves_one_in_use(bench: Any) -> None:
    await bench.log.open("a")
    numbers(bench, "a", 3)
    bench.log.forget("a")
    assert numbers(bench, "a") == (4, 4)
    bench.log.close("a")
    bench.log.forget("a")
    assert bench.log.open_now("a", empty=True)
    assert numbers(bench, "a") == (1, 1)
    bench.log.forget("nobody knows it")


async def test_a_chunk_is_published_after_its_commit_and_before_it_is_reported(bench: Any) -> None:
    await bench.log.open("thread")
    order: list[Any] = []
    with bench.cursor() as cursor:
        chunk = bench.log.chunk(
            "thread", "run", [("values", "", event.V1, b"1"), ("end", "", event.THREAD, b"2")]
        )
        bench.log.append(chunk, lambda: order.append(cursor._topic.published), order.append)
        assert cursor._topic.published is None
        assert [one.packed for one in await cursor.page()] == [chunk.packed]
        await bench.storage.counters()
        assert [chunk.packed for chunk in await bench.storage.events_page("thread", 0)] == [chunk.packed]
    assert order == [2]


async def test_a_chunk_that_could_not_be_stored_is_shown_to_nobody_and_its_numbers_are_left_out(
    bench: Any, tmp_path: Path
) -> None:
    await bench.log.open("thread")
    failed: list[BaseException] = []
    seen: list[int] = []
    clash = await bench.store()
    with bench.cursor() as cursor:
        bench.log.append(clash, lambda: pytest.fail("stored"), failed.append)
        following = bench.log.number("thread", "run", 1, event.pack([("values", "", 1, b"1")]))
        bench.log.append(following, lambda: seen.append(following.first_seq), failed.append)
        await bench.storage.counters()
        assert cursor._topic.published == following.last_seq
    assert (len(failed), seen) == (1, [2])
