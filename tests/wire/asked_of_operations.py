"""Scenarios: updates of states, copies of threads, prunes."""

from __future__ import annotations

from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario


@scenario
async def state_updates(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", COUNT, record=False)
    path = f"/threads/{thread}/state"
    first = (await c.get(path, record=False))["parent_checkpoint"]
    for body in (
        {"values": {"seen": ["by hand"]}},
        {"values": {"seen": ["as a node"], "unknown": 1}, "as_node": "tick"},
        {"values": {"left": 1}, "as_node": "tick"},
        {},
        {"values": None, "checkpoint_id": None},
        {"values": {"left": 5}, "as_node": "__start__"},
        {"as_node": "__copy__"},
        {"values": {"seen": ["branch"]}, "as_node": "tick", "checkpoint": first},
        {"values": {"seen": ["branch"]}, "as_node": "tick", "checkpoint_id": first["checkpoint_id"]},
        {"as_node": "__end__"},
    ):
        await c.post(path, body)
        await c.get(path)
        await c.get(f"/threads/{thread}")
    await c.post(f"/threads/{thread}/history", {"limit": 20})


@scenario
async def state_updates_before_the_first_run(c: Conversation) -> None:
    thread = await c.thread(metadata={"graph_id": "countdown"})
    await c.post(f"/threads/{thread}/state", {"values": {"left": 1, "seen": []}})
    await c.get(f"/threads/{thread}")
    await c.post(f"/threads/{thread}/runs/wait", {"assistant_id": "countdown"})


@scenario
async def state_updates_at_a_question(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(
        f"/threads/{thread}/runs/wait", {"assistant_id": "ask", "input": {"topic": "t"}}, record=False
    )
    await c.post(f"/threads/{thread}/state", {"values": {"topic": "u"}, "as_node": "__start__"})
    await c.get(f"/threads/{thread}")
    await c.post(f"/threads/{thread}/runs/wait", {"assistant_id": "ask", "command": {"resume": "yes"}})
    await c.get(f"/threads/{thread}")


@scenario
async def state_updates_of_a_subgraph(c: Conversation) -> None:
    thread = await c.thread()
    body = {"assistant_id": "nested_ask", "input": {"topic": "outer"}}
    await c.post(f"/threads/{thread}/runs/wait", body, record=False)
    plain = await c.get(f"/threads/{thread}/state", record=False)
    inside = plain["tasks"][0]["checkpoint"]
    await c.post(f"/threads/{thread}/state", {"values": {"topic": "inner"}, "checkpoint": inside})
    await c.get(f"/threads/{thread}/state?subgraphs=true")
    await c.get(f"/threads/{thread}")
    command: dict[str, Any] = {"assistant_id": "nested_ask", "command": {"resume": "yes"}}
    await c.post(f"/threads/{thread}/runs/wait", command)


@scenario
async def state_updates_that_are_refused(c: Conversation) -> None:
    await c.post(f"/threads/{UNKNOWN}/state", {})
    await c.post("/threads/zz/state", {})
    thread = await c.thread()
    path = f"/threads/{thread}/state"
    await c.post(path, {"values": {"left": 1}})
    await c.post(f"/threads/{thread}/runs/wait", COUNT, record=False)
    for body in (
        {"values": 5},
        {"values": "text"},
        {"as_node": 5},
        {"checkpoint": 5},
        {"values": {"left": 1}, "as_node": "nobody"},
        {"values": {"left": 1}, "as_node": "__end__"},
        {"values": ["no", "update"]},
        {"values": {"left": 1}, "checkpoint": {"checkpoint_ns": "nowhere:1"}},
        {"values": {"left": 1}, "checkpoint_id": "zz"},
    ):
        await c.post(path, body)
    gone = await c.thread(metadata={"graph_id": "gone"})
    await c.post(f"/threads/{gone}/state", {})


@scenario
async def state_updates_of_a_busy_thread(c: Conversation) -> None:
    thread = await c.thread()
    run = await c.run(thread, assistant_id="slow", input={"left": 2, "pause": 2, "seen": []})
    await c.until(f"/threads/{thread}/runs/{run}", lambda found: found["status"] == "running")
    await c.post(f"/threads/{thread}/state", {})


@scenario
async def copies(c: Conversation) -> None:
    thread = await c.thread(metadata={"note": 1})
    await c.post(
        f"/threads/{thread}/runs/wait", {"assistant_id": "ask", "input": {"topic": "t"}}, record=False
    )
    copied = c.name("thread", (await c.post(f"/threads/{thread}/copy"))["thread_id"])
    await c.get(f"/threads/{copied}")
    await c.get(f"/threads/{copied}/state")
    await c.get(f"/threads/{copied}/runs")
    await c.post(f"/threads/{copied}/runs/wait", {"assistant_id": "ask", "command": {"resume": "yes"}})
    await c.get(f"/threads/{thread}/state")
    for unknown in (UNKNOWN, "zz"):
        await c.post(f"/threads/{unknown}/copy")


@scenario
async def prunes(c: Conversation) -> None:
    threads = [await c.thread() for _ in range(2)]
    await c.post(f"/threads/{threads[0]}/runs/wait", COUNT, record=False)
    await c.post("/threads/prune", {"thread_ids": [threads[0], UNKNOWN, threads[0]]})
    await c.get(f"/threads/{threads[0]}")
    await c.get(f"/threads/{threads[1]}")
    for body in (
        {"thread_ids": []},
        {},
        {"thread_ids": ["zz"]},
        {"thread_ids": 5},
        {"thread_ids": [threads[1]], "strategy": "some"},
        {"thread_ids": [threads[1]], "strategy": "delete"},
    ):
        await c.post("/threads/prune", body)
