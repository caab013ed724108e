"""Scenarios: the stream modes that show what happens inside, alone and together with the others."""

from __future__ import annotations

from typing import Any, Final

from tests.wire.asked_of_resources import COUNT
from tests.wire.asked_of_runs import interrupts
from tests.wire.asked_of_streams import mode_alone, says, streamed
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

INNER: Final = ["tasks", "checkpoints", "debug"]
"""Modes that show the engine at work."""
ALL_BUT_MESSAGES: Final = ["values", "updates", "custom", *INNER]

for _mode in (*INNER, "messages", "events"):
    mode_alone(_mode)


@scenario
async def stream_inner_modes_together(c: Conversation) -> None:
    await streamed(c, "countdown", input=COUNT["input"], stream_mode=ALL_BUT_MESSAGES)
    await streamed(
        c, "reckoner", stream_mode=[*ALL_BUT_MESSAGES, "messages-tuple"], **says("six times seven")
    )
    await streamed(c, "placed", stream_mode=["debug", "messages", "tasks"], **says("hello"))
    await streamed(c, "herald", input={"left": 0, "seen": []}, stream_mode=["debug", "custom"])


@scenario
async def stream_inner_modes_of_subgraphs(c: Conversation) -> None:
    for subgraphs in (False, True):
        body: dict[str, Any] = {"input": {"left": 1, "seen": []}, "stream_subgraphs": subgraphs}
        await streamed(c, "nested", **body, stream_mode=ALL_BUT_MESSAGES)
        await streamed(c, "deep", **body, stream_mode=INNER)


@scenario
async def stream_inner_modes_of_branches(c: Conversation) -> None:
    await streamed(c, "spread", input={"numbers": [1, 2], "doubled": []}, stream_mode=INNER)
    await streamed(c, "sides", input={"numbers": [], "doubled": []}, stream_mode=["tasks", "updates"])
    await streamed(c, "jumper", input={"left": 0, "seen": []}, stream_mode=ALL_BUT_MESSAGES)


@scenario
async def stream_inner_modes_of_questions(c: Conversation) -> None:
    for modes in (INNER, ["tasks"], ALL_BUT_MESSAGES):
        thread = await streamed(c, "ask", input={"topic": "tea"}, stream_mode=modes)
        resumed = {"assistant_id": "ask", "command": {"resume": "green"}, "stream_mode": modes}
        await c.events(f"/threads/{thread}/runs/stream", resumed)
    thread = await streamed(c, "both", input={"replies": []}, stream_mode=["tasks", "debug"])
    first, second = await interrupts(c, thread)
    answers = {first["id"]: "1", second["id"]: "2"}
    body: dict[str, Any] = {"assistant_id": "both", "command": {"resume": answers}, "stream_mode": ["debug"]}
    await c.events(f"/threads/{thread}/runs/stream", body)
    body = {"stream_mode": INNER, "stream_subgraphs": True}
    thread = await streamed(c, "nested_ask", input={"topic": "inside"}, **body)
    body = {"assistant_id": "nested_ask", "command": {"resume": "heard"}, **body}
    await c.events(f"/threads/{thread}/runs/stream", body)


@scenario
async def stream_inner_modes_of_breakpoints(c: Conversation) -> None:
    for stops in ({"interrupt_before": ["tick"]}, {"interrupt_after": ["tick"]}):
        thread = await streamed(c, "countdown", input=COUNT["input"], stream_mode=INNER, **stops)
        body = {"assistant_id": "countdown", "input": None, "stream_mode": INNER}
        await c.events(f"/threads/{thread}/runs/stream", body)


@scenario
async def stream_inner_modes_of_errors(c: Conversation) -> None:
    await streamed(c, "failing", input={"how": "value", "left": 1}, stream_mode=ALL_BUT_MESSAGES)
    await streamed(c, "failing", input={"how": "own", "left": 0}, stream_mode=["tasks", "messages"])
    body: dict[str, Any] = {"input": {"how": "value", "left": 0}, "stream_subgraphs": True}
    await streamed(c, "nested_failing", **body, stream_mode=INNER)
    await streamed(c, "countdown", input=COUNT["input"], config={"recursion_limit": 1}, stream_mode=INNER)
    await streamed(c, "countdown", input=None, stream_mode=INNER)


@scenario
async def stream_inner_modes_of_odd_values(c: Conversation) -> None:
    await streamed(c, "odd", input={}, stream_mode=INNER)


@scenario
async def stream_inner_modes_of_second_turn(c: Conversation) -> None:
    thread = await c.thread(metadata={"of": "thread"})
    for n in (0, 1):
        body = {"assistant_id": "countdown", "input": {"left": 0, "seen": [str(n)]}, "stream_mode": INNER}
        body |= {"config": {"tags": ["mine"], "configurable": {"colour": "red"}}, "metadata": {"of": "run"}}
        await c.events(f"/threads/{thread}/runs/stream", body)
    await c.events("/runs/stream", {**COUNT, "stream_mode": INNER})


@scenario
async def stream_whole_messages_of_all_kinds(c: Conversation) -> None:
    whole = {"stream_mode": ["messages", "updates"]}
    await streamed(c, "parrot", **whole, **says("hello"))
    await streamed(c, "quiet", **whole, **says("hello"))
    await streamed(c, "musing", **whole, **says("why"))
    await streamed(c, "broken", **whole, **says("hello"))
    await streamed(c, "placed", **whole, **says("hello"))
    await streamed(c, "reckoner", **whole, **says("thirteen times seven"))
    await streamed(c, "ask", input={"topic": "tea"}, stream_mode=["messages"])
    for subgraphs in (False, True):
        await streamed(c, "dialogue", stream_mode="messages", stream_subgraphs=subgraphs, **says("hello"))
    both = {"stream_mode": ["messages", "messages-tuple"]}
    await streamed(c, "parrot", **both, **says("hello"))


@scenario
async def stream_events_with_others(c: Conversation) -> None:
    modes = ["values", "updates", "custom", "events"]
    await streamed(c, "countdown", input={"left": 1, "seen": []}, stream_mode=modes)
    await streamed(c, "countdown", input={"left": 1, "seen": []}, stream_mode=["events", *INNER])
    await streamed(c, "parrot", stream_mode=["events", "messages-tuple"], **says("hello"))
    await streamed(c, "parrot", stream_mode=["events", "messages"], **says("hello"))
    await streamed(c, "reckoner", stream_mode=["events", "updates", "custom"], **says("thirteen times seven"))


@scenario
async def stream_events_of_all_kinds(c: Conversation) -> None:
    await streamed(c, "placed", stream_mode="events", **says("hello"))
    await streamed(c, "jumper", input={"left": 0, "seen": []}, stream_mode=["events"])
    await streamed(c, "herald", input={"left": 0, "seen": []}, stream_mode=["events"])
    await streamed(c, "quiet", stream_mode="events", **says("hello"))
    await streamed(c, "odd", input={}, stream_mode="events")
    await c.events("/runs/stream", {**COUNT, "stream_mode": "events"})


@scenario
async def stream_events_of_subgraphs(c: Conversation) -> None:
    for subgraphs in (False, True):
        body: dict[str, Any] = {"input": {"left": 0, "seen": []}, "stream_subgraphs": subgraphs}
        await streamed(c, "nested", **body, stream_mode=["events", "values", "updates"])
        await streamed(c, "nested", **body, stream_mode=["events"])


@scenario
async def stream_events_of_questions_and_errors(c: Conversation) -> None:
    modes = ["events", "values", "updates"]
    thread = await streamed(c, "ask", input={"topic": "tea"}, stream_mode=modes)
    resumed = {"assistant_id": "ask", "command": {"resume": "green"}, "stream_mode": modes}
    await c.events(f"/threads/{thread}/runs/stream", resumed)
    await streamed(c, "failing", input={"how": "value", "left": 0}, stream_mode=modes)
    await streamed(c, "broken", stream_mode=["events"], **says("hello"))
    stops = {"interrupt_before": ["tick"]}
    await streamed(c, "countdown", input=COUNT["input"], stream_mode=modes, **stops)


@scenario
async def stream_modes_that_are_wrong(c: Conversation) -> None:
    thread = await c.thread()
    for modes in ("bogus", ["values", "bogus"], "lifecycle", {"values": True}, [1], 1, "", [["values"]]):
        await c.post(f"/threads/{thread}/runs/stream", {**COUNT, "stream_mode": modes})
