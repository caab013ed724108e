"""Scenarios: the server itself, requests that are wrong, assistants, threads, states, history."""

from __future__ import annotations

from typing import Any

from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

UNKNOWN = "11111111-2222-4333-8444-555555555555"
COUNT = {"assistant_id": "countdown", "input": {"left": 2, "seen": []}}


async def emptied(c: Conversation, marker: str) -> dict[str, str]:
    """Return metadata for a scenario's own threads, after deleting those that an earlier one has left."""
    metadata = {"wire": marker}
    found = await c.post("/threads/search", {"metadata": metadata, "limit": 1000}, record=False)
    for row in found:
        await c.ask("DELETE", f"/threads/{row['thread_id']}", record=False)
    return metadata


@scenario
async def server(c: Conversation) -> None:
    for path in ("/ok", "/", "/ok?check_db=1", "/ok?check_db=0", "/ok?check_db=true", "/ok/", "/nowhere"):
        await c.get(path)
    await c.ask("HEAD", "/ok")
    await c.ask("POST", "/ok")
    await c.ask("OPTIONS", "/ok")
    await c.post("/threads/", {})
    await c.ask("PUT", "/threads", {})
    await c.ask("DELETE", "/threads/search")
    await c.get("/info")


@scenario
async def foreign_origins(c: Conversation) -> None:
    shown = (
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-allow-credentials",
        "access-control-allow-private-network",
        "access-control-expose-headers",
        "access-control-max-age",
        "vary",
    )
    origin = {"Origin": "http://localhost:3000"}
    await c.get("/ok", headers=origin, show=shown)
    await c.get("/ok", show=shown)
    asked = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, x-api-key",
        "Access-Control-Request-Private-Network": "true",
    }
    await c.ask("OPTIONS", "/threads", headers=asked, show=shown)
    await c.get("/nowhere", headers=origin, show=shown)


@scenario
async def bodies_that_are_wrong(c: Conversation) -> None:
    for raw in (
        b"",
        b"{",
        b'{"metadata": {}} more',
        b"\xff\xfe",
        b'{"metadata": {"n": NaN}}',
        b'{"metadata": {"s": "\\ud800"}}',
    ):
        await c.ask("POST", "/threads", raw=raw)
    for body in (
        None,
        [],
        "text",
        5,
        {"metadata": 5},
        {"thread_id": "zz"},
        {"thread_id": 5},
        {"if_exists": "maybe"},
    ):
        await c.post("/threads", body)
    for raw in (b"", b"nonsense", b"[]"):
        await c.ask("POST", "/threads/search", raw=raw)
    for body in ({}, {"assistant_id": None}, {"assistant_id": 5}, [], "text"):
        await c.post("/runs", body)


@scenario
async def bodies_that_are_right(c: Conversation) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        created = await c.post("/threads", {"metadata": {"a": 1}}, headers={"Content-Type": content_type})
        c.name("thread", created["thread_id"])
    for raw in (
        b'{"metadata": {"a": "x\\u0000y"}}',
        b'{"metadata": {"a": 1}, "metadata": {"b": 2}}',
        b'{"metadata": {}, "unknown": [1]}',
        '{"metadata": {"a": "ü\\ud83d\\udc0d"}}'.encode(),
    ):
        created = await c.ask("POST", "/threads", raw=raw)
        c.name("thread", created["thread_id"])
    await c.post("/assistants/search", {"limit": 2.0, "select": ["name"]})
    await c.post("/assistants/search", {"limit": "2"})
    await c.post("/assistants/search", {"limit": 2.5})
    await c.post("/assistants/search", {"limit": True})


@scenario
async def spellings_of_uuids(c: Conversation) -> None:
    fixed = "0a0a0a0a-0000-4000-8000-00000000000c"
    await c.post("/threads", {"thread_id": fixed, "if_exists": "do_nothing"}, record=False)
    plain = fixed.replace("-", "")
    for spelling in (fixed.upper(), plain, f"%7B{fixed}%7D", f"urn:uuid:{fixed}"):
        await c.get(f"/threads/{spelling}")
    for spelling in (fixed.upper(), plain, f"{{{fixed}}}", f"urn:uuid:{fixed}"):
        await c.post("/threads", {"thread_id": spelling, "if_exists": "do_nothing"})
    for bad in ("zz", "5", fixed[:-1], "%20"):
        await c.get(f"/threads/{bad}")


@scenario
async def ids_that_are_no_uuids(c: Conversation) -> None:
    thread = await c.thread()
    for method, path in (
        ("GET", "/threads/zz"),
        ("DELETE", "/threads/zz"),
        ("GET", "/threads/zz/state"),
        ("GET", "/threads/zz/history"),
        ("GET", "/threads/zz/runs"),
        ("GET", f"/threads/{thread}/runs/zz"),
        ("GET", f"/threads/{thread}/runs/zz/join"),
        ("GET", f"/threads/{thread}/runs/zz/stream"),
        ("POST", f"/threads/{thread}/runs/zz/cancel"),
        ("DELETE", f"/threads/{thread}/runs/zz"),
        ("GET", "/threads/zz/stream"),
    ):
        await c.ask(method, path)
    await c.ask("PATCH", "/threads/zz", {})
    await c.post("/threads/zz/history", {})
    for ending in ("", "/wait", "/stream"):
        await c.post(f"/threads/zz/runs{ending}", COUNT)
    await c.post(f"/threads/{thread}/runs", {**COUNT, "checkpoint_id": "zz"})
    await c.post(f"/threads/{thread}/runs", {**COUNT, "checkpoint": {"checkpoint_id": "zz"}})


@scenario
async def assistants(c: Conversation) -> None:
    found = await c.post("/assistants/search", {"graph_id": "countdown"})
    await c.get(f"/assistants/{found[0]['assistant_id']}")
    await c.get(f"/assistants/{UNKNOWN}")
    for body in (
        {"graph_id": "nope"},
        {"name": "COUNT", "select": ["name", "graph_id"]},
        {"name": "%"},
        {
            "metadata": {"created_by": "system"},
            "limit": 3,
            "sort_by": "name",
            "sort_order": "asc",
            "select": ["name"],
        },
        {"metadata": {"created_by": "nobody"}},
        {"limit": 2, "offset": 1, "sort_by": "graph_id", "sort_order": "desc", "select": ["graph_id"]},
        {"offset": 1000},
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"sort_by": "colour"},
        {"sort_order": "up"},
        {"select": ["colour"]},
    ):
        await c.post("/assistants/search", body)


@scenario
async def threads(c: Conversation) -> None:
    fixed = "0a0a0a0a-0000-4000-8000-000000000001"
    await c.ask("DELETE", f"/threads/{fixed}", record=False)
    c.name("thread", (await c.post("/threads", {}))["thread_id"])
    await c.post("/threads", {"thread_id": fixed, "metadata": {"a": {"b": 1}}, "if_exists": "do_nothing"})
    await c.post("/threads", {"thread_id": fixed})
    await c.post("/threads", {"thread_id": fixed, "metadata": {"c": 2}, "if_exists": "do_nothing"})
    await c.get(f"/threads/{fixed}")
    await c.ask("HEAD", f"/threads/{fixed}")
    await c.ask("PATCH", f"/threads/{fixed}", {"metadata": {"a": {"d": 1}, "e": None}, "status": "busy"})
    await c.ask("PATCH", f"/threads/{fixed}", {})
    await c.ask("PATCH", f"/threads/{fixed}", {"metadata": {"f": 1}}, headers={"Prefer": "return=minimal"})
    await c.ask("PATCH", f"/threads/{fixed}", {"metadata": []})
    await c.get(f"/threads/{fixed}")
    await c.ask("DELETE", f"/threads/{fixed}")
    for method, body in (("GET", ...), ("PATCH", {"metadata": {}}), ("DELETE", ...)):
        await c.ask(method, f"/threads/{fixed}", body)


@scenario
async def thread_search(c: Conversation) -> None:
    mine = await emptied(c, "search")
    made = [
        await c.thread(metadata={**mine, "nest": {"x": 1, "y": [1, 2]}, "n": 1}),
        await c.thread(metadata={**mine, "nest": {"x": 2}, "n": "1"}),
        await c.thread(metadata={**mine, "n": 1.0}),
    ]
    await c.post(f"/threads/{made[0]}/runs/wait", COUNT, record=False)
    await c.post(
        f"/threads/{made[1]}/runs/wait", {"assistant_id": "ask", "input": {"topic": "t"}}, record=False
    )
    await c.post(
        f"/threads/{made[2]}/runs/wait",
        {"assistant_id": "failing", "input": {"how": "value", "left": 0}},
        record=False,
    )
    await c.until(f"/threads/{made[2]}", lambda thread: thread["status"] == "error")
    for extra in (
        {},
        {"nest": {"x": 1}},
        {"nest": {}},
        {"nest": {"y": [1]}},
        {"nest": {"y": [1, 2]}},
        {"n": 1},
        {"n": "1"},
        {"zz": None},
    ):
        await c.post("/threads/search", {"metadata": {**mine, **extra}, "select": ["thread_id"]})
    for status in ("idle", "busy", "interrupted", "error"):
        await c.post("/threads/search", {"metadata": mine, "status": status})
    for body in (
        {"limit": 2},
        {"limit": 1, "offset": 1},
        {"limit": 2, "offset": 1},
        {"offset": 7},
        {"sort_by": "created_at", "sort_order": "asc"},
        {"sort_by": "status", "sort_order": "asc"},
        {"sort_by": "thread_id"},
        {"sort_order": "asc"},
        {"ids": [made[1], UNKNOWN]},
        {"ids": []},
        {"values": {"left": 0}},
        {"values": {"seen": ["tick 2", "tick 1"]}},
        {"values": {"seen": ["tick 2"]}},
    ):
        await c.post("/threads/search", {"metadata": mine, "select": ["thread_id", "status"], **body})
    await c.post(
        "/threads/search",
        {"metadata": mine, "ids": [made[0]], "select": ["metadata", "values", "interrupts"]},
    )
    for body in (
        {"ids": ["zz"]},
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"status": "tired"},
        {"sort_by": "x"},
        {"select": ["error"]},
        {"metadata": []},
    ):
        await c.post("/threads/search", body)


@scenario
async def state(c: Conversation) -> None:
    await c.get(f"/threads/{UNKNOWN}/state")
    thread = await c.thread()
    await c.get(f"/threads/{thread}/state")
    await c.post(f"/threads/{thread}/runs/wait", {**COUNT, "metadata": {"note": 1}})
    now = await c.get(f"/threads/{thread}/state")
    await c.get(f"/threads/{thread}/state?subgraphs=true")
    checkpoint = now["checkpoint"]["checkpoint_id"]
    await c.get(f"/threads/{thread}/state/{checkpoint}")
    await c.get(f"/threads/{thread}/state/{now['parent_checkpoint_id']}")
    await c.get(f"/threads/{thread}/state/{UNKNOWN}")
    for asked in (
        {},
        {"checkpoint_ns": ""},
        {"checkpoint_id": checkpoint},
        {"checkpoint_id": checkpoint, "thread_id": UNKNOWN},
    ):
        await c.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": asked})
    await c.post(f"/threads/{thread}/state/checkpoint", {})
    await c.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": 5})


@scenario
async def state_at_a_question(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", {"assistant_id": "nested_ask", "input": {"topic": "state"}})
    plain = await c.get(f"/threads/{thread}/state")
    await c.get(f"/threads/{thread}/state?subgraphs=true")
    inside = plain["tasks"][0]["checkpoint"]
    await c.post(f"/threads/{thread}/state/checkpoint", {"checkpoint": inside})
    await c.post(f"/threads/{thread}/history", {"limit": 10, "checkpoint": inside})
    await c.get(f"/threads/{thread}")


@scenario
async def state_after_an_error(c: Conversation) -> None:
    thread = await c.thread()
    body = {"assistant_id": "failing", "input": {"how": "own", "left": 1}}
    await c.post(f"/threads/{thread}/runs/wait", body)
    await c.until(f"/threads/{thread}", lambda found: found["status"] == "error")
    await c.get(f"/threads/{thread}/state")


@scenario
async def history(c: Conversation) -> None:
    await c.get(f"/threads/{UNKNOWN}/history")
    await c.post(f"/threads/{UNKNOWN}/history", {})
    thread = await c.thread()
    path = f"/threads/{thread}/history"
    await c.post(path, {})
    await c.post(f"/threads/{thread}/runs/wait", {**COUNT, "metadata": {"turn": 1}}, record=False)
    await c.post(f"/threads/{thread}/runs/wait", {**COUNT, "metadata": {"turn": 2}}, record=False)
    await c.post(path, {"limit": 20})
    for body in (
        {},
        {"limit": 2},
        {"limit": 20, "metadata": {"turn": 1}},
        {"limit": 20, "metadata": {"source": "input"}},
    ):
        await c.post(path, body)
    everything: list[dict[str, Any]] = await c.post(path, {"limit": 20}, record=False)
    third = everything[2]["checkpoint"]
    await c.post(path, {"limit": 1, "before": {"configurable": {"checkpoint_id": third["checkpoint_id"]}}})
    await c.post(path, {"limit": 5, "checkpoint": {"checkpoint_id": third["checkpoint_id"]}})
    await c.post(path, {"limit": 5, "checkpoint": {"checkpoint_ns": "nowhere"}})
    await c.get(path)
    await c.get(f"{path}?limit=2")
    await c.get(f"{path}?limit=2&before={third['checkpoint_id']}")
    for query in ("limit=0", "limit=-1", "limit=many"):
        await c.get(f"{path}?{query}")
    for body in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"metadata": 5}):
        await c.post(path, body)
