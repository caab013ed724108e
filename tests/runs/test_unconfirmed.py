"""
Between the commit of a promise and its sync: what ends in this time is heard of, and a sync that fails loses
nobody.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import InsufficientStorage
from gatewayd.model.caller import INTERNAL
from gatewayd.storage.sqlite.engine import syncing, writing
from gatewayd.streams import hub


def broken(_: int) -> None:
    raise OSError(5, "Input/output error")


async def test_who_waits_for_a_run_that_ends_before_its_creation_is_answered_hears_of_it(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, ended = threading.Event(), threading.Event()
    deliver = writing.Writer._deliver

    def delivering(writer: writing.Writer, batch: list[Any]) -> None:
        deliver(writer, batch)
        if any(operation.name == "run_finish_if_active" for operation in batch):
            ended.set()

    monkeypatch.setattr(writing.Writer, "_deliver", delivering)
    monkeypatch.setattr(syncing, "SYNC", lambda _: go_on.wait(20))
    creating = asyncio.ensure_future(engine.runs.create(INTERNAL, engine.request(ids.new_id()), follow=True))
    await engine.workers.board.until(lambda: bool(engine.worker.runs))
    (run_id,) = engine.worker.runs
    engine.worker.end(run_id)
    go_on.set()
    assert ended.wait(20)  # the loop is held up meanwhile: it settles the creation and the end in one turn
    admitted = await creating
    async with asyncio.timeout(5):
        assert (await admitted.ended).status == "success"


async def test_the_end_of_a_run_that_the_disk_does_not_confirm_is_told_all_the_same(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = await engine.runs.create(INTERNAL, engine.request(ids.new_id()), follow=True)
    run = admitted.run
    await engine.worker.started(run.run_id)
    monkeypatch.setattr(syncing, "SYNC", broken)
    engine.worker.end(run.run_id)
    async with asyncio.timeout(5):
        assert (await admitted.ended).status == "success"
    await engine.landed()
    assert (await engine.kinds(run)).count("end") == 1


async def test_runs_that_the_disk_does_not_confirm_are_executed_and_not_left_running_for_ever(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SYNC", broken)
    with pytest.raises(InsufficientStorage, match="did not confirm"):
        await engine.runs.create_all(INTERNAL, [engine.request(ids.new_id()), engine.request(ids.new_id())])
    await engine.workers.board.until(lambda: len(engine.worker.runs) == 2)
    for run_id in list(engine.worker.runs):
        engine.worker.end(run_id)
    await engine.landed()
    assert await engine.fetch("SELECT status FROM runs") == [("success",)] * 2


async def test_a_run_that_is_superseded_by_an_unconfirmed_one_is_stopped(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await engine.executing()
    monkeypatch.setattr(syncing, "SYNC", broken)
    with pytest.raises(InsufficientStorage):
        await engine.create(first.thread_id, multitask_strategy="interrupt")
    await engine.workers.board.until(lambda: bool(engine.worker.cancels))
    engine.worker.end(first.run_id, "cancelled")
    await engine.workers.board.until(lambda: any(run != first.run_id for run in engine.worker.runs))


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_cancel_or_removal_that_the_disk_does_not_confirm_is_carried_out(
    engine: Any, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    run = await engine.executing()
    monkeypatch.setattr(syncing, "SYNC", broken)
    runs = engine.runs
    call = runs.delete_run if deleted else partial(runs.cancel, action="interrupt")
    with pytest.raises(InsufficientStorage):
        await call(INTERNAL, run.thread_id, run.run_id)
    await engine.workers.board.until(lambda: (run.run_id, 1) in engine.worker.cancels)
    engine.worker.end(run.run_id, "cancelled")
    await engine.landed()


async def test_readers_get_the_end_of_a_deleted_run_also_if_the_disk_does_not_confirm_it(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed: those that read live must not lose what those that come later find in storage."""
    run = await engine.executing()
    with hub.Cursor(engine.hub, run.thread_id, 0) as cursor:
        engine.worker.emit(run.run_id)
        while not any(record.kind == "values" for chunk in await cursor.page() for record in chunk.records):
            pass
        monkeypatch.setattr(syncing, "SYNC", broken)
        with pytest.raises(InsufficientStorage):
            await engine.runs.delete_run(INTERNAL, run.thread_id, run.run_id)
        monkeypatch.undo()
        seen = [record.seq for chunk in await cursor.page() for record in chunk.records]
    stored = await engine.storage.events_page(run.thread_id, cursor.position - len(seen), run.run_id)
    assert seen == [record.seq for chunk in stored for record in chunk.records] != []
    engine.worker.end(run.run_id, "cancelled")
    await engine.landed()


async def test_a_cancel_that_is_stored_together_with_the_start_of_its_run_reaches_it(engine: Any) -> None:
    run = await engine.create(after_s=1.0)
    engine.now += 2_000_000
    with engine.writer_held():
        starting = asyncio.ensure_future(engine.runs.dispatch.claim_due())
        await queued(engine, 1)
        cancelling = asyncio.ensure_future(
            engine.runs.cancel(INTERNAL, run.thread_id, run.run_id, "interrupt")
        )
        await queued(engine, 2)
    await asyncio.gather(starting, cancelling)
    await engine.workers.board.until(lambda: (run.run_id, 1) in engine.worker.cancels)
    engine.worker.end(run.run_id, "cancelled")
    await engine.landed()
    assert await engine.status(run) == "interrupted"


async def queued(engine: Any, count: int) -> None:
    """Wait until so many operations wait for the writer."""
    async with asyncio.timeout(20):
        while len(engine.storage.writer._queue) < count:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
