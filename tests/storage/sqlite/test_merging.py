"""Merging the runs that wait on a thread: all of it in one transaction, or a refusal that says why."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from gatewayd import wire
from gatewayd.checkpointing.sqlite import statements
from gatewayd.errors import Conflict
from gatewayd.storage.sqlite import merging, runs
from tests.storage.sqlite.conftest import Desk


def said(*texts: str, **more: Any) -> dict[str, Any]:
    """Return a request's arguments: messages as input."""
    messages = [{"role": "user", "content": text} for text in texts]
    return {"kwargs": {"input": {"messages": messages}, "command": None, **more}}


def merge(desk: Desk, thread_id: str) -> merging.Merged:
    return merging.runs_merge_if_alike(desk.connection, thread_id, desk.tick())


def refused(desk: Desk, thread_id: str) -> str:
    """Return why nothing is merged; nothing may have changed."""
    before = desk.fetch("SELECT * FROM runs ORDER BY run_id")
    with pytest.raises(Conflict) as caught:
        merge(desk, thread_id)
    assert desk.fetch("SELECT * FROM runs ORDER BY run_id") == before
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


def test_inputs_that_are_too_large_together_are_refused(
    desk: Desk, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "LARGEST", 2000)
    desk.create(busy, **said("a" * 1500))
    last = desk.create(busy, **said("b" * 1500))
    assert "too large" in refused(desk, busy)
    desk.cancel(last)
    desk.create(busy, **said("b"))
    assert len(merge(desk, busy).ended) == 1


def test_a_merge_that_fails_half_way_has_merged_nothing(
    desk: Desk, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in "abc":
        desk.create(busy, **said(text))
    before = desk.fetch("SELECT * FROM runs ORDER BY run_id")
    cancel, cancelled = runs.run_cancel_if_active, []

    def failing(connection: sqlite3.Connection, run_id: str, *rest: Any) -> Any:
        cancelled.append(run_id)
        if len(cancelled) == 2:
            raise sqlite3.OperationalError("disk I/O error")
        return cancel(connection, run_id, *rest)

    monkeypatch.setattr(runs, "run_cancel_if_active", failing)
    desk.connection.execute("BEGIN")
    with pytest.raises(sqlite3.OperationalError):
        merge(desk, busy)
    desk.connection.execute("ROLLBACK")
    assert desk.fetch("SELECT * FROM runs ORDER BY run_id") == before


def merge_into(desk: Desk, thread_id: str) -> merging.Merged:
    return merging.runs_merge_if_alike(desk.connection, thread_id, desk.tick(), True)


def waits_for(desk: Desk, thread_id: str, run_id: str) -> list[tuple[Any, ...]]:
    return desk.fetch(statements.RUN_TO_MERGE, thread_id, run_id)


@pytest.mark.parametrize("requeued", [True, False])
def test_one_run_is_enough_to_be_merged_into_the_one_that_was_started(
    desk: Desk, busy: str, requeued: bool
) -> None:
    (holder,) = desk.runs(busy)
    if requeued:
        desk.requeue(holder)
    run_id = desk.create(busy, **said("a"))
    merged = merge_into(desk, busy)
    assert (merged.run.run_id, merged.ended, merged.into) == (run_id, [], holder)
    assert merged.run.cancel_reason is None
    assert [row[0] for row in waits_for(desk, busy, holder)] == [run_id]
    later = desk.create(busy, **said("b"))
    assert merge(desk, busy).ended[0].run_id == later  # the wish stays
    ((found, stamp, _),) = waits_for(desk, busy, holder)
    assert (found, texts(desk, run_id)) == (run_id, ["a", "b"])
    assert stamp == desk.run(run_id).updated_at > merged.run.updated_at
    desk.cancel(run_id)
    assert waits_for(desk, busy, holder) == []
