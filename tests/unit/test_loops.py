"""A loop goes on after whatever ends its body, more and more slowly, and what is known of it is true."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from gatewayd import loops, tasks
from gatewayd.errors import Unavailable


@pytest.fixture
async def group() -> AsyncIterator[tasks.Group]:
    made = tasks.Group("test")
    yield made
    await made.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.001)


def cancelled() -> BaseException:
    return asyncio.CancelledError()


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), Unavailable("locked"), None, asyncio.CancelledError()], ids=repr
)
async def test_a_body_that_raises_returns_or_is_cancelled_by_nobody_is_made_again(
    group: tasks.Group, error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    ended = [error, error]
    works, states = asyncio.Event(), []

    async def body(turned: loops.Turned) -> None:
        states.append(loop.down)
        if ended:
            if (failure := ended.pop()) is not None:
                raise failure
            return
        turned()
        works.set()
        await asyncio.Event().wait()

    loop = group.spawn_forever(body, "loop", essential=True)
    async with asyncio.timeout(60):
        await works.wait()
    assert states == [False, True, True]
    assert not loop.down
    assert loop.error == ""
    assert group.loops == [loop]
    assert "the loop 'test: loop' failed" in caplog.text


async def test_only_its_owner_can_end_a_loop_which_is_then_forgotten(group: tasks.Group) -> None:
    begun = asyncio.Event()

    async def body(_: loops.Turned) -> None:
        begun.set()
        await asyncio.Event().wait()

    loop = group.spawn_forever(body, "loop")
    await begun.wait()
    await group.stop()
    assert not loop.dead
    assert group.loops == []


async def test_a_loop_that_is_killed_all_the_same_is_seen_to_be_dead(group: tasks.Group) -> None:
    begun = asyncio.Event()

    async def body(turned: loops.Turned) -> None:
        turned()
        begun.set()
        await asyncio.Event().wait()

    loop = group.spawn_forever(body, "loop")
    await begun.wait()
    (task,) = group._tasks
    task.cancel()
    await asyncio.wait({task})
    assert loop.dead
    assert loop.down
    assert group.loops == [loop]


@pytest.mark.parametrize("raises", [True, False])
async def test_a_loop_that_is_to_end_at_something_ends_then_without_an_error(
    group: tasks.Group, raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = False

    async def body(_: loops.Turned) -> None:
        nonlocal stopping
        stopping = True
        if raises:
            raise Unavailable("the server is stopping")

    loop = group.spawn_forever(body, "loop", until=lambda: stopping)
    async with asyncio.timeout(60):
        await group.join()
    assert (loop.over, loop.dead, group.loops) == (True, False, [])
    assert caplog.text == ""


async def test_what_is_to_be_done_once_is_repeated_until_it_is_done(group: tasks.Group) -> None:
    failures = [OSError("no"), OSError("no")]

    async def body(_: loops.Turned) -> None:
        if failures:
            raise failures.pop()

    loop = group.spawn_forever(body, "loop", once=True)
    async with asyncio.timeout(60):
        await group.join()
    assert (failures, loop.over, group.loops) == ([], True, [])


def test_the_pause_grows_and_a_long_series_is_told_in_few_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.5)
    loop = loops.Loop("loop")
    pauses = [loop.failed(RuntimeError("broken")) for _ in range(100)]
    assert pauses[:7] == [0.5, 1, 2, 4, 8, 16, 30]
    assert max(pauses) == 30
    assert len(caplog.records) == 7  # 1, 2, 4, …, 64
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    assert loop.error == "RuntimeError: broken"
    locked = loops.Loop("locked")
    assert max(locked.failed(Unavailable("locked")) for _ in range(100)) == 2


def test_a_body_that_fails_after_each_round_is_not_called_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.5)
    loop = loops.Loop("loop")

    def once_more() -> float:
        loop.turned()
        return loop.failed(RuntimeError("broken"))

    pauses = [once_more() for _ in range(20)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30


def test_a_thread_goes_on_after_an_error_and_ends_when_it_is_told_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, failures, closing = loops.Loop("loop"), [RuntimeError("broken"), None], threading.Event()
    works = threading.Event()

    def body() -> None:
        if failures:
            if (failure := failures.pop()) is not None:
                raise failure
            return
        loop.turned()
        works.set()
        closing.wait(60)

    thread = loops.in_thread(loop, body, closing.is_set, closing.wait)
    thread.start()
    assert works.wait(60)
    assert not loop.down
    closing.set()
    thread.join(60)
    assert (loop.over, loop.dead) == (True, False)
    assert "it returned before it was told to" in caplog.text


def test_a_thread_that_can_not_even_close_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    loop = loops.Loop("loop")

    def body() -> None:
        raise RuntimeError("broken")

    closing: Callable[[], bool] = lambda: True  # noqa: E731
    thread = loops.in_thread(loop, body, closing, lambda _: None)
    thread.start()
    thread.join(60)
    assert loop.dead
    assert "the loop 'loop' has ended" in caplog.text
