"""
Runs that are merged into the one that executes, over daemons that are killed before and after each part of
it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.crash import served as subject
from tests.crash import storm
from tests.processes import daemon

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]

Make = Callable[..., subject.Served]

WISH = "runs_merge_if_alike"
STEP = "run_checkpoint_apply/merge"
WAYS = {
    "before the wish is stored": [f"{WISH}:before:1"],
    "after the wish is stored": [f"{WISH}:after:1"],
    "before the step is stored": [f"{STEP}:before:1"],
    "after the step is stored": [f"{STEP}:after:1"],
    "at each of them": [f"{WISH}:after:1", f"{STEP}:before:1", f"{STEP}:after:1"],
}


def said(text: str, gate: Path) -> dict[str, Any]:
    messages = {"messages": [{"role": "user", "content": text}]}
    return {"assistant_id": "steered", "input": messages, "config": {"configurable": {"gate": str(gate)}}}


@pytest.mark.parametrize("way", WAYS)
async def test_a_message_that_is_merged_into_a_run_is_there_once_whenever_the_daemon_is_killed(
    make: Make, tmp_path: Path, way: str
) -> None:
    served = make(storm.PROJECT)
    first_point, *points = WAYS[way]
    gate = tmp_path / "gate"
    await served.start(crash_at=first_point)
    thread_id = await served.thread()
    path = f"/threads/{thread_id}/runs"
    runs = [(await served.post(path, said("first", gate)))["run_id"]]
    await daemon.until(
        lambda: served.rows("SELECT 1 FROM runs WHERE status = 'running'") != [], "the first run executes"
    )
    runs += [(await served.post(path, said(text, gate)))["run_id"] for text in ("a", "b")]
    if first_point.startswith(WISH):
        with pytest.raises(aiohttp.ClientError):
            await served.post(f"{path}/merge", {"into": "running"})
    else:
        merged = await served.post(f"{path}/merge", {"into": "running"})
        assert merged["run_id"] == runs[1]
    gate.touch()
    await served.crashed()
    for point in points:
        await served.start("started", crash_at=point)
        await served.crashed()
    await served.start()

    for run_id in runs:
        await served.get(f"{path}/{run_id}/join")
    ends = [await served.get(f"{path}/{run_id}") for run_id in runs]
    merges = first_point != f"{WISH}:before:1"
    assert [run["status"] for run in ends] == ["success", *(["interrupted" if merges else "success"] * 2)]
    reasons = [f"merged:{runs[0]}", f"merged:{runs[1]}"] if merges else [None, None]
    assert [run["cancel_reason"] for run in ends[1:]] == reasons
    state = await served.get(f"/threads/{thread_id}/state")
    assert state["next"] == []
    messages = state["values"]["messages"]
    assert len({each["id"] for each in messages}) == len(messages)
    humans = [each["content"] for each in messages if each["type"] == "human"]
    assert humans == ["first", "a", "b"]
    assert messages[-1]["content"] == "to first a b"
    calls = [call["id"] for each in messages if each["type"] == "ai" for call in each["tool_calls"]]
    answers = [each["tool_call_id"] for each in messages if each["type"] == "tool"]
    assert calls == answers == [f"call-{number}" for number in range(6)]
    assert served.rows("SELECT * FROM thread_locks") == []
