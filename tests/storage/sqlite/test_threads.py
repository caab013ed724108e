"""Threads: created once, deleted at once, swept in steps, found by what is asked for."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.blobs.sqlite import tables
from gatewayd.errors import Conflict, Invalid, NotFound
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import RunOutcome
from gatewayd.storage import opening, store
from gatewayd.storage.sqlite import runs, search, threads
from gatewayd.storage.sqlite.store import SqliteStore


def furnished(desk: Any, *, rows: int = 3) -> str:
    """Return a thread with rows in every table, and a run that executes on it."""
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
    tables.store(desk.connection, thread_id, (), ())
    assert min(desk.rows_of(thread_id).values()) > 0
    return thread_id


def sweep(desk: Any, thread_id: str, rows: int) -> int:
    """
    Sweep to the end and return the number of steps; each removes at most `rows`, and all but the last
    something.
    """
    steps = 1
    before = sum(desk.rows_of(thread_id).values())
    while not threads.thread_sweep_step(desk.connection, thread_id, rows):
        steps += 1
        after = sum(desk.rows_of(thread_id).values())
        assert 0 < before - after <= rows
        before = after
    return steps


# creating


def test_a_thread_is_created_once(desk: Any) -> None:
    thread_id = desk.thread(a=1)
    with pytest.raises(Conflict, match=f"Thread with ID {thread_id} already exists"):
        threads.thread_create(desk.connection, thread_id, {"a": 2}, False, desk.tick())
    assert desk.look(thread_id).metadata == {"a": 1}


def test_creating_a_thread_that_may_exist_returns_the_one_that_does(desk: Any) -> None:
    thread_id = desk.thread(a=1)
    before = desk.look(thread_id)
    assert threads.thread_create(desk.connection, thread_id, {"a": 2}, True, desk.tick()) == before
    assert desk.look(thread_id) == before


def test_what_creating_returns_is_what_is_stored(desk: Any) -> None:
    thread_id = ids.new_id()
    made = threads.thread_create(desk.connection, thread_id, {"a": [1, {"b": None}]}, True, desk.tick())
    assert made == desk.look(thread_id)


def test_patching_merges_metadata_at_the_top_and_touches_nothing_else(desk: Any) -> None:
    thread_id = desk.thread(kept=1, replaced={"x": 1})
    before = desk.look(thread_id)
    patched = threads.thread_patch(
        desk.connection, thread_id, {"replaced": {"y": 2}, "new": None}, desk.tick()
    )
    assert patched == desk.look(thread_id)
    assert patched.metadata == {"kept": 1, "replaced": {"y": 2}, "new": None}
    assert (patched.updated_at, patched.state_updated_at) == (desk.now, before.state_updated_at)
    with pytest.raises(NotFound):
        threads.thread_patch(desk.connection, ids.new_id(), {}, desk.tick())


# deleting


def test_a_deleted_thread_is_gone_for_every_question_before_anything_is_swept(desk: Any) -> None:
    thread_id = furnished(desk)
    active = [run_id for run_id, status in desk.runs(thread_id).items() if status in {"pending", "running"}]
    assert sorted(threads.thread_delete(desk.connection, thread_id, desk.tick()).active) == sorted(active)
    assert len(active) == 2
    assert threads.thread_find(desk.connection, thread_id) is None
    assert desk.holder(thread_id) is None
    for wanted in (
        search.ThreadSearch(),
        search.ThreadSearch(ids=[thread_id]),
        search.ThreadSearch(metadata={"name": "furnished"}),
    ):
        assert search.threads_search(desk.connection, wanted).threads == []
        assert search.threads_count(desk.connection, wanted) == 0
    for again in (
        lambda: threads.thread_delete(desk.connection, thread_id, desk.tick()),
        lambda: threads.thread_patch(desk.connection, thread_id, {}, desk.tick()),
        lambda: desk.create(thread_id),
    ):
        with pytest.raises(NotFound):
            again()


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_sweeping_a_deleted_thread_leaves_no_row_of_it_and_all_of_others(desk: Any, rows: int) -> None:
    kept, doomed = furnished(desk), furnished(desk)
    before = desk.rows_of(kept)
    threads.thread_delete(desk.connection, doomed, desk.tick())
    total = sum(desk.rows_of(doomed).values())
    assert threads.sweep_candidates(desk.connection, 0, 10) == [doomed]
    steps = sweep(desk, doomed, rows)
    assert steps >= (total - 6) // rows
    assert set(desk.rows_of(doomed).values()) == {0}
    assert desk.rows_of(kept) == before
    assert threads.sweep_candidates(desk.connection, 0, 10) == []


def test_a_run_that_ends_after_its_thread_was_deleted_changes_nothing(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    end = desk.draft(thread_id, run_id, [("end", "", 2, b"{}")])
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    before = desk.dump("threads", "events", "runs")
    ended = runs.run_finish_if_active(
        desk.connection, run_id, 1, RunOutcome(status="success"), end, desk.tick()
    )
    assert ended is None
    assert desk.dump("threads", "events", "runs") == before


def test_an_id_can_be_used_again_at_once_and_nothing_of_the_old_thread_is_in_the_new_one(desk: Any) -> None:
    thread_id = furnished(desk)
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    made = threads.thread_create(desk.connection, thread_id, {"new": True}, False, desk.tick())
    assert desk.look(thread_id) == made
    assert {table: rows for table, rows in desk.rows_of(thread_id).items() if rows} == {
        "threads": 1,
        "thread_tags": 1,
    }


async def test_an_id_of_a_large_deleted_thread_is_used_again_in_steps_between_which_others_are_served(
    storage: SqliteStore, desk: Any
) -> None:
    thread_id = furnished(desk, rows=1)
    run_id = desk.create(thread_id)
    for _ in range(3 * threads.SWEPT_ROWS):
        desk.emit(thread_id, run_id)
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    done: list[str] = []

    async def make() -> None:
        made = await storage.thread_create(
            INTERNAL, thread_id, {"new": True}, do_nothing=False, now=desk.tick()
        )
        assert made.metadata == {"new": True}
        done.append("made")

    making = asyncio.ensure_future(make())
    await asyncio.sleep(0)
    await storage.thread_create(INTERNAL, desk.thread(), {}, do_nothing=True, now=desk.tick())
    done.append("served")
    await making
    assert done == ["served", "made"]
    assert {table: rows for table, rows in desk.rows_of(thread_id).items() if rows} == {
        "threads": 1,
        "thread_tags": 1,
    }
    kept = await storage.thread_create(INTERNAL, thread_id, {"other": True}, do_nothing=True, now=desk.tick())
    assert kept.metadata == {"new": True}


def test_the_sweeper_does_not_touch_a_thread_that_was_created_again_since_it_looked(desk: Any) -> None:
    thread_id = furnished(desk)
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    candidates = threads.sweep_candidates(desk.connection, 0, 10)
    threads.thread_create(desk.connection, thread_id, {"new": True}, False, desk.tick())
    run_id = desk.create(thread_id, claim=True)
    desk.checkpoint(run_id, "0001")
    before = desk.rows_of(thread_id)
    assert candidates == [thread_id]
    assert threads.thread_sweep_step(desk.connection, thread_id, 1000)
    assert desk.rows_of(thread_id) == before
    assert desk.look(thread_id).metadata["new"] is True


def test_threads_of_ended_stateless_runs_stay_for_a_while_and_deleted_ones_do_not(desk: Any) -> None:
    runs_ended = [desk.create(None) for _ in range(2)]
    desk.claim()
    hidden = []
    for run_id in runs_ended:
        hidden.append((desk.run(run_id).thread_id, desk.now + 1000))
        desk.finish(run_id)
    deleted = desk.thread()
    threads.thread_delete(desk.connection, deleted, desk.tick())
    assert threads.thread_find(desk.connection, hidden[0][0]) is None
    assert threads.sweep_candidates(desk.connection, hidden[0][1] - 1, 10) == [deleted]
    assert set(threads.sweep_candidates(desk.connection, hidden[0][1], 10)) == {deleted, hidden[0][0]}
    assert len(threads.sweep_candidates(desk.connection, hidden[1][1], 10)) == 3
    assert len(threads.sweep_candidates(desk.connection, hidden[1][1], 2)) == 2


async def test_the_ended_runs_of_a_deleted_thread_are_gone_too(storage: SqliteStore, desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.finish(run_id)
    assert await storage.run_get(INTERNAL, thread_id, run_id) is not None
    assert await storage.run_log_end(thread_id, run_id) == (False, 1)
    await storage.thread_delete(INTERNAL, thread_id, desk.tick())
    assert await storage.run_get(INTERNAL, thread_id, run_id) is None
    assert await storage.run_get_anywhere(INTERNAL, run_id) is None
    assert await storage.run_log_end(thread_id, run_id) is None
    assert await storage.runs_list(INTERNAL, thread_id, status=None, limit=10, offset=0) == []
    assert await storage.runs_active(INTERNAL, None) == []


# searching


def library(desk: Any, count: int = 30) -> list[str]:
    """Fill the table with threads of all kinds and return their ids."""
    chance = random.Random(7)
    made = []
    for number in range(count):
        thread_id = desk.thread(number=number, odd=number % 2 == 1)
        for column in ("created_at", "updated_at", "state_updated_at"):
            moment = desk.now + chance.randrange(5)  # many are equal
            desk.connection.execute(
                f"UPDATE threads SET {column} = ? WHERE thread_id = ?", (moment, thread_id)
            )
        status = chance.choice(["idle", "busy", "interrupted", "error"])
        desk.connection.execute("UPDATE threads SET status = ? WHERE thread_id = ?", (status, thread_id))
        made.append(thread_id)
    hidden = desk.thread()
    threads.thread_delete(desk.connection, hidden, desk.tick())
    return made


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort_by", ["thread_id", "status", "created_at", "updated_at", "state_updated_at"])
async def test_pages_of_a_search_are_sorted_and_show_every_thread_once(
    storage: SqliteStore, desk: Any, sort_by: str, descending: bool
) -> None:
    made = library(desk)
    found = []
    offset = 0
    while True:
        page = await storage.threads_search(
            INTERNAL,
            store.ThreadSearch(
                metadata={}, values={}, limit=7, offset=offset, sort_by=sort_by, descending=descending
            ),
        )
        found += page.threads[:7]
        offset += 7
        if len(page.threads) <= 7:
            break
        assert len(page.threads) == 8  # one more tells that there are more
    keys = [(getattr(thread, sort_by), thread.thread_id) for thread in found]
    assert keys == sorted(keys, reverse=descending)
    assert sorted(thread.thread_id for thread in found) == sorted(made)


async def test_a_search_by_ids_and_status_returns_those_that_have_both(
    storage: SqliteStore, desk: Any
) -> None:
    made = library(desk)
    chosen = [*made[:10], ids.new_id()]
    for status in ("idle", "busy", "interrupted", "error"):
        found = await storage.threads_search(
            INTERNAL, store.ThreadSearch(metadata={}, values={}, ids=chosen, status=status, limit=100)
        )
        wanted = [thread_id for thread_id in made[:10] if desk.look(thread_id).status == status]
        assert sorted(thread.thread_id for thread in found.threads) == sorted(wanted)
    everything = await storage.threads_search(
        INTERNAL, store.ThreadSearch(metadata={}, values={}, ids=[], limit=100)
    )
    assert len(everything.threads) == len(made)


async def test_a_search_takes_more_ids_than_sqlite_takes_parameters(storage: SqliteStore, desk: Any) -> None:
    thread_id = desk.thread()
    chosen = [ids.new_id() for _ in range(40_000)] + [thread_id]
    found = await storage.threads_search(INTERNAL, store.ThreadSearch(metadata={}, values={}, ids=chosen))
    assert [thread.thread_id for thread in found.threads] == [thread_id]


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
async def test_saved_values_contain_what_is_looked_for(
    storage: SqliteStore, desk: Any, wanted: dict[str, Any], matches: bool
) -> None:
    desk.thread()  # without values: it must simply not match
    thread_id = desk.thread()
    state = b'{"count":3,"list":[1,{"a":1,"b":2}],"nested":{"a":1,"b":2},"empty":{},"none":null}'
    desk.finish(desk.create(thread_id, claim=True), values=state, next=[])
    found = await storage.threads_search(INTERNAL, store.ThreadSearch(metadata={}, values=wanted))
    assert (thread_id in [thread.thread_id for thread in found.threads]) is matches
    assert len(found.threads) == matches + (not wanted)


def test_a_step_of_sweeping_removes_few_rows_when_they_are_large(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    large = bytes(threads.SWEPT_BYTES // 3)
    for _ in range(9):
        desk.emit(thread_id, run_id, ("values", "", 1, large))
    desk.emit(thread_id, run_id, ("values", "", 1, bytes(2 * threads.SWEPT_BYTES)))
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    left = [10]
    while not threads.thread_sweep_step(desk.connection, thread_id, 1000):
        left.append(desk.rows_of(thread_id)["events"])
    assert left == [10, 8, 6, 4, 2, 1]
    assert set(desk.rows_of(thread_id).values()) == {0}


async def test_an_operation_on_user_data_is_refused_without_its_caller(tmp_path: Path) -> None:
    storage = await opening.open_storage(tmp_path / "db", 1_700_000_000_000_000, os.getpid(), "test")
    try:
        with pytest.raises(TypeError, match="thread_get needs its caller first, not str"):
            await storage.thread_get(ids.new_id())  # type: ignore[call-arg, arg-type]
    finally:
        await storage.close(1_700_000_000_000_000)
