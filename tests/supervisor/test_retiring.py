"""
A worker that is retired: its runs leave it, another takes its place, and nobody waits for what will not come.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd.supervisor import drain


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that have run out almost at once."""
    for name in ("DRAIN_S", "CUT_S", "STOP_S", "PATIENCE_S"):
        monkeypatch.setattr(drain, name, 0.01)


async def test_its_runs_are_asked_to_drain_and_new_ones_go_to_the_next_which_starts_at_once(
    start: Any,
) -> None:
    scene = await start()
    old = scene.give("a")
    (played,) = scene.of("run-1")
    scene.supervisor.retire(old, "why not")
    assert scene.supervisor.free() == 0
    await scene.started("run-1", 2)
    await scene.until(lambda: scene.supervisor.free() == 10)
    assert scene.give("b") is not old
    assert old.runs == {"a": 1}
    await scene.until(lambda: played.heard("drain"))
    assert played.heard("drain") == [["drain", None, "why not"]]
    assert not played.heard("stop"), "it has a run"
    scene.release(old, "a")
    await old.until_gone()
    assert played.heard("stop")
    assert not played.killed
    assert (scene.gone, len(scene.of("run-1"))) == ([], 2)


async def test_runs_that_stay_in_their_step_are_cut_and_then_the_process_is_killed_without_blaming_them(
    start: Any, soon: None
) -> None:
    scene = await start()
    old = scene.give("a")
    (played,) = scene.of("run-1")
    scene.supervisor.retire(old, "why not")
    await old.until_gone()
    assert [frame[0] for frame in played.told] == ["configure", "start", "drain", "cut"]
    assert played.killed
    assert scene.gone == [(old, {"a": 1}, True)]


async def test_a_run_that_leaves_when_it_is_cut_saves_its_worker_from_being_killed(
    start: Any, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "CUT_S", 20.0)
    monkeypatch.setattr(drain, "STOP_S", 20.0)
    scene = await start()
    old = scene.give("a")
    (played,) = scene.of("run-1")
    scene.supervisor.retire(old, "why not")
    await scene.until(lambda: played.heard("cut"))
    scene.release(old, "a")
    await old.until_gone()
    assert not played.killed


async def test_a_run_that_is_given_up_is_not_waited_for_but_its_neighbours_are(start: Any) -> None:
    scene = await start()
    old = scene.give("fenced")
    scene.give("neighbour", old)
    (played,) = scene.of("run-1")
    scene.supervisor.retire(old, "why not", abandoned=["fenced"])
    await scene.until(lambda: played.heard("drain"))
    assert not played.killed
    scene.release(old, "neighbour")
    await old.until_gone()
    assert played.killed
    assert not played.heard("stop"), "it would not obey"
    assert scene.gone == [(old, {"fenced": 1}, True)]


async def test_a_worker_with_nothing_but_given_up_runs_is_killed_at_once(start: Any) -> None:
    scene = await start()
    old = scene.give("fenced")
    scene.supervisor.retire(old, "why not", abandoned=["fenced"])
    await old.until_gone()
    assert scene.of("run-1")[0].killed


async def test_a_second_call_adds_to_the_runs_that_are_given_up(start: Any) -> None:
    scene = await start()
    old = scene.give("a")
    scene.give("b", old)
    scene.supervisor.retire(old, "why not", abandoned=["a"])
    scene.supervisor.retire(old, "the other, too", abandoned=["b"])
    await old.until_gone()
    assert scene.gone == [(old, {"a": 1, "b": 1}, True)]
    assert old.retire_reason == "why not"
    await scene.started("run-1", 2)
    assert len(scene.of("run-1")) == 2


async def test_a_worker_that_does_not_stop_is_killed(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "STOP_S", 0.3)
    scene = await start()
    (played,) = scene.of("run-1")
    played.habits.clear()
    old = scene.at(played)
    scene.supervisor.retire(old, "why not")
    await scene.until(lambda: played.heard("stop"))
    await old.until_gone()
    assert played.killed


async def test_one_that_is_still_loading_is_killed_and_one_that_is_gone_is_gone(start: Any) -> None:
    scene = await start()
    scene.habits.clear()
    scene.of("run-1")[0].exit(1)
    played = await scene.started("run-1", 2)
    scene.habits.add("configure")
    loading = scene.at(played)
    scene.supervisor.retire(loading, "why not")
    await loading.until_gone()
    assert played.killed
    await scene.started("run-1", 3)
    scene.supervisor.retire(loading, "again")
    assert len(scene.of("run-1")) == 3


async def test_a_worker_that_dies_while_it_is_retired_is_replaced_once(start: Any) -> None:
    scene = await start()
    old = scene.give("a")
    scene.supervisor.retire(old, "why not")
    await scene.started("run-1", 2)
    scene.of("run-1")[0].exit(-11)
    await old.until_gone()
    assert scene.gone == [(old, {"a": 1}, True)]
    await scene.until(lambda: scene.supervisor.free() == 10)
    assert len(scene.of("run-1")) == 2


# recycling


async def test_a_worker_that_has_had_its_number_of_runs_lets_them_end_and_another_takes_over(
    start: Any,
) -> None:
    scene = await start(max_runs=2)
    old = scene.give("a")
    assert scene.give("b") is old
    (played,) = scene.of("run-1")
    await scene.until(lambda: scene.supervisor.free() == 10)
    assert scene.give("c") is not old
    assert old.runs == {"a": 1, "b": 1}
    scene.release(old, "b")
    scene.release(old, "a")
    await old.until_gone()
    assert [frame[0] for frame in played.told] == ["configure", "start", "start", "stop"], "none was drained"
    assert scene.supervisor.free() == 9


async def test_runs_that_take_long_are_drained_but_never_cut_when_there_is_no_hurry(
    start: Any, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "STOP_S", 20.0)
    scene = await start(max_runs=1)
    old = scene.give("a")
    (played,) = scene.of("run-1")
    await scene.until(lambda: played.heard("drain"))
    await asyncio.sleep(0.05)  # longer than it would take to be cut and killed
    assert not played.heard("cut")
    assert not played.killed
    scene.release(old, "a")
    await old.until_gone()
    assert not played.killed


async def test_a_cancel_that_is_not_obeyed_presses_a_worker_that_was_retired_gently(start: Any) -> None:
    scene = await start(max_runs=2)
    old = scene.give("stuck")
    scene.give("b", old)
    (played,) = scene.of("run-1")
    assert old.retire_reason is not None
    scene.supervisor.retire(old, "fenced", abandoned=["stuck"])
    await scene.until(lambda: played.heard("drain"))
    scene.release(old, "b")
    await old.until_gone()
    assert played.killed


# who takes a run


async def test_runs_are_shared_out_by_load(start: Any) -> None:
    scene = await start(workers=4, jobs_per_worker=3)
    chosen = [scene.give(f"run {number}") for number in range(8)]
    assert sorted(len(each.runs) for each in set(chosen)) == [2, 2, 2, 2]
    freed = chosen[3]
    for run_id in list(freed.runs):
        scene.release(freed, run_id)
    assert scene.supervisor.take() is freed
    for number in range(8, 14):
        scene.give(f"run {number}")
    assert scene.supervisor.take() is None
    assert scene.supervisor.free() == 0
