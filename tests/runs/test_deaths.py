"""Workers and daemons that die: who goes on, who is put aside, and what is never done twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import SEQUENCE_JUMP
from gatewayd.runs import trials

# workers


async def test_the_runs_of_a_dead_worker_go_on_in_the_next_with_a_higher_attempt(engine: Any) -> None:
    run = await engine.executing()
    n = engine.worker.checkpoint(run.run_id, "0001")
    await engine.worker.committed(run.run_id, n)
    engine.worker.die()
    assert await engine.worker.started(run.run_id) == 2
    assert engine.worker.orders[run.run_id]["attempt"] == 2
    engine.worker.end(run.run_id)
    await engine.landed()
    assert await engine.status(run) == "success"


async def test_what_the_dead_worker_had_sent_is_stored_and_its_later_frames_are_not(engine: Any) -> None:
    run = await engine.executing()
    dead = engine.worker
    dead.emit(run.run_id, b"before")
    dead.checkpoint(run.run_id, "0001")
    dead.die()
    dead.emit(run.run_id, b"after", attempt=1)
    dead.emit(run.run_id, b"guessed", attempt=2)
    await engine.worker.started(run.run_id)
    dead.emit(run.run_id, b"later", attempt=2)
    engine.worker.emit(run.run_id, b"second attempt")
    engine.worker.end(run.run_id)
    await engine.landed()
    assert [record.data for record in await engine.records(run)][:-1] == [b"before", b"second attempt"]


async def test_a_run_is_not_parked_if_its_end_had_arrived_before_the_death(engine: Any) -> None:
    run = await engine.executing()
    with engine.writer_held():
        engine.worker.end(run.run_id, result=b"1")
        engine.worker.die()
    await engine.landed()
    assert await engine.status(run) == "success"


async def test_who_dies_without_progress_goes_on_alone_and_who_progressed_among_others(engine: Any) -> None:
    stuck, moving = await engine.executing(), await engine.executing()
    await engine.worker.committed(moving.run_id, engine.worker.checkpoint(moving.run_id, "0001"))
    engine.worker.die()
    await engine.worker.started(moving.run_id)
    await engine.workers.board.until(lambda: bool(engine.workers.quarantines))
    (quarantine,) = engine.workers.quarantines
    assert await quarantine.started(stuck.run_id) == 2
    assert ((await engine.run(stuck)).strikes, (await engine.run(moving)).strikes) == (1, 0)
    assert list(engine.worker.runs) == [moving.run_id]


async def test_a_suspect_that_progresses_is_cleared_and_goes_back_to_the_others(engine: Any) -> None:
    run = await engine.executing()
    engine.worker.die()
    await engine.workers.board.until(lambda: bool(engine.workers.quarantines))
    (quarantine,) = engine.workers.quarantines
    await quarantine.started(run.run_id)
    await quarantine.committed(run.run_id, quarantine.checkpoint(run.run_id, "0001"))
    quarantine.end(run.run_id, "drained")
    assert await engine.worker.started(run.run_id) == 3
    assert quarantine.stopped
    assert engine.workers.free_quarantines() == 2


async def die_alone(engine: Any, run: Any, attempt: int, how: str = "signal 9, SIGKILL") -> None:
    await engine.workers.board.until(
        lambda: any(each.runs.get(run.run_id) == attempt for each in engine.workers.quarantines)
    )
    next(each for each in engine.workers.quarantines if run.run_id in each.runs).die(how)


async def test_a_run_that_kills_its_process_again_and_again_is_put_aside_with_an_error_that_says_so(
    engine: Any,
) -> None:
    run = await engine.executing()
    waiting = asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id))
    engine.worker.emit(run.run_id, b"partial")
    engine.worker.die()
    for attempt in (2, 3):
        await die_alone(engine, run, attempt, f"exit code {attempt}")
    ended = await waiting
    assert ended.status == "error"
    assert ended.error is not None
    assert ended.error["error"] == "WorkerDied"
    assert "died 3 times without progress (the last time: exit code 3)" in ended.error["message"]
    assert (await engine.run(run)).attempt == 3
    thread = await engine.thread(run)
    assert (thread.status, thread.error, thread.values) == ("error", ended.error, b'{"old":1}')
    assert await engine.kinds(run) == ["values", "error", event.END]
    assert await engine.fetch("SELECT * FROM thread_locks") == []
    await engine.landed()


async def test_the_last_death_is_not_followed_by_another_start_while_the_end_is_being_computed(
    engine: Any,
) -> None:
    run = await engine.executing()
    engine.workers.call_gate.clear()
    engine.worker.die()
    for attempt in (2, 3):
        await die_alone(engine, run, attempt)
    await engine.workers.board.until(lambda: bool(engine.workers.calls))
    for _ in range(3):  # whoever wakes the claimer now
        other = await engine.create()
        engine.runs.engine.queue.waits()
        await engine.worker.started(other.run_id)
        await engine.storage.counters()
    assert await engine.status(run) == "pending"
    assert len(engine.workers.quarantines) == 2
    engine.workers.call_gate.set()
    await engine.runs.engine.tasks.join()
    await engine.storage.counters()
    assert (await engine.status(run), (await engine.run(run)).attempt) == ("error", 3)
    assert engine.runs.dispatch.settling == set()


async def test_a_run_is_put_aside_only_if_it_was_alone_at_its_last_death(engine: Any) -> None:
    run, neighbour = await engine.executing(), await engine.executing()
    await engine.fetch("UPDATE runs SET strikes = 10")
    engine.worker.die()
    await engine.workers.board.until(lambda: len(engine.workers.quarantines) == 2)
    for each in engine.workers.quarantines:
        await engine.workers.board.until(lambda each=each: bool(each.runs))
        (run_id,) = each.runs
        await each.committed(run_id, each.checkpoint(run_id, run_id))
        each.end(run_id)
    await engine.landed()
    assert [await engine.status(one) for one in (run, neighbour)] == ["success"] * 2


async def test_progress_between_two_deaths_starts_the_count_anew(engine: Any) -> None:
    run = await engine.executing()
    engine.worker.die()
    for attempt in (2, 3, 4, 5):
        await engine.workers.board.until(
            lambda attempt=attempt: any(
                each.runs.get(run.run_id) == attempt
                for each in [*engine.workers.quarantines, *engine.workers.workers]
            )
        )
        each = next(
            each
            for each in [*engine.workers.quarantines, *engine.workers.workers]
            if each.runs.get(run.run_id) == attempt
        )
        if attempt % 2:
            await each.committed(run.run_id, each.checkpoint(run.run_id, f"{attempt:04}"))
        each.die()
    await engine.workers.board.until(lambda: run.run_id in engine.worker.runs)
    assert (await engine.run(run)).strikes == 0


# blocked workers


async def quarantined(engine: Any) -> Any:
    """Wait for a quarantine worker that has a run, and return it."""
    await engine.workers.board.until(lambda: any(each.runs for each in engine.workers.quarantines))
    return next(each for each in engine.workers.quarantines if each.runs)


async def test_the_run_that_blocked_a_worker_goes_on_alone_the_others_among_others_and_none_has_a_strike(
    engine: Any,
) -> None:
    blocker, bystander = await engine.executing(), await engine.executing()
    dead = engine.worker
    dead.draining, dead.blames_runs = True, False
    dead.blockers = frozenset({blocker.run_id})
    dead.die("its event loop was blocked")
    assert await engine.worker.started(bystander.run_id) == 2
    quarantine = await quarantined(engine)
    assert quarantine.runs == {blocker.run_id: 2}
    found = [await engine.run(run) for run in (blocker, bystander)]
    assert [(run.strikes, run.blocked) for run in found] == [(0, True), (0, False)]
    await quarantine.committed(blocker.run_id, quarantine.checkpoint(blocker.run_id, "0001"))
    assert (await engine.run(blocker)).blocked is False


async def test_a_blocked_worker_that_dies_by_itself_is_a_strike_although_another_has_its_post(
    engine: Any,
) -> None:
    run = await engine.executing()
    dead = engine.worker
    dead.draining = True
    dead.die()
    quarantine = await quarantined(engine)
    assert quarantine.runs == {run.run_id: 2}
    assert (await engine.run(run)).strikes == 1


async def test_a_run_that_a_blocked_worker_has_not_begun_goes_to_another(engine: Any) -> None:
    begun, waiting = await engine.executing(), await engine.executing()
    blocked, other = engine.worker, engine.workers.add()
    blocked.blocked_since = 1.0
    engine.runs.intake.worker_withdrew(blocked, waiting.run_id, 2)
    engine.runs.intake.worker_withdrew(other, waiting.run_id, 1)
    assert set(engine.runs.active) == {begun.run_id, waiting.run_id}
    engine.runs.intake.worker_withdrew(blocked, waiting.run_id, 1)
    assert await other.started(waiting.run_id) == 2
    assert (await engine.run(waiting)).strikes == 0
    assert blocked.runs == {begun.run_id: 1}


async def test_a_run_that_was_cancelled_before_it_was_given_back_ends(engine: Any) -> None:
    run = await engine.executing()
    await engine.runs.cancel(INTERNAL, run.thread_id, run.run_id, "interrupt")
    engine.runs.intake.worker_withdrew(engine.worker, run.run_id, 1)
    await engine.landed()
    await engine.storage.counters()  # what was posted to the writer before is stored
    assert await engine.status(run) == "interrupted"


async def test_queue_names_the_place_for_the_runs_in_a_blocked_worker_and_those_that_wait_for_it(
    engine: Any,
) -> None:
    inside = await engine.executing()
    engine.worker.blocked_since, engine.worker.place = 1.0, "graph.py:7 in node"
    waiting = await engine.create()
    for run in (inside, waiting):
        _, reason, blocked_at = await engine.runs.queue_place(INTERNAL, run.thread_id, run.run_id)
        assert (reason, blocked_at) == ("worker_blocked", "graph.py:7 in node")
    engine.worker.blocked_since = None
    assert (await engine.runs.queue_place(INTERNAL, inside.thread_id, inside.run_id))[1:] == (None, None)


# daemons


async def test_a_new_boot_goes_on_with_what_the_last_one_was_executing(boots: Any) -> None:
    first = await boots.start()
    run = await first.executing()
    await first.worker.committed(run.run_id, first.worker.emit(run.run_id, b"before"))
    second = await boots.start()
    assert await second.status(run) == "pending"
    second.claim()
    assert await second.worker.started(run.run_id) == 2
    second.worker.emit(run.run_id, b"after")
    second.worker.end(run.run_id)
    await second.landed()
    records = await second.records(run)
    assert [record.data for record in records[:2]] == [b"before", b"after"]
    assert [record.seq for record in records] == [3, 6 + SEQUENCE_JUMP, 8 + SEQUENCE_JUMP]


async def test_a_run_that_waited_over_a_restart_gets_numbers_behind_those_of_the_run_before_it(
    boots: Any,
) -> None:
    """It was created when the log had just begun; since then the run before it has filled it."""
    first = await boots.start()
    running = await first.executing()
    waiting = await first.create(running.thread_id)
    assert waiting.log_from <= 2
    first.worker.emit(running.run_id, *[b"x"] * 50)
    first.worker.end(running.run_id)
    await first.landed()
    second = await boots.start()
    second.claim()
    await second.worker.started(waiting.run_id)
    second.worker.emit(waiting.run_id)
    second.worker.end(waiting.run_id)
    await second.landed()
    assert [record.seq for record in await second.records(waiting)] == [57, 59]
    assert await second.status(waiting) == "success"


async def test_a_cancel_that_was_stored_is_carried_out_by_the_next_boot_and_the_run_is_not_resumed(
    boots: Any,
) -> None:
    first = await boots.start()
    executing, rolled_back = await first.executing(), await first.executing()
    first.worker.checkpoint(executing.run_id, "0001")
    first.worker.checkpoint(rolled_back.run_id, "0001")
    delayed = await first.create(after_s=60.0)
    await first.runs.cancel(INTERNAL, executing.thread_id, executing.run_id, "interrupt")
    await first.runs.cancel(INTERNAL, rolled_back.thread_id, rolled_back.run_id, "rollback")
    await first.storage.run_cancel_if_active(
        INTERNAL, delayed.run_id, "interrupt", {"error": "E", "message": "m"}, first.now
    )

    second = await boots.start()
    second.claim()
    await second.runs.end_cancelled()
    await second.storage.counters()
    assert await second.status(executing) == "interrupted"
    assert await second.status(rolled_back) is None
    assert await second.status(delayed) == "interrupted"
    assert second.worker.orders == {}
    assert await second.fetch("SELECT run_id FROM checkpoints") == [(executing.run_id,)]
    for run in (executing, rolled_back, delayed):
        assert await second.kinds(run) == [event.END]
        assert (await second.thread(run)).status == "idle"
    assert await second.fetch("SELECT * FROM thread_locks") == []


async def test_a_run_that_was_handed_back_at_a_stop_goes_on_without_suspicion(boots: Any) -> None:
    engine = await boots.start()
    run = await engine.executing()
    for _ in range(3):
        await engine.runs.stop(20.0)
        engine = await boots.start()
        engine.claim()
        await engine.worker.started(run.run_id)
    found = await engine.run(run)
    assert (found.status, found.suspicions, found.strikes, found.attempt) == ("running", 0, 0, 4)


async def thrice(boots: Any, others: int = 0) -> tuple[Any, Any, list[Any]]:
    """Return the boot after three deaths of the daemon at a run and others, before anything was claimed."""
    engine = await boots.start()
    run = await engine.executing()
    beside = [await engine.executing() for _ in range(others)]
    for _ in range(2):
        engine = await boots.start()
        engine.claim()
        for each in [run, *beside]:
            await engine.worker.started(each.run_id)
    return await boots.start(), run, beside


async def test_a_run_at_which_the_daemon_died_three_times_is_tried_alone_and_others_wait_for_its_end(
    boots: Any, settled: Any
) -> None:
    engine, run, _ = await thrice(boots)
    early = await engine.create()
    engine.claim()
    quarantine = await quarantined(engine)
    assert await quarantine.started(run.run_id) == 4
    late = await engine.create()
    await settled()
    assert engine.worker.orders == {}
    assert [
        (await engine.runs.queue_place(INTERNAL, one.thread_id, one.run_id))[1] for one in (early, late)
    ] == ["trial"] * 2
    quarantine.end(run.run_id)
    for each in (early, late):
        await engine.worker.started(each.run_id)
    assert await engine.status(run) == "success"


async def test_the_others_wait_no_longer_than_for_the_time_of_a_trial(
    boots: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "TRIAL_S", 0.05)
    engine, run, _ = await thrice(boots)
    other = await engine.create()
    engine.claim()
    await engine.worker.started(other.run_id)
    assert await engine.status(run) == "running"


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_nobody_waits_for_a_suspect_that_is_gone_before_it_is_tried(boots: Any, how: str) -> None:
    engine, run, _ = await thrice(boots)
    other = await engine.create()
    if how == "cancelled":
        await engine.runs.cancel(INTERNAL, run.thread_id, run.run_id, "interrupt")
    else:
        await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)
    engine.claim()
    await engine.worker.started(other.run_id)
    assert engine.workers.quarantines == []


async def test_a_run_at_which_the_daemon_dies_while_it_is_tried_alone_is_put_aside_and_no_bystander(
    boots: Any,
) -> None:
    engine, run, (bystander,) = await thrice(boots, others=1)
    await engine.fetch(
        "UPDATE runs SET executed_us = executed_us + 1000000000 WHERE run_id = ?", bystander.run_id
    )
    engine.runs.dispatch.trial.choose(await engine.storage.run_find_to_try())
    engine.claim()
    quarantine = await quarantined(engine)
    assert list(quarantine.runs) == [run.run_id]

    engine = await boots.start()
    await engine.runs.end_cancelled()
    await engine.storage.counters()
    found = await engine.run(run)
    assert (found.status, found.error["error"], found.attempt) == ("error", "DaemonDied", 4)
    assert "the daemon died 4 times" in found.error["message"].lower()
    assert (await engine.thread(run)).error == found.error
    engine.claim()
    quarantine = await quarantined(engine)
    assert list(quarantine.runs) == [bystander.run_id]
    await quarantine.committed(bystander.run_id, quarantine.checkpoint(bystander.run_id, "0001"))
    quarantine.end(bystander.run_id)
    await engine.landed()
    assert await engine.status(bystander) == "success"


async def test_the_restart_touches_no_thread_without_orphans(boots: Any) -> None:
    first = await boots.start()
    run = await first.executing()
    first.worker.emit(run.run_id)
    first.worker.end(run.run_id)
    await first.landed()
    second = await boots.start()
    again = await second.executing(run.thread_id)
    second.worker.emit(again.run_id)
    second.worker.end(again.run_id)
    await second.landed()
    assert [record.seq for record in await second.records(again)] == [8, 10]


@pytest.mark.parametrize("orphans", [0, 5])
async def test_recovering_says_how_many_runs_go_on(boots: Any, orphans: int) -> None:
    first = await boots.start()
    for _ in range(orphans):
        await first.executing()
    await first.create(ids.new_id(), after_s=60.0)
    second = await boots.start()
    assert (await second.storage.counters())["n_pending"] == orphans + 1
    assert await second.runs.recover() == 0


# on_restart


async def cut_off(boots: Any, policy: str) -> tuple[Any, Any]:
    """Return the boot after a kill, with this policy, and the run that the kill has cut off."""
    first = await boots.start()
    run = await first.executing()
    await first.worker.committed(run.run_id, first.worker.checkpoint(run.run_id, "0001"))
    second = await boots.start(on_restart=policy)
    second.claim()
    await second.runs.end_cancelled()
    await second.storage.counters()
    return second, run


async def test_with_restart_a_run_that_was_cut_off_begins_at_its_input(boots: Any) -> None:
    engine, run = await cut_off(boots, "restart")
    assert await engine.worker.started(run.run_id) == 2
    assert await engine.fetch("SELECT * FROM checkpoints") == []
    assert await engine.fetch("SELECT holder FROM thread_locks") == [(run.run_id,)]


@pytest.mark.parametrize(("policy", "status"), [("error", "error"), ("interrupt", "interrupted")])
async def test_with_error_or_interrupt_a_run_that_was_cut_off_ends_so_and_keeps_its_state(
    boots: Any, policy: str, status: str
) -> None:
    engine, run = await cut_off(boots, policy)
    assert await engine.status(run) == status
    assert engine.worker.orders == {}
    thread = await engine.thread(run)
    if policy == "error":
        assert thread.error is not None
        assert thread.error["error"] == "ServerRestarted"
        assert "on_restart=error" in thread.error["message"]
    else:
        assert thread.error is None
        assert "on_restart=interrupt" in str((await engine.run(run)).cancel_reason)
    assert thread.values == b'{"old":1}'
    assert await engine.fetch("SELECT checkpoint_id FROM checkpoints") == [("0001",)]
    assert await engine.fetch("SELECT * FROM thread_locks") == []
    assert await engine.kinds(run) == (["error", event.END] if policy == "error" else [event.END])


async def test_a_policy_is_carried_out_by_a_later_boot_if_the_first_is_killed_too(boots: Any) -> None:
    first = await boots.start()
    run = await first.executing()
    await boots.start(on_restart="error")
    third = await boots.start()
    await third.runs.end_cancelled()
    await third.storage.counters()
    assert await third.status(run) == "error"


async def test_a_stored_rollback_is_carried_out_whatever_the_policy(boots: Any) -> None:
    first = await boots.start()
    run = await first.executing()
    await first.runs.cancel(INTERNAL, run.thread_id, run.run_id, "rollback")
    second = await boots.start(on_restart="error")
    await second.runs.end_cancelled()
    await second.storage.counters()
    assert await second.status(run) is None


async def test_a_stored_cancel_keeps_what_the_run_has_stored_whatever_the_policy(boots: Any) -> None:
    first = await boots.start()
    run = await first.executing()
    await first.worker.committed(run.run_id, first.worker.checkpoint(run.run_id, "0001"))
    await first.runs.cancel(INTERNAL, run.thread_id, run.run_id, "interrupt")
    second = await boots.start(on_restart="restart")
    await second.runs.end_cancelled()
    await second.storage.counters()
    assert await second.status(run) == "interrupted"
    assert await second.fetch("SELECT checkpoint_id FROM checkpoints") == [("0001",)]


async def test_runs_that_were_handed_back_at_a_stop_go_on_whatever_the_policy(boots: Any) -> None:
    first = await boots.start()
    run = await first.executing()
    await first.runs.stop(20.0)
    second = await boots.start(on_restart="error")
    second.claim()
    assert await second.worker.started(run.run_id) == 2
