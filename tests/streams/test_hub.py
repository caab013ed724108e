"""Cursors see every event once, in order, whatever happens between their looking and their waiting."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gatewayd.streams import hub


class Reader:
    """A task that reads a cursor to a number and notes what it gets."""

    def __init__(self, cursor: hub.Cursor) -> None:
        self.cursor = cursor
        self.seen: list[int] = []
        self.pages: list[list[int]] = []
        self._grown = asyncio.Event()

    async def read(self) -> None:
        with self.cursor:
            while True:
                page = [chunk.last_seq for chunk in await self.cursor.page()]
                self.pages.append(page)
                self.seen += page
                self._grown.set()

    async def until(self, count: int) -> None:
        """Wait until this many chunks have been seen."""
        while len(self.seen) < count:
            self._grown.clear()
            await self._grown.wait()

    async def empty_handed(self) -> None:
        """Wait until a page has been empty."""
        while [] not in self.pages:
            self._grown.clear()
            await self._grown.wait()


@asynccontextmanager
async def reading(cursor: hub.Cursor) -> AsyncIterator[Reader]:
    reader = Reader(cursor)
    task = asyncio.ensure_future(reader.read())
    await settle()
    try:
        yield reader
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def settle() -> None:
    """Let everything that can go on without waiting for others go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def numbers(cursor: hub.Cursor) -> list[int]:
    """Return the numbers of the events of the next page."""
    with cursor:
        return [record.seq for chunk in await cursor.page() for record in chunk.records]


async def test_of_a_chunk_that_a_reader_knows_in_part_it_gets_only_the_rest(bench: Any) -> None:
    with bench.cursor():  # so that there is a tail
        await bench.emit(records=4, run_id="other")
        await bench.emit(records=4)
        assert await numbers(bench.cursor(after=2)) == [3, 4, 5, 6, 7, 8]
        assert await numbers(bench.cursor(after=6)) == [7, 8]
        assert await numbers(bench.cursor(after=6, run_id="run")) == [7, 8]
    assert await numbers(bench.cursor(after=2)) == [3, 4, 5, 6, 7, 8]  # from storage
    assert await numbers(bench.cursor(after=7, run_id="run")) == [8]


# the moments at which an event could be lost or doubled


async def test_what_is_published_while_an_empty_log_is_being_read_is_not_lost(bench: Any) -> None:
    bench.gated.stopping = True
    async with reading(bench.cursor()) as reader:
        await bench.gated.stopped()
        bench.gated.go()  # the log is read, and is empty
        await bench.gated.stopped()
        await bench.emit()
        bench.gated.release()
        await reader.until(1)
        assert reader.seen == [1]


async def test_what_is_published_while_a_page_is_under_way_comes_behind_it_once(bench: Any) -> None:
    for _ in range(3):
        await bench.emit()
    bench.gated.stopping = True
    async with reading(bench.cursor()) as reader:
        await bench.gated.stopped()
        bench.gated.go()  # 1, 2, 3 are read
        await bench.gated.stopped()
        await bench.emit()
        await bench.emit()
        bench.gated.release()
        await reader.until(5)
        await settle()
        assert reader.pages == [[1, 2, 3], [4, 5]]


async def test_what_was_published_before_the_page_was_read_but_after_joining_comes_once(bench: Any) -> None:
    await bench.emit()
    bench.gated.stopping = True
    async with reading(bench.cursor()) as reader:
        await bench.gated.stopped()
        await bench.emit()  # joined, not yet read: it is in the tail and will be in the page
        bench.gated.release()
        await reader.until(2)
        await bench.emit()
        await reader.until(3)
        assert reader.seen == [1, 2, 3]


async def test_what_is_read_from_storage_before_it_is_published_comes_once(bench: Any) -> None:
    await bench.emit()
    await bench.store()  # committed, its publication is still on its way
    async with reading(bench.cursor()) as reader:
        await reader.until(2)
        bench.publish()
        await bench.emit()
        await reader.until(3)
        await settle()
        assert reader.seen == [1, 2, 3]


async def test_a_reader_of_one_run_passes_over_others_and_misses_nothing_of_its_own(bench: Any) -> None:
    for number in range(6):
        await bench.emit(run_id="mine" if number % 2 else "other")
    async with reading(bench.cursor(run_id="mine")) as reader:
        await reader.until(3)
        await bench.emit(run_id="other")
        await bench.emit(run_id="mine")
        await reader.until(4)
        assert reader.seen == [2, 4, 6, 8]
        assert all(reader.pages)
        assert reader.cursor.position == 8


async def test_chunks_that_fell_out_of_the_tail_while_a_reader_was_busy_are_read_from_storage(
    bench: Any,
) -> None:
    bench.hub.budget = 700  # three chunks
    with bench.cursor() as busy:
        await bench.emit()
        assert [chunk.last_seq for chunk in await busy.page()] == [1]
        for _ in range(20):
            await bench.emit()
        seen = []
        while len(seen) < 20:
            seen += [chunk.last_seq for chunk in await busy.page()]
        assert seen == list(range(2, 22))


async def test_chunks_that_fall_out_of_the_tail_while_a_page_is_under_way_are_not_lost(bench: Any) -> None:
    for _ in range(3):
        await bench.emit()
    bench.gated.stopping = True
    async with reading(bench.cursor()) as reader:
        await bench.gated.stopped()
        bench.gated.go()
        await bench.gated.stopped()
        await bench.emit()
        bench.hub.budget = 0
        await bench.emit()  # pushes everything out
        bench.gated.release()
        await reader.until(5)
        assert reader.seen == [1, 2, 3, 4, 5]


async def test_a_reader_that_begins_in_the_middle_of_the_log_or_of_a_chunk_gets_the_rest(bench: Any) -> None:
    await bench.emit(records=10)
    await bench.emit(records=10)
    for after, expected in ((0, [10, 20]), (10, [20]), (9, [10, 20]), (15, [20])):
        async with reading(bench.cursor(after)) as reader:
            await reader.until(len(expected))
            assert reader.seen == expected


async def test_numbers_that_are_missing_in_the_log_hold_nobody_up(bench: Any) -> None:
    async with reading(bench.cursor()) as reader:
        await bench.emit()
        await bench.jump()
        await bench.emit()
        await bench.emit()
        await reader.until(3)
        assert reader.seen == [1, (1 << 20) + 2, (1 << 20) + 3]
    async with reading(bench.cursor(7)) as later:
        await later.until(2)
        assert later.seen == [(1 << 20) + 2, (1 << 20) + 3]


@pytest.mark.parametrize("run_id", [None, "a"])
@pytest.mark.parametrize("budget", [0, 700, 1 << 20])
@pytest.mark.parametrize("seed", range(12))
async def test_under_any_schedule_every_reader_sees_every_event_of_its_run_once(
    bench: Any, seed: int, budget: int, run_id: str | None
) -> None:
    """
    Commits, publications, the two halves of every reading, joins and nudges in an order drawn by chance.
    """
    chance = random.Random(seed)
    bench.hub.budget = budget
    bench.gated.stopping = True
    readers: list[tuple[Reader, int]] = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(120):
            match chance.choice(["commit", "publish", "publish", "go", "go", "go", "join", "wake_readers"]):
                case "commit":
                    await bench.store(run_id=chance.choice("ab"), records=chance.randrange(1, 4))
                case "publish" if bench.published < len(bench.stored):
                    bench.publish()
                case "go":
                    bench.gated.go()
                case "join" if len(readers) < 4:
                    last = bench.stored[-1].last_seq if bench.stored else 0
                    after = chance.randint(0, last)  # also in the middle of a chunk
                    readers.append(
                        (await stack.enter_async_context(reading(bench.cursor(after, run_id))), after)
                    )
                case "wake_readers":
                    bench.hub.wake_readers("thread")
            if chance.random() < 0.7:
                await settle()
        while bench.published < len(bench.stored):
            bench.publish()
        bench.gated.release()
        assert readers
        for reader, after in readers:
            expected = [
                chunk.last_seq
                for chunk in bench.stored
                if chunk.last_seq > after and (run_id is None or chunk.run_id == run_id)
            ]
            async with asyncio.timeout(20):
                await reader.until(len(expected))
            await settle()
            assert reader.seen == expected
        assert bench.hub.held <= budget
    assert (bench.hub.held, bench.hub.readers) == (0, 0)


# waking


async def test_a_nudge_returns_empty_handed_and_takes_nothing_away(bench: Any) -> None:
    async with reading(bench.cursor()) as reader:
        bench.hub.wake_readers("thread")
        await reader.empty_handed()
        await bench.emit()
        await reader.until(1)
        assert reader.seen == [1]
        assert reader.pages.count([]) == 1


@pytest.mark.parametrize("published", [False, True])
async def test_a_nudge_is_not_lost_on_a_reader_that_is_not_waiting_at_the_moment(
    bench: Any, published: bool
) -> None:
    with bench.cursor() as cursor:
        if published:
            await bench.emit()
            assert await cursor.page() != []
        bench.hub.wake_readers("thread")  # the reader is writing to its client
        async with asyncio.timeout(20):
            assert await cursor.page() == []
        waiting = asyncio.ensure_future(cursor.page())
        await settle()
        await bench.gated.storage.counters()
        await settle()
        assert not waiting.done()
        await bench.emit()
        assert len(await waiting) == 1


async def test_a_nudge_of_before_the_cursor_was_opened_does_not_concern_it(bench: Any) -> None:
    with bench.cursor():
        bench.hub.wake_readers("thread")
        with bench.cursor() as later:
            waiting = asyncio.ensure_future(later.page())
            await settle()
            await bench.emit()
            assert len(await waiting) == 1


async def test_moving_to_now_skips_what_has_been_published_if_that_is_known(bench: Any) -> None:
    await bench.emit()
    with bench.cursor() as cursor:
        assert not cursor.skip_to_now()
        await bench.emit()
        assert cursor.skip_to_now()
        await bench.emit()
        assert [chunk.last_seq for chunk in await cursor.page()] == [3]
        assert cursor.skip_to_now()
        assert cursor.position == 3


# memory


async def test_a_thread_has_a_tail_only_while_somebody_reads_it(bench: Any) -> None:
    await bench.emit()
    assert (bench.hub.held, bench.hub.has_readers("thread")) == (0, False)
    with bench.cursor():
        with bench.cursor():
            await bench.emit()
            assert bench.hub.readers == 2
        assert bench.hub.held > 0
        assert bench.hub.has_readers("thread")
    assert (bench.hub.held, bench.hub.readers, bench.hub.has_readers("thread")) == (0, 0, False)
    assert bench.hub._topics == {}


async def test_live_readers_of_the_tail_ask_storage_for_nothing(bench: Any) -> None:
    async with reading(bench.cursor()) as reader:
        await bench.emit()
        await reader.until(1)
        before = bench.gated.reads
        for count in range(2, 30):
            await bench.emit()
            await reader.until(count)
        assert bench.gated.reads == before


async def test_the_budget_is_one_for_all_threads_and_the_oldest_go_first(bench: Any) -> None:
    bench.hub.budget = 10_000
    with contextlib.ExitStack() as stack:
        for number in range(20):
            stack.enter_context(bench.cursor(thread_id=f"thread-{number}"))
        for _ in range(10):
            for number in range(20):
                await bench.emit(thread_id=f"thread-{number}", size=300)
                assert bench.hub.held <= 10_000
                assert bench.hub.held == sum(topic.held for topic in bench.hub._topics.values())
        held = [[chunk.last_seq for chunk in topic.tail] for topic in bench.hub._topics.values()]
        assert sum(len(tail) for tail in held) > 10
        assert all(tail in ([], [10]) for tail in held)
        assert len(bench.hub._order) == sum(len(tail) for tail in held)


async def test_a_chunk_larger_than_the_whole_budget_is_read_from_storage(bench: Any) -> None:
    bench.hub.budget = 1000
    async with reading(bench.cursor()) as reader:
        for count in range(1, 4):
            await bench.emit(size=5000)
            await reader.until(count)
            assert bench.hub.held == 0
        assert reader.seen == [1, 2, 3]


async def test_a_page_from_the_tail_is_bounded_like_one_from_storage(bench: Any) -> None:
    with bench.cursor() as cursor:
        for size in (37_000, 37_000, 37_000, 150_000, 100, 100):
            await bench.emit(size=size)
        assert cursor._topic.covered_from == 0
        seen = [[chunk.last_seq for chunk in await cursor.page()] for _ in range(4)]
        assert seen == [[1, 2], [3], [4], [5, 6]]


async def test_what_vanished_topics_leave_in_the_order_is_cleared_away(bench: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(hub, "STALE_ENTRIES", 50)
    with bench.cursor(thread_id="staying"):
        for _ in range(10):
            await bench.emit(thread_id="staying")
        for number in range(30):
            with bench.cursor(thread_id=f"leaving-{number}"):
                for _ in range(10):
                    await bench.emit(thread_id=f"leaving-{number}")
            assert len(bench.hub._order) <= 10 + 50 + 10
        assert bench.hub.held == sum(topic.held for topic in bench.hub._topics.values())
        bench.hub.budget = 0
        await bench.emit(thread_id="staying")
        assert (bench.hub.held, len(bench.hub._order), bench.hub._stale) == (0, 0, 0)


async def test_fifty_readers_that_stop_reading_hold_up_nobody_and_keep_nothing_beyond_the_budget(
    bench: Any,
) -> None:
    bench.hub.budget = 200_000
    chunks, size = 400, 4000
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(bench.cursor()) for _ in range(50)]
        await bench.emit(size=size)
        for cursor in stalled:
            assert len(await cursor.page()) == 1  # and then its client takes nothing any more
        async with reading(bench.cursor()) as live:
            for count in range(2, chunks + 1):
                await bench.emit(size=size)
                await live.until(count)
                tails = sum(len(chunk.packed) for topic in bench.hub._topics.values() for chunk in topic.tail)
                assert tails <= bench.hub.held <= 200_000
            assert live.seen == list(range(1, chunks + 1))
        assert all(cursor.position == 1 for cursor in stalled)
        for cursor in stalled[::10]:  # whoever wakes up has missed nothing
            seen = [1]
            while seen[-1] < chunks:
                seen += [chunk.last_seq for chunk in await cursor.page()]
            assert seen == list(range(1, chunks + 1))


# deleted threads


async def test_the_cursors_of_a_forgotten_thread_return_and_no_new_one_gets_what_they_have(
    bench: Any,
) -> None:
    with bench.cursor() as old:
        await bench.emit()
        waiting = asyncio.ensure_future(old.page())
        await waiting
        waiting = asyncio.ensure_future(old.page())
        await settle()
        bench.hub.drop("thread")
        assert await waiting == []
        assert not bench.hub.has_readers("thread")
        with bench.cursor() as new:
            assert not new.skip_to_now()
            await bench.emit()
            assert bench.hub.readers == 1
        assert not bench.hub.has_readers("thread")
        assert bench.hub.held == old._topic.held > 0
    assert (bench.hub.held, bench.hub._topics) == (0, {})


async def test_a_page_that_is_read_while_the_thread_is_deleted_is_shown_to_nobody(bench: Any) -> None:
    """
    Interleaving: the page has been read, of the thread or already of the one under its id, when the reader
    parts.
    """
    await bench.emit()
    bench.gated.stopping = True
    with bench.cursor() as cursor:
        reading = asyncio.ensure_future(cursor.page())
        await bench.gated.stopped()
        bench.gated.go()
        await bench.gated.stopped()  # it holds what it has read
        bench.hub.drop("thread")
        bench.gated.release()
        assert await reading == []
        assert cursor.detached


async def test_every_reader_of_a_forgotten_thread_is_told_the_last_thing_wherever_it_stands(
    bench: Any,
) -> None:
    bench.hub.budget = 0
    with bench.cursor() as ahead, bench.cursor() as behind:
        await bench.emit()
        await ahead.page()
        last = bench.log.items("thread", "run", [("end", "", 7, b"{}")]).numbered(2, 0)
        bench.hub.drop("thread", last)
        for cursor in (ahead, behind):
            assert cursor.detached
            assert cursor.last_event() == [last]
        with bench.cursor() as new:
            assert new.last_event() == []


# events that were removed before a reader came to them


async def test_a_reader_is_told_once_of_what_went_between_two_pages(bench: Any) -> None:
    bench.hub.budget = 0
    with bench.cursor() as cursor:
        for _ in range(5):
            await bench.emit()
        cursor.position = 1  # it has taken the first page, and is slow
        bench.gated.gone_to = 3
        assert await cursor.page() == []
        assert cursor.gap == hub.Gap(after=1, resumes_at=4)
        assert [chunk.first_seq for chunk in await cursor.page()] == [4, 5]
        assert cursor.gap is None


async def test_numbers_that_were_never_stored_are_no_gap(bench: Any) -> None:
    bench.hub.budget = 0
    with bench.cursor() as cursor:
        await bench.emit()
        await bench.jump()
        await bench.emit()
        assert [chunk.first_seq for chunk in await cursor.page()] == [1, 2**20 + 2]
        cursor.position = 1
        assert [chunk.first_seq for chunk in await cursor.page()] == [2**20 + 2]
        assert cursor.gap is None


async def test_a_reader_of_a_run_is_told_when_all_the_rest_of_it_is_gone(bench: Any) -> None:
    bench.hub.budget = 0
    with bench.cursor(run_id="run") as cursor, bench.cursor(run_id="kept") as other:
        for run_id in ("run", "run", "other", "kept"):
            await bench.emit(run_id=run_id)
        cursor.position = 1
        bench.gated.gone_to, bench.gated.losses = 3, {"run": (2, 7)}
        assert await cursor.page() == []
        assert cursor.gap == hub.Gap(after=1, resumes_at=3, attempt=7)
        assert [chunk.first_seq for chunk in await other.page()] == [4]  # the hole before it is others'
        assert other.gap is None
