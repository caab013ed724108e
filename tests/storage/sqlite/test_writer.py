"""The writer: one transaction for all that waits, answers after the commit, nothing half stored."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gatewayd.errors import InsufficientStorage, Unavailable
from gatewayd.storage.sqlite.engine import database, failures, syncing, writing

PAGE = 4096


class Traced(writing.Writer):
    """A writer that notes the statements of its transactions, and can be held up so that a batch gathers."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.statements: list[str] = []
        connection.set_trace_callback(self.statements.append)

    def transactions(self) -> list[list[str]]:
        """The statements since the last call, cut at each commit or rollback of a transaction."""
        found: list[list[str]] = [[]]
        for statement in self.statements:
            if statement in LOOKS:
                continue
            found[-1].append(statement)
            if statement in {"COMMIT", "ROLLBACK"}:
                found.append([])
        self.statements.clear()
        return found[:-1]


LOOKS = {"PRAGMA page_count", "PRAGMA freelist_count"}
"""Read after each batch, beside all transactions."""


@contextmanager
def held(writer: writing.Writer) -> Iterator[None]:
    """
    Keep the writer's thread busy with one operation: what is asked for inside waits and makes one batch.
    """
    entered, leave = threading.Event(), threading.Event()

    def busy(connection: sqlite3.Connection) -> None:
        entered.set()
        leave.wait(20)

    future = writer.submit(busy)
    future.add_done_callback(lambda done: done.exception())
    assert entered.wait(20)
    try:
        yield
    finally:
        leave.set()


def insert(connection: sqlite3.Connection, value: str) -> str:
    connection.execute("INSERT INTO notes VALUES (?)", (value,))
    return value.upper()


def refuse(connection: sqlite3.Connection, value: str) -> None:
    insert(connection, value)
    raise LookupError(value)


def room(connection: sqlite3.Connection, pages: int) -> None:
    """Leave so many free pages on the disk."""
    (used,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {used + pages}")


def fill(connection: sqlite3.Connection, size: int) -> None:
    connection.execute("INSERT INTO notes VALUES (zeroblob(?))", (size,))


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Traced]:
    connection = database.connect(path)
    connection.execute("CREATE TABLE notes (note UNIQUE)")
    made = Traced(connection)
    made.start()
    yield made
    await made.close()


async def test_what_waits_together_is_one_transaction(writer: Traced) -> None:
    with held(writer):
        futures = [writer.submit(insert, value) for value in "abc"]
    assert await asyncio.gather(*futures) == ["A", "B", "C"]
    _, batch = writer.transactions()
    assert batch[0] == "BEGIN IMMEDIATE"
    assert batch[-1] == "COMMIT"
    assert len(batch) == 5
    assert (writer.batches, writer.operations) == (2, 4)


async def test_an_operation_that_fails_takes_nothing_of_its_neighbours_with_it(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    with held(writer):
        before, failing, after = (
            writer.submit(insert, "before"),
            writer.submit(refuse, "failing"),
            writer.submit(insert, "after"),
        )
    assert await before == "BEFORE"
    with pytest.raises(LookupError, match="failing"):
        await failing
    assert await after == "AFTER"
    assert second("SELECT note FROM notes") == [("before",), ("after",)]
    assert writer.batches == 2


@pytest.mark.parametrize("changing", [False, True])
async def test_a_batch_is_executed_again_if_one_fails_behind_its_own_changes_and_only_then(
    writer: Traced, second: Callable[[str], Any], changing: bool
) -> None:
    executed: list[str] = []

    def note(connection: sqlite3.Connection, value: str) -> str:
        executed.append(value)
        return insert(connection, value)

    def fail(connection: sqlite3.Connection) -> None:
        if changing:
            connection.execute("DELETE FROM notes")
        raise LookupError

    with held(writer):
        futures = [writer.submit(note, "a"), writer.submit(fail), writer.submit(note, "b")]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [results[0], type(results[1]), results[2]] == ["A", LookupError, "B"]
    assert second("SELECT note FROM notes") == [("a",), ("b",)]
    assert executed == (["a", "a", "b"] if changing else ["a", "b"])


async def test_an_answer_comes_after_the_commit(writer: Traced, second: Callable[[str], Any]) -> None:
    seen: list[Any] = []
    with held(writer):
        writer.post(insert, "posted", on_stored=lambda _: seen.append(second("SELECT note FROM notes")))
        future = writer.submit(insert, "submitted")
        assert second("SELECT note FROM notes") == []
    await future
    assert seen == [[("posted",), ("submitted",)]]


async def test_operations_are_settled_in_the_order_in_which_they_were_asked_for(writer: Traced) -> None:
    settled: list[Any] = []
    with held(writer):
        for number in range(0, 30, 3):
            writer.post(insert, str(number), on_stored=settled.append)
            writer.post(
                refuse, str(number + 1), on_stored=settled.append, on_error=lambda e: settled.append(str(e))
            )
            last = writer.submit(insert, str(number + 2))
            last.add_done_callback(lambda done: settled.append(done.result()))
    await last
    await asyncio.sleep(0)  # the last callback
    posted = [entry for entry in settled if int(entry) % 3 != 2]
    assert posted == [str(number) for number in range(30) if number % 3 != 2]
    assert [entry for entry in settled if int(entry) % 3 == 2] == [str(number) for number in range(2, 30, 3)]


@pytest.mark.parametrize(
    ("promises", "syncs"), [((False, False), 0), ((True, False), 1), ((False, True), 1), ((True, True), 1)]
)
async def test_a_batch_with_a_promise_is_synced_once_and_others_are_not(
    writer: Traced, promises: tuple[bool, ...], syncs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        syncing, "SYNC", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
    )
    with held(writer):
        futures = [
            writer.submit(insert, str(number), promise=promise) for number, promise in enumerate(promises)
        ]
    await asyncio.gather(*futures)
    assert len(synced) == syncs
    assert all(name.endswith(".sqlite-wal") for name in synced)


async def test_what_may_begin_early_is_told_after_the_commit_and_the_promise_is_kept_after_the_sync(
    writer: Traced, second: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, under_way, go_on = asyncio.Event(), threading.Event(), threading.Event()
    seen: list[Any] = []

    def sync(_: int) -> None:
        under_way.set()
        assert go_on.wait(20)

    def early(result: str) -> None:
        seen.append((result, second("SELECT count(*) FROM notes")))
        began.set()

    monkeypatch.setattr(syncing, "SYNC", sync)
    promise = writer.submit(insert, "a", promise=True, on_commit=early)
    await began.wait()
    assert seen == [("A", [(1,)])]
    assert not promise.done()
    later = writer.submit(insert, "b")
    go_on.set()
    assert await promise == "A"
    assert await later == "B"
    assert len(seen) == 1


async def test_what_is_asked_for_during_a_sync_is_stored_meanwhile_and_answered_behind_it_by_one_more(
    writer: Traced, second: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    began, go_on, stored = threading.Event(), threading.Event(), asyncio.Event()

    def sync(_: int) -> None:
        syncs.append(second("SELECT count(*) FROM notes")[0][0])
        began.set()
        assert go_on.wait(20)

    monkeypatch.setattr(syncing, "SYNC", sync)
    settled: list[str] = []
    first = writer.submit(insert, "a", promise=True, on_stored=settled.append)
    await asyncio.to_thread(began.wait, 20)
    writer.post(insert, "b", on_stored=settled.append)
    promise = writer.submit(insert, "c", promise=True, on_stored=settled.append)
    last = writer.submit(
        insert, "d", promise=True, on_commit=lambda _: stored.set(), on_stored=settled.append
    )
    await stored.wait()
    assert second("SELECT count(*) FROM notes") == [(4,)]
    assert (settled, first.done(), last.done()) == ([], False, False)
    go_on.set()
    assert await last == "D"
    assert first.done()
    assert promise.done()
    assert settled == ["A", "B", "C", "D"]
    assert syncs == [1, 4]


async def test_who_closes_the_writer_waits_for_the_promises_that_were_given(
    writer: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, asked = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        asked.set()
        assert go_on.wait(20)

    monkeypatch.setattr(syncing, "SYNC", sync)
    promise = writer.submit(insert, "a", promise=True)
    await asyncio.to_thread(asked.wait, 20)
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await closing
    assert await promise == "A"


async def test_an_operation_that_fails_begins_nothing(writer: Traced) -> None:
    seen: list[Any] = []
    with pytest.raises(LookupError):
        await writer.submit(refuse, "a", promise=True, on_commit=seen.append)
    assert not seen


async def test_a_promise_that_the_disk_does_not_confirm_is_not_given_and_others_are_stored(
    writer: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(syncing, "SYNC", broken)
    with held(writer):
        promise, other = writer.submit(insert, "a", promise=True), writer.submit(insert, "b")
    with pytest.raises(InsufficientStorage, match="did not confirm"):
        await promise
    assert await other == "B"


async def test_the_operation_of_a_caller_that_was_cancelled_is_stored_whole(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    async def caller() -> None:
        await writer.submit(insert, "cancelled")

    with held(writer):
        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0)
        task.cancel()
        neighbour = writer.submit(insert, "neighbour")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await neighbour == "NEIGHBOUR"
    assert second("SELECT note FROM notes") == [("cancelled",), ("neighbour",)]


async def test_when_the_commit_fails_nothing_is_stored_and_everybody_learns_it(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
        connection.execute("INSERT INTO b VALUES (1)")

    outcomes: list[Any] = []
    with held(writer):
        writer.post(
            insert, "posted", on_stored=outcomes.append, on_error=lambda error: outcomes.append(type(error))
        )
        futures = [writer.submit(insert, "submitted"), writer.submit(orphan)]
    for future in futures:
        with pytest.raises(sqlite3.IntegrityError):
            await future
    assert outcomes == [sqlite3.IntegrityError]
    assert second("SELECT count(*) FROM notes") == [(0,)]
    assert await writer.submit(insert, "later") == "LATER"


async def test_a_failing_callback_keeps_nobody_else_from_his_answer(
    writer: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    def done(_: str) -> None:
        raise RuntimeError("callback")

    with held(writer):
        writer.post(insert, "a", on_stored=done)
        future = writer.submit(insert, "b")
    assert await future == "B"
    assert "what follows the operation insert failed" in caplog.text


async def test_a_failed_operation_that_nobody_attends_to_is_logged(
    writer: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    writer.post(refuse, "lost", on_stored=lambda _: None)
    await writer.submit(insert, "later")
    assert [record.levelno for record in caplog.records if "refuse" in record.getMessage()] == [logging.ERROR]


async def test_the_backlog_counts_what_is_not_settled_and_every_batch_is_announced(writer: Traced) -> None:
    backlogs: list[int] = []
    writer.on_settled(lambda: backlogs.append(writer.backlog))
    with held(writer):
        for number in range(3):
            writer.post(insert, str(number), on_stored=lambda _: None, weight=100)
        writer.post(refuse, "refused", on_stored=lambda _: None, weight=50, on_error=lambda _: None)
        assert writer.backlog == 350
    await writer.submit(insert, "last")
    assert (writer.backlog, backlogs[-1]) == (0, 0)
    assert backlogs[0] == 350  # the batch of the operation that held the writer up


async def test_closing_writes_what_waits_truncates_the_log_and_admits_nothing_more(
    writer: Traced, second: Callable[[str], Any], path: Path
) -> None:
    second("SELECT count(*) FROM notes")  # a connection that stays: SQLite does not remove the log by itself
    with held(writer):
        futures = [writer.submit(insert, str(number)) for number in range(50)]
        closing = asyncio.ensure_future(writer.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            writer.submit(insert, "late")
    await closing
    await writer.close()
    assert [await future for future in futures] == [str(number) for number in range(50)]
    assert second("SELECT count(*) FROM notes") == [(50,)]
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0
    with pytest.raises(sqlite3.ProgrammingError):
        writer.connection.execute("SELECT 1")


async def test_a_full_disk_refuses_what_has_no_room_loses_nothing_and_passes(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    await writer.submit(insert, "acknowledged")
    await writer.submit(room, 3)
    with pytest.raises(failures.FullDisk) as raised:
        await writer.submit(fill, 40 * PAGE)
    assert isinstance(raised.value, InsufficientStorage)
    assert "disk is full" in raised.value.detail
    assert second("SELECT note FROM notes") == [("acknowledged",)]

    stored: list[str] = []
    refused: list[str] = []
    for number in range(60):  # each small: some still fit
        future = writer.submit(insert, f"{number:04}" * 300)
        try:
            await future
        except failures.FullDisk:
            refused.append(f"{number:04}" * 300)
        else:
            stored.append(f"{number:04}" * 300)
    assert refused
    assert [note for (note,) in second("SELECT note FROM notes")] == ["acknowledged", *stored]

    await writer.submit(room, 1000)
    for note in refused:
        await writer.submit(insert, note)
    assert second("SELECT count(*) FROM notes") == [(61,)]
    assert second("PRAGMA integrity_check") == [("ok",)]


async def test_in_a_batch_on_a_full_disk_answer_and_table_agree_for_every_operation(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    await writer.submit(room, 4)
    with held(writer):
        small = [writer.submit(insert, f"small {number}") for number in range(3)]
        large = writer.submit(fill, 400 * PAGE)
        small += [writer.submit(insert, f"later {number}") for number in range(3)]
    answers = await asyncio.gather(*small, return_exceptions=True)
    with pytest.raises(failures.FullDisk):
        await large
    acknowledged = {answer for answer in answers if isinstance(answer, str)}
    assert {note.upper() for (note,) in second("SELECT note FROM notes")} == acknowledged


async def test_an_operation_that_is_too_large_for_the_disk_does_not_take_its_neighbours_with_it(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    await writer.submit(room, 4)
    with held(writer):
        first = writer.submit(insert, "first")
        large = writer.submit(fill, 400 * PAGE)
        last = writer.submit(insert, "last", promise=True)
    assert [await first, await last] == ["FIRST", "LAST"]
    with pytest.raises(failures.FullDisk):
        await large
    assert second("SELECT note FROM notes") == [("first",), ("last",)]


async def test_nothing_of_a_chain_is_stored_behind_what_failed_in_this_batch_and_in_later_ones(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    chain, outcomes = writing.Chain(), []

    def post(function: Callable[..., Any], *args: Any) -> None:
        writer.post(
            function,
            *args,
            on_stored=outcomes.append,
            on_error=lambda error: outcomes.append(type(error)),
            chain=chain,
        )

    with held(writer):
        post(insert, "first")
        post(refuse, "second")
        post(insert, "third")
        other = writer.submit(insert, "other")
    await other
    post(insert, "fourth")
    await writer.submit(insert, "another")
    assert outcomes == ["FIRST", LookupError, LookupError, LookupError]
    assert second("SELECT note FROM notes") == [("first",), ("other",), ("another",)]


async def test_of_a_chain_on_a_full_disk_a_prefix_is_stored(
    writer: Traced, second: Callable[[str], Any]
) -> None:
    chain, outcomes = writing.Chain(), []

    def post(function: Callable[..., Any], *args: Any) -> None:
        writer.post(
            function,
            *args,
            on_stored=outcomes.append,
            on_error=lambda error: outcomes.append(type(error)),
            chain=chain,
        )

    await writer.submit(room, 4)
    with held(writer):
        post(insert, "first")
        post(fill, 400 * PAGE)
        post(insert, "third")
        other = writer.submit(insert, "other")
    await other
    assert outcomes == ["FIRST", failures.FullDisk, failures.FullDisk]
    assert second("SELECT note FROM notes") == [("first",), ("other",)]


async def test_a_batch_that_takes_long_is_logged_with_the_names_of_its_operations(
    writer: Traced, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SLOW_BATCH_S", -1.0)
    with held(writer):
        futures = [writer.submit(insert, "a"), writer.submit(insert, "b")]
    await asyncio.gather(*futures)
    await writer.submit(insert, "c")
    assert any("2 operations" in message and message.endswith(": insert") for message in caplog.messages)
