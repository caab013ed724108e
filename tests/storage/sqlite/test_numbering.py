"""The numbers of a thread's log: none twice, none back, going on from where the log stands."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import InsufficientStorage
from gatewayd.model.event import SEQUENCE_JUMP, Chunk, Draft, pack
from gatewayd.storage import store
from gatewayd.storage.sqlite import events
from gatewayd.storage.sqlite.engine import database, numbering
from gatewayd.storage.sqlite.store import SqliteStore

THREAD = "thread"


def draft(thread_id: str = THREAD, count: int = 1, time_ms: int = 1, size: int = 1) -> Draft:
    return Draft(thread_id, "run", count, time_ms, pack([("values", "", 1, b"x" * size)] * count))


async def append(storage: SqliteStore, made: Draft) -> Chunk:
    stored: asyncio.Future[Chunk] = asyncio.get_running_loop().create_future()
    storage.events_append(made, stored.set_result, stored.set_exception)
    return await stored


def appended(desk: Any, *drafts: Draft) -> list[tuple[int, int]]:
    chunks = [events.append(desk.connection, made) for made in drafts]
    return [(chunk.first_seq, chunk.last_seq) for chunk in chunks]


def test_a_log_is_read_once_and_not_again(desk: Any) -> None:
    statements: list[str] = []
    desk.connection.set_trace_callback(statements.append)
    appended(desk, *[draft()] * 10, *[draft("other")] * 10)
    assert len([statement for statement in statements if "ORDER BY last_seq DESC" in statement]) == 2


def test_time_does_not_fall_when_the_clock_is_set_back_nor_below_what_another_process_has_stored(
    desk: Any, path: Path
) -> None:
    moments = (1000, 900, 1001, 5)
    made = [events.append(desk.connection, draft(time_ms=moment)) for moment in moments]
    assert [chunk.time_ms for chunk in made] == [1000, 1000, 1001, 1001]
    later = database.connect(path)
    chunk = events.append(later, draft(time_ms=7))
    later.close()
    assert (chunk.first_seq, chunk.time_ms) == (5, 1001)


# rolled back


async def test_an_operation_that_is_undone_leaves_a_gap_and_its_numbers_are_not_given_again(
    storage: store.Storage,
) -> None:
    given: list[Chunk] = []

    def undone(connection: sqlite3.Connection) -> None:
        given.append(events.append(connection, draft()))
        raise LookupError("behind its row")

    await append(storage, draft())
    for _ in range(3):
        with pytest.raises(LookupError):
            await storage.writer.submit(undone)
    chunk = await append(storage, draft())
    assert chunk.first_seq > max(lost.last_seq for lost in given)
    assert [found.first_seq for found in await storage.events_page(THREAD, 0)] == [1, chunk.first_seq]


async def test_in_a_batch_with_one_that_is_undone_all_others_keep_what_they_were_told(
    storage: store.Storage,
) -> None:
    """The batch is rolled back and executed again, with a savepoint for each."""
    entered, leave = threading.Event(), threading.Event()
    given: list[Chunk] = []

    def busy(_: sqlite3.Connection) -> None:
        entered.set()
        leave.wait(20)

    def undone(connection: sqlite3.Connection) -> None:
        given.append(events.append(connection, draft()))
        raise LookupError("behind its row")

    storage.writer.post(busy, on_stored=lambda _: None)
    assert entered.wait(20)
    waiting = [asyncio.ensure_future(append(storage, draft(count=2))) for _ in range(3)]
    await asyncio.sleep(0)
    failing = storage.writer.submit(undone)
    waiting += [asyncio.ensure_future(append(storage, draft())) for _ in range(3)]
    await asyncio.sleep(0)
    leave.set()
    told = await asyncio.gather(*waiting)
    with pytest.raises(LookupError):
        await failing
    stored = await storage.events_page(THREAD, 0)
    assert [(chunk.first_seq, chunk.last_seq) for chunk in stored] == [
        (chunk.first_seq, chunk.last_seq) for chunk in told
    ]
    assert len(given) == 2, "once in each way"
    numbers = [seq for chunk in told for seq in range(chunk.first_seq, chunk.last_seq + 1)]
    assert numbers == sorted(set(numbers))
    assert not {lost.first_seq for lost in given} & set(numbers)


async def test_what_a_full_disk_has_refused_leaves_a_gap(storage: store.Storage) -> None:
    await append(storage, draft())
    await storage.writer.submit(_room, 3)
    for _ in range(2):
        with pytest.raises(InsufficientStorage):
            await append(storage, draft(size=200_000))
    await storage.writer.submit(_room, 1000)
    assert (await append(storage, draft())).first_seq > 3


def _room(connection: sqlite3.Connection, pages: int) -> None:
    """Leave so many free pages on the disk."""
    (used,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {used + pages}")


# later


# how much is remembered


async def test_many_threads_are_not_remembered_for_ever_and_go_on_all_the_same(
    storage: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbering, "KEPT", 5)
    names = [ids.new_id() for _ in range(30)]
    for seq in (1, 2):
        for name in names:
            assert (await append(storage, draft(name))).first_seq == seq
    counters = numbering.of(storage.writer.connection)
    await storage.counters()
    await storage.counters()  # what follows the first is behind it
    assert len(counters) <= 6


async def test_a_counter_that_is_ahead_of_its_log_is_remembered_however_many_come_after_it(
    storage: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def jump(connection: sqlite3.Connection) -> None:
        numbering.of(connection).jump(connection, "jumped")

    def undone(connection: sqlite3.Connection) -> None:
        events.append(connection, draft("undone"))
        raise LookupError("behind its row")

    monkeypatch.setattr(numbering, "KEPT", 5)
    await storage.writer.submit(jump)
    with pytest.raises(LookupError):
        await storage.writer.submit(undone)
    for _ in range(30):
        await append(storage, draft(ids.new_id()))
    assert (await append(storage, draft("jumped"))).first_seq == 1 + SEQUENCE_JUMP
    assert (await append(storage, draft("undone"))).first_seq > 1


def test_after_one_batch_a_few_counters_are_dropped_at_most(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended(desk, *(draft(ids.new_id()) for _ in range(20)))
    counters = numbering.of(desk.connection)
    monkeypatch.setattr(numbering, "KEPT", 5)
    monkeypatch.setattr(numbering, "DROPPED_AT_ONCE", 4)
    lengths = []
    for _ in range(5):
        counters.shrink(desk.connection)
        lengths.append(len(counters))
    assert lengths == [16, 12, 8, 5, 5]
