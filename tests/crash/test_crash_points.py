"""One run from crash to crash: each boot is killed at another point of its own work or the run's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash import served as subject
from tests.crash import storm

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]

Make = Callable[..., subject.Served]

WAYS = {
    "at boot": [
        "runs_claim_due:before:2",
        "boot_begin:after:1",
        "orphans_requeue:before:1",
        "orphans_requeue:after:1",
    ],
    "at its start": ["append:before:1", "append:after:1", "run_checkpoint_apply:before:1"],
    "at work": [
        "run_checkpoint_apply:before:3",
        "append:before:3",
        "run_checkpoint_apply:after:4",
        "append:after:2",
    ],
    "at its end": [
        "run_checkpoint_apply:before:9",
        "run_finish_if_active:before:1",
        "run_finish_if_active:after:1",
    ],
}


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=() if way in ("at work", "at boot") else pytest.mark.storm) for way in WAYS],
)
async def test_a_run_comes_through_whatever_was_being_stored(make: Make, tmp_path: Path, way: str) -> None:
    witness = tmp_path / "witness"
    served = make(storm.PROJECT)
    await served.start()
    thread_id = await served.thread()
    body = {"assistant_id": "steps", "input": {"steps": 8, "pause": 0.05, "witness": str(witness)}}
    run = await served.post(f"/threads/{thread_id}/runs", {**body, "stream_mode": ["updates"]})
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    served.kill()
    await served.crashed()
    for point in WAYS[way]:
        await served.start("started", crash_at=point)
        await served.crashed()
    await served.start()

    assert (await served.get(f"{path}/join"))["path"] == list(range(1, 9))
    await served.walk_is_done(thread_id, run["run_id"], 8)
    raging = storm.Storm(served, witness, seed=0)
    read = storm.Followed("steps", thread_id, run["run_id"], f"{path}/stream", 1, 8)
    await raging._follow(read)
    read.call.walk_is_whole(8)
    assert read.call.attempts[-1] <= len(WAYS[way]) + 2
    assert storm.overlaps(witness.read_text().splitlines()) == []
    assert served.rows("SELECT * FROM thread_locks") == []
