"""Writes that fail while a run is requeued or undone: they are tried again, and no run is left in the air."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.model.caller import INTERNAL
from gatewayd.storage.sqlite.engine import failures
from gatewayd.storage.sqlite.store import SqliteStore


def fail_once(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Have a storage operation find the disk full the next time."""
    refusals = [failures.FullDisk("the disk is full")]
    real = getattr(SqliteStore, operation)

    async def failing(*arguments: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await real(*arguments, **options)

    monkeypatch.setattr(SqliteStore, operation, failing)


async def test_a_run_whose_worker_died_on_a_full_disk_goes_on_when_there_is_room(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, "run_requeue_if_running")
    run = await engine.executing()
    await engine.worker.committed(run.run_id, engine.worker.checkpoint(run.run_id, "0001"))
    engine.worker.die()
    assert await engine.worker.started(run.run_id) == 2
    engine.worker.end(run.run_id)
    await engine.landed()
    assert await engine.status(run) == "success"


async def test_a_rollback_on_a_full_disk_is_carried_out_when_there_is_room(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, "run_checkpoints_delete")
    run = await engine.executing()
    await engine.runs.cancel(INTERNAL, run.thread_id, run.run_id, "rollback")
    engine.worker.end(run.run_id, "cancelled")
    await engine.landed()
    assert await engine.run(run) is None
    assert await engine.fetch("SELECT * FROM thread_locks") == []


async def test_nothing_of_a_run_is_stored_behind_a_checkpoint_that_was_refused(engine: Any) -> None:
    first = await engine.executing()
    engine.worker.checkpoint(first.run_id, "0002")
    engine.worker.end(first.run_id)
    await engine.landed()
    second = await engine.executing(first.thread_id)
    with engine.writer_held():
        for checkpoint_id in ("0001", "0002", "0003"):
            last = engine.worker.checkpoint(second.run_id, checkpoint_id)
    await engine.workers.board.until(lambda: any(n == last for _, _, n, _ in engine.worker.refused))
    assert [n for _, _, n, _ in engine.worker.refused] == [last - 1, last]
    assert await engine.fetch("SELECT checkpoint_id FROM checkpoints WHERE run_id = ?", second.run_id) == [
        ("0001",)
    ]
