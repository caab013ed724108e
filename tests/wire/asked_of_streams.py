"""Scenarios: event streams of runs, in their four modes, alone and together."""

from __future__ import annotations

from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.asked_of_runs import SLOW, interrupts, settled
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

MODES = ["values", "updates", "messages-tuple", "custom"]


def says(text: str, **more: Any) -> dict[str, Any]:
    """Return an input that is one message."""
    return {"input": {"messages": [{"type": "human", "content": text, "id": "human-1"}]}, **more}


async def streamed(c: Conversation, assistant: str, **body: Any) -> str:
    """Stream a run on a new thread; return the thread."""
    thread = await c.thread()
    await c.events(f"/threads/{thread}/runs/stream", {"assistant_id": assistant, **body})
    return thread


def mode_alone(mode: str) -> None:
    async def stream_mode(c: Conversation) -> None:
        await streamed(c, "countdown", input=COUNT["input"], stream_mode=mode)
        await streamed(c, "reckoner", stream_mode=[mode], **says("six times seven"))

    stream_mode.__name__ = f"stream_{mode.replace('-', '_')}"
    scenario(stream_mode)


for _mode in MODES:
    mode_alone(_mode)


@scenario
async def stream_all_modes(c: Conversation) -> None:
    await streamed(c, "countdown", input=COUNT["input"], stream_mode=MODES)
    await streamed(c, "reckoner", stream_mode=MODES, **says("six times seven"))
    await streamed(c, "countdown", input=COUNT["input"], stream_mode=["updates", "updates"])
    await streamed(c, "countdown", input=COUNT["input"])
    await streamed(c, "countdown", input=COUNT["input"], stream_mode=[])


@scenario
async def stream_messages_of_all_kinds(c: Conversation) -> None:
    tuples = {"stream_mode": ["messages-tuple", "updates"]}
    await streamed(c, "parrot", **tuples, **says("hello"))
    await streamed(c, "quiet", **tuples, **says("hello"))
    await streamed(c, "musing", **tuples, **says("why"))
    await streamed(c, "broken", **tuples, **says("hello"))
    await streamed(c, "placed", stream_mode=MODES, **says("hello"))
    await streamed(c, "reckoner", **tuples, **says("thirteen times seven"))


@scenario
async def stream_custom_shapes(c: Conversation) -> None:
    await streamed(c, "herald", input={"left": 0, "seen": []}, stream_mode=["custom", "updates"])


@scenario
async def stream_branches(c: Conversation) -> None:
    modes = ["values", "updates"]
    await streamed(c, "spread", input={"numbers": [1, 2, 3], "doubled": []}, stream_mode=modes)
    await streamed(c, "sides", input={"numbers": [], "doubled": []}, stream_mode=modes)
    await streamed(c, "jumper", input={"left": 0, "seen": []}, stream_mode=modes)


@scenario
async def stream_odd_values(c: Conversation) -> None:
    await streamed(c, "odd", input={}, stream_mode=["values", "updates"])
    await streamed(c, "unstorable", input={}, stream_mode=["values", "updates"])


@scenario
async def stream_subgraphs(c: Conversation) -> None:
    for subgraphs in (False, True):
        for graph in ("nested", "deep"):
            body = {"input": {"left": 1, "seen": []}, "stream_mode": ["values", "updates", "custom"]}
            await streamed(c, graph, **body, stream_subgraphs=subgraphs)
        await streamed(
            c, "dialogue", stream_mode=["messages-tuple"], stream_subgraphs=subgraphs, **says("hello")
        )
        await streamed(c, "dialogue", stream_mode=MODES, stream_subgraphs=subgraphs, **says("hello"))


@scenario
async def stream_questions(c: Conversation) -> None:
    for modes in (["values", "updates"], ["updates"], ["values"], ["messages-tuple", "custom"]):
        thread = await streamed(c, "ask", input={"topic": "tea"}, stream_mode=modes)
        resumed = {"assistant_id": "ask", "command": {"resume": "green"}, "stream_mode": modes}
        await c.events(f"/threads/{thread}/runs/stream", resumed)


@scenario
async def stream_two_questions(c: Conversation) -> None:
    thread = await streamed(c, "both", input={"replies": []}, stream_mode=["values", "updates"])
    first, second = await interrupts(c, thread)
    answers = {first["id"]: "1", second["id"]: "2"}
    body = {"assistant_id": "both", "command": {"resume": answers}, "stream_mode": ["values", "updates"]}
    await c.events(f"/threads/{thread}/runs/stream", body)


@scenario
async def stream_questions_inside(c: Conversation) -> None:
    for subgraphs in (True, False):
        body: dict[str, Any] = {"stream_mode": ["values", "updates"], "stream_subgraphs": subgraphs}
        thread = await streamed(c, "nested_ask", input={"topic": "inside"}, **body)
        body = {"assistant_id": "nested_ask", "command": {"resume": "heard"}, **body}
        await c.events(f"/threads/{thread}/runs/stream", body)


@scenario
async def stream_breakpoints(c: Conversation) -> None:
    for stops in ({"interrupt_before": ["tick"]}, {"interrupt_after": ["tick"]}, {"interrupt_before": "*"}):
        for modes in (["values", "updates"], ["values"]):
            thread = await streamed(c, "countdown", input=COUNT["input"], stream_mode=modes, **stops)
            await settled(c, thread)
            body = {"assistant_id": "countdown", "input": None, "stream_mode": modes, **stops}
            await c.events(f"/threads/{thread}/runs/stream", body)
            body = {"assistant_id": "countdown", "input": None, "stream_mode": modes}
            await c.events(f"/threads/{thread}/runs/stream", body)


@scenario
async def stream_errors(c: Conversation) -> None:
    modes = ["values", "updates", "custom"]
    await streamed(c, "failing", input={"how": "value", "left": 1}, stream_mode=modes)
    await streamed(c, "failing", input={"how": "own", "left": 0}, stream_mode="messages-tuple")
    await streamed(
        c, "nested_failing", input={"how": "value", "left": 1}, stream_mode=modes, stream_subgraphs=True
    )
    await streamed(c, "countdown", input=COUNT["input"], config={"recursion_limit": 1}, stream_mode=modes)
    await streamed(c, "countdown", input=None, stream_mode=modes)
    await streamed(c, "countdown", input="text", stream_mode=modes)
    await streamed(c, "parrot", stream_mode=modes, input={"messages": [{"role": "nobody", "content": "x"}]})


@scenario
async def stream_stateless(c: Conversation) -> None:
    await c.events("/runs/stream", {**COUNT, "stream_mode": ["values", "updates"]})
    await c.events("/runs/stream", {"assistant_id": "failing", "input": {"how": "value", "left": 0}})
    await c.events(
        "/runs/stream", {"assistant_id": "ask", "input": {"topic": "tea"}, "stream_mode": "updates"}
    )


@scenario
async def stream_second_turn(c: Conversation) -> None:
    thread = await c.thread()
    for text, identifier in (("one", "human-1"), ("two", "human-2")):
        message = {"type": "human", "content": text, "id": identifier}
        body = {
            "assistant_id": "parrot",
            "input": {"messages": [message]},
            "stream_mode": ["values", "messages-tuple"],
        }
        await c.events(f"/threads/{thread}/runs/stream", body)


@scenario
async def join_a_resumable_stream(c: Conversation) -> None:
    thread = await c.thread()
    body = {**COUNT, "stream_mode": ["values", "updates", "custom"], "stream_resumable": True}
    async with c.stream(f"/threads/{thread}/runs/stream", body) as stream:
        seen = [event async for event in stream]
        ids = stream.ids
    run = c.name("run", seen[0][1]["run_id"])
    await settled(c, thread)
    path = f"/threads/{thread}/runs/{run}/stream"
    await c.events(path)
    for known in ("-1", "0", "-"):
        replayed = await c.events(path, headers={"Last-Event-ID": known})
        assert replayed == seen
    assert await c.events(path, headers={"Last-Event-ID": str(ids[-1])}, record=False) == []
    for known in ("", "nonsense", "9999999999999-0"):
        await c.events(path, headers={"Last-Event-ID": known})
    await c.events(f"{path}?stream_mode=updates", headers={"Last-Event-ID": "-1"})
    await c.events(f"{path}?stream_mode=updates&stream_mode=custom", headers={"Last-Event-ID": "-1"})
    await c.events(f"{path}?stream_mode=odd", headers={"Last-Event-ID": "-1"})


@scenario
async def join_a_stream_that_has_ended(c: Conversation) -> None:
    thread = await streamed(c, "failing", input={"how": "value", "left": 1}, stream_resumable=True)
    (run,) = [c.name("run", row["run_id"]) for row in await c.get(f"/threads/{thread}/runs", record=False)]
    await settled(c, thread)
    await c.events(f"/threads/{thread}/runs/{run}/stream", headers={"Last-Event-ID": "-1"})
    plain = await streamed(c, "countdown", input=COUNT["input"])
    (run,) = [c.name("run", row["run_id"]) for row in await c.get(f"/threads/{plain}/runs", record=False)]
    await settled(c, plain)
    await c.events(f"/threads/{plain}/runs/{run}/stream")


@scenario
async def join_streams_that_are_unknown(c: Conversation) -> None:
    thread = await c.thread()
    await c.events(f"/threads/{thread}/runs/{UNKNOWN}/stream")
    await c.events(f"/threads/{UNKNOWN}/runs/{UNKNOWN}/stream")


@scenario
async def join_a_running_stream(c: Conversation) -> None:
    thread = await c.thread()
    short = {
        "assistant_id": "slow",
        "input": {"left": 2, "pause": 1.0, "seen": []},
        "stream_mode": ["updates", "custom"],
    }
    async with c.stream(f"/threads/{thread}/runs/stream", short) as first:
        run = c.name("run", (await first.next("metadata"))["run_id"])
        await first.next("custom")
        async with c.stream(f"/threads/{thread}/runs/{run}/stream") as second:
            async for _ in second:
                pass
        async for _ in first:
            pass


@scenario
async def clients_that_leave(c: Conversation) -> None:
    for end in ("cancel", "continue"):
        thread = await c.thread()
        pause = 30.0 if end == "cancel" else 0.5
        body = {
            "assistant_id": "slow",
            "input": {"left": 2, "pause": pause, "seen": []},
            "on_disconnect": end,
        }
        async with c.stream(f"/threads/{thread}/runs/stream", {**body, "stream_mode": ["custom"]}) as stream:
            run = c.name("run", (await stream.next("metadata"))["run_id"])
            await stream.next("custom")
        await settled(c, thread)
        await c.get(f"/threads/{thread}/runs/{run}")


@scenario
async def joiners_that_leave(c: Conversation) -> None:
    thread = await c.thread()
    run = await c.run(thread, **{**SLOW, "stream_mode": "custom"})
    await c.until(f"/threads/{thread}/state", lambda state: state["values"].get("seen") == ["waited 2"])
    async with c.stream(f"/threads/{thread}/runs/{run}/stream?cancel_on_disconnect=1"):
        pass
    await settled(c, thread)
    await c.get(f"/threads/{thread}/runs/{run}")
