"""Scenarios: protocol v2, its commands and the events of its runs, channel by channel.

Events are written down by channel, since the order between channels is gatewayd's own where it matters: questions and the
end of a run come last, with what ends it. Of ids only those are shown that the server composes itself.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.asked_of_streams import says
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

CHANNELS: Final = ["values", "messages", "lifecycle", "input"]
"""Those on which the reference says something for every graph."""
ENDS: Final = {"completed", "failed", "interrupted"}
QUIET_S: Final = 1.0
"""How long nothing must come after the end of a run: the reference sends the last state of one that asks behind it."""


async def command(c: Conversation, thread: str, method: str, **params: Any) -> Any:
    """Send a command and return its answer; runs that it makes get names."""
    answer = await c.post(f"/threads/{thread}/commands", {"id": 7, "method": method, "params": params})
    if isinstance(answer, dict) and "run_id" in (answer.get("result") or {}):
        c.name("run", answer["result"]["run_id"])
    return answer


async def events(c: Conversation, thread: str, ends: int, **asked: Any) -> dict[str, list[Any]]:
    """Write down a thread's events up to so many ends of runs, by channel."""
    body = {"channels": CHANNELS, **asked}
    found: dict[str, list[Any]] = {}
    async with c.stream(f"/threads/{thread}/stream/events", body, record=False) as stream:
        step = {"ask": f"POST /threads/{thread}/stream/events", "body": body, "status": stream.status}
        reading = aiter(stream)
        while True:
            try:
                async with asyncio.timeout(30 if ends else QUIET_S):
                    name, event = await anext(reading)
            except TimeoutError:
                assert not ends, f"the end of a run never came: {found}"
                break
            params = event["params"]
            synthetic = event["event_id"].startswith("synth:")
            if synthetic and name == "lifecycle":
                c.name("run", event["event_id"].split(":")[1])
            shown = {"id": event["event_id"] if synthetic else "", **params}
            del shown["timestamp"]
            found.setdefault(name, []).append(shown)
            if name == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS:
                ends -= 1
    c.steps.append({**step, "answer": found})
    return found


async def started(c: Conversation, assistant: str, given: Any) -> tuple[str, dict[str, list[Any]]]:
    """Start a run on a new thread and write down its events."""
    thread = await c.thread()
    await command(c, thread, "run.start", assistant_id=assistant, input=given)
    return thread, await events(c, thread, 1)


@scenario
async def protocol_messages(c: Conversation) -> None:
    for graph, text in (
        ("parrot", "hello"),
        ("musing", "why"),
        ("reckoner", "six times seven"),
        ("placed", "hello"),
    ):
        await started(c, graph, says(text)["input"])


@scenario
async def protocol_states(c: Conversation) -> None:
    thread, _ = await started(c, "countdown", COUNT["input"])
    await c.get(f"/threads/{thread}")
    await started(c, "odd", {})


@scenario
async def protocol_subgraphs(c: Conversation) -> None:
    await started(c, "nested", COUNT["input"])
    await started(c, "deep", COUNT["input"])


@scenario
async def protocol_errors(c: Conversation) -> None:
    await started(c, "failing", COUNT["input"])
    await started(c, "nested_failing", COUNT["input"])


async def answered(c: Conversation, graph: str, given: Any, response: Any) -> None:
    thread, found = await started(c, graph, given)
    asked = found["input.requested"][0]["data"]
    await command(c, thread, "input.respond", namespace=[], interrupt_id="nothing", response="x")
    await command(
        c, thread, "input.respond", namespace=[], interrupt_id=asked["interrupt_id"], response=response
    )
    await events(c, thread, 2)
    await command(
        c, thread, "input.respond", namespace=[], interrupt_id=asked["interrupt_id"], response=response
    )


@scenario
async def protocol_questions(c: Conversation) -> None:
    await answered(c, "ask", {"topic": "tea"}, "yes")


@scenario
async def protocol_questions_inside(c: Conversation) -> None:
    await answered(c, "nested_ask", {"topic": "tea"}, "yes")


@scenario
async def protocol_commands_that_are_wrong(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/commands"
    for body in ({"id": "x", "method": "y"}, {"id": 1}, {"method": "run.start"}):
        await c.post(path, body)
    await c.post(path, raw=b"{")
    await command(c, thread, "run.start")
    await command(c, thread, "run.start", assistant_id=UNKNOWN, input={})
    await command(c, thread, "input.respond")
    await command(c, thread, "input.respond", responses=[])
    await command(c, thread, "input.respond", interrupt_id="nothing")
    await command(c, thread, "agent.getTree")
    await command(c, thread, "state.get")
    await command(c, thread, "input.inject")


@scenario
async def protocol_streams_that_are_wrong(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/stream/events"
    await c.post(path, raw=b"{")
    for body in ({}, {"channels": []}, {"channels": "values"}, {"channels": ["values", "bogus"]}):
        await c.post(path, body)
    await c.get(path)


@scenario
async def protocol_runs_make_their_thread(c: Conversation) -> None:
    thread = c.name("thread", str(uuid.uuid4()))
    started_ = await command(c, thread, "run.start", assistant_id="countdown", input=COUNT["input"])
    await events(c, thread, 1)
    await c.get(f"/threads/{thread}/runs/{started_['result']['run_id']}")
