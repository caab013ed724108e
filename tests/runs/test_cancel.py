"""
Cancelling and deleting: stored before it is answered, carried out once, whatever else happens at the moment.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd.errors import NotFound
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.runs import waiters
from gatewayd.storage.sqlite.store import SqliteStore
from gatewayd.streams import hub

REQUESTED = "interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"


async def cancel(engine: Any, run: Any, action: str = "interrupt") -> Any:
    return await engine.runs.cancel(INTERNAL, run.thread_id, run.run_id, action)


def wait(engine: Any, run: Any) -> asyncio.Future[waiters.Ended]:
    """Return what whoever created the run waits for."""
    future: asyncio.Future[waiters.Ended] = engine.runs.waiting.follow(run.run_id)
    return future


# before the start


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
@pytest.mark.parametrize("why", ["delayed", "its thread is busy"])
async def test_a_run_that_has_not_started_is_ended_without_a_worker(
    engine: Any, why: str, action: str
) -> None:
    if why == "delayed":
        run = await engine.create(after_s=60.0)
    else:
        first = await engine.executing()
        run = await engine.create(first.thread_id)
    before = await engine.thread(run)
    ended = wait(engine, run)
    await cancel(engine, run, action)
    assert (await ended).status == ("deleted" if action == "rollback" else "interrupted")
    await engine.runs.engine.tasks.join()
    after = await engine.thread(run)
    assert (after.error, after.values, after.state_updated_at) == (None, None, before.state_updated_at)
    assert after.status == ("idle" if why == "delayed" else "busy")
    assert await engine.status(run) == (None if action == "rollback" else "interrupted")
    assert run.run_id not in engine.worker.orders
    assert engine.workers.calls == []
    assert await engine.kinds(run) == [event.END]
    with pytest.raises(NotFound):
        await cancel(engine, run)


async def test_a_parked_run_is_ended_with_the_state_that_the_service_worker_computes(boots: Any) -> None:
    engine = await boots.start()
    run = await engine.executing()
    engine.worker.checkpoint(run.run_id, "0001")
    engine.worker.die()
    await engine.landed()
    assert await engine.status(run) == "pending"
    await cancel(engine, run)
    await engine.runs.engine.tasks.join()
    await engine.storage.counters()
    ((method, place),) = engine.workers.calls
    assert (method, place["thread_id"], place["graph_id"]) == ("project", run.thread_id, "chat")
    thread = await engine.thread(run)
    assert (thread.values, thread.error) == (b'{"old":1}', None)
    assert await engine.status(run) == "interrupted"
    assert await engine.fetch("SELECT * FROM thread_locks") == []


async def test_without_a_service_worker_the_end_is_stored_and_the_old_values_stay(boots: Any) -> None:
    engine = await boots.start()
    run = await engine.executing()
    engine.worker.end(run.run_id, values=b'{"kept":1}')
    await engine.landed()
    second = await engine.executing(run.thread_id)
    engine.worker.die()
    await engine.landed()
    engine.workers.projection = None
    ended = wait(engine, second)
    await cancel(engine, second)
    assert (await ended).status == "interrupted"
    assert (await engine.thread(second)).values == b'{"kept":1}'


async def test_a_second_stronger_cancel_counts_while_the_first_is_being_carried_out(
    boots: Any, settled: Any
) -> None:
    engine = await boots.start()
    run = await engine.executing()
    engine.worker.checkpoint(run.run_id, "0001")
    engine.worker.die()
    await engine.landed()
    engine.workers.call_gate.clear()
    await cancel(engine, run, "interrupt")
    await engine.workers.board.until(lambda: bool(engine.workers.calls))
    await cancel(engine, run, "rollback")
    engine.workers.call_gate.set()
    await engine.runs.engine.tasks.join()
    await engine.storage.counters()
    assert await engine.status(run) is None
    assert await engine.fetch("SELECT * FROM checkpoints") == []
    assert await engine.kinds(run) == [event.END]


# while it executes


async def test_an_executing_run_is_cancelled_by_its_worker_and_keeps_its_checkpoints(engine: Any) -> None:
    run = await engine.executing()
    engine.worker.checkpoint(run.run_id, "0001")
    ended = wait(engine, run)
    marked = await cancel(engine, run)
    assert marked.cancel_action == "interrupt"
    assert engine.worker.cancels == [(run.run_id, 1)]
    assert await engine.status(run) == "running"
    n = engine.worker.checkpoint(run.run_id, "0002")  # until it has ended its puts are accepted
    engine.worker.end(run.run_id, "cancelled", next=["step"], values=b'{"part":1}', result=b'{"part":1}')
    assert await ended == waiters.Ended(status="interrupted", result=b'{"part":1}', error=None)
    thread = await engine.thread(run)
    assert (thread.status, thread.error) == ("interrupted", None)
    assert len(await engine.fetch("SELECT * FROM checkpoints")) == n == 2


async def test_pressing_stop_twice_is_no_error_and_cancels_once(engine: Any) -> None:
    run = await engine.executing()
    ended = [wait(engine, run), wait(engine, run)]
    await asyncio.gather(cancel(engine, run), cancel(engine, run))
    await cancel(engine, run)
    engine.worker.end(run.run_id, "cancelled")
    assert [(await future).status for future in ended] == ["interrupted"] * 2
    assert await engine.kinds(run) == [event.END]


async def test_a_rollback_removes_the_run_and_its_checkpoints_and_gives_the_old_state_back(
    engine: Any,
) -> None:
    first = await engine.executing()
    engine.worker.checkpoint(first.run_id, "0001")
    engine.worker.end(first.run_id, values=b'{"old":1}')
    await engine.landed()
    run = await engine.executing(first.thread_id)
    engine.worker.checkpoint(run.run_id, "0002")
    ended = wait(engine, run)
    await cancel(engine, run, "interrupt")
    await cancel(engine, run, "rollback")
    await cancel(engine, run, "interrupt")  # does not weaken it
    engine.worker.end(run.run_id, "cancelled", values=b'{"new":1}')
    assert (await ended).status == "deleted"
    assert await engine.status(run) is None
    assert await engine.fetch("SELECT checkpoint_id FROM checkpoints") == [("0001",)]
    thread = await engine.thread(run)
    assert (thread.values, thread.status) == (b'{"old":1}', "idle")
    assert thread.error is None
    await engine.landed()


async def test_the_state_after_a_rollback_is_computed_after_the_checkpoints_are_gone(engine: Any) -> None:
    run = await engine.executing()
    engine.worker.checkpoint(run.run_id, "0001")
    engine.workers.call_gate.clear()
    await cancel(engine, run, "rollback")
    engine.worker.end(run.run_id, "cancelled")
    await engine.workers.board.until(lambda: bool(engine.workers.calls))
    assert await engine.fetch("SELECT * FROM checkpoints") == []
    assert await engine.status(run) == "running"
    engine.workers.call_gate.set()
    await engine.landed()
    assert await engine.status(run) is None


async def test_a_natural_end_that_arrived_before_the_cancel_counts(engine: Any) -> None:
    run = await engine.executing()
    ended = wait(engine, run)
    with engine.writer_held():
        engine.worker.end(run.run_id, result=b"1")
        cancelling = asyncio.ensure_future(cancel(engine, run))
    with pytest.raises(NotFound, match="No matching runs to cancel"):
        await cancelling
    assert (await ended).status == "success"
    assert engine.worker.cancels == []
    assert (await engine.thread(run)).error is None


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
@pytest.mark.parametrize("outcome", ["success", "error", "timeout"])
async def test_an_end_of_another_kind_that_arrives_after_the_cancel_was_stored_is_the_cancel(
    engine: Any, action: str, outcome: str
) -> None:
    run = await engine.executing()
    ended = wait(engine, run)
    await cancel(engine, run, action)
    error = None if outcome == "success" else {"error": "ValueError", "message": "wrapped"}
    engine.worker.end(run.run_id, outcome, error=error, values=b"1", result=b"1")
    if action == "interrupt":
        assert await ended == waiters.Ended(status="interrupted", result=b"1", error=None)
        thread = await engine.thread(run)
        assert (thread.status, thread.error) == ("idle", None)
    else:
        assert (await ended).status == "deleted"
    await engine.landed()
    assert await engine.kinds(run) == [event.END]
    with pytest.raises(NotFound):
        await cancel(engine, run)


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_natural_end_that_arrives_while_the_cancel_is_being_stored_ends_the_run_once(
    engine: Any, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """A cancel that was stored first counts all the same: whoever asked for it has been told so."""
    run = await engine.executing()
    await engine.worker.committed(run.run_id, engine.worker.checkpoint(run.run_id, "0001"))
    ended = wait(engine, run)
    submitted = asyncio.Event()
    submit = SqliteStore.run_cancel_if_active

    async def noted(*args: Any, **options: Any) -> Any:
        storing = asyncio.ensure_future(submit(*args, **options))
        await asyncio.sleep(0)
        submitted.set()
        return await storing

    monkeypatch.setattr(SqliteStore, "run_cancel_if_active", noted)
    with engine.writer_held():
        cancelling = asyncio.ensure_future(cancel(engine, run, action))
        await submitted.wait()
        engine.worker.end(run.run_id, result=b"1")
    assert (await cancelling).status == "running"
    assert (await ended).status == ("interrupted" if action == "interrupt" else "deleted")
    await engine.landed()
    assert await engine.kinds(run) == [event.END]
    assert engine.worker.cancels == []
    assert await engine.fetch("SELECT * FROM thread_locks") == []
    assert await engine.fetch("SELECT checkpoint_id FROM checkpoints") == (
        [("0001",)] if action == "interrupt" else []
    )


async def fenced(boots: Any, action: str = "interrupt", **options: Any) -> tuple[Any, Any, Any]:
    """Return an engine, a run of it that has been fenced off, and its worker."""
    engine = await boots.start(cancel_deadline_s=0.0, **options)
    engine.claim()
    run = await engine.executing()
    worker = engine.worker
    await worker.committed(run.run_id, worker.checkpoint(run.run_id, "0001"))
    ended = wait(engine, run)
    await cancel(engine, run, action)
    assert (await ended).status == ("deleted" if action == "rollback" else "interrupted")
    return engine, run, worker


async def test_a_cancel_that_is_not_obeyed_is_recorded_and_the_worker_is_retired(boots: Any) -> None:
    engine = await boots.start(cancel_deadline_s=0.0)
    engine.claim()
    stubborn, neighbour = await engine.executing(), await engine.executing()
    worker = engine.worker
    ended = wait(engine, stubborn)
    await cancel(engine, stubborn)
    assert (await ended).status == "interrupted"
    assert [(each, besides) for each, _, besides in engine.workers.retired] == [
        (worker, frozenset({stubborn.run_id}))
    ]
    await engine.workers.add().started(neighbour.run_id)  # the one that takes its place
    run = await engine.run(neighbour)
    assert (run.strikes, run.status, run.attempt) == (0, "running", 2)
    worker.die()
    assert (await engine.run(stubborn)).strikes == 0
    assert await engine.kinds(stubborn) == [event.END]
    assert (await engine.thread(stubborn)).error is None


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_what_a_fenced_run_sends_is_refused(boots: Any, action: str) -> None:
    engine, run, worker = await fenced(boots, action)
    worker.emit(run.run_id, b"late")
    worker.checkpoint(run.run_id, "0002")
    assert len(worker.refused) == 2
    kept = [] if action == "rollback" else [("0001",)]
    assert await engine.fetch("SELECT checkpoint_id FROM checkpoints") == kept
    assert await engine.kinds(run) == [event.END]


@pytest.mark.parametrize("how", ["its worker is gone", "it lets go after all"])
@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_nothing_follows_a_fenced_run_before_nothing_of_it_executes(
    boots: Any, settled: Any, action: str, how: str
) -> None:
    engine, run, worker = await fenced(boots, action)
    engine.workers.add()
    over = asyncio.ensure_future(engine.runs.over(INTERNAL, run.thread_id, run.run_id))
    successor = await engine.create(run.thread_id)
    await engine.storage.counters()
    await settled()
    assert await engine.status(successor) == "pending"
    assert not over.done()
    if how == "its worker is gone":
        worker.die()
    else:
        worker.end(run.run_id, "cancelled", values=b'{"late":1}')
    await asyncio.wait([over])
    await engine.workers.board.until(
        lambda: any(successor.run_id in each.runs for each in engine.workers.workers)
    )
    assert (await engine.thread(run)).values == b'{"old":1}'
    assert over.result().status == ("deleted" if action == "rollback" else "interrupted")


async def test_the_lock_of_a_fenced_run_is_free_only_when_its_end_is_stored_too(boots: Any) -> None:
    """Interleaving: the worker is gone while the service worker still computes the state."""
    engine = await boots.start(cancel_deadline_s=0.0)
    run = await engine.executing()
    worker = engine.worker
    engine.workers.call_gate.clear()
    await cancel(engine, run)
    await engine.workers.board.until(lambda: bool(engine.workers.calls))
    worker.die()
    assert run.run_id in engine.runs.active
    assert await engine.fetch("SELECT holder FROM thread_locks") == [(run.run_id,)]
    engine.workers.call_gate.set()
    await engine.landed()
    assert await engine.status(run) == "interrupted"
    assert await engine.fetch("SELECT * FROM thread_locks") == []


async def test_a_rollback_of_a_run_that_is_being_fenced_off_counts(boots: Any) -> None:
    engine = await boots.start(cancel_deadline_s=0.0)
    run = await engine.executing()
    worker = engine.worker
    await worker.committed(run.run_id, worker.checkpoint(run.run_id, "0001"))
    engine.workers.call_gate.clear()
    await cancel(engine, run)
    await engine.workers.board.until(lambda: bool(engine.workers.calls))
    await cancel(engine, run, "rollback")
    engine.workers.call_gate.set()
    worker.die()
    await engine.landed()
    assert await engine.status(run) is None
    assert await engine.fetch("SELECT * FROM checkpoints") == []


async def test_a_fenced_run_deleted_meanwhile_keeps_the_lock_until_nothing_of_it_executes(boots: Any) -> None:
    engine, run, worker = await fenced(boots)
    await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)
    assert await engine.fetch("SELECT holder FROM thread_locks") == [(run.run_id,)]
    worker.die()
    await engine.landed()
    assert await engine.fetch("SELECT * FROM thread_locks") == []


async def test_the_next_boot_releases_the_lock_of_a_run_that_was_fenced_off(boots: Any) -> None:
    engine, run, _ = await fenced(boots)
    successor = await engine.create(run.thread_id)
    second = await boots.start()
    assert await second.fetch("SELECT * FROM thread_locks") == []
    second.claim()
    assert await second.worker.started(successor.run_id) == 1


async def test_a_cancel_that_is_obeyed_in_time_kills_nobody(engine: Any) -> None:
    run = await engine.executing()
    await cancel(engine, run)
    here = engine.runs.active[run.run_id]
    engine.worker.end(run.run_id, "cancelled")  # arrives; its storing is under way when the deadline fires
    engine.runs.cancelling.overdue(here)
    await engine.landed()
    engine.runs.cancelling.overdue(here)
    assert not engine.worker.killed


async def test_a_worker_that_dies_while_its_run_is_being_cancelled_has_cancelled_it(engine: Any) -> None:
    run = await engine.executing()
    ended = wait(engine, run)
    await cancel(engine, run)
    engine.worker.die()
    assert (await ended).status == "interrupted"
    await engine.landed()
    assert await engine.kinds(run) == [event.END]


async def test_a_run_cancelled_while_it_waits_for_a_worker_is_cancelled_there(engine: Any) -> None:
    run = await suspect(engine)
    engine.workers.quarantine_gate.clear()
    await engine.workers.board.until(lambda: bool(engine.workers.quarantines))
    await cancel(engine, run)
    engine.workers.quarantine_gate.set()
    (quarantine,) = engine.workers.quarantines
    await engine.workers.board.until(lambda: bool(quarantine.cancels))
    quarantine.end(run.run_id, "cancelled")
    await engine.landed()
    assert await engine.status(run) == "interrupted"


async def suspect(engine: Any) -> Any:
    """Return a run whose worker has died under it."""
    run = await engine.executing()
    engine.workers.quarantine_gate.clear()
    engine.worker.die()
    return run


async def test_a_run_cancelled_while_no_worker_can_be_found_for_it_is_ended(engine: Any) -> None:
    run = await suspect(engine)
    await engine.workers.board.until(lambda: bool(engine.workers.quarantines))
    engine.workers.quarantine_fails = True
    await cancel(engine, run)
    ended = wait(engine, run)
    engine.workers.quarantine_gate.set()
    assert (await ended).status == "interrupted"
    await engine.landed()
    assert (await engine.thread(run)).status == "idle"


async def test_a_run_handed_back_although_it_was_cancelled_is_ended(engine: Any) -> None:
    run = await engine.executing()
    ended = wait(engine, run)
    await cancel(engine, run)
    engine.worker.end(run.run_id, "drained")
    assert (await ended).status == "interrupted"


async def test_cancelling_what_does_not_exist_is_refused(engine: Any) -> None:
    run, other = await engine.executing(), await engine.executing()
    with pytest.raises(NotFound, match="No runs found to cancel"):
        await engine.runs.cancel(INTERNAL, other.thread_id, run.run_id, "interrupt")
    assert (await engine.run(run)).cancel_action is None


# victims of a multitask strategy


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_superseded_run_is_cancelled_and_its_successor_starts_when_it_has_ended(
    engine: Any, strategy: str
) -> None:
    victim = await engine.executing()
    engine.worker.checkpoint(victim.run_id, "0001")
    ended = wait(engine, victim)
    successor = await engine.create(victim.thread_id, multitask_strategy=strategy)
    assert engine.worker.cancels == [(victim.run_id, 1)]
    assert successor.run_id not in engine.worker.orders
    engine.worker.end(victim.run_id, "cancelled")
    assert (await ended).status == ("deleted" if strategy == "rollback" else "interrupted")
    await engine.worker.started(successor.run_id)
    assert len(await engine.fetch("SELECT * FROM checkpoints")) == (strategy == "interrupt")
    assert (await engine.thread(victim)).status == "busy"


async def test_runs_that_wait_behind_the_victim_are_superseded_too(engine: Any) -> None:
    running = await engine.executing()
    waiting = await engine.create(running.thread_id)
    ended = wait(engine, waiting)
    successor = await engine.create(running.thread_id, multitask_strategy="interrupt")
    assert (await ended).status == "interrupted"
    engine.worker.end(running.run_id, "cancelled")
    await engine.worker.started(successor.run_id)
    assert waiting.run_id not in engine.worker.orders


# deleting


async def test_a_run_deleted_while_it_executes_is_stopped_and_its_place_is_free_when_nothing_executes(
    engine: Any,
) -> None:
    run = await engine.executing()
    engine.worker.checkpoint(run.run_id, "0001")
    ended = wait(engine, run)
    with hub.Cursor(engine.hub, run.thread_id, 0, run.run_id) as cursor:
        await cursor.page()  # its start
        reading = asyncio.ensure_future(cursor.page())
        await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)
        assert (await ended).status == "deleted"
        (last,) = await reading
        assert [record.kind for record in last.records] == ["v2/lifecycle=interrupted"]
        assert await cursor.page() == []  # the reader looks elsewhere, and finds no run
    assert await engine.run(run) is None
    assert engine.worker.cancels == [(run.run_id, 1)]
    assert engine.worker.free == 9
    engine.worker.emit(run.run_id)
    engine.worker.checkpoint(run.run_id, "0002")
    assert len(engine.worker.refused) == 2
    engine.worker.end(run.run_id, "cancelled")
    assert engine.worker.free == 10
    assert engine.runs.active == {}
    await engine.storage.counters()
    assert await engine.fetch("SELECT checkpoint_id FROM checkpoints") == []
    assert await engine.kinds(run) == []
    assert (await engine.thread(run)).status == "idle"
    with pytest.raises(NotFound):
        await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)


async def test_a_deleted_run_that_does_not_stop_costs_its_worker_its_life(boots: Any) -> None:
    engine = await boots.start(cancel_deadline_s=0.0)
    engine.claim()
    run, neighbour = await engine.executing(), await engine.executing()
    worker = engine.worker
    await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)
    await engine.workers.board.until(lambda: bool(engine.workers.retired))
    assert engine.workers.retired[0][2] == {run.run_id}
    assert await engine.fetch("SELECT holder FROM thread_locks WHERE thread_id = ?", run.thread_id) == [
        (run.run_id,)
    ]
    worker.die()
    await engine.worker.started(neighbour.run_id)
    assert list(engine.runs.active) == [neighbour.run_id]
    assert await engine.fetch("SELECT holder FROM thread_locks WHERE thread_id = ?", run.thread_id) == []


async def test_a_deleted_pending_run_is_never_started(engine: Any) -> None:
    first = await engine.executing()
    second, third = await engine.create(first.thread_id), await engine.create(first.thread_id)
    ended = wait(engine, second)
    await engine.runs.delete_run(INTERNAL, second.thread_id, second.run_id)
    assert (await ended).status == "deleted"
    engine.worker.end(first.run_id)
    await engine.worker.started(third.run_id)
    assert second.run_id not in engine.worker.orders


async def test_a_run_deleted_while_it_waits_for_a_worker_is_never_started(engine: Any) -> None:
    run = await suspect(engine)
    await engine.workers.board.until(lambda: bool(engine.workers.quarantines))
    await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)
    engine.workers.quarantine_gate.set()
    await engine.landed()
    (quarantine,) = engine.workers.quarantines
    assert (quarantine.orders, quarantine.stopped) == ({}, True)
    assert engine.workers.free_quarantines() == 2


async def test_a_deleted_thread_takes_its_runs_with_it_and_its_id_can_be_used_at_once(engine: Any) -> None:
    running = await engine.executing()
    waiting = await engine.create(running.thread_id)
    await engine.worker.committed(running.run_id, engine.worker.emit(running.run_id, b"old"))
    ended = [wait(engine, run) for run in (running, waiting)]
    with hub.Cursor(engine.hub, running.thread_id, 0) as cursor:
        assert [chunk.last_seq for chunk in await cursor.page()] == [2, 3]  # start, and what was emitted
        await engine.runs.delete_thread(INTERNAL, running.thread_id)
        assert await cursor.page() == []
        assert [(await future).status for future in ended] == ["deleted"] * 2
        again = await engine.executing(running.thread_id)
        engine.worker.emit(again.run_id, b"new")
        engine.worker.emit(running.run_id, b"late")
        engine.worker.end(running.run_id, "cancelled")
        engine.worker.end(again.run_id)
        await engine.landed()
        with hub.Cursor(engine.hub, running.thread_id, 0) as fresh:
            records = [record for chunk in await fresh.page() for record in chunk.records]
    assert {record.run_id for record in records} == {again.run_id}
    assert [record.data for record in records if record.kind == "values"] == [b"new"]
    assert await engine.status(again) == "success"
    with pytest.raises(NotFound):
        await engine.runs.delete_thread(INTERNAL, waiting.run_id)


async def test_a_thread_deleted_while_a_run_of_it_is_being_ended_without_a_worker_leaves_no_error(
    boots: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await boots.start()
    run = await engine.executing()
    engine.worker.die()
    await engine.landed()
    engine.workers.call_gate.clear()
    await cancel(engine, run)
    await engine.workers.board.until(lambda: bool(engine.workers.calls))
    await engine.runs.delete_thread(INTERNAL, run.thread_id)
    engine.workers.call_gate.set()
    await engine.runs.engine.tasks.join()
    await engine.storage.counters()
    assert await engine.kinds(run) == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# the job timeout


async def test_a_run_whose_worker_does_not_end_it_at_its_timeout_is_fenced_off(boots: Any) -> None:
    engine = await boots.start(cancel_deadline_s=0.0)
    run = await engine.executing()
    worker = engine.worker
    ended = wait(engine, run)
    engine.runs.engine.job_timeout_s = 0.001  # only now: it would be over before it could be looked at
    engine.runs.cancelling.watch_time(engine.runs.active[run.run_id])
    assert await ended == waiters.Ended(
        status="timeout", result=None, error={"error": "TimeoutError", "message": ""}
    )
    assert engine.workers.retired[0][2] == {run.run_id}
    worker.die()
    await engine.landed()
    thread = await engine.thread(run)
    assert (thread.status, thread.error) == ("error", {"error": "TimeoutError", "message": ""})
    assert await engine.fetch("SELECT * FROM thread_locks") == []


async def test_a_run_that_ends_in_time_is_left_alone(engine: Any) -> None:
    run = await engine.executing()
    here = engine.runs.active[run.run_id]
    engine.worker.end(run.run_id)
    engine.runs.cancelling.overtime(here)
    await engine.landed()
    engine.runs.cancelling.overtime(here)
    assert engine.workers.retired == []
    assert await engine.status(run) == "success"


async def test_the_time_of_all_attempts_counts_and_waiting_does_not(boots: Any) -> None:
    engine = await boots.start()
    engine.log.now_ms = lambda: engine.now // 1000
    engine.claim()
    run = await engine.executing()
    await engine.worker.committed(run.run_id, engine.worker.checkpoint(run.run_id, "0001"))
    engine.now += 7_000_000
    engine.worker.die()
    assert await engine.worker.started(run.run_id) == 2
    assert engine.worker.orders[run.run_id]["executed_s"] == pytest.approx(7.0, abs=0.1)
    engine.now += 5_000_000
    await engine.worker.committed(run.run_id, engine.worker.emit(run.run_id))
    engine.now += 60_000_000  # the daemon is killed, nobody knows when
    boots.now = engine.now
    second = await boots.start()
    second.now += 3_600_000_000
    second.claim()
    assert await second.worker.started(run.run_id) == 3
    assert second.worker.orders[run.run_id]["executed_s"] == pytest.approx(12.0, abs=0.1)
