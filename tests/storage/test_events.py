"""Pages of the event log: bounded in bytes, whole, in order, of one run or of all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd.model.event import Chunk, Draft, pack
from gatewayd.storage import events, store

THREAD, OTHER = "thread", "other"


async def fill(storage: store.Storage, chunks: list[Chunk]) -> None:
    """Store chunks; they get the numbers that they have, since each thread's begin with 1 and follow."""
    for made in chunks:
        stored: asyncio.Future[Chunk] = asyncio.get_running_loop().create_future()
        count = made.last_seq - made.first_seq + 1
        draft = Draft(made.thread_id, made.run_id, count, made.time_ms, made.packed)
        storage.events_append(draft, stored.set_result, stored.set_exception)
        assert (await stored).last_seq == made.last_seq


def chunk(seq: int, size: int, run_id: str = "run", thread_id: str = THREAD, records: int = 1) -> Chunk:
    packed = pack([("values", "", 1, b"x" * (size // records))] * records)
    return Chunk(thread_id, run_id, seq, seq + records - 1, seq, packed)


async def pages(storage: store.Storage, run_id: str | None = None, after: int = 0) -> list[list[Chunk]]:
    found = []
    while page := await storage.events_page(THREAD, after, run_id):
        after = page[-1].last_seq
        found.append(page)
    return found


SIZES = {
    "tiny": [100] * 1000,
    "one tiny before large ones": [100] + [200_000] * 40,
    "tiny and large in turn": [100, 300_000, 100, 100, 200_000] * 10,
    "larger than a page": [400_000] * 5,
    "those that are stored in a few bytes": [50_000] * 100,
    "just half a page": [events.EVENT_PAGE_BYTES // 2 - 50] * 10,
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
async def test_a_page_is_never_larger_than_its_bound_except_for_a_single_chunk(
    storage: store.Storage, sizes: list[int]
) -> None:
    stored = [chunk(seq, size) for seq, size in enumerate(sizes, 1)]
    await fill(storage, stored)
    found = await pages(storage)
    for page in found:
        assert len(page) == 1 or sum(len(one.packed) for one in page) <= events.EVENT_PAGE_BYTES
        assert len(page) <= events.EVENT_PAGE_CHUNKS
    assert [one.packed for page in found for one in page] == [one.packed for one in stored]
    small = min(len(stored), events.EVENT_PAGE_CHUNKS, events.EVENT_PAGE_BYTES // (max(sizes) + 50))
    assert len(found[0]) >= max(1, small)  # and not needlessly small


async def test_a_page_of_one_run_has_nothing_of_others_and_steps_over_them(storage: store.Storage) -> None:
    stored = [chunk(seq, 50_000, run_id=f"run-{seq % 3}") for seq in range(1, 61)]
    await fill(storage, [*stored, chunk(1, 100, run_id="run-1", thread_id=OTHER)])
    found = await pages(storage, "run-1")
    assert [one.last_seq for page in found for one in page] == list(range(1, 61, 3))
    assert all(one.run_id == "run-1" and one.thread_id == THREAD for page in found for one in page)
    assert await storage.events_page(THREAD, 0, "nobody") == []


async def test_reading_begins_behind_the_number_also_in_the_middle_of_a_chunk(storage: store.Storage) -> None:
    await fill(storage, [chunk(1, 100, records=10), chunk(11, 100, records=10)])
    assert [one.first_seq for one in await storage.events_page(THREAD, 10)] == [11]
    assert [one.first_seq for one in await storage.events_page(THREAD, 9)] == [1, 11]
    assert await storage.events_page(THREAD, 20) == []
    assert await storage.events_page(THREAD, 10**18) == []


async def test_what_is_read_is_what_was_stored(storage: store.Storage) -> None:
    items: list[Any] = [
        ("values", "", 3, b'{"a":1}'),
        ("messages", "sub:1|deep:2", 1, b"[]"),
        ("end", "", 2, b"{}"),
    ]
    await fill(storage, [Chunk(THREAD, "run", 1, 3, 1234, pack(items))])
    (found,) = await storage.events_page(THREAD, 0)
    assert [(r.kind, r.namespace, r.mask, r.data) for r in found.records] == items
    assert [(r.seq, r.time_ms, r.run_id, r.event_id) for r in found.records] == [
        (seq, 1234, "run", f"1234-{seq}") for seq in (1, 2, 3)
    ]


async def test_the_newest_number_and_time_of_a_thread_are_its_own(storage: store.Storage) -> None:
    assert await storage.events_last(THREAD) == (0, 0)
    await fill(storage, [chunk(1, 10, records=3), chunk(1, 10, thread_id=OTHER)])
    assert await storage.events_last(THREAD) == (3, 1)


def token(seq: int) -> Chunk:
    """Return the chunk of a model's token, as a worker sends it."""
    about = (
        b'{"created_by":"system","graph_id":"agent","run_attempt":1,"langgraph_step":13,"langgraph_node":"answer",'
        b'"langgraph_triggers":["branch:to:answer"],"langgraph_path":["__pregel_pull","answer"],"ls_model_type":"chat"}'
    )
    data = (
        b'[{"content":"word","additional_kwargs":{},"response_metadata":{},"type":"AIMessageChunk"},%b]'
        % about
    )
    return Chunk(THREAD, "run", seq, seq, seq, pack([("messages", "", 3, data)]))
