"""Cancels that come at a bad moment, and graphs that make something else of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gatewayd import api, ids, wire
from gatewayd.api.sockets import server
from gatewayd.model.caller import INTERNAL
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


TIED = ("by leaving a stream", "by leaving a wait")
WAYS = ("by status", "by id", *TIED, "by leaving a join")


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
    """
    Yield the lists in which the project's modules, under whatever names they were loaded, look for who is
    told.
    """
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
    found = await daemon.services.storage.run_get(INTERNAL, run.thread_id, run.run_id)
    assert found is not None
    assert (found.status, ended.status) == (status, status)
    assert (found.error is None) is (status == "interrupted")
    thread = await daemon.services.storage.thread_get(INTERNAL, run.thread_id)
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
        await daemon.services.runs.cancel(INTERNAL, run.thread_id, run.run_id, "interrupt")
        ended = await admitted.ended
        await assert_cancelled(daemon, run, ended)
        thread = await daemon.services.storage.thread_get(INTERNAL, run.thread_id)
        least = None if graph in FACTORIES else {"path": ["begin"]}
        values = None if thread.values is None else wire.loads(thread.values)
        assert values in (least, LEFT.get(graph, least))


@asynccontextmanager
async def serving(daemon: inprocess.Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client of the daemon; the server notices when it leaves."""
    runner = server.Runner(api.build_app(daemon.services), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as http:
            yield http
    finally:
        await runner.cleanup()


async def create_over_http(http: aiohttp.ClientSession, thread_id: str, body: dict[str, Any]) -> str:
    """Create a run, over v2 if no stream mode is given, and return its id."""
    if "stream_mode" in body:
        async with http.post(f"/threads/{thread_id}/runs", json=body) as answer:
            return str((await answer.json())["run_id"])
    command = {"id": 1, "method": "run.start", "params": body}
    async with http.post(f"/threads/{thread_id}/commands", json=command) as answer:
        return str((await answer.json())["result"]["run_id"])


async def leave(
    http: aiohttp.ClientSession, waiting: Waiting, way: str, thread_id: str, body: dict[str, Any]
) -> str:
    """Have a run that is tied to a client, leave when the graph waits, and return the run's id."""
    if way == "by leaving a join":
        run_id = await create_over_http(http, thread_id, body)
        path = f"/threads/{thread_id}/runs/{run_id}/stream?cancel_on_disconnect=1"
        answer = await http.get(path)
    else:
        path = f"/threads/{thread_id}/runs/{way.rpartition(' ')[2]}"
        answer = await http.post(path, json={**body, "on_disconnect": "cancel"})
        run_id = answer.headers["Content-Location"].rpartition("/")[2]
    await waiting.reached()
    answer.close()
    return run_id


@pytest.mark.parametrize(
    ("way", "asked"),
    # `run.start` of v2 ties no run to its client.
    [(way, asked) for way in WAYS for asked in ASKED if way not in TIED or asked != "over v2"],
)
@pytest.mark.parametrize("graph", ["raising", "grouping", "swallowing", "opening"])
async def test_every_way_to_cancel_ends_a_run_as_cancelled_whatever_its_graph_makes_of_it(
    tmp_path: Path, waiting: Waiting, graph: str, way: str, asked: str
) -> None:
    thread_id = ids.new_id()
    body: dict[str, Any] = {"assistant_id": graph, "input": {"path": []}}
    if asked != "over v2":
        options = ASKED[asked]
        body |= {"if_not_exists": "create", "stream_mode": list(options["stream_mode"])}
        body["stream_subgraphs"] = options.get("subgraphs", False)
    async with (
        inprocess.opened(tmp_path, STUBBORN, cancel_deadline_s=60.0) as daemon,
        serving(daemon) as http,
    ):
        listen(waiting)
        if way.startswith("by leaving"):
            run_id = await leave(http, waiting, way, thread_id, body)
        else:
            run_id = await create_over_http(http, thread_id, body)
            await waiting.reached()
            chosen = (
                {"status": "running"} if way == "by status" else {"thread_id": thread_id, "run_ids": [run_id]}
            )
            async with http.post("/runs/cancel", json=chosen) as answer:
                assert answer.status == 204
        async with asyncio.timeout(60):
            ended = await daemon.services.runs.wait(INTERNAL, thread_id, run_id)
        run = await daemon.services.storage.run_get(INTERNAL, thread_id, run_id)
        await assert_cancelled(daemon, run, ended)
        async with http.get(f"/threads/{thread_id}/runs/{run_id}/join") as answer:
            assert answer.status == 200
            assert "__error__" not in (await answer.json() or {})


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("graph", [*GRAPHS, *FACTORIES])
async def test_a_run_out_of_time_is_a_timeout_whatever_its_graph_makes_of_the_cancellation(
    tmp_path: Path, waiting: Waiting, graph: str, asked: str
) -> None:
    limits = {"job_timeout_s": 1.0, "cancel_deadline_s": deadline_s(graph)}
    async with inprocess.opened(tmp_path, STUBBORN, **limits) as daemon:
        listen(waiting)
        request = inprocess.request(graph, thread_id=ids.new_id(), input={"path": []}, **ASKED[asked])
        admitted = await daemon.create(request)
        assert admitted.ended is not None
        ended = await admitted.ended
        await assert_cancelled(daemon, admitted.run, ended, status="timeout")


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("graph", [*GRAPHS, *FACTORIES])
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_the_victim_of_a_multitask_strategy_is_cancelled_whatever_its_graph_makes_of_it(
    tmp_path: Path, waiting: Waiting, graph: str, strategy: str, asked: str
) -> None:
    async with inprocess.opened(tmp_path, STUBBORN, cancel_deadline_s=deadline_s(graph)) as daemon:
        listen(waiting)
        thread_id = ids.new_id()
        request = inprocess.request(graph, thread_id=thread_id, input={"path": []}, **ASKED[asked])
        victim = await daemon.create(request)
        assert victim.ended is not None
        await waiting.reached()
        after = inprocess.request(
            "swallowing", thread_id=thread_id, input={"path": []}, multitask_strategy=strategy, after_s=600.0
        )
        await daemon.create(after)
        ended = await victim.ended
        assert ended.status == ("interrupted" if strategy == "interrupt" else "deleted")
        found = await daemon.services.storage.run_get(INTERNAL, thread_id, victim.run.run_id)
        assert (found and found.status) == ("interrupted" if strategy == "interrupt" else None)
        records = await daemon.log(thread_id, victim.run.run_id)
        assert "error" not in {record.kind for record in records}


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
        found = await daemon.services.storage.run_get(INTERNAL, thread_id, run.run_id)
        assert found is not None
        assert (found.status, found.attempt, found.strikes) == ("running", 2, 0)
        ended = asyncio.ensure_future(daemon.services.runs.wait(INTERNAL, thread_id, run.run_id))
        await daemon.services.runs.cancel(INTERNAL, thread_id, run.run_id, "interrupt")
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
