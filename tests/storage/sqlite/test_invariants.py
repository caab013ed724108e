"""
The checker of invariants finds what is wrong, each thing by its name, and nothing in what the operations
leave.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from gatewayd.errors import Conflict, NotFound
from gatewayd.model import transitions
from gatewayd.storage.sqlite import boots, invariants, runs, threads

STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")

DAMAGE = {
    "a thread is busy without an active run": "UPDATE threads SET status = 'busy' WHERE thread_id = :idle",
    "a thread with an active run is not busy": "UPDATE threads SET status = 'idle' WHERE thread_id = :busy",
    "an active run has no thread, or one that is deleted or hidden": (
        "UPDATE threads SET deleted_at = 1 WHERE thread_id = :busy"
    ),
    "a running run does not hold its thread's lock": "DELETE FROM thread_locks WHERE thread_id = :busy",
    "a running run belongs to an earlier boot": "UPDATE runs SET boot = -1 WHERE run_id = :running",
    "a lock is held by a run that is not active": "INSERT INTO thread_locks VALUES (:idle, :ended, 'run', 1)",
    "an ended run lacks its last event": "DELETE FROM events WHERE thread_id = :idle",
    "a stateless run has ended and its thread still shows": (
        "UPDATE threads SET ephemeral = 1 WHERE thread_id = :idle"
    ),
    "an ended run that asked for a webhook has none, and has not been told long ago": (
        "DELETE FROM webhooks WHERE run_id = :ended"
    ),
    "a thread's tags are not those of its metadata": "DELETE FROM thread_tags WHERE thread_id = :idle",
    "a row of runs has no thread": "DELETE FROM threads WHERE thread_id = :idle",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_by_its_name(desk: Any, name: str) -> None:
    idle, busy = desk.thread(), desk.thread()
    asking = {"kwargs": {"input": {}, "command": None, "webhook": "http://example.com"}}
    desk.finish(desk.create(idle, claim=True, **asking))
    ended = desk.create(idle, claim=True, **asking)
    desk.finish(ended)
    running = desk.create(busy, claim=True)
    assert invariants.invariants_check(desk.connection, True) == []
    desk.connection.execute("PRAGMA foreign_keys = OFF")
    desk.connection.execute(DAMAGE[name], {"idle": idle, "busy": busy, "running": running, "ended": ended})
    found = {violation.invariant for violation in invariants.invariants_check(desk.connection, True)}
    assert name in found
    if name in invariants.ACTIVE:
        assert name in {each.invariant for each in invariants.invariants_check(desk.connection, False)}


def test_a_wrong_status_is_derived_anew_and_told(desk: Any) -> None:
    idle, busy = desk.thread(), desk.thread()
    desk.create(busy, claim=True)
    desk.connection.execute("UPDATE threads SET status = iif(thread_id = ?, 'busy', 'idle')", (idle,))
    assert {each.subject for each in invariants.invariants_repair(desk.connection, desk.tick())} == {
        idle,
        busy,
    }
    assert (desk.look(idle).status, desk.look(busy).status) == ("idle", "busy")
    assert invariants.invariants_repair(desk.connection, desk.tick()) == []


def test_the_table_itself_refuses_a_second_running_run_of_a_thread(desk: Any) -> None:
    thread_id = desk.thread()
    desk.create(thread_id, claim=True)
    second = desk.create(thread_id)
    with pytest.raises(Exception, match="UNIQUE"):
        desk.connection.execute(
            "UPDATE runs SET status = 'running', started_at = 1, attempt_at = 1, boot = 1 WHERE run_id = ?",
            (second,),
        )


@pytest.mark.parametrize("seed", range(12))
def test_whatever_operations_come_in_whatever_order_the_invariants_hold(desk: Any, seed: int) -> None:
    """
    Every run moves along the picture in `states`, and every thread's status is what follows from its runs.
    """
    dice = random.Random(seed)
    ids_ = [desk.thread() for _ in range(3)]
    last: dict[str, str] = {}
    for _ in range(150):
        _step(desk, dice, ids_)
        assert invariants.invariants_check(desk.connection, True) == []
        now = dict(desk.fetch("SELECT run_id, status FROM runs"))
        for run_id, status in now.items():
            assert _possible(last.get(run_id), status), (last.get(run_id), status)
        last = now
        for thread_id in ids_:
            active = transitions.ACTIVE & set(desk.runs(thread_id).values())
            assert (desk.look(thread_id).status == "busy") is bool(active)


def _possible(before: str | None, after: str) -> bool:
    """Whether one operation may lead from one status to another; creating may start at once."""
    if before == after:
        return True
    if before is None:
        return after in {"pending", "running"}
    return any(before in move.before and after in move.after for move in transitions.TRANSITIONS)


def _step(desk: Any, dice: random.Random, thread_ids: list[str]) -> None:
    thread_id = dice.choice(thread_ids)
    found = list(desk.runs(thread_id).items())
    run_id, status = dice.choice(found) if found else (None, None)
    match dice.randrange(10):
        case 0 | 1 | 2:
            try:
                desk.create(
                    dice.choice([thread_id, thread_id, None]),
                    claim=dice.random() < 0.5,
                    multitask_strategy=dice.choice(STRATEGIES),
                    after_s=dice.choice([0.0, 0.0, 0.002, 60.0]),
                )
            except Conflict:
                pass
        case 3 | 4:
            desk.claim(dice.randrange(3), dice.randrange(3))
        case 5 if run_id and status == "running":
            desk.requeue(run_id, died=dice.random() < 0.5)
        case 6 if run_id:
            desk.cancel(run_id, dice.choice(["interrupt", "rollback"]))
        case 7 if run_id and status in transitions.ACTIVE:
            rollback = desk.run(run_id).cancel_action == "rollback"
            desk.finish(
                run_id,
                "interrupted" if rollback else dice.choice(sorted(transitions.ENDED)),
                quiet=status == "pending",
                rollback=rollback,
                interrupts=dice.choice([None, {}, {"task": [{"id": "0"}]}]),
            )
        case 8 if run_id and dice.random() < 0.3:
            runs.run_delete(desk.connection, thread_id, run_id, desk.tick())
            if status == "running":  # the manager releases the lock when nothing of the run executes
                desk.connection.execute("DELETE FROM thread_locks WHERE holder = ?", (run_id,))
        case 9 if dice.random() < 0.2:
            desk.restart()
            boots.orphans_requeue(desk.connection, desk.boot, desk.tick(), {}, "resume")
        case _ if dice.random() < 0.02:
            try:
                threads.thread_delete(desk.connection, thread_id, desk.tick())
            except NotFound:
                pass
            threads.thread_create(desk.connection, thread_id, {}, False, desk.tick())
