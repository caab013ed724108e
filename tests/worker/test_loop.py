"""The worker's event loop: it wakes itself for other threads, and for itself when it sleeps anyway."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from unittest import mock

import pytest

from gatewayd.worker.process import loop as worker_loop


@pytest.fixture
def loop() -> Iterator[worker_loop.Loop]:
    made = worker_loop.Loop()
    yield made
    made.close()


def test_a_callback_from_the_loops_own_thread_runs_without_a_byte_in_the_pipe(loop: worker_loop.Loop) -> None:
    async def main() -> list[int]:
        order: list[int] = []
        with mock.patch.object(loop, "_write_to_self", side_effect=AssertionError):
            loop.call_soon_threadsafe(order.append, 1)
            loop.call_soon(order.append, 2)
            loop.call_soon_threadsafe(order.append, 3)
        done = loop.create_future()
        loop.call_soon_threadsafe(done.set_result, None)
        await asyncio.wait_for(done, 5)
        return order

    assert loop.run_until_complete(main()) == [1, 2, 3]


def test_a_callback_from_another_thread_wakes_a_loop_that_waits(loop: worker_loop.Loop) -> None:
    async def main() -> str:
        done: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set_result, "woken"))
        loop.call_later(0, thread.start)
        return await asyncio.wait_for(done, 20)

    assert loop.run_until_complete(main()) == "woken"


def test_a_callback_before_the_loop_runs_is_kept(loop: worker_loop.Loop) -> None:
    done = loop.create_future()
    loop.call_soon_threadsafe(done.set_result, "kept")
    assert loop.run_until_complete(asyncio.wait_for(done, 5)) == "kept"


def test_a_callback_runs_in_the_context_that_it_was_given(loop: worker_loop.Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="of the loop")
    context = contextvars.copy_context()
    context.run(variable.set, "given")

    async def main() -> str:
        seen: asyncio.Future[str] = loop.create_future()
        loop.call_soon_threadsafe(lambda: seen.set_result(variable.get()), context=context)
        return await seen

    assert loop.run_until_complete(main()) == "given"
