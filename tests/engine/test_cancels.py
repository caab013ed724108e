"""Cancels that come at a bad moment, and graphs that make something else of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.worker import core
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
STUBBORN = Path(__file__).parent / "stubborn" / "langgraph.json"

GRAPHS = ("raising", "grouping", "swallowing", "swallowing_early", "threaded", "nested")
FACTORIES = ("opening", "opening_anyhow")
ASKED: dict[str, dict[str, Any]] = {
    "values": {"stream_mode": ("values",)},
    "updates": {"stream_mode": ("updates",)},
    "messages and custom": {"stream_mode": ("messages-tuple", "custom")},
    "with subgraphs": {"stream_mode": ("values", "debug"), "subgraphs": True},
    "over v2": {"stream_mode": ("lifecycle",), "subgraphs": True},
}
LEFT = {
    "swallowing": {"path": ["begin", "swallowed"]},
    "swallowing_early": {"path": ["begin", "swallowed"]},
    "opening": None,
    "opening_anyhow": None,
}
"""The values of which a cancelled run may leave more than those of its first step."""


class Waiting:
    """Tells when a graph has come to the place where it waits."""

    def __init__(self) -> None:
        self._loop, self._reached = asyncio.get_running_loop(), asyncio.Event()

    def __call__(self) -> None:
        self._loop.call_soon_threadsafe(self._reached.set)

    async def reached(self) -> None:
        async with asyncio.timeout(60):
            await self._reached.wait()


@pytest.fixture
async def waiting() -> Any:
    return Waiting()


def deadline_s(graph: str) -> float:
    """Return the time that a cancelled run has to end; half of it passes before a thread is interrupted."""
    return 2.0 if graph == "threaded" else 60.0


def told() -> Iterator[list[Any]]:
    """Yield the lists in which the project's modules, under whatever names they were loaded, look for who is told."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(STUBBORN.parent / "stubborn.py"):
            yield vars(module)["WAITS"]


def listen(waiting: Waiting) -> None:
    for listeners in told():
        listeners[:] = [waiting]


async def assert_cancelled(
    daemon: inprocess.Daemon, run: Any, ended: Any, *, status: str = "interrupted"
) -> None:
    """Everything that tells how a run has ended says that it was cancelled."""
    found = await daemon.services.storage.run_get(run.thread_id, run.run_id)
    assert found is not None
    assert (found.status, ended.status) == (status, status)
    assert (found.error is None) is (status == "interrupted")
    thread = await daemon.services.storage.thread_get(run.thread_id)
    if status == "timeout":
        assert thread.error is not None
        assert thread.error["error"] == "TimeoutError"
    else:
        assert thread.error is None
        assert found.cancel_reason is not None
    records = await daemon.log(run.thread_id, run.run_id)
    assert "error" not in {record.kind for record in records}
    roots = [
        wire.loads(record.data)["data"]["event"]
        for record in records
        if record.kind.startswith("v2/lifecycle") and record.namespace == ""
    ]
    assert roots[-1] == ("interrupted" if status == "interrupted" else "failed")
    assert (records[-1].kind, wire.loads(records[-1].data)["status"]) == ("end", "run_done")


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("graph", [*GRAPHS, *FACTORIES])
async def test_a_cancelled_run_ends_as_that_whatever_its_graph_makes_of_the_cancel(
    tmp_path: Path, waiting: Waiting, graph: str, asked: str
) -> None:
    async with inprocess.opened(tmp_path, STUBBORN, cancel_deadline_s=deadline_s(graph)) as daemon:
        listen(waiting)
        request = inprocess.request(graph, thread_id=ids.new_id(), input={"path": []}, **ASKED[asked])
        admitted = await daemon.create(request)
        assert admitted.ended is not None
        await waiting.reached()
        run = admitted.run
        await daemon.services.runs.cancel(run.thread_id, run.run_id, "interrupt")
        ended = await admitted.ended
        await assert_cancelled(daemon, run, ended)
        thread = await daemon.services.storage.thread_get(run.thread_id)
        least = None if graph in FACTORIES else {"path": ["begin"]}
        values = None if thread.values is None else wire.loads(thread.values)
        assert values in (least, LEFT.get(graph, least))


@pytest.mark.parametrize("graph", [*GRAPHS, *FACTORIES])
async def test_a_run_out_of_time_is_a_timeout_whatever_its_graph_makes_of_the_cancellation(
    tmp_path: Path, waiting: Waiting, graph: str
) -> None:
    limits = {"job_timeout_s": 1.0, "cancel_deadline_s": deadline_s(graph)}
    async with inprocess.opened(tmp_path, STUBBORN, **limits) as daemon:
        listen(waiting)
        request = inprocess.request(graph, thread_id=ids.new_id(), input={"path": []})
        admitted = await daemon.create(request)
        assert admitted.ended is not None
        ended = await admitted.ended
        await assert_cancelled(daemon, admitted.run, ended, status="timeout")


@pytest.mark.parametrize("graph", [*GRAPHS, *FACTORIES])
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_the_victim_of_a_multitask_strategy_is_cancelled_whatever_its_graph_makes_of_it(
    tmp_path: Path, waiting: Waiting, graph: str, strategy: str
) -> None:
    async with inprocess.opened(tmp_path, STUBBORN, cancel_deadline_s=deadline_s(graph)) as daemon:
        listen(waiting)
        thread_id = ids.new_id()
        victim = await daemon.create(inprocess.request(graph, thread_id=thread_id, input={"path": []}))
        assert victim.ended is not None
        await waiting.reached()
        after = inprocess.request(
            "swallowing", thread_id=thread_id, input={"path": []}, multitask_strategy=strategy, after_s=600.0
        )
        await daemon.create(after)
        ended = await victim.ended
        assert ended.status == ("interrupted" if strategy == "interrupt" else "deleted")
        found = await daemon.services.storage.run_get(thread_id, victim.run.run_id)
        assert (found and found.status) == ("interrupted" if strategy == "interrupt" else None)


@pytest.mark.parametrize("graph", ["raising", "grouping", "nested", "opening"])
async def test_a_run_that_a_stop_cuts_is_handed_back_whatever_its_graph_makes_of_the_cancellation(
    tmp_path: Path, waiting: Waiting, graph: str
) -> None:
    async with inprocess.opened(tmp_path, STUBBORN, drain_s=0.0, cancel_deadline_s=60.0) as daemon:
        listen(waiting)
        thread_id = ids.new_id()
        run = (await daemon.create(inprocess.request(graph, thread_id=thread_id, input={"path": []}))).run
        await waiting.reached()
    again = Waiting()
    listen(again)
    async with inprocess.opened(tmp_path, STUBBORN, cancel_deadline_s=60.0) as daemon:
        await again.reached()
        found = await daemon.services.storage.run_get(thread_id, run.run_id)
        assert found is not None
        assert (found.status, found.attempt, found.strikes) == ("running", 2, 0)
        ended = asyncio.ensure_future(daemon.services.runs.wait(thread_id, run.run_id))
        await daemon.services.runs.cancel(thread_id, run.run_id, "interrupt")
        await assert_cancelled(daemon, run, await ended)


async def test_a_run_cancelled_in_the_moment_of_its_start_says_that_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interleaving: the cancel arrives before the task that is to execute the run has had its first turn."""
    handle = core.Core._handle
    seen_attempts = []

    def at_once(self: core.Core, frame: list[Any]) -> None:
        handle(self, frame)
        if frame[0] == "start" and frame[1]["attempt"] == 1:
            seen_attempts.append(1)
            handle(self, ["cancel", frame[1]["run_id"], 1])

    monkeypatch.setattr(core.Core, "_handle", at_once)
    async with inprocess.opened(tmp_path, PROJECT) as daemon, asyncio.timeout(20):
        request = inprocess.request("steps", thread_id=ids.new_id(), input={"word": "w", "path": []})
        ended = await daemon.finish(
            request
        )  # nobody asked for its cancel, so it is handed back and starts again
        assert (ended.status, seen_attempts) == ("success", [1])
