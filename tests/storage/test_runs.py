"""Every operation on runs moves exactly what its condition names, and the thread says what follows."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd import ids
from gatewayd.checkpointing import commands
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.run import Run, RunOutcome
from gatewayd.storage import store

STATES = ("pending", "delayed", "marked", "running", "requeued", "success", "error", "interrupted", "gone")
WAITING = frozenset({"pending", "delayed", "marked", "requeued"})
ACTIVE = WAITING | {"running"}
DIED = "DaemonDied"


@pytest.fixture
def thread_id(desk: Any) -> str:
    return str(desk.thread())


def in_state(desk: Any, thread_id: str, state: str) -> str:
    """Return the id of a run that has been brought into a state."""
    run_id = desk.create(thread_id, after_s=60.0 if state == "delayed" else 0.0)
    match state:
        case "marked":
            desk.cancel(run_id)
        case "running" | "requeued":
            assert desk.claim() == [run_id]
            if state == "requeued":
                desk.requeue(run_id)
        case "success" | "error" | "interrupted":
            desk.claim()
            desk.finish(run_id, state)
        case "gone":
            desk.delete(thread_id, run_id)
    return str(run_id)


# conditions


@pytest.mark.parametrize("state", STATES)
def test_only_a_run_that_is_pending_due_and_not_cancelled_is_claimed(
    desk: Any, thread_id: str, state: str
) -> None:
    run_id = in_state(desk, thread_id, state)
    before = desk.stored(run_id)
    if state in {"pending", "requeued"}:
        assert desk.claim() == [run_id]
        run = desk.run(run_id)
        assert (run.status, run.attempt) == ("running", 2 if state == "requeued" else 1)
        assert desk.holder(thread_id) == run_id
    else:
        assert desk.claim() == []
        assert desk.stored(run_id) == before


@pytest.mark.parametrize("state", STATES)
def test_only_a_running_run_is_parked_and_keeps_its_lock(desk: Any, thread_id: str, state: str) -> None:
    run_id = in_state(desk, thread_id, state)
    before = desk.stored(run_id)
    requeued = desk.requeue(run_id, 1)
    if state == "running":
        assert requeued is not None
        assert (requeued.status, requeued.attempt, requeued.strikes) == ("pending", 1, 0)
        assert desk.holder(thread_id) == run_id
        assert desk.look(thread_id).status == "busy"
    else:
        assert requeued is None
        assert desk.stored(run_id) == before


@pytest.mark.parametrize("state", STATES)
def test_only_an_active_run_is_marked_as_cancelled(desk: Any, thread_id: str, state: str) -> None:
    run_id = in_state(desk, thread_id, state)
    before = desk.stored(run_id)
    marked = desk.cancel(run_id, "rollback", "why")
    if state in ACTIVE:
        assert (marked.cancel_action, marked.cancel_error["message"]) == ("rollback", "why")
        assert marked.status == ("running" if state == "running" else "pending")
    else:
        assert marked is None
        assert desk.stored(run_id) == before


@pytest.mark.parametrize("attempt", [0, 1, 2])
@pytest.mark.parametrize("state", STATES)
def test_a_run_is_ended_once_and_only_by_the_attempt_that_has_it(
    desk: Any, thread_id: str, state: str, attempt: int
) -> None:
    run_id = in_state(desk, thread_id, state)
    before = desk.stored(run_id), desk.image(thread_id)
    starts = 1 if state in {"running", "requeued"} else 0
    status: Any = "interrupted" if state == "marked" else "success"
    end = None if state == "gone" else desk.end(run_id, RunOutcome(status=status), attempt)
    assert (end is not None) is (state in ACTIVE and attempt in {0, starts})
    if end is None:
        assert (desk.stored(run_id), desk.image(thread_id)) == before
        return
    run = desk.run(run_id)
    assert (run.status, run.ended_at, run.log_to) == (status, desk.now, end.last_seq)
    assert desk.holder(thread_id) is None
    assert desk.look(thread_id).status == "idle"
    last = desk.events(thread_id)[-1]
    assert (last.run_id, last.last_seq) == (run_id, end.last_seq)
    assert not desk.finish(run_id, "error", 0)
    assert desk.run(run_id).status == status


@pytest.mark.parametrize("state", STATES)
def test_only_a_running_run_stores_checkpoints(desk: Any, thread_id: str, state: str) -> None:
    run_id = in_state(desk, thread_id, state)
    if state == "gone":
        return
    refusal = desk.checkpoint(run_id, "0001")
    if state == "running":
        assert refusal is None
        assert not desk.ask.run_not_begun(thread_id)
    else:
        assert isinstance(refusal, NotFound)
        assert desk.ask.run_not_begun(thread_id) is (state in WAITING)


@pytest.mark.parametrize("state", STATES)
def test_a_run_is_deleted_in_whatever_state_and_with_its_lock_unless_it_executes(
    desk: Any, thread_id: str, state: str
) -> None:
    run_id = in_state(desk, thread_id, state)
    deleted = desk.delete(thread_id, run_id)
    assert (deleted is None) is (state == "gone")
    assert desk.stored(run_id) is None
    # what executes may go on for a while: no other run may begin beside it
    assert desk.holder(thread_id) == (run_id if state == "running" else None)
    assert desk.look(thread_id).status in {"idle", "error"}


def test_a_run_is_deleted_on_its_own_thread_only(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    assert desk.delete(desk.thread(), run_id) is None
    assert desk.run(run_id).status == "pending"


# claiming


def test_runs_start_in_the_order_of_their_due_times_not_of_their_creation(desk: Any) -> None:
    late = desk.create(desk.thread(), after_s=0.5)
    early = desk.create(desk.thread(), after_s=0.1)
    now = desk.create(desk.thread())
    assert desk.claim() == [now]
    desk.now += 400_000
    assert desk.claim() == [early]
    desk.now += 400_000
    assert desk.claim() == [late]


def test_runs_that_became_due_together_start_in_due_order_up_to_the_limit(desk: Any) -> None:
    created = {desk.create(desk.thread(), after_s=(7 * number % 10) / 1000): number for number in range(10)}
    order = sorted(created, key=lambda run_id: desk.run(run_id).created_at)
    desk.now += 1_000_000
    assert desk.claim(limit=4) == order[:4]
    assert desk.claim(limit=0) == []
    assert desk.claim(limit=100) == order[4:]


def test_of_a_thread_one_run_starts_and_the_next_when_it_has_ended(desk: Any, thread_id: str) -> None:
    first, second, third = (desk.create(thread_id) for _ in range(3))
    assert desk.claim() == [first]
    assert desk.claim() == []
    desk.finish(first)
    assert desk.claim() == [second]
    desk.finish(second, "error")
    assert desk.claim() == [third]


def test_a_parked_run_keeps_its_thread_so_that_no_other_run_finds_its_state(
    desk: Any, thread_id: str
) -> None:
    first = desk.create(thread_id)
    desk.claim()
    second = desk.create(thread_id)
    desk.requeue(first, died=True)
    assert desk.claim(suspects=0) == []  # the first is a suspect now, and there is no place for one
    assert desk.holder(thread_id) == first
    assert desk.claim(suspects=1) == [first]
    desk.finish(first)
    assert desk.claim() == [second]


def test_a_run_that_was_only_created_holds_no_place_on_its_thread(desk: Any, thread_id: str) -> None:
    delayed = desk.create(thread_id, after_s=60.0)
    now = desk.create(thread_id)
    assert desk.claim() == [now]
    assert desk.run(delayed).status == "pending"


def test_many_runs_waiting_for_one_thread_do_not_hide_the_runs_of_others(desk: Any, thread_id: str) -> None:
    crowd = [desk.create(thread_id) for _ in range(200)]
    other = desk.create(desk.thread())
    assert desk.claim(limit=5) == [crowd[0], other]


def test_many_suspects_do_not_hide_ordinary_runs(desk: Any) -> None:
    suspects = [desk.create(desk.thread()) for _ in range(100)]
    desk.claim(limit=100)
    for run_id in suspects:
        desk.requeue(run_id, died=True)
    ordinary = desk.create(desk.thread())
    assert desk.claim(limit=3, suspects=2) == [*suspects[:2], ordinary]
    assert desk.claim(limit=3, suspects=0) == []


def test_runs_that_are_named_are_not_claimed(desk: Any) -> None:
    first, second = desk.create(desk.thread()), desk.create(desk.thread())
    assert desk.claim(except_runs=frozenset({first})) == [second]
    assert desk.claim() == [first]


def test_a_thread_whose_state_an_operation_changes_starts_no_run(desk: Any, thread_id: str) -> None:
    desk.ask.thread_lock_acquire_for_operation(thread_id, "update")
    run_id = desk.create(thread_id, claim=True)
    assert desk.run(run_id).status == "pending"
    assert desk.claim() == []
    desk.restart()  # the operation's daemon is gone
    assert desk.claim() == [run_id]


def test_claiming_says_what_is_left_and_when_the_next_run_is_due(desk: Any, thread_id: str) -> None:
    def claimed(limit: int) -> tuple[bool, int | None]:
        found = desk.ask.runs_claim_due(desk.now, limit, 0)
        return found.left, found.next_due

    assert claimed(5) == (False, None)
    delayed = desk.run(desk.create(desk.thread(), after_s=60.0))
    desk.create(desk.thread(), after_s=90.0)
    assert claimed(5) == (False, delayed.created_at)
    desk.create(thread_id)
    assert claimed(0) == (True, delayed.created_at)
    assert claimed(5) == (False, delayed.created_at)
    desk.create(thread_id)
    assert claimed(5) == (True, delayed.created_at)


# creation


@pytest.mark.parametrize("claim", [False, True])
@pytest.mark.parametrize("strategy", ["enqueue", "reject", "interrupt", "rollback"])
@pytest.mark.parametrize("state", STATES)
def test_what_a_multitask_strategy_does_to_the_run_before(
    desk: Any, thread_id: str, state: str, strategy: str, claim: bool
) -> None:
    first = in_state(desk, thread_id, state)
    active = state in ACTIVE
    if strategy == "reject" and active:
        with pytest.raises(Conflict, match="already running a task"):
            desk.admit(thread_id, claim=claim, multitask_strategy=strategy)
        assert list(desk.runs(thread_id)) == [first]
        return
    created = desk.admit(thread_id, claim=claim, multitask_strategy=strategy)
    assert (created.run.status == "running") is created.started
    assert desk.look(thread_id).status == "busy"
    superseding = active and strategy in {"interrupt", "rollback"}
    assert [run.run_id for run in created.cancelled] == ([first] if superseding else [])
    if superseding:
        marked = desk.run(first)
        assert marked.cancel_action == strategy
        assert marked.cancel_error == {
            "error": "UserInterrupt" if strategy == "interrupt" else "UserRollback",
            "message": f"superseded by run {created.run.run_id} (multitask_strategy={strategy})",
        }
    elif active:
        assert desk.run(first).cancel_action == (None if state != "marked" else "interrupt")
    held = state in {"running", "requeued"}  # the run before has begun: the thread is its own
    assert created.started is (claim and not held and (superseding or not active))
    assert desk.holder(thread_id) == (first if held else created.run.run_id if created.started else None)


def test_a_delayed_run_is_not_started_at_its_creation(desk: Any, thread_id: str) -> None:
    created = desk.admit(thread_id, claim=True, after_s=0.5)
    assert (created.started, created.run.status) == (False, "pending")
    assert created.run.created_at == desk.now + 500_000
    assert desk.look(thread_id).status == "busy"
    assert desk.claim() == []
    desk.now += 500_000
    assert desk.claim() == [created.run.run_id]


def test_a_run_started_at_its_creation_is_as_if_claimed(desk: Any) -> None:
    one, other = desk.thread(), desk.thread()
    created = desk.admit(one, claim=True).run
    run_id = desk.create(other)
    desk.claim()
    claimed = desk.run(run_id)

    def kept(run: Run) -> tuple[Any, ...]:
        return run.status, run.attempt, run.strikes, run.log_from, run.ephemeral

    assert kept(created) == kept(claimed)
    assert created.started_at is not None


def test_a_run_needs_its_assistant_and_leaves_no_thread_without_it(desk: Any) -> None:
    with pytest.raises(NotFound):
        desk.create(None, assistant="nobody")
    with pytest.raises(NotFound):
        desk.create("01900000-0000-7000-8000-000000000000", assistant="nobody", if_not_exists="create")
    assert desk.ask.threads_count(store.ThreadSearch()) == 0


def test_a_missing_thread_is_made_only_if_that_is_wanted(desk: Any) -> None:
    thread_id = "01900000-0000-7000-8000-000000000000"
    with pytest.raises(NotFound):
        desk.create(thread_id)
    run_id = desk.create(thread_id, if_not_exists="create")
    assert desk.run(run_id).thread_id == thread_id
    made = desk.look(thread_id)
    assert made.metadata == {"graph_id": "chat", "assistant_id": desk.run(run_id).assistant_id}
    assert not desk.run(run_id).ephemeral


def test_metadata_of_the_config_are_the_runs_below_its_own(desk: Any, thread_id: str) -> None:
    config = {"metadata": {"a": "config", "b": "config", "graph_id": "theirs"}, "run_name": "walk"}
    run = desk.run(desk.create(thread_id, config=config, metadata={"a": "run"}))
    mine = {"created_by": "system", "assistant_id": run.assistant_id}
    assert run.metadata == {"a": "run", "b": "config", "graph_id": "theirs", **mine}
    assert run.kwargs["config"]["metadata"] == run.metadata
    assert desk.look(thread_id).config == {**config, "configurable": {}}


def test_no_metadata_say_another_run_thread_or_assistant(desk: Any) -> None:
    ids = {"run_id": "mine", "thread_id": "mine", "assistant_id": "mine"}
    thread_id = desk.thread(**ids)
    run = desk.run(desk.create(thread_id, config={"metadata": ids}, metadata=ids))
    mine = {"created_by": "system", "assistant_id": run.assistant_id}
    assert run.metadata == {"graph_id": "chat", **mine}
    assert desk.look(thread_id).config["metadata"] == {}
    assert desk.look(thread_id).metadata["run_id"] == "mine"


def test_the_run_knows_where_its_threads_log_stood(desk: Any, thread_id: str) -> None:
    first = desk.create(thread_id, claim=True)
    assert desk.run(first).log_from == 0
    desk.emit(thread_id, first, *[("values", "", 1, b"{}")] * 5)
    second = desk.create(thread_id)
    assert desk.run(second).log_from == 5


INTERRUPTS = {"task": [{"id": "a" * 32, "value": "?"}]}
TWO = {"task": [{"id": "a" * 32, "value": "?"}], "other": [{"id": "b" * 32, "value": "?"}]}


@pytest.mark.parametrize(
    ("pending", "command", "answers"),
    [
        (INTERRUPTS, None, None),
        (INTERRUPTS, {"goto": "x"}, None),
        (INTERRUPTS, {"resume": "yes"}, {"a" * 32: "yes"}),
        (INTERRUPTS, {"resume": {"text": "yes"}}, {"a" * 32: {"text": "yes"}}),
        (INTERRUPTS, {"resume": {}}, {"a" * 32: {}}),
        (INTERRUPTS, {"resume": False}, {"a" * 32: False}),
        (TWO, {"resume": "yes"}, None),
        (TWO, {"resume": {"b" * 32: 1}}, {"b" * 32: 1}),
        ({}, {"resume": "yes"}, None),
    ],
)
def test_an_answer_is_bound_to_the_only_question_there_is(
    desk: Any, thread_id: str, pending: Any, command: Any, answers: Any
) -> None:
    asking = desk.create(thread_id, claim=True)
    desk.finish(asking, interrupts=pending, next=["ask"])
    run_id = desk.create(thread_id, kwargs={"command": command})
    assert desk.run(run_id).answers == answers


# cancelling


@pytest.mark.parametrize(
    ("actions", "kept"),
    [
        (["interrupt", "rollback"], 1),
        (["rollback", "interrupt"], 0),
        (["rollback", "rollback"], 0),
        (["interrupt", "interrupt"], 1),
        (["interrupt", "rollback", "interrupt"], 1),
    ],
)
def test_a_rollback_is_never_weakened_and_its_reason_stays(
    desk: Any, thread_id: str, actions: list[str], kept: int
) -> None:
    run_id = desk.create(thread_id, claim=True)
    for number, action in enumerate(actions):
        assert desk.cancel(run_id, action, str(number)) is not None
    run = desk.run(run_id)
    assert run.cancel_action == actions[kept]
    assert run.cancel_error is not None
    assert run.cancel_error["message"] == str(kept)


def test_a_cancelled_run_is_found_after_a_restart_and_not_started(desk: Any) -> None:
    marked = desk.create(desk.thread(), claim=True)
    left = desk.create(desk.thread(), claim=True)
    desk.cancel(marked, "rollback")
    desk.restart()
    orphans = desk.ask.orphans_requeue(desk.tick(), {}, "resume")
    assert {run.run_id for run in orphans} == {marked, left}
    assert [run.run_id for run in desk.ask.runs_cancelled_pending()] == [marked]
    assert desk.claim() == [left]


# deaths


def test_strikes_count_deaths_without_progress_and_progress_clears_them(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    history: list[int] = []
    for progress in (False, False, True, False):
        assert desk.claim() == [run_id]
        if progress:
            assert desk.checkpoint(run_id, f"{len(history):04}") is None
        history.append(desk.requeue(run_id, died=True).strikes)
    assert history == [1, 2, 0, 1]


def test_progress_clears_the_strikes_at_once_so_that_a_handed_back_run_is_no_suspect(
    desk: Any, thread_id: str
) -> None:
    run_id = desk.create(thread_id)
    desk.claim()
    desk.requeue(run_id, died=True)
    assert desk.claim(limit=1, suspects=0) == []
    assert desk.claim(limit=0, suspects=1) == [run_id]
    assert desk.write(run_id, "0001") is None
    desk.requeue(run_id, died=False)
    assert desk.claim(limit=1, suspects=0) == [run_id]


def task_write(thread_id: str, idx: int) -> list[Any]:
    """Return an operation that stores one write of a task, at an index of langgraph's."""
    return commands.writes(thread_id, "", "0001", "task", "path", [(idx, "channel", 1, "msgpack", b"x")])


@pytest.mark.parametrize("idx", [0, -1, -3, -4], ids=["a result", "an error", "an interrupt", "an answer"])
def test_a_write_that_was_stored_before_is_no_progress(desk: Any, thread_id: str, idx: int) -> None:
    run_id = desk.create(thread_id)
    history = []
    for _ in range(4):
        assert desk.claim() == [run_id]
        assert desk.apply(task_write(thread_id, idx), run_id) is None
        history.append(desk.requeue(run_id, died=True).strikes)
    assert history == [0, 1, 2, 3]


def test_a_checkpoint_that_is_stored_again_is_no_progress_and_a_new_one_is(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    history = []
    for checkpoints in (["0001"], ["0001"], ["0001"], ["0001", "0002"], ["0002"]):
        assert desk.claim() == [run_id]
        for checkpoint_id in checkpoints:
            assert desk.checkpoint(run_id, checkpoint_id) is None
        history.append(desk.requeue(run_id, died=True).strikes)
    assert history == [0, 1, 2, 0, 1]


def test_a_new_write_beside_one_that_was_stored_before_is_progress(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    desk.claim()
    desk.apply(task_write(thread_id, -1), run_id)
    desk.requeue(run_id, died=True)
    desk.claim()
    values = [(idx, "channel", 1, "msgpack", b"x") for idx in (-1, 0)]
    desk.apply(commands.writes(thread_id, "", "0001", "task", "path", values), run_id)
    assert desk.requeue(run_id, died=True).strikes == 0


def test_what_is_sent_ahead_or_deleted_is_no_progress(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    for operation in (commands.blobs(thread_id, []), commands.prune(thread_id, [("", "0001", [])])):
        desk.claim()
        assert desk.apply(operation, run_id) is None
        desk.requeue(run_id, died=True)
    assert desk.run(run_id).strikes == 2


def test_handing_back_is_no_strike(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    for _ in range(5):
        assert desk.claim(suspects=0) == [run_id]
        assert desk.requeue(run_id, died=False).strikes == 0
    assert desk.run(run_id).attempt == 5


def die(desk: Any, policy: str = "resume", *, before_they_execute: bool = False) -> dict[str, Run]:
    """Have the runs execute, and begin the next boot; return what it has found running."""
    for thread_id, run_id in desk.ask.runs_active("running"):
        if not before_they_execute:
            desk.emit(thread_id, run_id, ("metadata", "", 1, b"{}"))
    desk.restart()
    return {run.run_id: run for run in desk.ask.orphans_requeue(desk.tick(), {}, policy)}


def test_the_third_death_of_the_daemon_without_progress_makes_a_suspect(desk: Any, thread_id: str) -> None:
    run_id, other = desk.create(thread_id), desk.create(desk.thread())
    suspicions = []
    for _ in range(3):
        assert desk.ask.run_find_to_try() is None
        assert desk.claim(limit=2, suspects=0) == [run_id, other]
        assert desk.checkpoint(other, f"000{len(suspicions)}") is None
        found = die(desk)
        suspicions.append((found[run_id].suspicions, found[run_id].strikes, found[other].suspicions))
    assert suspicions == [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    assert desk.ask.run_find_to_try().run_id == run_id
    assert desk.claim(limit=1, suspects=0) == [other]
    assert desk.claim(limit=0, suspects=1) == [run_id]
    desk.checkpoint(run_id, "0001")
    assert die(desk)[run_id].suspicions == 0
    assert desk.ask.run_find_to_try() is None


def test_a_run_at_which_the_daemon_dies_once_more_is_put_aside_if_nothing_else_was_executed(
    desk: Any, thread_id: str
) -> None:
    run_id = desk.create(thread_id)
    for _ in range(3):
        desk.claim()
        assert die(desk)[run_id].cancel_action is None
    other = desk.create(desk.thread())
    assert sorted(desk.claim()) == sorted([run_id, other])
    found = die(desk)
    assert (found[run_id].suspicions, found[run_id].cancel_action, found[other].suspicions) == (4, None, 1)
    assert desk.claim(limit=0) == [run_id]
    put_aside = die(desk)[run_id]
    assert (put_aside.suspicions, put_aside.cancel_action) == (5, "error")
    assert put_aside.cancel_error["error"] == DIED
    assert "died 5 times while it executed the run" in put_aside.cancel_error["message"]
    assert desk.claim() == [other]
    assert [run.run_id for run in desk.ask.runs_cancelled_pending()] == [run_id]


def test_a_run_that_no_worker_had_when_the_daemon_died_is_not_suspected(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    for _ in range(3):
        desk.claim()
        assert die(desk, before_they_execute=True)[run_id].suspicions == 0
    for deaths in (1, 2, 3):
        desk.claim()
        assert die(desk)[run_id].suspicions == deaths
    desk.claim()
    found = die(desk, before_they_execute=True)[run_id]
    assert (found.suspicions, found.cancel_action) == (3, None), "in the trial too"
    desk.create(desk.thread())
    assert len(desk.claim()) == 2
    desk.emit(thread_id, run_id, ("metadata", "", 1, b"{}"))
    found = die(desk, before_they_execute=True)[run_id]
    assert (found.suspicions, found.cancel_action) == (4, "error"), "the other was not executed beside it"


def test_a_run_that_is_begun_anew_at_each_boot_makes_no_progress_that_lasts(
    desk: Any, thread_id: str
) -> None:
    run_id = desk.create(thread_id)
    for deaths in range(1, 5):
        desk.claim()
        assert desk.checkpoint(run_id, "0001") is None
        found = die(desk, "restart")[run_id]
        assert found.suspicions == deaths
    assert found.cancel_error["error"] == DIED


def test_progress_clears_suspicions_when_the_run_leaves_its_worker(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id)
    for _ in range(3):
        desk.claim()
        die(desk)
    desk.claim()
    assert desk.requeue(run_id, died=False).suspicions == 3, "handed back without progress"
    desk.claim()
    desk.checkpoint(run_id, "0001")
    assert desk.requeue(run_id, died=False).suspicions == 0
    assert desk.claim(limit=1, suspects=0) == [run_id]


def test_the_runs_of_this_boot_are_no_orphans(desk: Any, thread_id: str) -> None:
    run_id = desk.create(thread_id, claim=True)
    assert desk.ask.orphans_requeue(desk.tick(), {}, "resume") == []
    assert desk.run(run_id).status == "running"


# ending


NOT_NEXT: list[str] = []


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({"status": "success", "next": NOT_NEXT}, "idle"),
        ({"status": "success", "next": ["ask"]}, "interrupted"),
        ({"status": "error", "next": ["step"], "error": {"error": "E", "message": "m"}}, "error"),
        ({"status": "timeout", "next": ["step"], "error": {"error": "T", "message": ""}}, "error"),
        (
            {"status": "interrupted", "next": ["step"], "cancel_error": {"error": "U", "message": "m"}},
            "interrupted",
        ),
        ({"status": "interrupted", "next": NOT_NEXT, "cancel_error": {"error": "U", "message": "m"}}, "idle"),
    ],
)
def test_a_threads_status_follows_from_how_its_run_ended_unless_others_are_active(
    desk: Any, thread_id: str, outcome: dict[str, Any], status: str, others: bool
) -> None:
    run_id = desk.create(thread_id, claim=True)
    if others:
        desk.create(thread_id, after_s=60.0)
    assert desk.finish(run_id, **outcome)
    thread = desk.look(thread_id)
    assert thread.status == ("busy" if others else status)
    assert thread.error == outcome.get("error")
    assert thread.interrupts == {}


def test_an_end_without_a_projection_leaves_the_values_and_interrupts_that_there_were(
    desk: Any, thread_id: str
) -> None:
    desk.finish(desk.create(thread_id, claim=True), values=b'{"a":1}', interrupts=INTERRUPTS, next=["ask"])
    desk.finish(desk.create(thread_id, claim=True), "interrupted")
    thread = desk.look(thread_id)
    assert (thread.values, thread.interrupts, thread.status) == (b'{"a":1}', INTERRUPTS, "interrupted")


@pytest.mark.parametrize("rollback", [False, True])
def test_a_run_that_had_not_begun_leaves_its_thread_as_it_was(
    desk: Any, thread_id: str, rollback: bool
) -> None:
    desk.finish(desk.create(thread_id, claim=True), values=b'{"a":1}', interrupts=INTERRUPTS, next=["ask"])
    before = desk.look(thread_id)
    run_id = desk.create(thread_id)
    desk.cancel(run_id, "rollback" if rollback else "interrupt")
    assert desk.finish(run_id, "interrupted", quiet=True, rollback=rollback)
    after = desk.look(thread_id)
    kept = ("status", "values", "interrupts", "error", "state_updated_at")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert (run_id in desk.runs(thread_id)) is not rollback


@pytest.mark.parametrize("how", ["ended", "cancelled before its start", "rolled back", "deleted"])
def test_the_thread_of_a_stateless_run_hides_when_the_run_is_over_whatever_way(desk: Any, how: str) -> None:
    run_id = desk.create(None)
    thread_id = desk.run(run_id).thread_id
    assert desk.run(run_id).ephemeral
    assert desk.look(thread_id).status == "busy"
    match how:
        case "ended":
            desk.claim()
            desk.finish(run_id)
        case "cancelled before its start":
            desk.finish(run_id, "interrupted", quiet=True)
        case "rolled back":
            desk.claim()
            desk.finish(run_id, "interrupted", rollback=True)
        case "deleted":
            desk.delete(thread_id, run_id)
    assert not desk.exists(thread_id)
    assert desk.ask.threads_to_sweep(desk.now, 10, desk.now) == [thread_id]


def test_the_thread_of_a_stateless_run_stays_while_another_run_is_active_on_it(desk: Any) -> None:
    run_id = desk.create(None)
    thread_id = desk.run(run_id).thread_id
    desk.claim()
    second = desk.create(thread_id)
    desk.finish(run_id)
    assert desk.look(thread_id).status == "busy"
    desk.claim()
    desk.finish(second)
    assert not desk.exists(thread_id)
    assert desk.ask.threads_to_sweep(desk.now, 10, desk.now) == [thread_id]


def test_the_thread_of_a_stateless_run_that_is_to_be_kept_stays(desk: Any) -> None:
    run_id = desk.create(None, keep_thread=True)
    desk.claim()
    desk.finish(run_id)
    assert desk.look(desk.run(run_id).thread_id).status == "idle"


def test_runs_of_all_threads_are_found_by_status_latest_first(desk: Any) -> None:
    made = [desk.create(thread_id, claim=True) for thread_id in (desk.thread(), None, desk.thread(), None)]
    for run_id, status in zip(made, ("error", "error", "success", "timeout"), strict=True):
        desk.finish(run_id, status=status, error={"error": "E", "message": "m"}, trace="Traceback: 🌍")
    waiting = desk.create(desk.thread(), after_s=60.0)

    def found(**wanted: Any) -> list[str]:
        return [run.run_id for run in desk.ask.runs_search(store.RunSearch(**wanted))]

    assert found() == [waiting, *reversed(made)]
    assert found(status="error") == [made[1], made[0]]
    assert found(status="pending") == [waiting]
    assert found(status="error", thread_id=desk.run(made[0]).thread_id) == [made[0]]
    assert found(limit=1, offset=1) == [made[3], made[2]]  # one more tells that there are more
    assert found(assistant_id=ids.new_id()) == []
    assert desk.run(made[0]).trace == "Traceback: 🌍"
    desk.ask.thread_delete(desk.run(made[0]).thread_id, desk.tick())
    assert found(status="error") == [made[1]]
