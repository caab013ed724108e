"""Threads: created once, deleted at once, swept in steps, found by what is asked for."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.blobs.sqlite import tables
from gatewayd.model.caller import INTERNAL
from gatewayd.storage import store
from gatewayd.storage.sqlite import threads
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


# deleting


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
