"""Runs that meet on a thread: the strategies, when clients send at the same moment."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import Conflict

STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")


async def sent_at_once(engine: Any, thread_id: str, *strategies: str) -> list[Any]:
    """Create runs that are admitted in one batch of the writer, in this order; return runs and refusals."""
    with engine.writer_held():
        creations = [
            asyncio.ensure_future(engine.create(thread_id, multitask_strategy=strategy))
            for strategy in strategies
        ]
        for _ in range(10):
            await asyncio.sleep(0)
    return await asyncio.gather(*creations, return_exceptions=True)


async def test_of_clients_that_send_at_once_with_reject_one_wins_and_the_others_are_told(engine: Any) -> None:
    thread_id = ids.new_id()
    answers = await sent_at_once(engine, thread_id, *["reject"] * 5)
    winners = [each for each in answers if not isinstance(each, Conflict)]
    assert len(winners) == 1
    assert list(engine.worker.runs) == [winners[0].run_id]
    engine.worker.end(winners[0].run_id)
    await engine.landed()
    assert (await engine.thread(winners[0])).status == "idle"


@pytest.mark.parametrize("strategies", [*itertools.product(STRATEGIES, repeat=2)])
async def test_two_clients_that_send_at_once_get_what_they_would_get_one_after_the_other(
    engine: Any, strategies: tuple[str, str]
) -> None:
    thread_id = ids.new_id()
    first, second = await sent_at_once(engine, thread_id, *strategies)
    assert list(engine.worker.runs) == [first.run_id]
    match strategies[1]:
        case "reject":
            assert isinstance(second, Conflict)
            engine.worker.end(first.run_id)
            await engine.landed()
            assert await engine.status(first) == "success"
            return
        case "enqueue":
            engine.worker.end(first.run_id)
        case _:
            assert engine.worker.cancels == [(first.run_id, 1)]
            engine.worker.end(first.run_id, "cancelled")
    await engine.worker.started(second.run_id)
    left = {"enqueue": "success", "interrupt": "interrupted", "rollback": None}
    assert await engine.status(first) == left[strategies[1]]
    engine.worker.end(second.run_id)
    await engine.landed()
    assert (await engine.thread(second)).status == "idle"


async def test_of_runs_that_supersede_each_other_at_once_the_last_is_left(engine: Any) -> None:
    thread_id = ids.new_id()
    made = await sent_at_once(engine, thread_id, *["interrupt"] * 4)
    engine.worker.end(made[0].run_id, "cancelled")
    await engine.worker.started(made[-1].run_id)
    await engine.runs.engine.tasks.join()
    await engine.storage.counters()
    assert [await engine.status(run) for run in made] == ["interrupted"] * 3 + ["running"]
    assert set(engine.worker.orders) == {made[0].run_id, made[-1].run_id}


async def test_enqueued_runs_start_in_the_order_of_their_due_times_one_at_a_time(engine: Any) -> None:
    thread_id = ids.new_id()
    running = await engine.executing(thread_id)
    late = await engine.create(thread_id, after_s=0.5)
    soon = await engine.create(thread_id, after_s=0.1)
    now = await engine.create(thread_id)
    engine.now += 1_000_000
    order = [running, now, soon, late]
    for run, following in itertools.pairwise(order):
        assert list(engine.worker.runs) == [run.run_id]
        engine.worker.end(run.run_id)
        await engine.worker.started(following.run_id)
    engine.worker.end(late.run_id)
    await engine.landed()


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_victim_that_ends_by_itself_in_the_same_moment_makes_room_all_the_same(
    engine: Any, strategy: str
) -> None:
    """Interleaving: its last frame is read while the successor, and with it the cancel, is being stored."""
    victim = await engine.executing()
    engine.worker.checkpoint(victim.run_id, "0001")
    with engine.writer_held():
        creating = asyncio.ensure_future(engine.create(victim.thread_id, multitask_strategy=strategy))
        for _ in range(10):
            await asyncio.sleep(0)
        engine.worker.end(victim.run_id)
    successor = await creating
    await engine.worker.started(successor.run_id)
    assert await engine.status(victim) == ("interrupted" if strategy == "interrupt" else None)
    kept = await engine.fetch("SELECT run_id FROM checkpoints")
    assert kept == ([(victim.run_id,)] if strategy == "interrupt" else [])
