"""
The pool of synchronous nodes: what still executes for a run, and what is done about it when the run is
cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gatewayd.worker.process import threads


@pytest.fixture
def pool() -> Iterator[threads.Pool]:
    made = threads.Pool()
    yield made
    made.shutdown(wait=True)


def submit(pool: threads.Pool, run_id: str, call):
    token = threads.CURRENT.set(run_id)
    try:
        return pool.submit(call)
    finally:
        threads.CURRENT.reset(token)


async def test_a_run_is_idle_when_its_calls_have_returned_and_nobody_elses_count(pool):
    leave, other = threading.Event(), threading.Event()
    call, beside = submit(pool, "run", leave.wait), submit(pool, "other", other.wait)
    idle = asyncio.ensure_future(pool.idle("run", 60))
    await asyncio.sleep(0)
    assert not idle.done()
    leave.set()
    await idle
    assert (call.result(), beside.done()) == (True, False)
    other.set()
    beside.result()
    assert pool._under_way == {}


async def test_a_thread_that_stays_is_interrupted_and_what_it_catches_is_no_way_out(pool):
    entered, caught = threading.Event(), []

    def stubborn() -> None:
        while True:
            try:
                entered.set()
                sum(range(100))
            except Exception as error:
                caught.append(error)

    call = submit(pool, "run", stubborn)
    entered.wait()
    await pool.idle("run", 0.01)
    assert isinstance(call.exception(), threads.RunCancelled)
    assert caught == []


async def test_an_interruption_reaches_no_later_call_of_the_thread(pool):
    """Interleaving: the exception is set in the thread, which returns before it looks."""
    results = []
    for _ in range(200):
        turn = threading.Barrier(2)
        call = submit(pool, "run", turn.wait)
        turn.wait()
        pool.interrupt("run")
        results.append(call.exception())
        assert submit(pool, "next", lambda: 1).result() == 1
    assert {type(result) for result in results} <= {type(None), threads.RunCancelled}
    assert pool.interrupt("run") == 0


def test_a_call_of_no_run_is_not_noted(pool):
    assert submit(pool, "", lambda: 7).result() == 7
    assert pool._under_way == {}
