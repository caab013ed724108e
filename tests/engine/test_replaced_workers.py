"""Workers that are retired, recycled and renewed under real runs; and errors that a worker must survive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gatewayd import ids, project, services
from gatewayd.errors import NotFound, Unavailable
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess

CONFIG = Path(__file__).parent / "replaced" / "langgraph.json"


class Walks:
    """What the graph `walk` has noted."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def steps(self, name: str) -> list[int]:
        return [number for walk, number, _ in self.module.EXECUTED if walk == name]

    def workers(self, name: str) -> list[str]:
        return list(dict.fromkeys(where for walk, _, where in self.module.EXECUTED if walk == name))

    async def reached(self, name: str, number: int) -> None:
        """Wait until a step of a walk has begun."""

        def wait() -> bool:
            with self.module.STEPPED:
                return bool(self.module.STEPPED.wait_for(lambda: number in self.steps(name), 20))

        assert await asyncio.to_thread(wait)

    def hold(self, *names: str) -> None:
        """Have the second step of these walks wait for `let_go`."""
        self.module.GATES.update({name: self.module.threading.Event() for name in names})

    def let_go(self, *names: str) -> None:
        for name in names:
            self.module.GATES[name].set()


@asynccontextmanager
async def opened(
    tmp_path: Path, config: Path = CONFIG, **options: Any
) -> AsyncIterator[tuple[inprocess.Daemon, Walks]]:
    async with inprocess.opened(tmp_path, config, **options) as daemon:
        module = next(
            module
            for module in list(sys.modules.values())
            if getattr(module, "__file__", None) == str(CONFIG.parent / "walking.py")
        )
        module.EXECUTED.clear()
        module.GATES.clear()
        try:
            yield daemon, Walks(module)
        finally:
            for gate in module.GATES.values():
                gate.set()


def walk(name: str, thread_id: str | None = None, *, steps: int = 4, graph: str = "walk") -> Any:
    return inprocess.request(
        graph, thread_id=thread_id or ids.new_id(), input={"name": name, "steps": steps, "done": []}
    )


def run_worker(daemon: inprocess.Daemon) -> Any:
    (found,) = [each for each in daemon.services.workers._workers if each.runs]
    return found


async def drained(core: Any, count: int) -> None:
    """Wait until the worker has been told to hand back its runs."""
    async with asyncio.timeout(20):
        while True:
            runs = list(core._runs.values())
            if len(runs) == count and all(here.control.drain_reason for here in runs):
                return
            await asyncio.sleep(0.002)


async def test_a_retired_workers_runs_go_on_in_the_next_and_no_step_is_repeated(tmp_path: Path) -> None:
    async with opened(tmp_path) as (daemon, walks):
        walks.hold("a", "b")
        runs = [await daemon.create(walk(name)) for name in ("a", "b")]
        await walks.reached("a", 1)
        await walks.reached("b", 1)
        played = daemon.workers.named("run-1")
        old = run_worker(daemon)
        daemon.services.workers.retire(old, "a test")
        await drained(played.core, 2)
        walks.let_go("a", "b")
        for each in runs:
            assert (await each.ended).status == "success"
            found = await daemon.services.storage.run_get(INTERNAL, each.run.thread_id, each.run.run_id)
            assert (found.attempt, found.strikes) == (2, 0)
        await old.until_gone()
        assert walks.steps("a") == walks.steps("b") == [0, 1, 2, 3]
        assert daemon.workers.named("run-1") is not played


async def test_workers_that_are_recycled_all_the_time_fail_no_run_and_repeat_no_step(tmp_path: Path) -> None:
    async with opened(tmp_path, worker_max_runs=2, jobs_per_worker=3) as (daemon, walks):
        names = [f"walk {number}" for number in range(12)]
        ended = await asyncio.gather(*(daemon.finish(walk(name)) for name in names))
        assert {each.status for each in ended} == {"success"}
        assert all(walks.steps(name) == [0, 1, 2, 3] for name in names)
        started = [one for one in daemon.workers.started if one.name == "run-1"]
        assert len(started) >= 6, "two runs each"


async def test_runs_on_four_workers_stay_in_the_order_of_their_thread(tmp_path: Path) -> None:
    async with opened(tmp_path, run_workers=4, jobs_per_worker=2) as (daemon, walks):
        threads = [ids.new_id() for _ in range(8)]
        created = [
            await daemon.create(walk(f"{number} of {thread}", thread, steps=2))
            for number in range(5)
            for thread in threads
        ]
        for each in created:
            assert (await each.ended).status == "success"
        for thread in threads:
            order = dict.fromkeys(name for name, _, _ in walks.module.EXECUTED if name.endswith(thread))
            assert list(order) == [f"{number} of {thread}" for number in range(5)]
        used = {where for _, _, where in walks.module.EXECUTED}
        assert len(used) > 1, "all runs on one worker"


# reload


def changed(daemon: inprocess.Daemon, **graphs: str) -> project.Project:
    """Return the project with other graphs."""
    specs = {
        graph: project.GraphSpec(graph_id=graph, path=f"./walking.py:{name}")
        for graph, name in graphs.items()
    }
    return attrs.evolve(daemon.services.project, graphs=specs)


async def test_a_reload_serves_new_graphs_and_hands_running_ones_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as (daemon, walks):
        walks.hold("a")
        running = await daemon.create(walk("a"))
        await walks.reached("a", 1)
        played = daemon.workers.named("run-1")
        with pytest.raises(NotFound):
            await daemon.create(walk("early", graph="fresh"))
        await services.reload_project(daemon.services, changed(daemon, walk="walk", fresh="walk"))
        assert (await daemon.finish(walk("b", graph="fresh"))).status == "success"
        assert (await daemon.services.assistants.get(INTERNAL, "fresh")).graph_id == "fresh"
        assert walks.workers("b") == [f"worker {daemon.workers.named('run-1').name}"]
        await drained(played.core, 1)
        walks.let_go("a")
        assert (await running.ended).status == "success"
        assert walks.steps("a") == [0, 1, 2, 3]
        thread_id = running.run.thread_id
        assert (await daemon.services.threads.state(INTERNAL, thread_id)).startswith(b'{"values":{"name":"a"')


async def test_a_reload_that_fails_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as (daemon, walks):
        walks.hold("a")
        running = await daemon.create(walk("a"))
        await walks.reached("a", 1)
        before = list(daemon.workers.started)
        with pytest.raises(Unavailable, match="no attribute 'missing'"):
            await services.reload_project(daemon.services, changed(daemon, walk="walk", fresh="missing"))
        walks.let_go("a")
        assert (await running.ended).status == "success"
        assert (await daemon.finish(walk("b"))).status == "success"
        assert list(daemon.services.project.graphs) == ["walk", "raising", "raising_sync"]
        assert [one for one in daemon.workers.started if one.name != "service"] == before[1:]


# errors that would end other programs


@pytest.mark.parametrize("graph", ["raising", "raising_sync"])
@pytest.mark.parametrize("how", ["MemoryError", "RecursionError"])
async def test_an_error_of_the_interpreter_ends_its_run_and_not_its_worker(
    tmp_path: Path, graph: str, how: str
) -> None:
    async with opened(tmp_path) as (daemon, walks):
        walks.hold("neighbour")
        neighbour = await daemon.create(walk("neighbour"))
        await walks.reached("neighbour", 1)
        ended = await daemon.finish(inprocess.request(graph, thread_id=ids.new_id(), input={"how": how}))
        assert (ended.status, (ended.error or {})["error"]) == ("error", how)
        walks.let_go("neighbour")
        assert (await neighbour.ended).status == "success"
        assert walks.steps("neighbour") == [0, 1, 2, 3]
        assert len(daemon.workers.started) == 2
