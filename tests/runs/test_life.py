"""The way of a run from its creation to its end, and what whoever waits for it learns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import Conflict, NotFound, Unavailable
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.runs import intake, waiters
from gatewayd.streams import hub

RESULT = b'{"answer":42}'


async def test_a_run_is_created_executed_stored_and_ended(engine: Any) -> None:
    admission = await engine.runs.create(
        INTERNAL, engine.request(ids.new_id(), kwargs={"input": {"a": 1}}), follow=True
    )
    run = admission.run
    assert (run.status, run.attempt) == ("pending", 0)  # it is shown as it was admitted
    stored = await engine.run(run)
    assert (stored.status, stored.attempt) == ("running", 1)
    order = engine.worker.orders[run.run_id]
    assert (order["run_id"], order["thread_id"], order["graph_id"]) == (run.run_id, run.thread_id, "chat")
    assert (order["attempt"], order["kwargs"]["input"]) == (1, {"a": 1})

    engine.worker.emit(run.run_id, b"1", b"2")
    engine.worker.checkpoint(run.run_id, "0001")
    n = engine.worker.emit(run.run_id, b"3")
    await engine.worker.committed(run.run_id, n)
    engine.worker.end(run.run_id, result=RESULT, values=RESULT, end_checkpoint_id="0001")
    assert await admission.ended == waiters.Ended(status="success", result=RESULT, error=None)

    ended = await engine.run(run)
    assert (ended.status, ended.result, ended.ended_at) == ("success", RESULT, engine.now)
    records = await engine.records(run)
    assert [(record.seq, record.kind, record.data) for record in records[:3]] == [
        (3, "values", b"1"),  # behind the two of its start
        (4, "values", b"2"),
        (5, "values", b"3"),
    ]
    last = records[-1]
    assert (last.kind, last.seq, last.mask, len(records)) == (event.END, ended.log_to, event.THREAD, 4)
    thread = await engine.thread(run)
    assert (thread.status, thread.values) == ("idle", RESULT)
    assert await engine.fetch("SELECT * FROM thread_locks") == []
    assert engine.worker.runs == engine.runs.active == {}


async def test_a_reader_gets_the_last_event_after_the_end_is_stored(engine: Any) -> None:
    run = await engine.executing()
    with hub.Cursor(engine.hub, run.thread_id, 0, run.run_id) as cursor:
        engine.worker.emit(run.run_id)
        engine.worker.end(run.run_id)
        kinds: list[str] = []
        while event.END not in kinds:
            kinds += [
                record.kind
                for chunk in await cursor.page()
                for record in chunk.records
                if record.mask != event.V2
            ]
            if event.END in kinds:
                assert await engine.status(run) == "success"
    assert kinds == ["metadata", "values", event.END]


async def test_the_start_is_told_before_its_worker_has_said_anything(engine: Any) -> None:
    run = await engine.executing()
    with hub.Cursor(engine.hub, run.thread_id, 0, run.run_id) as cursor:
        (chunk,) = await cursor.page()
    assert [(record.kind, record.mask, record.data) for record in chunk.records] == [
        ("metadata", event.V1 | event.THREAD, b'{"run_id":"%b","attempt":1}' % run.run_id.encode()),
        ("v2/lifecycle=running", event.V2, b'{"data":{"event":"running","graph_name":"chat"}}'),
    ]


async def test_a_frame_is_acknowledged_after_its_commit_and_not_before(engine: Any, settled: Any) -> None:
    run = await engine.executing()
    with engine.writer_held():
        engine.worker.emit(run.run_id)
        engine.worker.checkpoint(run.run_id, "0001")
        await settled()
        assert engine.worker.acked == []
        assert await engine.records(run) == []
    await engine.worker.committed(run.run_id, 2)
    assert (await engine.kinds(run), engine.worker.refused) == (["values"], [])
    assert await engine.fetch("SELECT run_id FROM checkpoints") == [(run.run_id,)]


async def test_frames_that_arrive_with_the_end_are_stored_before_it(engine: Any) -> None:
    run = await engine.executing()
    with engine.writer_held():
        engine.worker.emit(run.run_id, b"1")
        engine.worker.checkpoint(run.run_id, "0001")
        engine.worker.emit(run.run_id, b"2")
        engine.worker.end(run.run_id)
    await engine.landed()
    assert await engine.kinds(run) == ["values", "values", event.END]
    assert engine.worker.refused == []


@pytest.mark.parametrize("kind", ["events", "checkpoint", "ended"])
@pytest.mark.parametrize("wrong", ["worker", "attempt", "run", "after the end"])
async def test_frames_are_taken_only_from_the_worker_and_attempt_that_has_the_run(
    engine: Any, kind: str, wrong: str
) -> None:
    run = await engine.executing()
    sender, attempt, run_id = engine.worker, 1, run.run_id
    match wrong:
        case "worker":
            sender = engine.workers.add()
            sender.orders[run_id] = engine.worker.orders[run_id]
        case "attempt":
            attempt = 2
        case "run":
            run_id = ids.new_id()
            sender.orders[run_id] = engine.worker.orders[run.run_id]
        case "after the end":
            sender.end(run_id, result=RESULT)
            await engine.landed()
    before = await engine.kinds(run), await engine.status(run)
    match kind:
        case "events":
            sender.emit(run_id, attempt=attempt)
        case "checkpoint":
            sender.checkpoint(run_id, "0001", attempt=attempt)
        case "ended":
            sender.send("ended", run_id, {"outcome": "error"}, attempt=attempt)
    await engine.storage.counters()
    assert (await engine.kinds(run), await engine.status(run)) == before
    assert await engine.fetch("SELECT * FROM checkpoints") == []
    assert len(sender.refused) == (kind != "ended")
    if wrong != "after the end":
        engine.worker.end(run.run_id)
        await engine.landed()
        assert await engine.status(run) == "success"


async def test_a_checkpoint_that_storage_refuses_is_refused_to_the_worker_by_its_number(engine: Any) -> None:
    first = await engine.executing()
    engine.worker.checkpoint(first.run_id, "0001")
    engine.worker.end(first.run_id)
    await engine.landed()
    second = await engine.executing(first.thread_id)
    engine.worker.emit(second.run_id)
    n = engine.worker.checkpoint(second.run_id, "0001")
    await engine.workers.board.until(lambda: bool(engine.worker.refused))
    run_id, attempt, refused, why = engine.worker.refused[0]
    assert (run_id, attempt, refused) == (second.run_id, 1, n)
    assert "another run" in why


@pytest.mark.parametrize(
    ("outcome", "status", "thread_status"),
    [
        ({"outcome": "success"}, "success", "idle"),
        ({"outcome": "success", "next": ["ask"]}, "success", "interrupted"),
        ({"outcome": "error", "error": {"error": "E", "message": "m"}}, "error", "error"),
        ({"outcome": "timeout", "error": {"error": "TimeoutError", "message": ""}}, "timeout", "error"),
    ],
)
async def test_what_the_worker_says_of_the_end_is_what_is_stored_and_told(
    engine: Any, outcome: dict[str, Any], status: str, thread_status: str
) -> None:
    run = await engine.executing()
    waiting = asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id))
    engine.worker.end(run.run_id, **outcome)
    ended = await waiting
    assert (ended.status, ended.error) == (status, outcome.get("error"))
    thread = await engine.thread(run)
    assert (thread.status, thread.error) == (thread_status, outcome.get("error"))


async def test_runs_of_one_thread_follow_each_other_and_their_events_have_one_numbering(engine: Any) -> None:
    first = await engine.executing()
    second = await engine.create(first.thread_id)
    assert second.status == "pending"
    engine.worker.emit(first.run_id)
    engine.worker.end(first.run_id)
    await engine.worker.started(second.run_id)
    engine.worker.emit(second.run_id)
    engine.worker.end(second.run_id)
    await engine.landed()
    seqs = [[record.seq for record in await engine.records(run)] for run in (first, second)]
    assert seqs == [[3, 5], [8, 10]]  # beside each start and end there are v2's


# waiting


async def test_waiting_answers_the_same_before_and_after_the_end(engine: Any, settled: Any) -> None:
    run = await engine.executing()
    before = [asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id)) for _ in range(3)]
    await settled()
    engine.worker.end(run.run_id, result=RESULT)
    answers = [await future for future in before]
    answers.append(await engine.runs.wait(INTERNAL, run.thread_id, run.run_id))
    assert answers == [waiters.Ended(status="success", result=RESULT, error=None)] * 4
    assert engine.runs.waiting._waiting == {}


async def test_waiting_that_begins_while_the_end_is_being_stored_is_answered(
    engine: Any, settled: Any
) -> None:
    run = await engine.executing()
    with engine.writer_held():
        engine.worker.end(run.run_id, result=RESULT)
        waiting = asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id))
        await settled()
        assert not waiting.done()
    assert (await waiting).result == RESULT


async def test_who_stops_waiting_leaves_nothing_behind_and_stops_nothing(engine: Any, settled: Any) -> None:
    run = await engine.executing()
    waiting = asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id))
    await engine.storage.counters()
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert engine.runs.waiting._waiting == {}
    engine.worker.end(run.run_id)
    await engine.landed()
    assert await engine.status(run) == "success"


async def test_waiting_for_what_does_not_exist_is_refused(engine: Any) -> None:
    run = await engine.executing()
    for thread_id, run_id in ((run.thread_id, ids.new_id()), (ids.new_id(), run.run_id)):
        with pytest.raises(NotFound):
            await engine.runs.wait(INTERNAL, thread_id, run_id)
    assert engine.runs.waiting._waiting == {}


# admission


async def test_a_run_is_created_although_its_client_left_meanwhile(engine: Any, settled: Any) -> None:
    thread_id = ids.new_id()
    with engine.writer_held():
        creating = asyncio.ensure_future(engine.runs.create(INTERNAL, engine.request(thread_id)))
        await settled()
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
    await engine.workers.board.until(lambda: bool(engine.worker.runs))
    (run_id,) = engine.worker.runs
    engine.worker.end(run_id)
    await engine.landed()
    assert await engine.fetch("SELECT run_id, status FROM runs") == [(run_id, "success")]


async def test_a_refused_run_leaves_no_place_taken_and_nothing_in_the_log_of_errors(
    engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = await engine.executing()
    for _ in range(20):
        with pytest.raises(Conflict):
            await engine.create(run.thread_id, multitask_strategy="reject")
        with pytest.raises(NotFound):
            await engine.create(assistant="nobody")
    assert engine.runs.dispatch.slots() == 9
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_no_worker_gets_more_runs_than_it_has_places_for_and_no_run_is_started_twice(
    boots: Any,
) -> None:
    engine = await boots.start()
    engine.worker.capacity = 3
    threads = [ids.new_id() for _ in range(6)]
    engine.claim()
    created = await asyncio.gather(*(engine.create(thread_id) for thread_id in threads + threads))
    await engine.workers.board.until(lambda: len(engine.worker.runs) == 3)
    done: set[str] = set()
    while len(done) < len(created):
        await engine.workers.board.until(lambda: bool(engine.worker.runs))
        run_id = next(iter(engine.worker.runs))
        assert engine.worker.runs[run_id] == 1
        engine.worker.end(run_id)
        done.add(run_id)
        await engine.workers.board.until(lambda run_id=run_id: run_id not in engine.worker.runs)
    await engine.landed()
    assert engine.worker.most == 3
    assert await engine.fetch("SELECT DISTINCT status, attempt FROM runs") == [("success", 1)]


async def test_a_run_finds_its_worker_gone_at_the_last_moment_and_starts_in_the_next(engine: Any) -> None:
    thread_id = ids.new_id()
    with engine.writer_held():
        creating = asyncio.ensure_future(engine.create(thread_id))
        await asyncio.sleep(0)
        lost = engine.worker
        lost.state = "gone"
    run = await creating
    await engine.workers.board.until(lambda: not engine.runs.active)
    assert await engine.status(run) == "pending"
    engine.workers.gone(lost)
    await engine.worker.started(run.run_id)
    assert (await engine.run(run)).strikes == 0


# when the writer is behind, or the disk full


async def test_workers_are_not_read_while_too_much_waits_for_the_writer(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BACKLOG_HIGH", 3000)
    monkeypatch.setattr(intake, "BACKLOG_LOW", 1000)
    run = await engine.executing()
    with engine.writer_held():
        for _ in range(5):
            n = engine.worker.emit(run.run_id, b"x" * 1000)
        assert engine.workers.paused == [True]
    await engine.worker.committed(run.run_id, n)
    await engine.workers.board.until(lambda: engine.workers.paused == [True, False])


async def limit_disk(engine: Any, pages: int | None) -> None:
    (used,) = (await engine.fetch("PRAGMA page_count"))[0]
    await engine.fetch(f"PRAGMA max_page_count = {used + pages if pages is not None else 1 << 30}")


async def test_on_a_full_disk_a_run_learns_it_and_its_end_is_stored_when_there_is_room(
    engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = await engine.executing()
    waiting = asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id))
    await engine.worker.committed(run.run_id, engine.worker.emit(run.run_id, b"kept"))
    await limit_disk(engine, 2)
    lost = engine.worker.emit(run.run_id, b"x" * 200_000)
    await engine.workers.board.until(lambda: bool(engine.worker.refused))
    assert [(n, "disk is full" in why) for _, _, n, why in engine.worker.refused] == [(lost, True)]

    error = {"error": "SinkFailed", "message": "y" * 100_000}
    engine.worker.end(run.run_id, "error", error=error)
    caplog.clear()
    while not any("could not be stored, trying again" in message for message in caplog.messages):
        await engine.storage.counters()
    assert not waiting.done()
    assert await engine.status(run) == "running"

    await limit_disk(engine, None)
    assert (await waiting).error == error
    records = await engine.records(run)
    assert [record.kind for record in records] == ["values", "error", event.END]
    assert records[-1].seq == (await engine.run(run)).log_to > 3
    await engine.landed()


# stopping


async def test_at_a_stop_runs_are_handed_back_and_nothing_is_admitted(engine: Any) -> None:
    runs = [await engine.executing() for _ in range(3)]
    await engine.runs.stop(20.0)
    assert engine.workers.drains == ["shutdown"]
    assert engine.workers.cuts == 0
    assert await engine.fetch("SELECT DISTINCT status, attempt, strikes FROM runs") == [("pending", 1, 0)]
    assert len(await engine.fetch("SELECT * FROM thread_locks")) == 3
    with pytest.raises(Unavailable):
        await engine.create()
    with pytest.raises(Unavailable):
        await engine.runs.cancel(INTERNAL, runs[0].thread_id, runs[0].run_id, "interrupt")
    await engine.runs.stop(20.0)


async def test_runs_that_are_still_in_a_step_after_the_time_for_it_are_cut(engine: Any) -> None:
    run = await engine.executing()
    engine.workers.obeys_drain = False
    await engine.runs.stop(0.0)
    assert engine.workers.cuts == 1
    assert await engine.status(run) == "pending"


async def test_a_stop_waits_for_an_end_that_is_being_stored(engine: Any, settled: Any) -> None:
    run = await engine.executing()
    with engine.writer_held():
        engine.worker.end(run.run_id)
        stopping = asyncio.ensure_future(engine.runs.stop(20.0))
        await settled()
        assert not stopping.done()
    await stopping
    assert await engine.status(run) == "success"


async def test_a_run_created_before_the_stop_that_finds_it_stopping_stays_pending(
    engine: Any, settled: Any
) -> None:
    with engine.writer_held():
        creating = asyncio.ensure_future(engine.create())
        await settled()
        stopping = asyncio.ensure_future(engine.runs.stop(20.0))
        await settled()
    run = await creating
    await stopping
    assert await engine.status(run) == "pending"
    assert engine.worker.orders == {}
