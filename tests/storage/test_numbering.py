"""The numbers of a thread's log: none twice, none back, going on from where the log stands."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from gatewayd.model.event import SEQUENCE_JUMP, Chunk, Draft, pack
from gatewayd.storage import opening, store

THREAD = "thread"


def draft(thread_id: str = THREAD, count: int = 1, time_ms: int = 1, size: int = 1) -> Draft:
    return Draft(thread_id, "run", count, time_ms, pack([("values", "", 1, b"x" * size)] * count))


async def append(storage: store.Storage, made: Draft) -> Chunk:
    stored: asyncio.Future[Chunk] = asyncio.get_running_loop().create_future()
    storage.events_append(made, stored.set_result, stored.set_exception)
    return await stored


async def reopened(path: Path) -> store.Storage:
    return await opening.open_storage(path, 0, os.getpid(), "test")


def appended(desk: Any, *drafts: Draft) -> list[tuple[int, int]]:
    chunks = [desk.ask.events_append(made) for made in drafts]
    return [(chunk.first_seq, chunk.last_seq) for chunk in chunks]


def test_numbers_begin_with_one_and_follow_without_gaps_on_each_thread(desk: Any) -> None:
    assert appended(desk, *(draft(count=count) for count in (1, 5, 2))) == [(1, 1), (2, 6), (7, 8)]
    assert appended(desk, draft("other")) == [(1, 1)]
    assert appended(desk, draft()) == [(9, 9)]


async def test_many_that_write_to_one_thread_at_once_get_each_number_once(storage: store.Storage) -> None:
    chance = random.Random(1)
    counts = [chance.randint(1, 4) for _ in range(200)]
    chunks = await asyncio.gather(*(append(storage, draft(count=count)) for count in counts))
    numbers = [seq for chunk in chunks for seq in range(chunk.first_seq, chunk.last_seq + 1)]
    assert numbers == list(range(1, sum(counts) + 1))  # in the order in which it was asked


# rolled back


def test_an_end_that_is_refused_leaves_a_gap(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.cancel(run_id)
    assert not desk.finish(run_id, "success")
    assert desk.events(thread_id) == []
    assert desk.finish(run_id, "interrupted")
    assert desk.run(run_id).log_to == 2
    assert [(chunk.first_seq, chunk.last_seq) for chunk in desk.events(thread_id)] == [(2, 2)]


# later


async def test_the_next_start_goes_on_behind_what_is_stored(storage: store.Storage, path: Path) -> None:
    for count in (7, 3):
        await append(storage, draft(count=count))
    await storage.close(0)
    again = await reopened(path)
    assert (await append(again, draft())).first_seq == 11
    await again.close(0)


async def test_a_thread_whose_log_was_removed_goes_on_with_its_numbers(
    storage: store.Storage, path: Path
) -> None:
    for _ in range(5):
        await append(storage, draft())
    while not await storage.thread_events_prune_step(THREAD, 10**18, 2):
        pass
    assert [chunk.first_seq for chunk in await storage.events_page(THREAD, 0)] == [5]
    assert (await append(storage, draft())).first_seq == 6
    await storage.close(0)
    again = await reopened(path)
    assert (await append(again, draft())).first_seq == 7
    await again.close(0)


def test_the_thread_of_a_run_that_was_cut_off_goes_on_much_higher_and_no_other(desk: Any) -> None:
    cut_off, quiet = desk.thread(), desk.thread()
    run_id = desk.create(cut_off, claim=True)
    for thread_id in (cut_off, quiet):
        desk.emit(thread_id, run_id, *[("values", "", 1, b"{}")] * 3)
    desk.restart()
    desk.ask.orphans_requeue(desk.tick(), {}, "resume")
    assert desk.emit(cut_off, run_id).first_seq == 4 + SEQUENCE_JUMP
    assert desk.emit(quiet, "").first_seq == 4


def test_a_thread_that_is_made_in_place_of_a_deleted_one_begins_with_one(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.emit(thread_id, run_id, *[("values", "", 1, b"{}")] * 3)
    deleted = desk.ask.thread_delete(thread_id, desk.tick())
    assert (deleted.last_seq, deleted.active) == (3, {run_id: "chat"})
    desk.ask.thread_create(thread_id, {}, do_nothing=False, now=desk.tick())
    assert desk.emit(thread_id, "").first_seq == 1


def test_the_end_of_a_deleted_run_is_numbered_behind_all_before_it(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.emit(thread_id, run_id)
    last = desk.draft(thread_id, run_id, [("end", "", 2, b"{}")] * 2)
    deleted = desk.ask.run_delete(thread_id, run_id, desk.tick(), last, lambda _: None)
    assert deleted is not None
    assert deleted.end is not None
    assert (deleted.end.first_seq, deleted.end.last_seq) == (2, 3)
    pending = desk.create(thread_id)
    unseen = desk.ask.run_delete(thread_id, pending, desk.tick(), last, lambda _: None)
    assert unseen is not None
    assert unseen.end is None


# how much is remembered
