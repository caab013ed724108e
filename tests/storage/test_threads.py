"""Threads: created once, deleted at once, swept in steps, found by what is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import Conflict, Invalid, NotFound
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import RunOutcome
from gatewayd.storage import opening, store


def furnished(desk: Any, *, rows: int = 3) -> str:
    """Return a thread with something of everything, and a run that executes on it."""
    thread_id = str(desk.thread(name="furnished"))
    for number in range(rows):
        ended = desk.create(thread_id, claim=True)
        desk.checkpoint(ended, f"{number:04}")
        desk.write(ended, f"{number:04}")
        desk.emit(thread_id, ended)
        desk.finish(ended)
    running = desk.create(thread_id, claim=True)
    desk.checkpoint(running, "9999")
    desk.create(thread_id)
    desk.cron(thread_id)
    return thread_id


# creating


def test_a_thread_is_created_once(desk: Any) -> None:
    thread_id = desk.thread(a=1)
    with pytest.raises(Conflict, match=f"Thread with ID {thread_id} already exists"):
        desk.ask.thread_create(thread_id, {"a": 2}, do_nothing=False, now=desk.tick())
    assert desk.look(thread_id).metadata == {"a": 1}


def test_creating_a_thread_that_may_exist_returns_the_one_that_does(desk: Any) -> None:
    thread_id = desk.thread(a=1)
    before = desk.look(thread_id)
    assert desk.ask.thread_create(thread_id, {"a": 2}, do_nothing=True, now=desk.tick()) == before
    assert desk.look(thread_id) == before


def test_what_creating_returns_is_what_is_stored(desk: Any) -> None:
    thread_id = ids.new_id()
    made = desk.ask.thread_create(thread_id, {"a": [1, {"b": None}]}, do_nothing=True, now=desk.tick())
    assert made == desk.look(thread_id)


def test_patching_merges_metadata_at_the_top_and_touches_nothing_else(desk: Any) -> None:
    thread_id = desk.thread(kept=1, replaced={"x": 1})
    before = desk.look(thread_id)
    patched = desk.ask.thread_patch(thread_id, {"replaced": {"y": 2}, "new": None}, desk.tick())
    assert patched == desk.look(thread_id)
    assert patched.metadata == {"kept": 1, "replaced": {"y": 2}, "new": None}
    assert (patched.updated_at, patched.state_updated_at) == (desk.now, before.state_updated_at)
    with pytest.raises(NotFound):
        desk.ask.thread_patch(ids.new_id(), {}, desk.tick())


# deleting


def test_a_deleted_thread_is_gone_for_every_question_before_anything_is_swept(desk: Any) -> None:
    thread_id = furnished(desk)
    active = [run_id for run_id, status in desk.runs(thread_id).items() if status in {"pending", "running"}]
    assert sorted(desk.ask.thread_delete(thread_id, desk.tick()).active) == sorted(active)
    assert len(active) == 2
    assert not desk.exists(thread_id)
    assert desk.holder(thread_id) is None
    for wanted in (
        store.ThreadSearch(),
        store.ThreadSearch(ids=[thread_id]),
        store.ThreadSearch(metadata={"name": "furnished"}),
    ):
        assert desk.ask.threads_search(wanted).threads == []
        assert desk.ask.threads_count(wanted) == 0
    for again in (
        lambda: desk.ask.thread_delete(thread_id, desk.tick()),
        lambda: desk.ask.thread_patch(thread_id, {}, desk.tick()),
        lambda: desk.create(thread_id),
    ):
        with pytest.raises(NotFound):
            again()


def test_a_run_that_ends_after_its_thread_was_deleted_changes_nothing(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    end = desk.draft(thread_id, run_id, [("end", "", 2, b"{}")])
    desk.ask.thread_delete(thread_id, desk.tick())
    ended = desk.ask.run_finish_if_active(run_id, 1, RunOutcome(status="success"), end, desk.tick())
    assert ended is None
    assert (desk.events(thread_id), desk.stored(run_id), desk.exists(thread_id)) == ([], None, False)


def test_threads_of_ended_stateless_runs_stay_for_a_while_and_deleted_ones_do_not(desk: Any) -> None:
    runs_ended = [desk.create(None) for _ in range(2)]
    desk.claim()
    hidden = []
    for run_id in runs_ended:
        hidden.append((desk.run(run_id).thread_id, desk.now + 1000))
        desk.finish(run_id)
    deleted = desk.thread()
    desk.ask.thread_delete(deleted, desk.tick())
    assert not desk.exists(hidden[0][0])
    assert desk.ask.threads_to_sweep(hidden[0][1] - 1, 10, 0) == [deleted]
    assert set(desk.ask.threads_to_sweep(hidden[0][1], 10, 0)) == {deleted, hidden[0][0]}
    assert len(desk.ask.threads_to_sweep(hidden[1][1], 10, 0)) == 3
    assert len(desk.ask.threads_to_sweep(hidden[1][1], 2, 0)) == 2


def test_the_ended_runs_of_a_deleted_thread_are_gone_too(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.finish(run_id)
    assert desk.ask.run_get(thread_id, run_id) is not None
    assert desk.ask.run_log_end(thread_id, run_id) == (False, 1)
    desk.ask.thread_delete(thread_id, desk.tick())
    assert desk.ask.run_get(thread_id, run_id) is None
    assert desk.ask.run_get_anywhere(run_id) is None
    assert desk.ask.run_log_end(thread_id, run_id) is None
    assert desk.ask.runs_list(thread_id, status=None, limit=10, offset=0) == []
    assert desk.ask.runs_active(None) == []


# searching


async def test_a_filter_that_is_too_large_is_refused_by_name(storage: store.Storage) -> None:
    with pytest.raises(Invalid, match="more than 500 conditions"):
        await storage.threads_search(
            INTERNAL,
            store.ThreadSearch(metadata={f"key{number}": number for number in range(501)}, values={}),
        )
    fits = {f"key{number}": number for number in range(500)}
    assert (
        await storage.threads_search(INTERNAL, store.ThreadSearch(metadata=fits, values={}))
    ).threads == []


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({}, True),
        ({"count": 3}, True),
        ({"count": 3.0}, True),
        ({"count": "3"}, False),
        ({"list": [1, {"a": 1, "b": 2}]}, True),
        ({"list": [1, {"b": 2, "a": 1}]}, True),
        ({"list": [1, {"a": 1}]}, True),
        ({"list": [1]}, True),
        ({"list": [2]}, False),
        ({"list": [{"a": 2}]}, False),
        ({"nested": {"a": 1, "b": 2}}, True),
        ({"nested": {"a": 1}}, True),
        ({"nested": {}}, True),
        ({"nested": {"a": 2}}, False),
        ({"nested": []}, False),
        ({"empty": {}, "none": None}, True),
        ({"missing": None}, False),
    ],
)
def test_saved_values_contain_what_is_looked_for(desk: Any, wanted: dict[str, Any], matches: bool) -> None:
    desk.thread()  # without values: it must simply not match
    thread_id = desk.thread()
    state = b'{"count":3,"list":[1,{"a":1,"b":2}],"nested":{"a":1,"b":2},"empty":{},"none":null}'
    desk.finish(desk.create(thread_id, claim=True), values=state, next=[])
    found = desk.ask.threads_search(store.ThreadSearch(metadata={}, values=wanted))
    assert (thread_id in [thread.thread_id for thread in found.threads]) is matches
    assert len(found.threads) == matches + (not wanted)


async def test_an_operation_on_user_data_is_refused_without_its_caller(tmp_path: Path) -> None:
    storage = await opening.open_storage(tmp_path / "db", 1_700_000_000_000_000, os.getpid(), "test")
    try:
        with pytest.raises(TypeError, match="thread_get needs its caller first, not str"):
            await storage.thread_get(ids.new_id())  # type: ignore[call-arg, arg-type]
    finally:
        await storage.close(1_700_000_000_000_000)
