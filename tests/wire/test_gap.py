"""
Readers that come back when what they have missed is not kept any more: the official clients cope with being
told.

All of them stream an answer that stops in the middle, are cut, and are kept away until the run has ended and
its events are gone. They reconnect by themselves, with the id of the last event that they have seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient

from tests.processes import daemon
from tests.wire import cable, node
from tests.wire.conversation import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gap")]

KEPT_FOR = {
    "GATEWAYD_EVENTS_TTL_S": "1",
    "GATEWAYD_LINGER_S": "0.1",
    "GATEWAYD_SWEEP_INTERVAL_S": "0.1",
    "GATEWAYD_N_JOBS_PER_WORKER": "20",
}
MODES: Any = ["updates", "messages-tuple"]
Parts = list[tuple[str, Any]]


@asynccontextmanager
async def forgetful(folder: Path) -> AsyncIterator[tuple[daemon.Daemon, cable.Cable, LangGraphClient]]:
    """A server that keeps events for a second, the cable to it, and a client beside the cable."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(daemon.Daemon(PROJECT, folder / "data", KEPT_FOR))
        await served.start()
        cord = await stack.enter_async_context(cable.Cable(served.port))
        beside = await stack.enter_async_context(get_client(url=served.url))
        yield served, cord, beside


async def gone(beside: LangGraphClient) -> None:
    """Wait until every run has ended and most of its events are gone."""
    async with asyncio.timeout(30):
        for thread in await beside.threads.search(limit=100):
            thread_id = thread["thread_id"]
            (run,) = await beside.runs.list(thread_id)
            await beside.runs.join(thread_id, run["run_id"])
            # The newest events of a thread stay, so that there have to be newer ones.
            await beside.threads.update_state(thread_id, {"messages": []}, as_node="answer")
            while not await lost(beside, thread_id, run["run_id"]):  # noqa: ASYNC110  (in another process)
                await asyncio.sleep(0.05)


async def lost(beside: LangGraphClient, thread_id: str, run_id: str) -> bool:
    """Whether events of a run are gone."""
    parts = beside.runs.join_stream(thread_id, run_id, last_event_id="-1")
    return any([part.event == "metadata" and "gap" in part.data async for part in parts])


class Told:
    """One client's reading, and where it was when it was cut."""

    def __init__(self) -> None:
        self.parts: Parts = []
        self.halfway = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def note(self, event: str, data: Any) -> None:
        self.parts.append((event, data))
        if "You said " in str(data) and "messages" in event:
            self._loop.call_soon_threadsafe(self.halfway.set)


def said(gate: Path) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}], "gate": str(gate)}


async def with_the_client(url: str, thread_id: str, gate: Path, told: Told) -> None:
    async with get_client(url=url) as client:
        async for part in client.runs.stream(thread_id, "patient", input=said(gate), stream_mode=MODES):
            told.note(part.event, part.data)


async def with_the_sync_client(url: str, thread_id: str, gate: Path, told: Told) -> None:
    def read() -> None:
        with get_sync_client(url=url) as client:
            for part in client.runs.stream(thread_id, "patient", input=said(gate), stream_mode=MODES):
                told.note(part.event, part.data)

    await asyncio.to_thread(read)


async def with_a_remote_graph(url: str, thread_id: str, gate: Path, told: Told) -> None:
    async with get_client(url=url) as client:
        graph, config = RemoteGraph("patient", client=client), {"configurable": {"thread_id": thread_id}}
        async for data in graph.astream(said(gate), config, stream_mode="messages"):
            told.note("messages", data)


async def with_a_sync_remote_graph(url: str, thread_id: str, gate: Path, told: Told) -> None:
    def read() -> None:
        with get_sync_client(url=url) as client:
            graph, config = (
                RemoteGraph("patient", sync_client=client),
                {"configurable": {"thread_id": thread_id}},
            )
            parts: Iterator[Any] = graph.stream(said(gate), config, stream_mode="messages")
            for data in parts:
                told.note("messages", data)

    await asyncio.to_thread(read)


CLIENTS: tuple[Callable[..., Any], ...] = (
    with_the_client,
    with_the_sync_client,
    with_a_remote_graph,
    with_a_sync_remote_graph,
)


async def test_python_clients_go_on_behind_a_gap(tmp_path: Path) -> None:
    async with forgetful(tmp_path) as (_, cord, beside):
        gate = tmp_path / "gate"
        threads = [(await beside.threads.create())["thread_id"] for _ in CLIENTS]
        readings = [Told() for _ in CLIENTS]
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            for client, thread_id, told in zip(CLIENTS, threads, readings, strict=True):
                group.create_task(client(cord.url, thread_id, gate, told))
            for told in readings:
                await told.halfway.wait()
            cord.cut()
            gate.touch()
            await gone(beside)
            cord.mend()
        for client, thread_id, told in zip(CLIENTS, threads, readings, strict=True):
            gaps = [data["gap"] for event, data in told.parts if event == "metadata" and "gap" in data]
            # RemoteGraph keeps metadata events to itself.
            assert len(gaps) == (0 if "remote" in client.__name__ else 1), told.parts
            assert not [data for event, data in told.parts if event == "error"]
            values: Any = await beside.runs.wait(thread_id, "patient", input=said(gate))
            assert [one["content"] for one in values["messages"]].count("You said hello") == 2


async def test_a_reader_of_a_thread_is_told_and_goes_on_with_the_next_run(tmp_path: Path) -> None:
    async with forgetful(tmp_path) as (_, _, beside):
        thread_id = (await beside.threads.create())["thread_id"]
        gate = tmp_path / "gate"
        gate.touch()
        await beside.runs.wait(thread_id, "patient", input=said(gate))
        await gone(beside)
        run: Any = None
        seen: Parts = []
        async with asyncio.timeout(30):
            async for part in await beside.threads.join_stream(thread_id, last_event_id="1-1"):
                seen.append((part.event, part.data))
                if run is None:
                    run = await beside.runs.create(thread_id, "patient", input=said(gate))
                if part.data == {"status": "run_done", "run_id": run["run_id"]}:
                    break
        assert seen[0][0] == "metadata"
        assert seen[0][1]["gap"]["after"] == 1
        assert ("metadata", {"run_id": run["run_id"], "attempt": 1}) in seen
        assert seen[-2][0] == "values"


@node.needed
async def test_javascript_clients_and_pages_go_on_behind_a_gap(tmp_path: Path) -> None:
    node.install()
    async with forgetful(tmp_path) as (_, cord, beside), AsyncExitStack() as stack:
        scripts = [
            await stack.enter_async_context(
                node.Script("gap.mjs", node.environment(cord.url, version, tmp_path))
            )
            for version in node.SDKS
        ]
        async with asyncio.timeout(node.TIMEOUT_S):
            for script in scripts:
                await script.says("halfway")
            cord.cut()
            for script in scripts:
                script.tell("cut")
            await gone(beside)
            cord.mend()
            await asyncio.gather(*(script.succeeds() for script in scripts))
