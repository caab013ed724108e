"""Scenarios: threads that begin with a state, what they take, and states at all their addresses."""

from __future__ import annotations

from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

GRAPH = {"graph_id": "countdown"}
BEGIN = {"updates": [{"values": {"left": 2, "seen": []}, "as_node": "__input__"}]}


async def made(c: Conversation, **body: Any) -> str:
    """Create a thread, with the exchange written down, and return its path."""
    return f"/threads/{c.name('thread', (await c.post('/threads', body))['thread_id'])}"


@scenario
async def threads_that_begin_with_a_state(c: Conversation) -> None:
    step = {"updates": [{"values": {"left": 1, "seen": ["told"]}, "command": None, "as_node": "tick"}]}
    path = await made(c, metadata=GRAPH, supersteps=[BEGIN, step])
    await c.get(path)
    await c.get(f"{path}/state")
    await c.post(f"{path}/history", {"limit": 10})
    await c.post(f"{path}/runs/wait", {"assistant_id": "countdown"})
    start = {"updates": [{"values": {"left": 2, "seen": []}, "as_node": "__start__"}]}
    path = await made(c, metadata=GRAPH, supersteps=[start])
    await c.get(f"{path}/state")
    await made(c, metadata=GRAPH, supersteps=[])
    jump = {"updates": [{"command": {"update": {"seen": ["sent"]}, "goto": "land"}, "as_node": "jump"}]}
    path = await made(c, metadata={"graph_id": "jumper"}, supersteps=[start, jump])
    await c.get(f"{path}/state")


@scenario
async def threads_that_cannot_begin_with_a_state(c: Conversation) -> None:
    fixed = "0a0a0a0a-0000-4000-8000-000000000b01"
    for steps in (
        5,
        [5],
        [{}],
        [{"updates": 5}],
        [{"updates": [{}]}],
        [{"updates": [{"values": 5, "as_node": "tick"}]}],
        [{"updates": [{"values": {}, "as_node": 5}]}],
        [{"updates": [{"command": 5, "as_node": "tick"}]}],
    ):
        await c.post("/threads", {"metadata": GRAPH, "supersteps": steps})
    for steps in ([{"updates": []}], [{"updates": [{"values": {"left": 1}, "as_node": "nobody"}]}]):
        await c.ask("DELETE", f"/threads/{fixed}", record=False)
        await c.post("/threads", {"thread_id": fixed, "metadata": GRAPH, "supersteps": steps})
    await c.get(f"/threads/{fixed}")
    for metadata in ({}, {"graph_id": "gone"}):
        await c.post("/threads", {"metadata": metadata, "supersteps": [BEGIN]})
    there = "0a0a0a0a-0000-4000-8000-000000000b02"
    await c.ask("DELETE", f"/threads/{there}", record=False)
    await c.post("/threads", {"thread_id": there, "metadata": GRAPH})
    await c.post("/threads", {"thread_id": there, "metadata": GRAPH, "supersteps": [BEGIN]})


@scenario
async def threads_with_a_time_to_live(c: Conversation) -> None:
    for ttl in ({}, {"ttl": 90}, {"ttl": 1.5, "strategy": "keep_latest"}):
        path = await made(c, ttl=ttl)
        await c.get(f"{path}?include=ttl")
        await c.get(path)
    for ttl in ({"ttl": 0}, {"ttl": -1}):
        await c.post("/threads", {"ttl": ttl})
    for ttl in ({"ttl": 30}, {}, 5, {"ttl": "x"}, {"strategy": "some"}):
        await c.ask("PATCH", path, {"ttl": ttl})
    await c.get(f"{path}?include=nothing,ttl")
    for ttl in (5, "x", {"ttl": "x"}, {"ttl": 1, "strategy": "some"}, {"strategy": 5}):
        await c.post("/threads", {"ttl": ttl})


@scenario
async def what_threads_take(c: Conversation) -> None:
    path = await made(c)
    await c.get(f"{path}/storage")
    await c.post(f"{path}/runs/wait", COUNT, record=False)
    await c.get(f"{path}/storage")
    for name in (UNKNOWN, "zz"):
        await c.get(f"/threads/{name}/storage")


@scenario
async def metadata_through_the_state(c: Conversation) -> None:
    path = await made(c, metadata={"a": 1})
    await c.ask("PATCH", f"{path}/state", {"metadata": {"b": 2}})
    await c.get(path)


@scenario
async def states_at_all_addresses(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}"
    await c.post(
        f"{path}/runs/wait", {"assistant_id": "nested_ask", "input": {"topic": "state"}}, record=False
    )
    root = await c.get(f"{path}/state?subgraphs=true", record=False)
    inside = root["tasks"][0]["state"]["checkpoint"]
    namespace = inside["checkpoint_ns"]
    for asked in (
        root["checkpoint"],
        {"checkpoint_id": root["parent_checkpoint_id"] or root["checkpoint_id"]},
        {"checkpoint_ns": namespace},
        inside,
        {"checkpoint_ns": namespace, "checkpoint_map": inside["checkpoint_map"]},
        {"checkpoint_ns": "nowhere:1"},
        {"checkpoint_id": UNKNOWN},
        {"checkpoint_ns": namespace, "checkpoint_id": UNKNOWN},
    ):
        for subgraphs in (False, True):
            await c.post(f"{path}/state/checkpoint", {"checkpoint": asked, "subgraphs": subgraphs})
    await c.get(f"{path}/state/{root['checkpoint_id']}?subgraphs=true")
    await c.get(f"{path}/state?subgraphs=1")
    await c.get(f"{path}/state/zz")
    await c.get(f"{path}/state?subgraphs=maybe")
    for body in (
        {"limit": 5, "checkpoint": {"checkpoint_ns": namespace}},
        {"limit": 5, "checkpoint": inside},
        {"limit": 5, "metadata": {"source": "loop"}},
        {"limit": 5, "metadata": {"source": "nothing"}},
        {"limit": 5, "before": {"configurable": {"checkpoint_id": root["checkpoint_id"]}}},
        {"limit": 5, "before": root["checkpoint_id"]},
        {"limit": 5, "before": {}},
        {"limit": 5, "before": 5},
    ):
        await c.post(f"{path}/history", body)
    for body in (
        {"checkpoint": {}},
        {"checkpoint": {"checkpoint_ns": 5}},
        {"checkpoint": {}, "subgraphs": "yes"},
    ):
        await c.post(f"{path}/state/checkpoint", body)
    for method, ending in (("GET", f"/{UNKNOWN}"), ("POST", "/checkpoint")):
        for name in (UNKNOWN, "zz"):
            body = {"checkpoint": {}} if method == "POST" else ...
            await c.ask(method, f"/threads/{name}/state{ending}", body)


@scenario
async def threads_of_a_graph_that_is_gone(c: Conversation) -> None:
    path = await made(c, metadata={"graph_id": "gone"})
    await c.get(path)
    await c.get(f"{path}/state")
    await c.get(f"{path}/state/{UNKNOWN}")
    await c.post(f"{path}/state/checkpoint", {"checkpoint": {}})
    await c.get(f"{path}/history")
    await c.post(f"{path}/history", {})
    await c.ask("DELETE", path)


@scenario
async def batches_of_runs(c: Conversation) -> None:
    body = {**COUNT, "on_completion": "keep"}
    for run in await c.post("/runs/batch", [body, {**body, "metadata": {"second": True}}]):
        c.name("thread", run["thread_id"])
        c.name("run", run["run_id"])
        await c.until(
            f"/threads/{run['thread_id']}/runs/{run['run_id']}", lambda found: found["status"] == "success"
        )
    for wrong in ([], {}, 5, [5], [{}], [{"assistant_id": "nope"}], [{"assistant_id": UNKNOWN}]):
        await c.post("/runs/batch", wrong)
    await c.post("/runs/batch", raw=b"[")


@scenario
async def runs_that_are_listed(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/runs"
    for turn in range(3):
        run = await c.run(thread, **COUNT, metadata={"turn": turn})
        await c.until(f"{path}/{run}", lambda found: found["status"] == "success")
    for query in (
        "select=metadata",
        "select=metadata&select=status",
        "select=metadata&limit=1",
        "select=metadata&limit=2&offset=2",
        "select=metadata&offset=9",
        "select=metadata&limit=0",
        "select=status&status=success",
        "select=status&status=error",
        "select=status&status=tired",
        "select=status&status=error&status=success",
        "limit=many",
        "offset=many",
        "select=colour",
    ):
        await c.get(f"{path}?{query}")
    for name in (UNKNOWN, "zz"):
        await c.get(f"/threads/{name}/runs")
        await c.get(f"/threads/{name}/runs/{UNKNOWN}")
        await c.ask("DELETE", f"/threads/{name}/runs/{UNKNOWN}")
        await c.post(f"/threads/{name}/runs/{UNKNOWN}/cancel")
    await c.ask("DELETE", f"{path}/{run}")
    await c.get(f"{path}/{run}")
    await c.get(f"{path}?select=metadata")
    await c.ask("DELETE", f"{path}/{run}")
