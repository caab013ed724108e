"""Scenarios: assistants, their versions, and what they say of their graphs."""

from __future__ import annotations

from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario


async def fresh(c: Conversation, last: str, **body: Any) -> str:
    """
    Create an assistant under a fixed id, without what an earlier scenario has left of it; return its path.
    """
    assistant = f"0a0a0a0a-0000-4000-8000-0000000a55{last}"
    await c.ask("DELETE", f"/assistants/{assistant}", record=False)
    await c.post("/assistants", {"graph_id": "countdown", "assistant_id": assistant, **body}, record=False)
    return f"/assistants/{assistant}"


@scenario
async def assistants_that_are_made(c: Conversation) -> None:
    fixed = "0a0a0a0a-0000-4000-8000-0000000a5501"
    await c.ask("DELETE", f"/assistants/{fixed}", record=False)
    config = {"tags": ["t"], "recursion_limit": 7, "configurable": {"a": 1}}
    whole = {"config": config, "metadata": {"m": {"n": 1}}, "name": "N", "description": "d"}
    await c.post("/assistants", {"graph_id": "countdown", "assistant_id": fixed, **whole})
    await c.post("/assistants", {"graph_id": "countdown", "assistant_id": fixed})
    await c.post("/assistants", {"graph_id": "ask", "assistant_id": fixed, "if_exists": "do_nothing"})
    await c.get(f"/assistants/{fixed}")
    for body in (
        {"name": ""},
        {"description": None, "unknown": 1},
        {"context": {"c": 1}},
        {"config": {"configurable": {}}, "context": {"c": 1}},
        {"config": {"configurable": {"a": 1}}, "context": {}},
    ):
        made = await c.post("/assistants", {"graph_id": "countdown", **body})
        await c.ask("DELETE", f"/assistants/{made['assistant_id']}")
    for body in (
        {},
        {"graph_id": "nope"},
        {"graph_id": "Countdown"},
        {"graph_id": 5},
        {"graph_id": "countdown", "assistant_id": "zz"},
        {"graph_id": "countdown", "if_exists": "maybe"},
        {"graph_id": "countdown", "metadata": []},
        {"graph_id": "countdown", "config": 5},
        {"graph_id": "countdown", "name": 5},
        {"graph_id": "countdown", "config": {"configurable": {"a": 1}}, "context": {"c": 1}},
    ):
        await c.post("/assistants", body)


@scenario
async def assistants_that_are_changed(c: Conversation) -> None:
    path = await fresh(c, "02", config={"tags": ["t"], "configurable": {"a": 1}}, metadata={"m": {"n": 1}})
    for body in (
        {},
        {"metadata": {"x": 1, "m": {"o": 2}}},
        {"context": {"c": 1}},
        {"config": {"configurable": {"b": 2}}},
        {"config": {}},
        {"context": {}},
        {"config": {"tags": ["q"]}},
        {"name": ""},
        {"name": "renamed", "description": "told", "created_at": "never", "version": 9},
        {"graph_id": "nope"},
        {"graph_id": "ask"},
        {"name": 5},
        {"metadata": []},
        {"config": {"configurable": {"a": 1}}, "context": {"c": 1}},
    ):
        await c.ask("PATCH", path, body)
    await c.get(path)
    await c.ask("PATCH", f"/assistants/{UNKNOWN}", {})
    await c.ask("PATCH", "/assistants/zz", {})
    await c.ask("PATCH", path, raw=b"{")


@scenario
async def versions_of_an_assistant(c: Conversation) -> None:
    path = await fresh(c, "03", context={"a": 1}, name="first")
    await c.ask("PATCH", path, {"name": "second", "metadata": {"x": 1}}, record=False)
    await c.ask("PATCH", path, {"graph_id": "ask", "description": "third"}, record=False)
    for body in (
        {},
        {"limit": 1},
        {"limit": 1, "offset": 1},
        {"offset": 9},
        {"metadata": {"x": 1}},
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"metadata": 5},
    ):
        await c.post(f"{path}/versions", body)
    await c.post(f"{path}/versions", raw=b"")
    await c.post(f"{path}/latest", {"version": 1})
    await c.get(path)
    await c.ask("PATCH", path, {"name": "fourth"})
    for body in ({"version": 4}, {"version": 99}, {}, {"version": "1"}):
        await c.post(f"{path}/latest", body)
    await c.post(f"{path}/versions", {"limit": 2})
    for name in (UNKNOWN, "zz"):
        await c.post(f"/assistants/{name}/versions", {})
        await c.post(f"/assistants/{name}/latest", {"version": 1})


@scenario
async def assistants_that_are_counted(c: Conversation) -> None:
    path = await fresh(c, "04", name="Counted One", metadata={"counted": {"x": 1, "y": 2}})
    other = await fresh(c, "05", graph_id="ask", name="counted two", metadata={"counted": {"x": 2}})
    for body in (
        {"metadata": {"counted": {}}},
        {"metadata": {"counted": {"x": 1}}},
        {"name": "COUNTED"},
        {"name": "counted", "graph_id": "ask"},
        {"name": "nobody"},
        {"graph_id": "nope"},
        {"metadata": 5},
    ):
        await c.post("/assistants/count", body)
    for order in ("asc", "desc"):
        by_name = {"metadata": {"counted": {}}, "sort_by": "name", "sort_order": order, "select": ["name"]}
        await c.post("/assistants/search", by_name)
    await c.post("/assistants/search", {"metadata": {"counted": {}}, "limit": 1, "select": ["graph_id"]})
    await c.ask("DELETE", path)
    await c.ask("DELETE", other)


@scenario
async def assistants_that_are_deleted(c: Conversation) -> None:
    path = await fresh(c, "06")
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", {**COUNT, "assistant_id": path[12:]}, record=False)
    await c.ask("DELETE", f"{path}?delete_threads=maybe")
    await c.get(path)
    await c.ask("DELETE", path)
    await c.get(f"/threads/{thread}")
    await c.get(f"/threads/{thread}/state")
    await c.post(f"/threads/{thread}/runs", {**COUNT, "assistant_id": path[12:]})
    path = await fresh(c, "06")
    await c.post(f"/threads/{thread}/runs/wait", {**COUNT, "assistant_id": path[12:]}, record=False)
    await c.ask("DELETE", f"{path}?delete_threads=true")
    await c.get(f"/threads/{thread}")
    for name in (UNKNOWN, "zz"):
        await c.ask("DELETE", f"/assistants/{name}")


@scenario
async def runs_of_an_assistant(c: Conversation) -> None:
    path = await fresh(
        c,
        "07",
        config={"tags": ["theirs"], "recursion_limit": 25, "configurable": {"a": 1, "b": 1}},
        metadata={"of": "the assistant"},
    )
    thread = await c.thread()
    config = {"tags": ["mine"], "configurable": {"b": 2}}
    body = {**COUNT, "assistant_id": path[12:], "config": config, "metadata": {"of": "the run"}}
    run = await c.run(thread, record=True, **body)
    await c.until(f"/threads/{thread}/runs/{run}", lambda found: found["status"] == "success")
    await c.get(f"/threads/{thread}")
    told = {"assistant_id": path[12:], "input": COUNT["input"], "context": {"b": 3}}
    run = await c.run(thread, record=True, **told)
    await c.until(f"/threads/{thread}/runs/{run}", lambda found: found["status"] == "success")


@scenario
async def drawings_of_graphs(c: Conversation) -> None:
    for graph in ("countdown", "nested", "reckoner", "spread", "made"):
        await c.get(f"/assistants/{graph}/graph")
    for xray in ("true", "True", "1", "2", "false", "0", "-1", "1.5", "many", ""):
        await c.get(f"/assistants/deep/graph?xray={xray}")
    for name in (UNKNOWN, "zz"):
        await c.get(f"/assistants/{name}/graph")


@scenario
async def schemas_of_graphs(c: Conversation) -> None:
    for graph in ("countdown", "deep", "ask", "spread", "made", "parrot"):
        found = await c.post(
            "/assistants/search", {"graph_id": graph, "metadata": {"created_by": "system"}}, record=False
        )
        path = f"/assistants/{found[0]['assistant_id']}"
        await c.get(f"{path}/schemas")
    found = await c.post("/assistants/search", {"graph_id": "deep"}, record=False)
    path = f"/assistants/{found[0]['assistant_id']}"
    for ending in ("", "?recurse=true", "?recurse=maybe", "/middle", "/nobody", "/middle?recurse=true"):
        await c.get(f"{path}/subgraphs{ending}")
    for name in (UNKNOWN, "zz"):
        for ending in ("schemas", "subgraphs", "subgraphs/middle"):
            await c.get(f"/assistants/{name}/{ending}")
