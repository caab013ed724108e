"""Scenarios: protocol v2 over a WebSocket: its commands, its refusals, and how it is closed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from tests.wire.asked_of_protocol import QUIET_S, noted
from tests.wire.asked_of_resources import COUNT
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario


async def socket(c: Conversation, path: str, *said: Any, ends: tuple[int, ...] = ()) -> dict[str, list[Any]]:
    """
    Say one thing after the other, each when the one before has been answered; return the events, by channel.

    After the n-th so many ends of runs are waited for as `ends` says. What is no bytes is sent as JSON;
    `"respond"` stands for the answer to the question that came last. Answers are written down in their order.
    """
    found: dict[str, list[Any]] = {}
    answers: list[Any] = []
    url = c.url.replace("http", "ws", 1) + path
    async with c.http.ws_connect(url) as connection:
        for n, each in enumerate(said):
            if isinstance(each, bytes):
                await connection.send_str(each.decode())
            else:
                asked = each
                if each["method"] == "input.respond":
                    question = found["input.requested"][-1]["data"]["interrupt_id"]
                    asked = {**each, "params": {**each["params"], "interrupt_id": question}}
                await connection.send_str(json.dumps(asked))
            left, answered = ends[n] if n < len(ends) else 0, False
            while not answered or left:
                frame = await asyncio.wait_for(connection.receive_json(), 30)
                if frame["type"] == "event":
                    left -= noted(c, found, frame)
                    continue
                if "run_id" in (frame.get("result") or {}):
                    c.name("run", frame["result"]["run_id"])
                answers.append(frame)
                answered = True
        try:
            while True:
                frame = json.loads((await asyncio.wait_for(connection.receive(), QUIET_S)).data)
                noted(c, found, frame)
        except (TimeoutError, TypeError):
            pass
    shown = [each.decode() if isinstance(each, bytes) else each for each in said]
    step = {
        "ask": f"WS {path}",
        "body": shown,
        "status": 101,
        "answer": {"answers": answers, "events": found},
    }
    c.steps.append(step)
    return found


def say(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"id": number, "method": method, "params": params}


@scenario
async def sockets(c: Conversation) -> None:
    thread = await c.thread()
    await socket(
        c,
        f"/threads/{thread}/stream/events",
        say(1, "subscription.subscribe", channels=["values", "lifecycle"]),
        say(2, "run.start", assistant_id="nested", input=COUNT["input"]),
        say(3, "agent.getTree"),
        say(4, "subscription.unsubscribe", subscription_id="nothing"),
        ends=(0, 1),
    )
    await socket(
        c,
        f"/threads/{thread}/stream/events",
        say(1, "subscription.subscribe", channels=["lifecycle"], since=2),
        ends=(1,),
    )


@scenario
async def sockets_with_questions(c: Conversation) -> None:
    thread = await c.thread()
    await socket(
        c,
        f"/threads/{thread}/stream/events",
        say(1, "subscription.subscribe", channels=["values", "lifecycle", "input"]),
        say(2, "run.start", assistant_id="ask", input={"topic": "tea"}),
        say(3, "input.respond", namespace=[], response="yes"),
        ends=(0, 1, 1),
    )


@scenario
async def sockets_that_are_wrong(c: Conversation) -> None:
    thread = await c.thread()
    await socket(
        c,
        f"/threads/{thread}/stream/events",
        b"garbage",
        b"[]",
        b'{"method":"x"}',
        b'{"id":"a","method":"x"}',
        say(7, "subscription.subscribe"),
        say(8, "subscription.subscribe", channels=["bogus"]),
        say(9, "subscription.reconnect", channels=["values"]),
        say(10, "state.get", namespace=[]),
        say(11, "agent.getTree"),
        say(12, "run.start"),
        say(13, "subscription.subscribe", channels=["values"], since=5),
        say(14, "subscription.unsubscribe", subscription_id="nothing"),
    )


@scenario
async def sockets_that_are_closed(c: Conversation) -> None:
    thread = await c.thread()
    for path, data in (("/threads/nope/stream/events", None), (f"/threads/{thread}/stream/events", b"bytes")):
        async with c.http.ws_connect(c.url.replace("http", "ws", 1) + path) as connection:
            if data is not None:
                await connection.send_bytes(data)
            frame = await asyncio.wait_for(connection.receive(), 10)
            code = frame.data if frame.type is aiohttp.WSMsgType.CLOSE else connection.close_code
        c.steps.append({"ask": f"WS {path}", "status": 101, "answer": {"code": code}})
