"""
A worker whose event loop does not turn: who takes its place, what it gives back, and when it is killed for
the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from gatewayd.supervisor import drain, supervisor, worker


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PING_EVERY_S", 0.005)


async def blocked(start: Any, *runs: str, for_s: float = 1e6) -> tuple[Any, Any, worker.Worker]:
    """
    Return a scene, the process of its run worker, which has these runs and has not turned for so long, and
    the worker.
    """
    scene = await start(blocked_s=1000.0)
    played = scene.of("run-1")[-1]
    each = scene.at(played)
    for run_id in runs:
        scene.give(run_id, each)
    played.habits.add("block")
    await eventually(
        lambda: each.pulse.pinged_at is not None and time.monotonic() - each.pulse.pinged_at > 0.5
    )
    each.pulse.pinged_at -= for_s
    await scene.until(lambda: played.heard("stack"))
    return scene, played, each


async def eventually(holds: Callable[[], object]) -> None:
    """Wait for what the supervisor tells nobody."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def answer(scene: Any, played: Any, run_id: str = "", place: str = "graph.py:7 in node") -> None:
    """Say where the loop is whenever it is asked, until the process is killed."""
    answered = 0
    async with asyncio.timeout(20):
        while not played.killed:
            for frame in played.heard("stack")[answered:]:
                played.say("stack", frame[1], place, "the stack", run_id)
                answered += 1
            await asyncio.sleep(0.001)


async def test_it_gets_no_new_run_and_another_takes_its_post(start: Any) -> None:
    scene, played, each = await blocked(start, "a")
    assert each.free == 0
    await scene.started("run-1", 2)
    await eventually(lambda: scene.supervisor.free() == 10)
    assert scene.give("b") is not each
    assert not played.killed
    assert each.runs == {"a": 1}


async def test_one_that_turns_again_before_that_is_as_it_was(start: Any) -> None:
    scene, played, each = await blocked(start, "a", for_s=10.0)
    await eventually(lambda: each.blocked_since is not None)
    assert scene.supervisor.free() == 0
    played.habits.discard("block")
    played.say("pong", 1)
    await eventually(lambda: each.blocked_since is None)
    assert scene.supervisor.free() == 9
    assert len(scene.of("run-1")) == 1


async def test_it_gives_back_what_it_has_not_begun(start: Any) -> None:
    scene, played, each = await blocked(start, "begun", "waiting")
    await scene.until(lambda: len(played.heard("withdraw")) == 2)
    assert played.heard("withdraw") == [["withdraw", "begun", 1], ["withdraw", "waiting", 1]]
    played.say("withdrawn", "waiting", 2)  # an attempt that it does not have
    played.say("withdrawn", "waiting", 1)
    await scene.until(lambda: scene.withdrawn)
    assert scene.withdrawn == [(each, "waiting", 1)]
    assert each.runs == {"begun": 1}


async def test_it_is_killed_for_the_runs_beside_the_one_that_its_loop_is_in(start: Any) -> None:
    scene, played, each = await blocked(start, "a", "b", "c")
    answering = asyncio.create_task(answer(scene, played, "b"))
    await scene.until(lambda: scene.gone)
    await answering
    assert (each.blockers, each.blames_runs, each.life.retired_for_block) == ({"b"}, False, True)
    assert (each.how_ended, each.place) == ("its event loop was blocked", "graph.py:7 in node")
    assert scene.gone == [(each, {"a": 1, "b": 1, "c": 1}, True)]


@pytest.mark.parametrize("told", [None, "", "gone"], ids=["by nobody", "in no run", "in a run that has left"])
async def test_all_of_its_runs_are_suspected_if_it_is_not_told_which_blocks(
    start: Any, monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    monkeypatch.setattr(drain, "LOOK_S", 0.05 if told is None else 20.0)
    scene, played, each = await blocked(start, "a", "b")
    answering = asyncio.create_task(answer(scene, played, told)) if told is not None else None
    await scene.until(lambda: scene.gone)
    if answering is not None:
        await answering
    assert each.blockers == {"a", "b"}


async def test_one_with_a_single_run_is_left_and_ends_when_it_turns_and_the_run_has_left(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "STOP_S", 20.0)
    scene, played, each = await blocked(start, "a")
    await scene.started("run-1", 2)
    now = time.monotonic()
    for _ in range(3):
        scene.supervisor._blocked(each, now)
    assert not played.killed
    assert not each.pulse.block.examined
    played.habits.discard("block")
    played.say("pong", 1)
    await eventually(lambda: each.blocked_since is None)
    scene.release(each, "a")
    await each.until_gone()
    assert played.heard("stop")
    assert not played.killed


async def test_no_more_than_some_are_left(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "MOST_BLOCKED", 0)
    scene, played, each = await blocked(start, "a")
    answering = asyncio.create_task(answer(scene, played, "a"))
    await scene.until(lambda: scene.gone)
    await answering
    assert each.blockers == {"a"}


async def test_one_that_turns_while_it_is_looked_at_is_spared(start: Any) -> None:
    _, played, each = await blocked(start, "a", "b")
    await eventually(lambda: each.pulse.block is not None and each.pulse.block.examined)
    played.habits.discard("block")
    played.say("pong", 1)
    await eventually(lambda: each.blocked_since is None)
    played.say("stack", 1, "graph.py:7 in node", "the stack", "b")
    ending = f"supervisor: end the blocked worker {each.name}"
    await eventually(lambda: ending not in {task.get_name() for task in asyncio.all_tasks()})
    assert not played.killed


async def test_it_is_told_for_whose_sake_there_are_no_places(start: Any) -> None:
    scene, _, each = await blocked(start, for_s=10.0)
    await eventually(lambda: each.blocked_since is not None)
    assert scene.supervisor.blocked() is each
    scene.supervisor.retire(each, "why not", gently=True)
    await scene.started("run-1", 2)
    await eventually(lambda: scene.supervisor.free() == 10)
    assert scene.supervisor.blocked() is None, "another has its post"
