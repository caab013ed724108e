"""Scenarios: protocol v2, its commands and the events of its runs, channel by channel.

Events are written down by channel, since the order between channels is gatewayd's own where it matters:
questions and the end of a run come last, with what ends it. Of ids only those are shown that the server
composes itself.
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
LONG: Final = {"left": 30, "pause": 0.5, "seen": ["one"]}
SHORT: Final = {"left": 3, "pause": 0.5, "seen": ["one"]}
QUIET_S: Final = 1.0
"""
How long nothing must come after the end of a run: the reference sends the last state of one that asks behind
it.
"""


async def command(c: Conversation, thread: str, method: str, **params: Any) -> Any:
    """Send a command and return its answer; runs that it makes get names."""
    answer = await c.post(f"/threads/{thread}/commands", {"id": 7, "method": method, "params": params})
    if isinstance(answer, dict) and "run_id" in (answer.get("result") or {}):
        c.name("run", answer["result"]["run_id"])
    return answer


async def events(
    c: Conversation, thread: str, ends: int, *, after: int | None = None, **asked: Any
) -> dict[str, list[Any]]:
    """
    Write down a thread's events up to so many ends of runs, by channel; `after`: from behind this number.
    """
    step, found = await read(c, thread, ends, after=after, **asked)
    c.steps.append(step)
    return found


async def read(
    c: Conversation,
    thread: str,
    ends: int,
    *,
    after: int | None = None,
    opened: asyncio.Event | None = None,
    **asked: Any,
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the exchange that reads a thread's events, and these; numbers of events are not written down."""
    body = {"channels": CHANNELS, **asked}
    sent = body if after is None else {**body, "since": after}
    found: dict[str, list[Any]] = {}
    async with c.stream(f"/threads/{thread}/stream/events", sent, record=False) as stream:
        if opened is not None:
            opened.set()
        step = {"ask": f"POST /threads/{thread}/stream/events", "body": body, "status": stream.status}
        reading = aiter(stream)
        while True:
            try:
                async with asyncio.timeout(30 if ends > 0 else QUIET_S):
                    _, event = await anext(reading)
            except TimeoutError:
                assert ends <= 0, f"the end of a run never came: {found}"
                break
            ends -= noted(c, found, event)
            step["last"] = event["seq"]
    return {**step, "answer": found}, found


def noted(c: Conversation, found: dict[str, list[Any]], event: dict[str, Any]) -> bool:
    """Add an event to those of its channel; True if it is the end of a run."""
    name, params = event["method"], event["params"]
    synthetic = event["event_id"].startswith("synth:")
    if synthetic and name == "lifecycle":
        c.name("run", event["event_id"].split(":")[1])
    shown = {"id": event["event_id"] if synthetic else "", **params}
    del shown["timestamp"]
    found.setdefault(name, []).append(shown)
    return name == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS


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
    last = c.steps[-2]["last"]
    await command(
        c, thread, "input.respond", namespace=[], interrupt_id=asked["interrupt_id"], response=response
    )
    await events(c, thread, 1, after=last)
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


@scenario
async def protocol_filters(c: Conversation) -> None:
    thread, _ = await started(c, "nested", COUNT["input"])
    asked: tuple[dict[str, Any], ...] = (
        {"namespaces": [[]], "depth": 0},
        {"namespaces": [["inner"]]},
        {"namespaces": [["inner"]], "depth": 0, "channels": ["values"]},
        {"namespaces": [["inn"]]},
        {"namespaces": [["inner"], []], "depth": 0},
        {"namespaces": "all", "depth": "x", "since": "y"},
        {"channels": ["lifecycle"]},
        {"channels": ["input", "custom:progress"]},
    )
    read_ = await asyncio.gather(*(read(c, thread, 0, **each) for each in asked))
    c.steps += [step for step, _ in read_]


@scenario
async def protocol_custom_events(c: Conversation) -> None:
    thread = await c.thread()
    await command(c, thread, "run.start", assistant_id="crier", input=COUNT["input"])
    await events(c, thread, 1, channels=["custom", "updates", "lifecycle"])
    await events(c, thread, 1, channels=["custom:progress", "lifecycle"])
    await events(c, thread, 1, channels=["custom:nothing", "lifecycle"])


@scenario
async def protocol_tools(c: Conversation) -> None:
    thread = await c.thread()
    await command(c, thread, "run.start", assistant_id="calculator", input=says("six times seven")["input"])
    await events(c, thread, 1, channels=[*CHANNELS, "tools"])


@scenario
async def protocol_cancels(c: Conversation) -> None:
    for action in ("interrupt", "rollback"):
        thread, opened = await c.thread(), asyncio.Event()
        ends = 1 if action == "interrupt" else 0
        answer = await command(c, thread, "run.start", assistant_id="slow", input=LONG)
        run = answer["result"]["run_id"]
        await c.until(f"/threads/{thread}/runs/{run}", lambda shown: shown["status"] == "running")
        reading = asyncio.ensure_future(read(c, thread, ends, opened=opened, channels=["lifecycle"]))
        await opened.wait()
        await c.post(f"/threads/{thread}/runs/{run}/cancel?wait=1&action={action}", {})
        step, _ = await reading
        c.steps.append(step)


async def double_texting(c: Conversation, strategy: str) -> None:
    thread = await c.thread()
    answer = await command(c, thread, "run.start", assistant_id="slow", input=SHORT)
    run = answer["result"]["run_id"]
    await c.until(f"/threads/{thread}/runs/{run}", lambda shown: shown["status"] == "running")
    second = {"assistant_id": "countdown", "input": COUNT["input"], "multitaskStrategy": strategy}
    await command(c, thread, "run.start", **second)
    await c.until(f"/threads/{thread}", lambda shown: shown["status"] != "busy")
    await events(c, thread, 0, channels=["lifecycle"])


@scenario
async def protocol_double_texting_rejected(c: Conversation) -> None:
    await double_texting(c, "reject")


@scenario
async def protocol_double_texting_interrupting(c: Conversation) -> None:
    await double_texting(c, "interrupt")


@scenario
async def protocol_two_readers(c: Conversation) -> None:
    thread, opened = await c.thread(), [asyncio.Event(), asyncio.Event()]
    reading = [
        asyncio.ensure_future(read(c, thread, 1, opened=opened[0])),
        asyncio.ensure_future(read(c, thread, 1, opened=opened[1], channels=["lifecycle"])),
    ]
    for each in opened:
        await each.wait()
    await command(c, thread, "run.start", assistant_id="nested", input=COUNT["input"])
    c.steps += [step for step, _ in await asyncio.gather(*reading)]


@scenario
async def protocol_second_run(c: Conversation) -> None:
    thread, _ = await started(c, "countdown", COUNT["input"])
    last = c.steps[-1]["last"]
    await command(c, thread, "run.start", assistant_id="countdown", input=COUNT["input"])
    await events(c, thread, 1, after=last)
    await events(c, thread, 2)


@scenario
async def protocol_runs_of_v1(c: Conversation) -> None:
    for graph, given in (
        ("countdown", COUNT["input"]),
        ("nested", COUNT["input"]),
        ("ask", {"topic": "tea"}),
    ):
        thread = await c.thread()
        body = {
            "assistant_id": graph,
            "input": given,
            "stream_mode": ["values", "updates", "custom", "tasks"],
        }
        body |= {"stream_resumable": True, "stream_subgraphs": True}
        await c.events(f"/threads/{thread}/runs/stream", body)
        await events(c, thread, 1, channels=[*CHANNELS, "updates", "custom", "tasks"])


@scenario
async def protocol_runs_read_over_v1(c: Conversation) -> None:
    thread, _ = await started(c, "countdown", COUNT["input"])
    runs = await c.get(f"/threads/{thread}/runs", record=False)
    await c.events(f"/threads/{thread}/runs/{runs[0]['run_id']}/stream", headers={"Last-Event-ID": "-1"})
