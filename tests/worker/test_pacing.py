"""
A thread of a run waits when it emits faster than is stored; it goes on when nobody would ever let it go.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from gatewayd.worker.process import loop as worker_loop
from gatewayd.worker.process import pacing, stacks, threads
from gatewayd.worker.runs import outbox

LIMIT = 80_000
SIZE = 1_000
SOON_S = 60


class Wire:
    """Stands for the link and the daemon behind it: acknowledges frames when the test lets it."""

    def __init__(self) -> None:
        self.frames = 0

    def queue(self, packed: bytes) -> None:
        self.frames += 1

    def flush(self) -> None:
        pass


class Run:
    """A run whose consumer takes what a thread hands to the loop's queue."""

    def __init__(self, holds_loop: Callable[[], bool] = lambda: False) -> None:
        self.loop = asyncio.get_running_loop()
        self.wire = Wire()
        self.out = outbox.Outbox(self.wire, "run", 1, window=SIZE, backlog=LIMIT)  # type: ignore[arg-type]
        self.pace = pacing.Pace(self.out, limit=LIMIT, hops=outbox.HOLD_PASSES, holds_loop=holds_loop)
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.got: list[str] = []
        self.most = 0
        self.handed = 0
        self.out.consuming = True

    async def consume(self) -> None:
        while True:
            text = await self.queue.get()
            self.got.append(text)
            self.out.emit(("custom", "", 3, text.encode()))
            self.most = max(self.most, self.out._backlog)

    def emit(self, count: int, size: int = SIZE) -> None:
        """In a thread: hand events to the loop's queue, as langgraph does."""
        for number in range(count):
            text = f"{number}".rjust(size)
            self.pace.handed(text)
            self.loop.call_soon_threadsafe(self.queue.put_nowait, text)
            self.handed += 1

    def acknowledge(self) -> None:
        self.out.acknowledged(self.wire.frames)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110  what other threads do is announced by nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("size", [SIZE, 10, LIMIT // 2 - 100], ids=["middling", "small", "half the limit"])
async def test_a_thread_that_emits_faster_than_is_stored_waits_and_nothing_is_lost(size: int) -> None:
    run = Run()
    consuming = asyncio.create_task(run.consume())
    count = max(5, 10 * LIMIT // size)
    emitting = asyncio.create_task(asyncio.to_thread(run.emit, count, size))
    await until(lambda: run.out._backlog > LIMIT // 2 or run.handed == count)
    while not emitting.done():
        run.acknowledge()
        await asyncio.sleep(0)
    await emitting
    await until(lambda: len(run.got) == count)
    assert [int(text) for text in run.got] == list(range(count))
    assert run.most <= LIMIT
    consuming.cancel()


async def test_a_thread_waits_as_long_as_nothing_is_stored() -> None:
    run = Run()
    consuming = asyncio.create_task(run.consume())
    emitting = asyncio.create_task(asyncio.to_thread(run.emit, 1000))
    await until(lambda: run.out._backlog > LIMIT // 2)
    waits = threading.Event()
    changed, wait = run.out._changed, run.out._changed.wait

    def waiting(timeout: float | None = None) -> bool:
        waits.set()
        return wait(timeout)

    changed.wait = waiting  # type: ignore[method-assign]
    await until(waits.is_set)
    assert not emitting.done()
    assert run.handed < 100
    run.out.let_threads_go()
    run.pace.end()
    await emitting
    assert run.handed == 1000
    consuming.cancel()


async def test_a_refused_frame_lets_the_thread_go(caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    consuming = asyncio.create_task(run.consume())
    emitting = asyncio.create_task(asyncio.to_thread(run.emit, 60))
    await until(lambda: run.out._backlog > LIMIT // 2)
    run.out.refused("the disk is full")
    await emitting
    consuming.cancel()


async def test_all_threads_of_a_run_together_keep_within_its_backlog() -> None:
    run = Run()
    consuming = asyncio.create_task(run.consume())
    emitting = [asyncio.create_task(asyncio.to_thread(run.emit, 100)) for _ in range(5)]
    while not all(each.done() for each in emitting):
        run.acknowledge()
        await asyncio.sleep(0)
    await until(lambda: len(run.got) == 500)
    assert run.most <= LIMIT
    consuming.cancel()


async def test_a_thread_that_the_loop_waits_for_goes_on_without_the_consumer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "PATIENCE_S", 0.01)
    this = threading.get_ident()

    async def node() -> None:
        threads.CURRENT.set("run")
        run = Run(lambda: stacks.run_in(this) == "run")
        thread = threading.Thread(target=run.emit, args=(200,))
        thread.start()
        thread.join(SOON_S)  # an asynchronous node that calls something synchronously
        assert not thread.is_alive()
        assert run.handed == 200

    await asyncio.create_task(node())


async def test_a_thread_waits_while_another_run_blocks_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "PATIENCE_S", 0.001)
    looked = threading.Event()
    looks = 0
    this = threading.get_ident()

    def holds_loop() -> bool:
        nonlocal looks
        looks += 1
        if looks == 5:
            looked.set()
        return stacks.run_in(this) == "run"

    run = Run(holds_loop)
    consuming = asyncio.create_task(run.consume())

    async def blocker() -> int:
        threads.CURRENT.set("another")
        assert looked.wait(SOON_S)
        return run.handed

    emitting = asyncio.create_task(asyncio.to_thread(run.emit, 70))
    handed = await asyncio.create_task(blocker())
    assert handed < 70 * SIZE // LIMIT + LIMIT // pacing.SHARE // SIZE + 1
    while not emitting.done():
        run.acknowledge()
        await asyncio.sleep(0)
    consuming.cancel()


async def test_an_event_that_is_emitted_in_a_thread_waits_there_and_is_no_error() -> None:
    run = Run()
    item = ("events", "", 3, b"x" * SIZE)

    def emit() -> None:
        for _ in range(200):
            run.out.emit(item)
            run.most = max(run.most, run.out._backlog)

    emitting = asyncio.create_task(asyncio.to_thread(emit))
    while not emitting.done():
        run.acknowledge()
        await asyncio.sleep(0)
    await emitting
    assert run.most <= LIMIT // 2 + SIZE + outbox.ITEM_OVERHEAD


async def test_code_on_the_loops_own_thread_does_not_wait() -> None:
    run = Run()
    while run.out._backlog <= LIMIT - 2 * SIZE:
        run.out.emit(("custom", "", 3, b"x" * SIZE))
    run.out.emit(("custom", "", 3, b"x" * SIZE))
    with pytest.raises(outbox.BacklogExceeded):
        run.out.emit(("custom", "", 3, b"x" * SIZE))


@pytest.mark.parametrize(
    ("item", "least", "most"),
    [
        ("x" * 500, 500, 500),
        (b"x" * 500, 500, 500),
        ({"text": "x" * 500, "n": 1}, 500, 600),
        ((("ns",), "custom", ["x" * 250, {"deep": ("x" * 250,)}]), 500, 650),
        ((("ns",), "messages", (AIMessageChunk(content="x" * 500), {"step": 1})), 500, 2000),
        ([0] * 1000, pacing.LARGE, pacing.LARGE),
        (object(), 1, 100),
    ],
    ids=["text", "bytes", "a map", "nested", "a message", "many objects", "something else"],
)
def test_the_size_of_an_event_is_told_without_looking_through_all_of_it(
    item: Any, least: int, most: int
) -> None:
    assert least <= pacing.bulk(item) <= most


def test_only_what_another_thread_puts_into_a_queue_is_paced() -> None:
    loop, paced = worker_loop.Loop(), []
    loop.pace = paced.append

    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        loop.call_soon_threadsafe(queue.put_nowait, 1)
        done = asyncio.Event()

        def other() -> None:
            loop.call_soon_threadsafe(queue.put_nowait, 2)
            loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=other)
        thread.start()
        await done.wait()
        thread.join()
        assert [queue.get_nowait(), queue.get_nowait()] == [1, 2]

    loop.run_until_complete(main())
    loop.close()
    assert paced == [2]


# whose code the loop is in


async def test_the_run_in_whose_code_a_loop_is_can_be_told_from_another_thread() -> None:
    this, told = threading.get_ident(), []

    def look() -> None:
        thread = threading.Thread(target=lambda: told.append(stacks.run_in(this)))
        thread.start()
        thread.join()

    async def node() -> None:
        threads.CURRENT.set("one")
        look()
        asyncio.get_running_loop().call_soon(look)  # a callback, in no task
        await asyncio.gather(asyncio.create_task(deeper()))

    async def deeper() -> None:
        await asyncio.sleep(0)
        look()

    await asyncio.create_task(node())
    look()
    assert told == ["one", "one", "one", ""]
