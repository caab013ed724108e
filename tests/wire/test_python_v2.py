"""The thread streams of the official Python client, asynchronous, over both transports: protocol v2."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.processes import daemon
from tests.wire import cable
from tests.wire.conversation import PROJECT

pytestmark = [pytest.mark.xdist_group("clients"), pytest.mark.timeout(40)]

COUNT: dict[str, Any] = {"left": 2, "seen": []}
COUNTED = {"left": 0, "seen": ["tick 2", "tick 1"]}
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def client(served: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=served) as made:
        yield made


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Any:
    return request.param


def text_of(message: dict[str, Any]) -> str:
    """The text of a stored message, whether of one string or of blocks."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


async def until(thread: Any, holds: Callable[[Any], bool]) -> list[Any]:
    """Read all events of a thread, those that have been too, until one for which this holds."""
    seen = []
    async for event in thread.events:
        if event["type"] != "event":  # over a WebSocket the answer to the subscription is among them
            continue
        seen.append(event)
        if holds(event):
            return seen
    raise AssertionError(f"the stream has ended: {seen}")


def ends(event: Any) -> bool:
    """Whether a run is over with this event."""
    return event["params"]["namespace"] == [] and phase(event) in ("completed", "failed", "interrupted")


def phase(event: Any) -> str | None:
    """What a lifecycle event tells."""
    return event["params"]["data"]["event"] if event["method"] == "lifecycle" else None


async def asked(thread: Any, count: int = 1) -> list[dict[str, Any]]:
    """Wait for so many questions; return them as they are on the wire."""
    found: dict[str, Any] = {}

    def is_last(event: Any) -> bool:
        if event["method"] == "input.requested":
            found[event["params"]["data"]["interrupt_id"]] = event["params"]["data"]
        return len(found) == count

    await until(thread, is_last)
    while {one["interrupt_id"] for one in thread.interrupts} != set(found):  # noqa: ASYNC110  (nothing tells)
        await asyncio.sleep(0.01)
    return list(found.values())


# what a run shows


async def test_an_answer_is_streamed_in_pieces(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="parrot", transport=transport) as thread:
        started = await thread.run.start(input=HELLO)
        (message,) = [message async for message in thread.messages]
        pieces = [piece async for piece in message.text]
        output: Any = await thread.output
    assert pieces == ["You said ", "hello"]
    assert [text_of(one) for one in output["messages"]] == ["hello", "You said hello"]
    run = await client.runs.get(thread.thread_id, started["run_id"])
    assert run["status"] == "success"
    assert (await client.threads.get(thread.thread_id))["status"] == "idle"


async def test_values_are_streamed_step_by_step(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="countdown", transport=transport) as thread:
        await thread.run.start(input=COUNT)
        seen: list[Any] = []
        async for values in thread.values:
            seen.append(values)
            if values == COUNTED:
                break
        assert seen[-3:] in (
            [COUNT, {"left": 1, "seen": ["tick 2"]}, COUNTED],
            [{"left": 1, "seen": ["tick 2"]}, COUNTED],  # the state was asked for, and stood there already
            [COUNTED],
        )
        assert await thread.output == COUNTED
        assert await thread.values == COUNTED


async def test_tools_are_shown_with_what_they_get_and_give(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="calculator", transport=transport) as thread:
        await thread.run.start(input={"messages": [{"role": "user", "content": "six"}]})
        (call,) = [call async for call in thread.tool_calls]
        assert (call.name, call.input, call.tool_call_id) == ("multiply", {"left": 6, "right": 7}, "call-1")
        assert (await call.output)["content"] == "42"
        output: Any = await thread.output
    assert text_of(output["messages"][-1]) == "It makes 42"


async def test_a_tool_that_fails_fails_its_call_and_the_run(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="calculator", transport=transport) as thread:
        await thread.run.start(input={"messages": [{"role": "user", "content": "thirteen"}]})
        (call,) = [call async for call in thread.tool_calls]
        with pytest.raises(Exception, match="not with that number"):
            await call.output
        with pytest.raises(RuntimeError, match="not with that number"):
            await thread.output


async def test_a_tools_message_has_the_same_id_in_pieces_and_in_the_state(
    client: LangGraphClient, transport: Any
) -> None:
    async with client.threads.stream(assistant_id="calculator", transport=transport) as thread:
        await thread.run.start(input={"messages": [{"role": "user", "content": "six"}]})
        events = [(event["method"], event["params"]["data"]) for event in await until(thread, ends)]
        state: Any = await client.threads.get_state(thread.thread_id)
    (kept,) = [message["id"] for message in state["values"]["messages"] if message["type"] == "tool"]
    pieces = [part["id"] for method, part in events if method == "messages" and "tool_call_id" in part]
    assert pieces == [kept] * 5
    assert [part["output"]["id"] for _, part in events if part.get("event") == "tool-finished"] == [kept]


async def test_what_a_graph_says_of_itself_is_told_by_its_name(
    client: LangGraphClient, transport: Any
) -> None:
    async with client.threads.stream(assistant_id="crier", transport=transport) as thread:
        await thread.run.start(input=COUNT)
        seen = [payload async for payload in thread.extensions["progress"]]
        await thread.output
        updates = [
            event["params"]["data"] for event in await until(thread, ends) if event["method"] == "updates"
        ]
    assert [one.get("payload", one) for one in seen] == [{"share": 0.5}, {"share": 1.0}]
    assert updates == [{"cry": {"seen": ["cried"]}}]


async def test_subgraphs_are_shown_with_their_ends(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="deep", transport=transport) as thread:
        await thread.run.start(input=COUNT)
        shown = [(graph.graph_name, graph.path) async for graph in thread.subgraphs]
        assert await thread.output == COUNTED
        events = await until(thread, ends)
    ((name, path),) = shown
    assert (name, path[0].split(":")[0]) == ("middle", "middle")
    told = [
        (phase(event), event["params"]["data"]["graph_name"], len(event["params"]["namespace"]))
        for event in events
        if event["method"] == "lifecycle"
    ]
    assert told == [
        ("running", "deep", 0),
        ("started", "middle", 1),
        ("started", "inner", 2),
        ("completed", "inner", 2),
        ("completed", "middle", 1),
        ("completed", "deep", 0),
    ]


async def test_messages_of_a_subgraph_are_its_own(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="dialogue", transport=transport) as thread:
        await thread.run.start(input=HELLO)
        seen = [
            (":".join(event["params"]["namespace"]).split(":")[0], event["params"]["data"]["delta"]["type"])
            for event in await until(thread, ends)
            if event["method"] == "messages" and event["params"]["data"]["event"] == "content-block-delta"
        ]
    assert seen == [("", "text-delta")] * 2 + [("deeper", "reasoning-delta")] + [("deeper", "text-delta")] * 2


async def test_a_failure_is_told_with_its_message(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="failing", transport=transport) as thread:
        await thread.run.start(input={"how": "value", "left": 0})
        with pytest.raises(RuntimeError, match="bad value"):
            await thread.output
        assert phase((await until(thread, ends))[-1]) == "failed"


# questions


async def test_a_question_is_answered(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="ask", transport=transport) as thread:
        await thread.run.start(input={"topic": "tea"})
        (question,) = await asked(thread)
        assert question["payload"] == {"about": "tea"}
        assert thread.interrupted
        assert await thread.run.respond("green") == {}
        assert await thread.output == {"topic": "tea", "reply": "green", "closed": True}
    assert [run["status"] for run in await client.runs.list(thread.thread_id)] == ["success"] * 2


async def test_a_question_of_a_subgraph_is_answered_by_who_comes_later(
    client: LangGraphClient, transport: Any
) -> None:
    async with client.threads.stream(assistant_id="nested_ask", transport=transport) as thread:
        await thread.run.start(input={"topic": "tea"})
        await until(thread, ends)
    later = client.threads.stream(thread.thread_id, assistant_id="nested_ask", transport=transport)
    async with later as thread:
        await asked(thread)
        assert thread.interrupts[0]["namespace"][0].startswith("inner:")
        await thread.run.respond("green", interrupt_id=thread.interrupts[0]["interrupt_id"])
        output: Any = await thread.output
    assert (output["reply"], output["closed"]) == ("green", True)


async def test_a_question_waits_for_its_answer_however_long(tmp_path: Path, transport: Any) -> None:
    """Also when runs are not replayed any more: clients know a question only by its event."""
    async with (
        daemon.Daemon(PROJECT, tmp_path / "data", {"GATEWAYD_REPLAY_WINDOW_S": "0"}) as served,
        get_client(url=served.url) as client,
    ):
        await served.start()
        thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread_id, "nested_ask", input={"topic": "tea"})
        opened = client.threads.stream(thread_id, assistant_id="nested_ask", transport=transport)
        async with opened as thread:
            await asked(thread)
            await thread.run.respond("green")
            output: Any = await thread.output
        assert (output["reply"], output["closed"]) == ("green", True)


async def test_two_questions_are_answered_one_after_the_other(
    client: LangGraphClient, transport: Any
) -> None:
    async with client.threads.stream(assistant_id="both", transport=transport) as thread:
        await thread.run.start(input={"replies": []})
        one, two = await asked(thread, 2)
        await thread.run.respond("A", interrupt_id=one["interrupt_id"])
        while (await client.threads.get(thread.thread_id))["status"] != "interrupted" or (  # noqa: ASYNC110  (nothing tells)
            len(await client.runs.list(thread.thread_id)) < 2
        ):
            await asyncio.sleep(0.02)
        await thread.run.respond("B", interrupt_id=two["interrupt_id"])
        output: Any = await thread.output
    assert sorted(output["replies"]) == ["first A", "second B"]


async def test_an_answer_to_no_question_is_refused(client: LangGraphClient, transport: Any) -> None:
    async with client.threads.stream(assistant_id="ask", transport=transport) as thread:
        await thread.run.start(input={"topic": "tea"})
        (question,) = await asked(thread)
        thread.interrupts[0]["interrupt_id"] = "0" * 32
        with pytest.raises(Exception, match=r"no_such_interrupt|Unknown or already-consumed"):
            await thread.run.respond("green")
        thread.interrupts[0]["interrupt_id"] = question["interrupt_id"]
        await thread.run.respond("green")
        output: Any = await thread.output
    assert output["reply"] == "green"


# cancelling, cuts, and others on the thread


def piece(event: Any) -> str | None:
    """The text that an event adds to an answer."""
    data = event["params"]["data"]
    is_piece = event["method"] == "messages" and data["event"] == "content-block-delta"
    return data["delta"]["text"] if is_piece else None


async def halfway(thread: Any, gate: Path) -> str:
    """Start an answer that stops in the middle; return its run."""
    started = await thread.run.start(input={**HELLO, "gate": str(gate)})
    await until(thread, lambda event: piece(event) == "You said ")
    return str(started["run_id"])


async def test_a_cancelled_run_ends_as_interrupted_and_the_next_one_is_answered(
    client: LangGraphClient, transport: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with client.threads.stream(assistant_id="patient", transport=transport) as thread:
        run_id = await halfway(thread, gate)
        await client.runs.cancel(thread.thread_id, run_id, wait=True)
        told = [phase(event) for event in await until(thread, ends) if event["method"] == "lifecycle"]
        assert told == ["running", "interrupted"]
        assert (await client.runs.get(thread.thread_id, run_id))["status"] == "interrupted"
        gate.touch()
        await thread.run.start(input={**HELLO, "gate": str(gate)})
        output: Any = await thread.output
    assert text_of(output["messages"][-1]) == "You said hello"


async def test_a_reader_that_is_cut_goes_on_where_it_was(served: str, transport: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    arrived = asyncio.Event()

    async def read(thread: Any) -> list[Any]:
        seen = []
        async for event in thread.subscribe(["messages", "values"]):
            seen.append(event)
            if piece(event) == "You said ":
                arrived.set()
        return seen

    async with (
        cable.Cable(urlsplit(served).port or 0) as cord,
        get_client(url=cord.url) as client,
        get_client(url=served) as beside,
        client.threads.stream(assistant_id="patient", transport=transport) as thread,
    ):
        started = await thread.run.start(input={**HELLO, "gate": str(gate)})
        reading = asyncio.create_task(read(thread))
        await arrived.wait()
        cord.cut()
        gate.touch()
        await beside.runs.join(thread.thread_id, started["run_id"])
        cord.mend()
        seen = await reading
        output: Any = await thread.output
    assert [text for text in map(piece, seen) if text is not None] == ["You said ", "hello"]
    numbers = [event["seq"] for event in seen]
    assert numbers == sorted(set(numbers))
    assert seen[-1]["method"] == "values"
    assert text_of(output["messages"][-1]) == "You said hello"


async def test_two_clients_see_the_same_events(
    client: LangGraphClient, transport: Any, tmp_path: Path
) -> None:
    thread_id = str(uuid.uuid4())
    async with client.threads.stream(thread_id, assistant_id="patient", transport=transport) as one:
        await halfway(one, tmp_path / "gate")
        async with client.threads.stream(thread_id, assistant_id="patient") as other:
            readings = [asyncio.create_task(until(reader, ends)) for reader in (one, other)]
            (tmp_path / "gate").touch()
            seen = [[event["event_id"] for event in await reading] for reading in readings]
    async with client.threads.stream(thread_id, assistant_id="patient", transport=transport) as late:
        seen.append([event["event_id"] for event in await until(late, ends)])
        output: Any = await late.output
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == len(set(seen[0]))
    assert text_of(output["messages"][-1]) == "You said hello"


async def test_runs_of_the_older_protocol_are_seen(client: LangGraphClient, transport: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    async with client.threads.stream(thread_id, assistant_id="countdown", transport=transport) as thread:
        run = await client.runs.create(thread_id, "countdown", input=COUNT, stream_resumable=True)
        told = [phase(event) for event in await until(thread, ends) if event["method"] == "lifecycle"]
        assert told == ["running", "completed"]
        assert await thread.output == COUNTED
    assert [one["run_id"] for one in await client.runs.list(thread_id)] == [run["run_id"]]
