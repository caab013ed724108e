"""Every operation on runs moves exactly what its condition names, and the thread says what follows."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.errors import Conflict
from gatewayd.storage.sqlite import boots, runs

STATES = ("pending", "delayed", "marked", "running", "requeued", "success", "error", "interrupted", "gone")
WAITING = frozenset({"pending", "delayed", "marked", "requeued"})
ACTIVE = WAITING | {"running"}


@pytest.fixture
def thread_id(desk: Any) -> str:
    return str(desk.thread())


# conditions


def test_a_deleted_run_takes_its_states_with_it_only_if_it_had_not_ended(desk: Any, thread_id: str) -> None:
    ended = desk.create(thread_id, claim=True)
    desk.checkpoint(ended, "0001")
    desk.finish(ended, "success")
    going = desk.create(thread_id, claim=True)
    desk.checkpoint(going, "0002", "0001")
    desk.write(going, "0001")
    desk.write(going, "0002")
    runs.run_delete(desk.connection, thread_id, going, desk.tick())
    runs.run_delete(desk.connection, thread_id, ended, desk.tick())
    assert desk.fetch("SELECT checkpoint_id FROM checkpoints") == [("0001",)]
    assert desk.fetch("SELECT * FROM writes") == []


# claiming


def test_a_lower_priority_number_goes_first(desk: Any) -> None:
    first, urgent = desk.create(desk.thread()), desk.create(desk.thread())
    desk.connection.execute("UPDATE runs SET priority = -1 WHERE run_id = ?", (urgent,))
    assert desk.claim() == [urgent, first]


# creation


INTERRUPTS = {"task": [{"id": "a" * 32, "value": "?"}]}
TWO = {"task": [{"id": "a" * 32, "value": "?"}], "other": [{"id": "b" * 32, "value": "?"}]}


# cancelling


# deaths


def test_of_several_suspects_that_is_tried_which_has_executed_least_and_no_cancelled_one(desk: Any) -> None:
    short, long, cancelled = (desk.create(desk.thread()) for _ in range(3))
    desk.connection.execute("UPDATE runs SET suspicions = 3")
    desk.connection.execute("UPDATE runs SET executed_us = 5 WHERE run_id = ?", (long,))
    desk.cancel(cancelled)
    assert [boots.run_find_to_try(desk.connection).run_id for _ in range(5)] == [short] * 5
    only = runs.runs_claim_due(desk.connection, desk.boot, desk.now, 0, 2, frozenset(), long)
    assert [run.run_id for run in only.taken] == [long]


def test_a_refused_checkpoint_leaves_nothing_and_is_no_progress(desk: Any, thread_id: str) -> None:
    first = desk.create(thread_id, claim=True)
    desk.checkpoint(first, "0001")
    desk.finish(first)
    second = desk.create(thread_id, claim=True)
    before = desk.dump("checkpoints", "writes")
    assert isinstance(desk.checkpoint(second, "0001"), Conflict)
    unknown = desk.apply(["nonsense"], second)
    assert unknown is not None
    assert desk.dump("checkpoints", "writes") == before
    assert desk.fetch("SELECT progressed FROM runs WHERE run_id = ?", second) == [(0,)]


# ending


def test_rolling_back_removes_exactly_the_rows_of_the_run(desk: Any, thread_id: str) -> None:
    first = desk.create(thread_id, claim=True)
    desk.checkpoint(first, "0001")
    desk.write(first, "0001")
    desk.finish(first, values=b'{"a":1}', next=["b"])
    other = desk.create(desk.thread(), claim=True)
    desk.checkpoint(other, "0001")
    desk.write(other, "0001")
    before = desk.dump("checkpoints", "writes", "runs", "thread_locks")

    doomed = desk.create(thread_id, claim=True)
    desk.checkpoint(doomed, "0002", "0001")
    desk.write(doomed, "0001")  # beside the first run's row
    desk.write(doomed, "0002")
    assert desk.finish(doomed, "interrupted", rollback=True, values=b'{"a":1}', next=["b"])
    assert desk.dump("checkpoints", "writes", "runs", "thread_locks") == before
    assert desk.look(thread_id).status == "interrupted"


NOT_NEXT: list[str] = []


def test_the_schema_forbids_runs_that_are_neither_active_nor_ended(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    for change in (
        "status = 'success'",
        "ended_at = 5",
        "status = 'running'",
        "status = 'running', boot = 1",
        "boot = 1",
        "status = 'vanished'",
        "cancel_action = 'perhaps'",
    ):
        with pytest.raises(runs.sqlite3.IntegrityError):
            desk.connection.execute(f"UPDATE runs SET {change} WHERE run_id = ?", (run_id,))


def test_writes_whose_checkpoint_never_came_go_with_the_end_of_their_run_and_others_stay(desk: Any) -> None:
    thread_id = desk.thread()
    ended, other = desk.create(thread_id, claim=True), desk.create(desk.thread(), claim=True)
    desk.checkpoint(ended, "0001")
    for run_id, checkpoint_id in ((ended, "0001"), (ended, "lost"), (other, "lost")):
        assert desk.write(run_id, checkpoint_id) is None
    assert desk.finish(ended, status="error")
    assert sorted(desk.fetch("SELECT run_id, checkpoint_id FROM writes")) == sorted(
        [(ended, "0001"), (other, "lost")]
    )
