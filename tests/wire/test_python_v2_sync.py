"""The thread streams of the official Python client, synchronous, and those of `RemoteGraph`: protocol v2."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.wire.test_python_v2 import COUNT, COUNTED, HELLO, ends, phase, piece, text_of

pytestmark = [pytest.mark.xdist_group("clients"), pytest.mark.timeout(40)]


@pytest.fixture
def client(served: str) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=served) as made:
        yield made


@pytest.fixture
async def async_client(served: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=served) as made:
        yield made


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Any:
    return request.param


def until(events: Iterator[Any], holds: Callable[[Any], bool]) -> list[Any]:
    """Read events until one for which this holds."""
    seen = []
    for event in events:
        if event["type"] == "event":  # over a WebSocket the answer to the subscription is among them
            seen.append(event)
            if holds(event):
                return seen
    raise AssertionError(f"the stream has ended: {seen}")


def test_an_answer_and_its_values_are_streamed(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="parrot", transport=transport) as thread:
        thread.run.start(input=HELLO)
        pieces = [piece for message in thread.messages for piece in message.text]
        output = thread.output
    assert pieces == ["You said ", "hello"]
    assert [text_of(one) for one in output["messages"]] == ["hello", "You said hello"]
    with client.threads.stream(assistant_id="countdown", transport=transport) as thread:
        thread.run.start(input=COUNT)
        assert list(thread.values)[-1] == thread.output == COUNTED


def test_tools_and_subgraphs_are_shown(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="calculator", transport=transport) as thread:
        thread.run.start(input={"messages": [{"role": "user", "content": "six"}]})
        (call,) = list(thread.tool_calls)
        assert (call.name, call.input, call.output["content"]) == ("multiply", {"left": 6, "right": 7}, "42")
    with client.threads.stream(assistant_id="nested", transport=transport) as thread:
        thread.run.start(input=COUNT)
        (graph,) = list(thread.subgraphs)
        assert (graph.graph_name, thread.output) == ("inner", COUNTED)


def test_what_a_graph_says_of_itself_is_told_by_its_name(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="crier", transport=transport) as thread:
        thread.run.start(input=COUNT)
        seen = list(thread.extensions["progress"])
    assert [one.get("payload", one) for one in seen] == [{"share": 0.5}, {"share": 1.0}]


def test_a_question_is_answered_and_a_failure_is_told(client: SyncLangGraphClient, transport: Any) -> None:
    with client.threads.stream(assistant_id="ask", transport=transport) as thread:
        thread.run.start(input={"topic": "tea"})
        list(thread.values)  # ends where it is interrupted
        assert thread.interrupted
        assert len(thread.interrupts) == 1
        thread.run.respond("green")
        assert thread.output == {"topic": "tea", "reply": "green", "closed": True}
    with client.threads.stream(assistant_id="failing", transport=transport) as thread:
        thread.run.start(input={"how": "value", "left": 0})
        with pytest.raises(RuntimeError, match="bad value"):
            _ = thread.output


def test_a_cancelled_run_ends_as_interrupted(
    client: SyncLangGraphClient, transport: Any, tmp_path: Path
) -> None:
    with client.threads.stream(assistant_id="patient", transport=transport) as thread:
        run = thread.run.start(input={**HELLO, "gate": str(tmp_path / "gate")})
        events = iter(thread.events)
        until(events, lambda event: piece(event) == "You said ")
        client.runs.cancel(thread.thread_id, run["run_id"], wait=True)
        assert phase(until(events, ends)[-1]) == "interrupted"


# RemoteGraph


def on_a_thread() -> Any:
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


def test_a_remote_graph_streams_its_events(client: SyncLangGraphClient) -> None:
    graph = RemoteGraph("parrot", sync_client=client)
    with graph.stream_events(HELLO, on_a_thread(), version="v3") as run:
        assert [piece for message in run.messages for piece in message.text] == ["You said ", "hello"]
        assert text_of(run.output["messages"][-1]) == "You said hello"
    nested = RemoteGraph("nested", sync_client=client)
    with nested.stream_events(COUNT, version="v3") as run:
        assert [one.graph_name for one in run.subgraphs] == ["inner"]
        assert run.output == COUNTED


def test_a_remote_graph_asks_and_is_answered(client: SyncLangGraphClient) -> None:
    graph, config = RemoteGraph("ask", sync_client=client), on_a_thread()
    with graph.stream_events({"topic": "tea"}, config, version="v3") as run:
        list(run.values)
        assert run.interrupted
        assert len(run.interrupts) == 1
    with graph.stream_events(Command(resume="green"), config, version="v3") as run:
        assert run.output == {"topic": "tea", "reply": "green", "closed": True}


async def test_a_remote_graph_does_the_same_asynchronously(async_client: LangGraphClient) -> None:
    parrot = RemoteGraph("parrot", client=async_client)
    async with await parrot.astream_events(HELLO, on_a_thread(), version="v3") as run:
        (message,) = [message async for message in run.messages]
        assert [piece async for piece in message.text] == ["You said ", "hello"]
        assert text_of((await run.output())["messages"][-1]) == "You said hello"
    ask, config = RemoteGraph("ask", client=async_client), on_a_thread()
    async with await ask.astream_events({"topic": "tea"}, config, version="v3") as run:
        _ = [values async for values in run.values]
        assert await run.interrupted()
    async with await ask.astream_events(Command(resume="green"), config, version="v3") as run:
        assert (await run.output())["reply"] == "green"
    failing = RemoteGraph("failing", client=async_client)
    async with await failing.astream_events({"how": "value", "left": 0}, version="v3") as run:
        with pytest.raises(RuntimeError, match="bad value"):
            await run.output()
