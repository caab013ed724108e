"""Merging the runs that wait on a thread: what becomes of each of them, also over a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd.checkpointing import commands
from gatewayd.errors import Conflict, Unconfirmed
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import Run
from gatewayd.storage import store
from tests.runs.conftest import Boots, Engine


def said(text: str) -> dict[str, Any]:
    return {"kwargs": {"input": {"messages": [text]}, "command": None}}


async def queued(engine: Engine) -> tuple[Run, list[Run]]:
    """Return a run that executes, and three that wait for its end."""
    holder = await engine.executing(**said("first"))
    return holder, [await engine.create(holder.thread_id, **said(text)) for text in "abc"]


async def test_the_merged_runs_end_at_once_and_the_oldest_follows_with_all_inputs(engine: Engine) -> None:
    holder, (oldest, *others) = await queued(engine)
    waits = [asyncio.ensure_future(engine.runs.wait(INTERNAL, run.thread_id, run.run_id)) for run in others]
    merged = await engine.runs.merge(INTERNAL, holder.thread_id)
    assert [run.run_id for run in merged.ended] == [run.run_id for run in others]
    async with asyncio.timeout(20):
        assert [(await wait).status for wait in waits] == ["interrupted"] * 2
    for run in others:
        found = await engine.run(run)
        assert found is not None
        assert (found.status, found.cancel_reason) == ("interrupted", f"merged:{oldest.run_id}")
    assert await engine.status(holder) == "running"
    engine.worker.end(holder.run_id)
    await engine.worker.started(oldest.run_id)
    assert engine.worker.orders[oldest.run_id]["kwargs"]["input"] == {"messages": ["a", "b", "c"]}
    engine.worker.end(oldest.run_id)
    await engine.landed()
    assert (await engine.thread(holder)).status == "idle"


async def test_of_two_merges_at_once_the_second_finds_nothing_to_merge(engine: Engine) -> None:
    holder, (oldest, *_) = await queued(engine)
    with engine.writer_held():
        both = [asyncio.ensure_future(engine.runs.merge(INTERNAL, holder.thread_id)) for _ in range(2)]
        await asyncio.sleep(0)
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, store.Merged)
    assert first.run.kwargs["input"] == {"messages": ["a", "b", "c"]}
    assert isinstance(second, Conflict)
    found = await engine.run(oldest)
    assert found is not None
    assert found.kwargs["input"] == {"messages": ["a", "b", "c"]}


async def test_what_was_merged_when_the_daemon_died_is_ended_by_the_next_boot(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await boots.start()
    holder, (oldest, *others) = await queued(engine)
    monkeypatch.setattr(type(engine.runs.cancelling), "carry_out", lambda *_: None)  # it dies before
    await engine.runs.merge(INTERNAL, holder.thread_id)
    assert [await engine.status(run) for run in others] == ["pending"] * 2
    monkeypatch.undo()
    engine = await boots.start()
    await engine.runs.end_cancelled()
    await engine.runs.engine.tasks.join()
    engine.claim()
    for run in others:
        await engine.runs.over(INTERNAL, run.thread_id, run.run_id)
    assert [await engine.status(run) for run in others] == ["interrupted"] * 2
    await engine.worker.started(holder.run_id)
    engine.worker.end(holder.run_id)
    await engine.worker.started(oldest.run_id)
    assert engine.worker.orders[oldest.run_id]["kwargs"]["input"] == {"messages": ["a", "b", "c"]}


async def test_a_merge_that_the_disk_does_not_confirm_is_carried_out_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, (_, *others) = await queued(engine)
    merge = engine.storage.runs_merge_if_alike

    async def unconfirmed(*args: Any, **options: Any) -> store.Merged:
        raise Unconfirmed("the disk does not confirm", await merge(*args, **options))

    monkeypatch.setattr(
        type(engine.storage), "runs_merge_if_alike", lambda _, *args, **options: unconfirmed(*args, **options)
    )
    with pytest.raises(Unconfirmed):
        await engine.runs.merge(INTERNAL, holder.thread_id)
    async with asyncio.timeout(20):
        ends = [await engine.runs.wait(INTERNAL, run.thread_id, run.run_id) for run in others]
    assert [each.status for each in ends] == ["interrupted"] * 2


def taking(merged: store.Merged) -> list[Any]:
    """Return the operation by which a run takes the input of the one that is merged into it."""
    update = commands.writes(
        merged.run.thread_id, "", "0001", "none", "", [(0, "messages", 1, "msgpack", b"m")]
    )
    return commands.merge(merged.run.run_id, merged.run.updated_at, update)


async def test_the_worker_is_told_that_a_run_waits_to_be_merged_and_what_was_merged_ends(
    engine: Engine,
) -> None:
    holder, (oldest, *others) = await queued(engine)
    merged = await engine.runs.merge(INTERNAL, holder.thread_id, into_running=True)
    assert (merged.into, engine.worker.merges) == (holder.run_id, [(holder.run_id, 1)])
    ended = asyncio.ensure_future(engine.runs.wait(INTERNAL, oldest.thread_id, oldest.run_id))
    n = engine.worker.checkpoint(holder.run_id, "0001")
    n = engine.worker.send("checkpoint", holder.run_id, taking(merged))
    await engine.worker.committed(holder.run_id, n)
    async with asyncio.timeout(20):
        assert (await ended).status == "interrupted"
    found = await engine.run(oldest)
    assert found is not None
    assert found.cancel_reason == f"merged:{holder.run_id}"
    assert await engine.status(holder) == "running"
    assert len(await engine.fetch("SELECT * FROM writes")) == 1
    engine.worker.end(holder.run_id)
    await engine.landed()
    assert [await engine.status(run) for run in (holder, *others)] == ["success", *["interrupted"] * 2]


async def test_a_run_that_has_changed_since_its_input_was_read_is_not_merged(engine: Engine) -> None:
    holder, (oldest, *_) = await queued(engine)
    early = await engine.runs.merge(INTERNAL, holder.thread_id, into_running=True)
    await engine.create(holder.thread_id, **said("d"))
    late = await engine.runs.merge(INTERNAL, holder.thread_id, into_running=True)
    assert engine.worker.merges == [(holder.run_id, 1)] * 2
    engine.worker.checkpoint(holder.run_id, "0001")
    n = engine.worker.send("checkpoint", holder.run_id, taking(early))
    await engine.worker.committed(holder.run_id, n)
    assert await engine.status(oldest) == "pending"
    assert await engine.fetch("SELECT * FROM writes") == []
    n = engine.worker.send("checkpoint", holder.run_id, taking(late))
    await engine.worker.committed(holder.run_id, n)
    await engine.runs.over(INTERNAL, oldest.thread_id, oldest.run_id)
    assert await engine.status(oldest) == "interrupted"
    assert engine.worker.refused == []


async def test_a_run_that_is_still_on_its_way_to_a_worker_is_told_when_it_is_there(engine: Engine) -> None:
    engine.workers.quarantine_gate.clear()
    holder = await engine.executing(**said("first"))
    engine.worker.die()
    await engine.workers.board.until(lambda: bool(engine.workers.quarantines))
    quarantine = engine.workers.quarantines[0]
    await engine.create(holder.thread_id, **said("a"))
    await engine.runs.merge(INTERNAL, holder.thread_id, into_running=True)
    assert quarantine.merges == []
    engine.workers.quarantine_gate.set()
    attempt = await quarantine.started(holder.run_id)
    assert quarantine.merges == [(holder.run_id, attempt)] == [(holder.run_id, 2)]


async def test_a_run_ends_without_having_taken_the_other_which_follows_it(engine: Engine) -> None:
    holder, (oldest, *_) = await queued(engine)
    await engine.runs.merge(INTERNAL, holder.thread_id, into_running=True)
    engine.worker.end(holder.run_id)
    await engine.worker.started(oldest.run_id)
    assert engine.worker.orders[oldest.run_id]["kwargs"]["input"] == {"messages": ["a", "b", "c"]}
