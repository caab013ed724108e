"""Starting what is due: hints wake the loop, the table decides."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from gatewayd import loops
from gatewayd.errors import Unavailable
from gatewayd.maintenance import sweeper
from gatewayd.model.caller import INTERNAL
from gatewayd.runs import dispatch
from gatewayd.streams import hub


async def looked(engine: Any) -> float:
    """Let the table be looked at once, and return how long it need not be again."""
    return await engine.runs.dispatch.claim_due()


async def test_a_delayed_run_starts_when_its_time_has_come_and_the_loop_waits_just_as_long(
    boots: Any,
) -> None:
    engine = await boots.start()
    late = await engine.create(after_s=30.0)
    soon = await engine.create(after_s=10.0)
    assert await looked(engine) == pytest.approx(10.0)
    engine.now += 9_999_999
    assert await looked(engine) == pytest.approx(1e-6)
    assert engine.worker.orders == {}
    engine.now += 1
    assert await looked(engine) == pytest.approx(20.0, abs=0.1)
    await engine.worker.started(soon.run_id)
    engine.now += 60_000_000
    assert await looked(engine) == dispatch.LONGEST_WAIT_S
    await engine.worker.started(late.run_id)


async def test_without_anything_due_the_loop_still_looks_once_in_a_while(boots: Any) -> None:
    engine = await boots.start()
    assert await looked(engine) == dispatch.LONGEST_WAIT_S
    await engine.create(after_s=10_000.0)
    assert await looked(engine) == dispatch.LONGEST_WAIT_S


async def test_a_run_created_with_a_shorter_delay_than_the_loop_is_waiting_for_wakes_it(
    engine: Any, monkeypatch: Any
) -> None:
    waits: list[float] = []
    look = dispatch.Dispatch.claim_due

    async def noted(starting: dispatch.Dispatch) -> float:
        waits.append(await look(starting))
        engine.workers.board.changed()
        return waits[-1]

    monkeypatch.setattr(dispatch.Dispatch, "claim_due", noted)
    await engine.create(after_s=50.0)
    await engine.workers.board.until(lambda: len(waits) == 1)
    await engine.create(after_s=5.0)
    await engine.workers.board.until(lambda: len(waits) == 2)
    assert waits == [pytest.approx(50.0, abs=0.1), pytest.approx(5.0, abs=0.1)]


async def test_the_loop_wakes_by_the_clock_when_a_delayed_run_is_due(boots: Any) -> None:
    engine = await boots.start()
    run = await engine.create(after_s=10.0)
    engine.now += 9_990_000  # ten milliseconds are left, and pass
    engine.claim()
    await engine.workers.board.until(lambda: engine.runs.engine.queue.hint is not None)
    engine.now += 10_000
    await engine.worker.started(run.run_id)


async def test_a_hint_given_while_the_table_is_being_looked_at_is_not_lost(engine: Any, settled: Any) -> None:
    first = await engine.executing()
    with engine.writer_held():
        engine.runs.engine.queue.waits()
        await settled()  # the loop is looking
        engine.worker.end(first.run_id)
        second = asyncio.ensure_future(engine.create(first.thread_id))
        await settled()
    await engine.worker.started((await second).run_id)


async def test_more_runs_than_places_start_one_after_the_other_in_the_order_of_their_creation(
    engine: Any,
) -> None:
    engine.worker.capacity = 2
    runs = [await engine.create() for _ in range(7)]
    for number, run in enumerate(runs):
        await engine.worker.started(run.run_id)
        assert list(engine.worker.orders) == [one.run_id for one in runs[: max(2, number + 2)]][:7]
        engine.worker.end(run.run_id)
        last = min(number + 2, 6)
        await engine.worker.started(runs[last].run_id) if number < 5 else None
    await engine.landed()
    assert engine.worker.most == 2


async def test_nothing_is_claimed_for_want_of_places_and_the_first_free_one_is_used(engine: Any) -> None:
    engine.worker.capacity = 0
    run = await engine.create()
    await engine.storage.counters()
    assert await engine.status(run) == "pending"
    engine.worker.capacity = 1
    engine.runs.intake.worker_ready()
    await engine.worker.started(run.run_id)


async def test_suspects_wait_for_quarantines_and_hold_up_nobody_else(engine: Any) -> None:
    doomed = [await engine.executing() for _ in range(4)]
    engine.worker.die()
    await engine.workers.board.until(lambda: len(engine.workers.quarantines) == 2)
    for each in list(engine.workers.quarantines):
        await engine.workers.board.until(lambda each=each: bool(each.runs))
    other = await engine.executing()
    assert list(engine.worker.runs) == [other.run_id]
    running = [each for each in engine.workers.quarantines if each.runs]
    assert len(running) == 2
    running[0].end(next(iter(running[0].runs)))
    await engine.workers.board.until(lambda: len(engine.workers.quarantines) == 3)
    assert {run.run_id for run in doomed} >= {
        run_id for each in engine.workers.quarantines for run_id in each.orders
    }


async def test_an_error_of_storage_is_logged_and_the_loop_goes_on(
    engine: Any, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.0)
    look = dispatch.Dispatch.claim_due
    failures = [Unavailable("no room")]

    async def failing(starting: dispatch.Dispatch) -> float:
        if failures:
            raise failures.pop()
        return await look(starting)

    monkeypatch.setattr(dispatch.Dispatch, "claim_due", failing)
    engine.worker.capacity = 0
    run = await engine.create()
    engine.worker.capacity = 1
    engine.runs.intake.worker_ready()
    await engine.worker.started(run.run_id)
    assert "'test: claimer' failed: no room" in caplog.text


async def test_the_loop_ends_when_the_manager_stops(engine: Any) -> None:
    task = engine.tasks.spawn(engine.runs.claimer(), "second")
    await engine.runs.stop(20.0)
    await asyncio.wait_for(task, 20)


# the sweeper


async def test_the_thread_of_a_stateless_run_is_swept_after_a_while_but_not_under_a_reader(
    engine: Any,
) -> None:
    run = (await engine.runs.create(INTERNAL, engine.request(None))).run
    engine.worker.emit(run.run_id)
    engine.worker.checkpoint(run.run_id, "0001")
    engine.worker.end(run.run_id, result=b"1")
    await engine.landed()
    assert await engine.sweeper.sweep(linger_s=120.0) == 0
    engine.now += 121_000_000
    with hub.Cursor(engine.hub, run.thread_id, 0):
        assert await engine.sweeper.sweep(linger_s=120.0) == 0
        assert (await engine.runs.wait(INTERNAL, run.thread_id, run.run_id)).result == b"1"
    assert await engine.sweeper.sweep(linger_s=120.0) == 1
    for table in ("threads", "runs", "events", "checkpoints", "writes", "thread_locks"):
        assert await engine.fetch(f"SELECT * FROM {table}") == [], table


async def test_a_sweep_takes_all_that_may_go_in_steps(engine: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sweeper, "THREADS", 3)
    monkeypatch.setattr(sweeper, "STEP_ROWS", 2)
    runs = [await engine.executing() for _ in range(8)]
    for run in runs:
        for _ in range(5):
            engine.worker.emit(run.run_id)
        engine.worker.end(run.run_id)
    await engine.landed()
    for run in runs[:7]:
        await engine.runs.delete_thread(INTERNAL, run.thread_id)
    assert await engine.sweeper.sweep(linger_s=120.0) == 7
    assert await engine.fetch("SELECT DISTINCT thread_id FROM events") == [(runs[7].thread_id,)]
    assert len(await engine.fetch("SELECT * FROM threads")) == 1
    assert await engine.sweeper.sweep(linger_s=120.0) == 0


async def test_the_sweeper_goes_on_after_whatever_failed(
    engine: Any, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [Unavailable("no room"), IndexError("a damaged row")]
    over = asyncio.Event()

    async def failing(_: sweeper.Sweeper) -> int:
        if failures:
            raise failures.pop()
        over.set()
        return 0

    monkeypatch.setattr(sweeper.Sweeper, "convert_rows", failing)
    keeping = sweeper.Keeping(linger_s=0, failed_crons_s=0, events_s=0, idempotency_s=0, webhooks_s=0)
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.0)
    engine.tasks.spawn_forever(partial(engine.sweeper.run, 0.0, keeping), "sweeper")
    async with asyncio.timeout(20):
        await over.wait()
    assert caplog.text.count("'test: sweeper' failed") == 2
