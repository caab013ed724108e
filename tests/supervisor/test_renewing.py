"""
A reload as the supervisor does it: who loads first, who is replaced when, and what stays when that fails.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import errors
from gatewayd.supervisor import plan as plans
from gatewayd.supervisor import replicas
from tests.supervisor.conftest import plan


def fresh(scene: Any, tmp_path: Path, **changes: Any) -> plans.Plan:
    """Return the plan of a reload."""
    return plan(tmp_path, workers=scene.supervisor.plan.workers, configuration={"graphs": "new"}, **changes)


async def test_every_worker_is_replaced_by_one_that_has_the_new_configuration_and_environment(
    start: Any, tmp_path: Path
) -> None:
    scene = await start(workers=2)
    old = list(scene.processes)
    await scene.supervisor.reload(fresh(scene, tmp_path, environment={"A": "b"}))
    new = [one for one in scene.processes if one not in old]
    assert sorted(one.order.name for one in new) == ["run-1", "run-2", "service"]
    for one in new:
        assert one.order.environment == {"A": "b"}
        assert one.heard("configure")[0][1]["graphs"] == "new"
    await scene.until(lambda: all(one.heard("stop") for one in old))
    assert scene.supervisor.free() == 20


async def test_the_run_workers_wait_for_the_service_worker_and_each_old_one_for_its_successor(
    start: Any, tmp_path: Path
) -> None:
    scene = await start(workers=2)
    old = [scene.of(name)[0] for name in ("service", "run-1", "run-2")]
    scene.habits.remove("configure")
    renewing = asyncio.ensure_future(scene.supervisor.reload(fresh(scene, tmp_path)))
    for position, name in enumerate(("service", "run-1", "run-2")):
        successor = await scene.started(name, 2)
        await scene.until(lambda successor=successor: successor.heard("configure"))
        assert [len(scene.of(each)) for each in ("service", "run-1", "run-2")] == (
            [2] * (position + 1) + [1] * (2 - position)
        )
        assert scene.supervisor.free() == 20, "capacity does not fall"
        assert not old[position].heard("stop")
        successor.load()
        await scene.until(lambda position=position: old[position].heard("stop"))
    await renewing
    assert scene.supervisor.free() == 20


async def test_the_old_service_worker_answers_what_it_was_asked_and_the_new_one_what_comes_later(
    start: Any, tmp_path: Path
) -> None:
    scene = await start()
    (old,) = scene.of("service")
    before = asyncio.ensure_future(scene.supervisor.call("state", {"n": 1}))
    await scene.until(lambda: old.heard("call"))
    await scene.supervisor.reload(fresh(scene, tmp_path))
    after = asyncio.ensure_future(scene.supervisor.call("state", {"n": 2}))
    new = scene.of("service")[1]
    await scene.until(lambda: new.heard("call"))
    assert not old.heard("stop")
    for played, answer in ((old, b"1"), (new, b"2")):
        played.say("answer", played.heard("call")[0][1], True, answer)
    assert (await before, await after) == (b"1", b"2")
    await scene.until(lambda: old.heard("stop"))


@pytest.mark.parametrize("how", ["refuses", "dies", "hangs"])
async def test_nothing_has_changed_when_the_project_cannot_be_loaded(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(replicas, "LOAD_LIMIT_S", 20.0 if how != "hangs" else 0.01)
    scene = await start()
    before = scene.supervisor.plan
    scene.habits.remove("configure")
    renewing = asyncio.ensure_future(scene.supervisor.reload(fresh(scene, tmp_path)))
    probe = await scene.started("service", 2)
    await scene.until(lambda: probe.heard("configure"))
    if how == "refuses":
        probe.refusal = "agent.py: SyntaxError"
        probe.load()
    elif how == "dies":
        probe.exit(-11)
    with pytest.raises(errors.Unavailable) as refused:
        await renewing
    assert (
        refused.value.detail
        == {
            "refuses": "agent.py: SyntaxError",
            "dies": "the process that was to load the project ended (signal 11, SIGSEGV)",
            "hangs": "the project was not loaded within 0.01 s",
        }[how]
    )
    await scene.until(lambda: len(scene.supervisor._workers) == 2)
    (old,) = scene.of("service")[:1]
    asked = asyncio.ensure_future(scene.supervisor.call("state", {}))
    await scene.until(lambda: old.heard("call"))
    old.say("answer", old.heard("call")[0][1], True, b"as before")
    assert await asked == b"as before"
    assert scene.supervisor.trouble is None
    assert scene.supervisor.plan is before
    assert (len(scene.of("service")), len(scene.of("run-1"))) == (2, 1)


async def test_a_run_worker_that_cannot_load_the_project_leaves_the_old_one_at_work(
    start: Any, tmp_path: Path
) -> None:
    scene = await start()
    renewing = asyncio.ensure_future(scene.supervisor.reload(fresh(scene, tmp_path)))
    await scene.started("service", 2)
    scene.refusal = "out of memory"
    with pytest.raises(errors.Unavailable, match="run-1 was not replaced: out of memory"):
        await renewing
    assert len(scene.of("run-1")) == 1 + replicas.LOADS
    assert scene.at(scene.of("run-1")[0]) is scene.give("a")
    scene.refusal = None
    await scene.supervisor.reload(fresh(scene, tmp_path))
    assert scene.give("b").pid == scene.of("run-1")[-1].pid


async def test_runs_go_to_workers_with_the_new_code_as_soon_as_there_is_one(
    start: Any, tmp_path: Path
) -> None:
    scene = await start(workers=2)
    scene.habits.remove("configure")
    renewing = asyncio.ensure_future(scene.supervisor.reload(fresh(scene, tmp_path)))
    (await scene.started("service", 2)).load()
    new = await scene.started("run-1", 2)
    assert scene.give("early").generation == 0
    new.load()
    await scene.started("run-2", 2)
    assert [scene.give(f"run {number}").pid for number in range(10)] == [new.pid] * 10
    assert scene.give("one more").generation == 0, "better than waiting"
    scene.of("run-2")[1].load()
    await renewing


async def test_a_reload_mends_a_service_worker_that_could_not_be_started_again(
    start: Any, tmp_path: Path
) -> None:
    scene = await start()
    scene.refusal = "broken"
    scene.of("service")[0].exit(1)
    await scene.until(lambda: scene.supervisor.trouble == "broken")
    scene.refusal = None
    await scene.supervisor.reload(fresh(scene, tmp_path))
    assert scene.supervisor.trouble is None
    new = scene.of("service")[-1]
    asked = asyncio.ensure_future(scene.supervisor.call("state", {}))
    await scene.until(lambda: new.heard("call"))
    new.say("answer", new.heard("call")[0][1], True, b"{}")
    assert await asked == b"{}"
    assert sum(each.role == "service" for each in scene.supervisor._workers) == 1


async def test_a_stop_in_the_middle_of_a_reload_leaves_no_process(start: Any, tmp_path: Path) -> None:
    scene = await start()
    scene.habits.remove("configure")
    renewing = asyncio.ensure_future(scene.supervisor.reload(fresh(scene, tmp_path)))
    await scene.started("service", 2)
    renewing.cancel()
    await scene.supervisor.stop()
    with pytest.raises(asyncio.CancelledError):
        await renewing
    assert all(one._ended.done() for one in scene.processes)
