"""
Operations on threads: they acquire the lock like a run, and what they store is there at once or not at all.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from gatewayd.checkpointing import commands as changes
from gatewayd.checkpointing.sqlite import changes as checkpoint_changes
from gatewayd.checkpointing.sqlite import steps as checkpoint_steps
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.run import RunOutcome
from gatewayd.storage.sqlite import operations, thread_locks, threads

OPERATION = "operation-1"


def take(desk: Any, thread_id: str, operation_id: str = OPERATION) -> Any:
    return thread_locks.thread_lock_acquire_for_operation(desk.connection, thread_id, operation_id, desk.boot)


def put(thread_id: str, checkpoint_id: str, namespace: str = "", size: int = 5) -> changes.Operation:
    return changes.put(thread_id, namespace, checkpoint_id, None, "msgpack", b"x" * size, "{}")


def update(desk: Any, thread_id: str, made: list[changes.Operation], **projection: Any) -> None:
    """Store a state update as the daemon does: in a savepoint."""
    told = desk.draft(thread_id, "", [("state_update", "", 2, b"{}")])
    outcome = RunOutcome(status="success", **projection)
    connection = desk.connection
    connection.execute("SAVEPOINT operation")
    try:
        operations.state_update_if_held(connection, thread_id, OPERATION, made, outcome, told, desk.tick())
    except BaseException:
        connection.execute("ROLLBACK TO operation")
        raise
    finally:
        connection.execute("RELEASE operation")


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


# state updates


def test_a_state_update_stores_rows_projection_and_event_and_releases_the_lock(desk: Any) -> None:
    thread_id = settled(desk)
    take(desk, thread_id)
    writes = changes.writes(thread_id, "", "0002", "task", "", [(0, "channel", 1, "msgpack", b"new")])
    before = desk.look(thread_id)
    update(desk, thread_id, [writes, put(thread_id, "0003")], values=b'{"v":2}', next=[], interrupts={})
    after = desk.look(thread_id)
    assert (after.values, after.status, after.interrupts, after.error) == (b'{"v":2}', "idle", {}, None)
    assert after.state_updated_at == after.updated_at == desk.now > before.updated_at
    assert desk.holder(thread_id) is None
    made = "SELECT checkpoint_id FROM {} WHERE thread_id = ? AND run_id = ''"
    assert desk.fetch(made.format("checkpoints"), thread_id) == [("0003",)]
    assert desk.fetch(made.format("writes"), thread_id) == [("0002",)]
    assert desk.fetch("SELECT run_id FROM events WHERE thread_id = ?", thread_id)[-1] == ("",)


@pytest.mark.parametrize("again", [False, True])
def test_a_state_update_of_a_thread_that_was_deleted_meanwhile_stores_nothing(desk: Any, again: bool) -> None:
    thread_id = settled(desk)
    take(desk, thread_id)
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    if again:
        threads.thread_create(desk.connection, thread_id, {}, False, desk.tick())
    before = desk.dump("threads", "checkpoints", "writes", "events", "thread_locks")
    with pytest.raises(NotFound):
        update(desk, thread_id, [put(thread_id, "0003")], values=b"{}")
    assert desk.dump("threads", "checkpoints", "writes", "events", "thread_locks") == before


def test_a_state_update_that_fails_in_the_middle_stores_nothing(desk: Any) -> None:
    thread_id = settled(desk)
    take(desk, thread_id)
    before = desk.dump("threads", "checkpoints", "writes", "events", "thread_locks")
    with pytest.raises(Conflict, match="was made by another run"):
        update(desk, thread_id, [put(thread_id, "0003"), put(thread_id, "0001")], values=b"{}")
    assert desk.dump("threads", "checkpoints", "writes", "events", "thread_locks") == before


# copies


def copy(desk: Any, source: str, target: str) -> int:
    """Copy a thread and return the number of steps; the copy can't be seen or swept before the last."""
    operations.thread_copy_begin(desk.connection, source, target, OPERATION, desk.boot, desk.tick())
    steps, position = 0, None
    while True:
        assert threads.thread_find(desk.connection, target) is None
        assert threads.sweep_candidates(desk.connection, desk.now, 10) == []
        position = operations.thread_copy_step(desk.connection, source, target, OPERATION, position)
        steps += 1
        if position is None:
            break
    operations.thread_copy_end(desk.connection, source, target, OPERATION, desk.tick())
    return steps


def rows_as_of(desk: Any, table: str, thread_id: str) -> list[tuple[Any, ...]]:
    rows = desk.fetch(f"SELECT * FROM {table} WHERE thread_id = ? ORDER BY 1, 2, 3, 4, 5, 6", thread_id)
    return [tuple(str(value).removeprefix("copy:") for value in row[1:]) for row in rows]


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_a_copy_in_steps_has_every_row_once(desk: Any, monkeypatch: Any, rows: int) -> None:
    monkeypatch.setattr(checkpoint_steps, "STEP_ROWS", rows)
    thread_id, draw = desk.thread(), random.Random(rows)
    run_id = desk.create(thread_id, claim=True)
    for _ in range(40):
        namespace, checkpoint_id = draw.choice(["", "a", "a|b", "a:1"]), f"{draw.randrange(10):04}"
        task = (draw.choice("tu"), "path")
        values = [(idx, "channel", 1, "msgpack", b"v") for idx in sorted(draw.sample(range(-3, 4), 3))]
        for operation in (
            put(thread_id, checkpoint_id, namespace),
            changes.writes(thread_id, namespace, checkpoint_id, *task, values),
        ):
            checkpoint_changes.apply(
                desk.connection, operation, draw.choice(["", run_id]) if operation[0] == "writes" else run_id
            )
    desk.finish(run_id)
    other = settled(desk)
    kept = rows_as_of(desk, "writes", other)
    steps = copy(desk, thread_id, "target")
    for table in ("checkpoints", "writes"):
        assert rows_as_of(desk, table, "target") == rows_as_of(desk, table, thread_id)
    assert rows_as_of(desk, "writes", other) == kept
    total = len(rows_as_of(desk, "checkpoints", "target") + rows_as_of(desk, "writes", "target"))
    assert steps >= total / rows


def test_large_rows_are_copied_one_by_one(desk: Any) -> None:
    thread_id = desk.thread()
    for number in range(3):
        checkpoint_changes.apply(
            desk.connection, put(thread_id, f"{number:04}", size=checkpoint_steps.STEP_BYTES), ""
        )
    assert copy(desk, thread_id, "target") == 3 + 2  # and the ends of both tables


def test_a_half_copy_is_gone_after_the_next_boot(desk: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoint_steps, "STEP_ROWS", 1)
    thread_id = settled(desk)
    operations.thread_copy_begin(desk.connection, thread_id, "target", OPERATION, desk.boot, desk.tick())
    position = operations.thread_copy_step(desk.connection, thread_id, "target", OPERATION, None)
    assert position is not None
    desk.restart()
    with pytest.raises(NotFound):
        operations.thread_copy_step(desk.connection, thread_id, "target", OPERATION, position)
    assert threads.sweep_candidates(desk.connection, desk.now, 10) == ["target"]
    while not threads.thread_sweep_step(desk.connection, "target", 10):
        pass
    assert set(desk.rows_of("target").values()) == {0}
    assert desk.look(thread_id).status == "interrupted"


def test_a_thread_that_a_run_works_on_is_copied_up_to_the_runs_last_checkpoint(
    desk: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(checkpoint_steps, "STEP_ROWS", 2)
    thread_id = settled(desk)
    run_id = desk.create(thread_id, claim=True)
    for number in range(3):
        desk.checkpoint(run_id, f"9{number:03}")
        desk.write(run_id, f"9{number:03}")
    with pytest.raises(Conflict, match=run_id):
        operations.thread_copy_begin(desk.connection, thread_id, "target", OPERATION, desk.boot, desk.tick())
    copy = operations.thread_copy_beside_run(desk.connection, thread_id, "target", desk.tick())
    assert copy is not None
    assert (desk.look(thread_id).status, copy.status) == ("busy", "interrupted")
    assert copy == desk.look("target")
    assert (desk.holder(thread_id), desk.holder("target")) == (run_id, None)
    for table in ("checkpoints", "writes"):
        assert rows_as_of(desk, table, "target") == rows_as_of(desk, table, thread_id)
    before = rows_as_of(desk, "checkpoints", "target")
    desk.finish(run_id, "interrupted", rollback=True, values=b"{}", next=[], interrupts={})
    assert rows_as_of(desk, "checkpoints", "target") == before != rows_as_of(desk, "checkpoints", thread_id)


def test_a_copy_beside_a_run_does_not_keep_the_writer_for_long(desk: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoint_steps, "STEP_ROWS", 1)
    monkeypatch.setattr(operations, "MOST_STEPS_AT_ONCE", 3)
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    for number in range(3):
        desk.checkpoint(run_id, f"{number:04}")
    with pytest.raises(Conflict, match=f"too large to be copied while it has in-flight runs: .{run_id}."):
        operations.thread_copy_beside_run(desk.connection, thread_id, "target", desk.tick())


# prunes


def prune(desk: Any, thread_id: str, kept: list[list[Any]]) -> int:
    """Prune a thread and return the number of steps."""
    take(desk, thread_id)
    steps = 0
    while True:
        assert desk.holder(thread_id) == OPERATION
        done = operations.thread_prune_step(desk.connection, thread_id, OPERATION, kept)
        steps += 1
        if done == len(kept):
            return steps
        kept = kept[done:]


@pytest.mark.parametrize("rows", [2, 3, 1000])
def test_a_prune_in_steps_leaves_what_is_to_be_kept(desk: Any, monkeypatch: Any, rows: int) -> None:
    monkeypatch.setattr(checkpoint_steps, "STEP_ROWS", rows)
    thread_id, other = settled(desk, 8), settled(desk, 4)
    for number in range(3):
        checkpoint_changes.apply(desk.connection, put(thread_id, f"{number:04}", "inner"), "")
    orphan = changes.writes(thread_id, "", "0000a", "task", "", [(0, "channel", 1, "msgpack", b"v")])
    checkpoint_changes.apply(desk.connection, orphan, "")
    before = rows_as_of(desk, "checkpoints", other)
    steps = prune(desk, thread_id, [["", "0006", ["0002", "0004"]], ["inner", "0002", []], ["gone", "1", []]])
    places = "SELECT checkpoint_ns, checkpoint_id FROM {} WHERE thread_id = ? ORDER BY 1, 2"
    root = [("", "0002"), ("", "0004"), ("", "0006"), ("", "0007")]
    assert desk.fetch(places.format("checkpoints"), thread_id) == [*root, ("inner", "0002")]
    assert desk.fetch(places.format("writes"), thread_id) == root
    assert rows_as_of(desk, "checkpoints", other) == before
    assert desk.holder(thread_id) is None
    assert steps >= 6 / rows


def test_many_namespaces_are_looked_at_in_several_steps(desk: Any) -> None:
    thread_id = desk.thread()
    kept = []
    for number in range(3 * checkpoint_steps.STEP_ROWS):
        checkpoint_changes.apply(desk.connection, put(thread_id, "0000", f"inner:{number}"), "")
        kept.append([f"inner:{number}", "0000", []])
    assert prune(desk, thread_id, kept) >= 3
    assert len(rows_as_of(desk, "checkpoints", thread_id)) == len(kept)


def test_no_step_of_an_operation_reads_a_whole_table(desk: Any) -> None:
    for _ in range(20):
        thread_id = settled(desk, 4)
    traced: list[str] = []
    for number, analysed in enumerate((False, True)):
        if analysed:
            desk.connection.execute("ANALYZE")
        desk.connection.set_trace_callback(traced.append)
        copy(desk, thread_id, f"target-{number}")
        prune(desk, thread_id, [["", f"000{number + 1}", []]])
        take(desk, thread_id)
        update(desk, thread_id, [put(thread_id, f"001{number}")], values=b"{}")
        desk.connection.set_trace_callback(None)
    growing = {"threads", "runs", "events", "checkpoints", "writes"}
    for statement in {each for each in traced if each.split()[0] in {"SELECT", "UPDATE", "DELETE", "INSERT"}}:
        for _, _, _, step in desk.connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
            scanned = set(step.split()[1:2]) & growing if step.startswith("SCAN") else set()
            assert not scanned or "threads_to_sweep" in step, f"{step} <- {statement}"
