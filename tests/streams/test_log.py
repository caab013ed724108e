"""The log: what is stored is published, after its commit and with the numbers that storage gave it."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from gatewayd.model import event
from gatewayd.model.event import Chunk
from gatewayd.storage.sqlite import events


async def test_a_chunk_is_published_after_its_commit_and_before_it_is_reported(bench: Any) -> None:
    items = [("values", "", event.V1, b"1"), ("end", "", event.THREAD, b"2")]
    with bench.cursor() as cursor, bench.cursor() as other:
        draft = bench.log.items("thread", "run", items)
        reported = asyncio.Event()

        def committed() -> None:
            assert other.skip_to_now()
            reported.set()

        bench.log.append(draft, committed, pytest.fail)
        assert not other.skip_to_now()
        assert [chunk.packed for chunk in await cursor.page()] == [draft.packed]
        await reported.wait()
        assert other.position == 2
        assert [chunk.packed for chunk in await bench.storage.events_page("thread", 0)] == [draft.packed]
    assert (bench.log.events, bench.log.event_bytes) == (2, len(draft.packed))


async def test_a_chunk_that_could_not_be_stored_is_shown_to_nobody_and_takes_no_other_with_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, failed, stored = events.store, [], []

    def spoilt(connection: sqlite3.Connection, chunk: Chunk) -> None:
        store(connection, chunk)
        if chunk.run_id == "bad":  # its row is there: it must go again
            raise LookupError("no")

    monkeypatch.setattr(events, "store", spoilt)
    with bench.cursor() as cursor:
        for run_id in ("bad", "good", "bad", "better"):
            draft = bench.log.items("thread", run_id, [("values", "", 1, b"1")])
            bench.log.append(draft, lambda run_id=run_id: stored.append(run_id), failed.append)
        await bench.storage.counters()
        pages = [await cursor.page(), await bench.storage.events_page("thread", 0)]
    for page in pages:
        assert [chunk.run_id for chunk in page] == stored == ["good", "better"]
    assert [str(error) for error in failed] == ["no", "no"]
    assert bench.log.events == 2


async def test_the_time_of_an_event_is_that_of_its_arrival_and_never_falls(bench: Any) -> None:
    moments = [1000, 900, 1001, 5]
    bench.log.now_ms = lambda: moments.pop(0)
    assert [(await bench.store()).time_ms for _ in range(4)] == [1000, 1000, 1001, 1001]
