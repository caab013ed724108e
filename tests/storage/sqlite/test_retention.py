"""How long events are kept: a thread's log goes from its beginning, and everybody can tell what is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import Draft, pack
from gatewayd.storage.sqlite import events
from gatewayd.storage.sqlite.store import SqliteStore


def told(desk: Any, thread_id: str, *, steps: int = 1) -> str:
    """Execute a run of so many events; return it."""
    run_id = desk.create(thread_id, claim=True)
    for _ in range(steps):
        desk.emit(thread_id, run_id)
    desk.finish(run_id)
    return str(run_id)


def pruned(desk: Any, thread_id: str, before: int | None = None, rows: int = 100) -> int:
    """Remove what may go; return the number of steps that it took."""
    desk.tick()
    steps = 1
    while not events.prune_step(desk.connection, thread_id, desk.now if before is None else before, rows):
        steps += 1
    return steps


def kept(desk: Any, thread_id: str) -> list[int]:
    found = desk.fetch("SELECT last_seq FROM events WHERE thread_id = ? ORDER BY 1", thread_id)
    return [last_seq for (last_seq,) in found]


def test_a_step_removes_no_more_rows_and_bytes_than_it_may(desk: Any, monkeypatch: Any) -> None:
    thread_id = desk.thread()
    told(desk, thread_id, steps=10)
    assert pruned(desk, thread_id, rows=3) == 4
    assert kept(desk, thread_id) == [11]
    monkeypatch.setattr(events, "PRUNE_BYTES", 50)
    other = desk.thread()
    told(desk, other, steps=10)  # of some 20 bytes each
    assert 3 <= pruned(desk, other) <= 6
    assert kept(desk, other) == [11]


async def test_a_step_does_not_hold_the_writer_for_long(storage: SqliteStore, path: Path) -> None:
    thread = await storage.thread_create(
        INTERNAL, "11111111-2222-4333-8444-555555555555", {}, do_nothing=False, now=1
    )
    large = pack([("values", "", 1, b"x" * 200_000)])
    for _ in range(100):
        storage.events_append(Draft(thread.thread_id, "", 1, 1, large), lambda _: None, print)
    await storage.counters()
    times = []
    done = False
    while not done:
        began = time.perf_counter()
        done = await storage.thread_events_prune_step(thread.thread_id, 10**15, 200)
        times.append(time.perf_counter() - began)
    assert len(times) >= 9
    assert sorted(times)[len(times) // 2] < 0.1  # a few milliseconds on a machine that has nothing else to do
    assert await storage.events_last(thread.thread_id) == (100, 1)
