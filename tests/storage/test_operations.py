"""
Operations on threads: they acquire the lock like a run, and what they store is there at once or not at all.
"""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd import ids
from gatewayd.checkpointing import commands as changes
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.run import RunOutcome

OPERATION = "operation-1"


def take(desk: Any, thread_id: str, operation_id: str = OPERATION) -> Any:
    return desk.ask.thread_lock_acquire_for_operation(thread_id, operation_id)


def put(thread_id: str, checkpoint_id: str, namespace: str = "", size: int = 5) -> changes.Operation:
    return changes.put(thread_id, namespace, checkpoint_id, None, "msgpack", b"x" * size, "{}")


def update(desk: Any, thread_id: str, made: list[changes.Operation], **projection: Any) -> None:
    told = desk.draft(thread_id, "", [("state_update", "", 2, b"{}")])
    outcome = RunOutcome(status="success", **projection)
    desk.ask.state_update_if_held(thread_id, OPERATION, made, outcome, told, desk.tick())


def settled(desk: Any, count: int = 3) -> str:
    """Return a thread on which runs have ended and left checkpoints and writes."""
    thread_id = str(desk.thread(name="settled"))
    for number in range(count):
        run_id = desk.create(thread_id, claim=True)
        desk.checkpoint(run_id, f"{number:04}")
        desk.write(run_id, f"{number:04}")
        projection = {
            "values": b'{"v":1}',
            "next": ["ask"],
            "interrupts": {"task": [{"id": "1", "value": 2}]},
        }
        desk.finish(run_id, **projection)
    return thread_id


# the lock


def test_an_operation_takes_a_free_thread_and_finds_out_what_it_is(desk: Any) -> None:
    thread_id = desk.thread(a=1)
    assert take(desk, thread_id).metadata == {"a": 1}
    assert desk.holder(thread_id) == "operation"
    desk.ask.thread_locks_release(OPERATION)
    assert desk.holder(thread_id) is None


def test_an_operation_is_refused_while_a_run_has_the_thread_through_its_parks_until_its_end(
    desk: Any,
) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    refusal = rf"Thread {thread_id} has in-flight runs: \[{run_id}\]"
    with pytest.raises(Conflict, match=refusal):
        take(desk, thread_id)
    desk.requeue(run_id)
    with pytest.raises(Conflict, match=refusal):
        take(desk, thread_id)
    desk.restart()
    with pytest.raises(Conflict, match=refusal):
        take(desk, thread_id)
    desk.claim()
    desk.finish(run_id)
    take(desk, thread_id)


def test_a_run_that_has_not_begun_does_not_keep_operations_away(desk: Any) -> None:
    thread_id = desk.thread()
    desk.create(thread_id)
    desk.create(thread_id, after_s=60.0)
    take(desk, thread_id)


def test_a_run_does_not_start_in_the_middle_of_an_operation_but_right_after_it(desk: Any) -> None:
    thread_id = desk.thread()
    take(desk, thread_id)
    admitted = desk.admit(thread_id, claim=True)
    assert not admitted.started
    assert desk.claim() == []
    assert desk.run(admitted.run.run_id).status == "pending"
    desk.ask.thread_locks_release(OPERATION)
    assert desk.claim() == [admitted.run.run_id]


def test_two_operations_do_not_share_a_thread(desk: Any) -> None:
    thread_id = desk.thread()
    take(desk, thread_id)
    with pytest.raises(Conflict, match="is being changed by another operation"):
        take(desk, thread_id, "operation-2")
    assert desk.holder(thread_id) == "operation"


def test_threads_that_are_not_there_have_no_lock(desk: Any) -> None:
    unknown, deleted = ids.new_id(), desk.thread()
    desk.ask.thread_delete(deleted, desk.tick())
    for thread_id in (unknown, deleted):
        with pytest.raises(NotFound, match=f"Thread with ID {thread_id} not found"):
            take(desk, thread_id)
        assert desk.holder(thread_id) is None


def test_a_boot_releases_the_locks_of_operations_and_keeps_those_of_runs(desk: Any) -> None:
    changed, executed = desk.thread(), desk.thread()
    take(desk, changed)
    run_id = desk.create(executed, claim=True)
    desk.restart()
    assert (desk.holder(changed), desk.holder(executed)) == (None, run_id)


# state updates


def test_a_thread_with_a_waiting_run_stays_busy_after_a_state_update(desk: Any) -> None:
    thread_id = settled(desk)
    desk.create(thread_id)
    take(desk, thread_id)
    update(desk, thread_id, [put(thread_id, "0003")], values=b"{}", next=["ask"], interrupts={})
    assert desk.look(thread_id).status == "busy"


# copies


def copy(desk: Any, source: str, target: str) -> int:
    """Copy a thread and return the number of steps; the copy can't be seen or swept before the last."""
    desk.ask.thread_copy_begin(source, target, OPERATION, desk.tick())
    steps, position = 0, None
    while True:
        assert not desk.exists(target)
        assert desk.ask.threads_to_sweep(desk.now, 10, 0) == []
        position = desk.ask.thread_copy_step(source, target, OPERATION, position)
        steps += 1
        if position is None:
            break
    desk.ask.thread_copy_end(source, target, OPERATION, desk.tick())
    return steps


def test_a_copy_has_the_state_of_its_source_and_none_of_its_runs(desk: Any) -> None:
    thread_id = settled(desk)
    source = desk.look(thread_id)
    copy(desk, thread_id, "target")
    made = desk.look("target")
    assert made.status == "interrupted"
    fields = ("metadata", "values", "interrupts", "error")
    assert [getattr(made, name) for name in fields] == [getattr(source, name) for name in fields]
    assert made.created_at == made.updated_at == made.state_updated_at == desk.now
    assert made.config == {}
    assert desk.runs("target") == {}
    assert (desk.holder(thread_id), desk.holder("target")) == (None, None)
    assert desk.look(thread_id) == source


@pytest.mark.parametrize(("end", "status"), [("success", "idle"), ("error", "error")])
def test_the_status_of_a_copy_follows_from_its_state(desk: Any, end: str, status: str) -> None:
    thread_id = desk.thread()
    error = {"error": "ValueError", "message": "boom"} if end == "error" else None
    desk.finish(desk.create(thread_id, claim=True), end, values=b"{}", next=[], interrupts={}, error=error)
    copy(desk, thread_id, "target")
    assert (desk.look("target").status, desk.look("target").error) == (status, error)


def test_a_copy_of_a_thread_whose_run_waits_is_not_busy(desk: Any) -> None:
    thread_id = settled(desk)
    desk.create(thread_id)
    copy(desk, thread_id, "target")
    assert (desk.look(thread_id).status, desk.look("target").status) == ("busy", "interrupted")


def test_a_copy_of_a_thread_that_is_deleted_meanwhile_never_appears(desk: Any) -> None:
    thread_id = settled(desk)
    desk.ask.thread_copy_begin(thread_id, "target", OPERATION, desk.tick())
    desk.ask.thread_delete(thread_id, desk.tick())
    for step in (
        lambda: desk.ask.thread_copy_step(thread_id, "target", OPERATION, None),
        lambda: desk.ask.thread_copy_end(thread_id, "target", OPERATION, desk.tick()),
    ):
        with pytest.raises(NotFound):
            step()
    desk.ask.thread_locks_release(OPERATION)
    assert set(desk.ask.threads_to_sweep(desk.now, 10, 0)) == {thread_id, "target"}


def test_a_thread_without_a_run_is_not_copied_at_once(desk: Any) -> None:
    thread_id = settled(desk)
    assert desk.ask.thread_copy_beside_run(thread_id, "target", desk.tick()) is None
    assert not desk.exists("target")


# prunes


def prune(desk: Any, thread_id: str, kept: list[list[Any]]) -> int:
    """Prune a thread and return the number of steps."""
    take(desk, thread_id)
    steps = 0
    while True:
        assert desk.holder(thread_id) == "operation"
        done = desk.ask.thread_prune_step(thread_id, OPERATION, kept)
        steps += 1
        if done == len(kept):
            return steps
        kept = kept[done:]


def test_a_prune_of_a_thread_without_states_frees_it(desk: Any) -> None:
    thread_id = desk.thread()
    assert prune(desk, thread_id, []) == 1
    assert desk.holder(thread_id) is None
