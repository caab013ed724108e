"""A cancel is true when it is answered with `wait`: nothing of the run executes any more."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.processes import conftest, daemon, story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_a_waiting_cancel_answers_only_when_the_thread_of_a_sync_node_has_ended(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(cancel_deadline_s=20))
    run = await told.begin("sleeper", seconds=3)
    await told.witnessed(run, "sleep start")
    cancels = [told.client.runs.cancel(run.thread_id, run.run_id, wait=True) for _ in range(3)]
    await asyncio.gather(*cancels)
    assert told.count(run, "sleep end") == 1
    assert (await told.run(run))["status"] == "interrupted"
    assert "is killed" not in told.served.log()


async def test_a_cancel_that_is_not_obeyed_in_time_is_made_true_by_killing_the_worker(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(cancel_deadline_s=1))
    neighbour = await told.begin("steps", steps=60)
    await told.witnessed(neighbour, "step1 end")
    run = await told.begin("sleeper", seconds=30)
    await told.witnessed(run, "sleep start")
    pid = told.marks(run)[-1].pid
    started = time.monotonic()
    await told.client.runs.cancel(run.thread_id, run.run_id, wait=True)
    assert not daemon.running(pid)
    assert time.monotonic() - started < 10
    assert (await told.run(run))["status"] == "interrupted"
    assert told.count(run, "sleep end") == 0
    assert (await told.ended(neighbour))["status"] == "success"
    assert not told.twice_at_once(neighbour)
    following = await told.begin("steps", run.thread_id, steps=3, seconds=0.05)
    assert (await told.ended(following))["status"] == "success"


async def test_a_waiting_cancel_answers_only_when_a_node_that_swallows_cancellations_has_ended(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(cancel_deadline_s=20))
    run = await told.begin("stubborn", seconds=2)
    await daemon.until(lambda: any(mark.what == "waits" for mark in told.marks()), "it waits")
    cancels = [told.client.runs.cancel(run.thread_id, run.run_id, wait=True) for _ in range(3)]
    await asyncio.gather(*cancels)
    assert (await told.run(run))["status"] in story.ENDED
    assert told.count(run, "cling end") == 1
    assert "is killed" not in told.served.log()
    following = await told.begin("steps", run.thread_id, steps=2, seconds=0.05)
    assert (await told.ended(following))["status"] == "success"
