"""Merging the runs that wait on a thread: all of it in one transaction, or a refusal that says why."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd import wire
from gatewayd.errors import Conflict, NotFound
from gatewayd.storage import store
from tests.storage.conftest import Desk


def said(*texts: str, **more: Any) -> dict[str, Any]:
    """Return a request's arguments: messages as input."""
    messages = [{"role": "user", "content": text} for text in texts]
    return {"kwargs": {"input": {"messages": messages}, "command": None, **more}}


def merge(desk: Desk, thread_id: str) -> store.Merged:
    merged: store.Merged = desk.ask.runs_merge_if_alike(thread_id, desk.tick())
    return merged


def refused(desk: Desk, thread_id: str) -> str:
    """Return why nothing is merged; nothing may have changed."""
    before = desk.ask.runs_search(store.RunSearch(limit=1000))
    with pytest.raises(Conflict) as caught:
        merge(desk, thread_id)
    assert desk.ask.runs_search(store.RunSearch(limit=1000)) == before
    return caught.value.detail


def texts(desk: Desk, run_id: str) -> list[str]:
    messages = wire.opened(desk.run(run_id).kwargs["input"])["messages"]
    return [message["content"] for message in messages]


@pytest.fixture
def busy(desk: Desk) -> str:
    """A thread with a run that executes."""
    thread_id = desk.thread()
    desk.create(thread_id, claim=True, **said("first"))
    return thread_id


def test_the_oldest_waiting_run_takes_all_inputs_in_order_and_the_others_are_to_end(
    desk: Desk, busy: str
) -> None:
    oldest = desk.create(busy, **said("a"))
    others = [desk.create(busy, **said("b", "c")), desk.create(busy, **said("d"))]
    merged = merge(desk, busy)
    assert (merged.run.run_id, [run.run_id for run in merged.ended]) == (oldest, others)
    assert texts(desk, oldest) == ["a", "b", "c", "d"]
    assert merged.run == desk.run(oldest)
    assert merged.run.cancel_reason is None
    for run_id in others:
        assert desk.run(run_id).cancel_reason == f"merged:{oldest}"
        assert desk.run(run_id).cancel_action == "interrupt"
    assert texts(desk, others[0]) == ["b", "c"]


def test_values_that_are_passed_on_unread_are_merged_too(desk: Desk, busy: str) -> None:
    raw = {"messages": wire.Raw(wire.dumps([{"role": "user", "content": "large"}]))}
    oldest = desk.create(busy, kwargs={"input": raw, "command": None})
    whole = wire.Raw(wire.dumps({"messages": [{"role": "user", "content": "larger"}]}))
    desk.create(busy, kwargs={"input": whole, "command": None})
    merge(desk, busy)
    assert texts(desk, oldest) == ["large", "larger"]


def test_runs_of_a_thread_that_is_free_are_merged_as_well(desk: Desk) -> None:
    thread_id = desk.thread()
    # The first run gives the thread its graph: the metadata of the second say so, those of the first don't.
    oldest, _ = desk.create(thread_id, **said("a")), desk.create(thread_id, **said("b"))
    merge(desk, thread_id)
    assert texts(desk, oldest) == ["a", "b"]
    assert desk.claim() == [oldest]


def test_runs_that_have_been_started_or_cancelled_do_not_take_part(desk: Desk, busy: str) -> None:
    (holder,) = desk.runs(busy)
    desk.requeue(holder)
    gone, oldest, last = (desk.create(busy, **said(text)) for text in "xab")
    desk.cancel(gone)
    assert [run.run_id for run in merge(desk, busy).ended] == [last]
    assert texts(desk, oldest) == ["a", "b"]
    assert texts(desk, holder) == ["first"]
    assert desk.run(gone).cancel_reason == "stop"
    assert "0 pending runs" not in refused(desk, busy)
    assert refused(desk, busy).startswith("Nothing to merge: 1 pending")


def test_a_thread_that_is_not_there_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound):
        merge(desk, "00000000-0000-0000-0000-000000000000")


@pytest.mark.parametrize("waiting", [0, 1])
def test_fewer_than_two_runs_are_nothing_to_merge(desk: Desk, busy: str, waiting: int) -> None:
    for _ in range(waiting):
        desk.create(busy, **said("a"))
    assert f"{waiting} pending" in refused(desk, busy)


OTHER: list[tuple[dict[str, Any], str]] = [
    (said("b") | {"assistant": "other"}, "assistant"),
    (said("b") | {"config": {"recursion_limit": 7}}, "config"),
    (said("b") | {"config": {"configurable": {"model": "large"}}}, "config"),
    (said("b") | {"context": {"model": "large"}}, "config"),
    (said("b") | {"metadata": {"topic": "b"}}, "config"),
    (said("b") | {"auth_user": {"identity": "somebody else"}}, "config"),
    (said("b", webhook="http://receiver.test/"), "webhook"),
    (said("b", stream_mode=["updates"]), "stream_mode"),
    (said("b", interrupt_before=["tools"]), "interrupt_before"),
    (said("b", durability="exit"), "durability"),
    (said("b", command={"resume": 1}), "command"),
    (said("b") | {"config": {"configurable": {"checkpoint_id": "x"}}}, "checkpoint"),
    (said("b") | {"after_s": 60.0}, "not due"),
    ({"kwargs": {"input": {"messages": []}, "command": {"update": {}}}}, "command"),
    ({"kwargs": {"input": {"messages": "b"}, "command": None}}, "one key with a list"),
    ({"kwargs": {"input": {"messages": {"content": "b"}}, "command": None}}, "one key with a list"),
    ({"kwargs": {"input": {"messages": [], "files": []}, "command": None}}, "one key with a list"),
    ({"kwargs": {"input": {}, "command": None}}, "one key with a list"),
    ({"kwargs": {"input": None, "command": None}}, "one key with a list"),
    ({"kwargs": {"input": ["b"], "command": None}}, "one key with a list"),
    ({"kwargs": {"input": wire.Raw(b'["b"]'), "command": None}}, "one key with a list"),
    ({"kwargs": {"input": {"notes": []}, "command": None}}, "another key"),
]


@pytest.mark.parametrize(("changes", "why"), OTHER)
@pytest.mark.parametrize("first", [True, False])
def test_runs_that_differ_in_more_than_their_input_are_refused_whole(
    desk: Desk, busy: str, changes: dict[str, Any], why: str, first: bool
) -> None:
    order = [changes, said("a"), said("c")] if first else [said("a"), said("c"), changes]
    made = [desk.create(busy, **each) for each in order]
    detail = refused(desk, busy)
    assert why in detail
    assert any(run_id in detail for run_id in made)


def test_runs_that_start_from_the_same_checkpoint_are_refused(desk: Desk, busy: str) -> None:
    for text in "ab":
        desk.create(busy, **said(text), config={"configurable": {"checkpoint_id": "x"}})
    assert "checkpoint of its own" in refused(desk, busy)


def merge_into(desk: Desk, thread_id: str) -> store.Merged:
    merged: store.Merged = desk.ask.runs_merge_if_alike(thread_id, desk.tick(), into_running=True)
    return merged


def refused_into(desk: Desk, thread_id: str) -> str:
    before = desk.ask.runs_search(store.RunSearch(limit=1000))
    with pytest.raises(Conflict) as caught:
        merge_into(desk, thread_id)
    assert desk.ask.runs_search(store.RunSearch(limit=1000)) == before
    return caught.value.detail


def test_no_run_waits_or_none_was_started(desk: Desk, busy: str) -> None:
    assert refused_into(desk, busy).startswith("Nothing to merge: 0")
    idle = desk.thread()
    desk.create(idle, **said("a"))
    assert refused_into(desk, idle) == f"No run of thread {idle} is running"


def test_a_run_that_is_being_cancelled_takes_nothing(desk: Desk, busy: str) -> None:
    (holder,) = desk.runs(busy)
    desk.create(busy, **said("a"))
    desk.cancel(holder)
    assert refused_into(desk, busy) == f"No run of thread {busy} is running"


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"assistant": "other"}, "assistant"), ({"config": {"configurable": {"model": "large"}}}, "config")],
)
def test_a_run_of_another_kind_takes_nothing(
    desk: Desk, busy: str, changes: dict[str, Any], why: str
) -> None:
    (holder,) = desk.runs(busy)
    desk.create(busy, **said("a"), **changes)
    assert f"differs from the running run {holder} in its {why}" in refused_into(desk, busy)


def test_how_a_waiting_run_would_be_streamed_does_not_keep_it_from_being_merged_into_another(
    desk: Desk, busy: str
) -> None:
    desk.create(busy, **said("a", stream_mode=["updates"]))
    assert merge_into(desk, busy).into is not None
