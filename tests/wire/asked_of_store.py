"""
Scenarios: the long-term store, with and without its semantic index, and what the server counts of itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario


async def emptied(c: Conversation, root: str) -> None:
    """Delete what an earlier play of a scenario has left under its root."""
    found = await c.post("/store/items/search", {"namespace_prefix": [root], "limit": 1000}, record=False)
    for item in found["items"]:
        gone = {"namespace": item["namespace"], "key": item["key"]}
        await c.ask("DELETE", "/store/items", gone, record=False)


async def kept(c: Conversation, namespace: list[str], key: str, value: dict[str, Any], **more: Any) -> None:
    """Put an item that a scenario needs."""
    body = {"namespace": namespace, "key": key, "value": value, **more}
    await c.ask("PUT", "/store/items", body, record=False)


@scenario
async def items(c: Conversation) -> None:
    await emptied(c, "items")
    item = {"namespace": ["items", "a"], "key": "k", "value": {"n": 1, "deep": {"list": [1, None, True]}}}
    await c.ask("PUT", "/store/items", item)
    await c.get("/store/items?namespace=items.a&key=k")
    await c.ask("PUT", "/store/items", {**item, "value": {"n": 2}})
    await c.get("/store/items?namespace=items.a&key=k&refresh_ttl=false")
    await c.get("/store/items?namespace=items.a&key=k&refresh_ttl=garbage")
    await c.get("/store/items?namespace=items.a&key=other")
    await c.get("/store/items?namespace=items&key=k")
    await c.get("/store/items?namespace=items&namespace=a&key=k")
    await c.post("/store/items/search", {"namespace_prefix": ["items"]})
    await c.ask("DELETE", "/store/items", {"namespace": ["items", "a"], "key": "k"})
    await c.ask("DELETE", "/store/items", {"namespace": ["items", "a"], "key": "k"})
    await c.get("/store/items?namespace=items.a&key=k")
    for more in (
        {"key": ""},
        {"value": {}},
        {"index": None},
        {"index": False},
        {"index": ["text"]},
        {"index": []},
        {"ttl": 5},
        {"ttl": 0.5},
        {"ttl": None},
        {"unknown": 1},
        {"key": "ünï/ code?"},
        {"namespace": ["items", "a b", "ü*"]},
    ):
        await c.ask("PUT", "/store/items", {**item, **more})
    await c.get("/store/items?namespace=items.a%20b.%C3%BC*&key=k")
    await c.get("/store/items?namespace=items.a&key=%C3%BCn%C3%AF%2F%20code%3F")


@scenario
async def items_that_are_refused(c: Conversation) -> None:
    item: dict[str, Any] = {"namespace": ["refused"], "key": "k", "value": {"n": 1}}
    for change in (
        {"namespace": []},
        {"namespace": "refused"},
        {"namespace": [1]},
        {"namespace": ["refused", ""]},
        {"namespace": ["refused", "a.b"]},
        {"namespace": ["langgraph"]},
        {"namespace": ["refused", "langgraph"]},
        {"namespace": None},
        {"key": 5},
        {"key": None},
        {"value": None},
        {"value": []},
        {"value": "text"},
        {"index": True},
        {"index": "text"},
        {"index": [1]},
        {"ttl": "5"},
    ):
        await c.ask("PUT", "/store/items", {**item, **change})
    for missing in item:
        await c.ask("PUT", "/store/items", {name: item[name] for name in item if name != missing})
    await c.ask("PUT", "/store/items", [])
    await c.ask("PUT", "/store/items", raw=b"{bad")
    for query in ("", "?namespace=refused", "?namespace=refused&key=", "?key=k", "?namespace=&key=k"):
        await c.get(f"/store/items{query}")
    await c.get("/store/items?namespace=a..b&key=k")
    await c.get("/store/items?namespace=langgraph&key=k")
    for body in (
        {"namespace": ["refused"]},
        {"key": "k"},
        {"namespace": [], "key": "k"},
        {"namespace": ["a.b"], "key": "k"},
        {"namespace": ["langgraph"], "key": "k"},
        {"namespace": "refused", "key": "k"},
        {"namespace": ["refused"], "key": 5},
        {},
    ):
        await c.ask("DELETE", "/store/items", body)
    await c.ask("DELETE", "/store/items?namespace=refused&key=k", raw=b"")
    await c.ask("POST", "/store/items", item)
    await c.ask("PATCH", "/store/items", item)
    await c.get("/store/items/search")
    await c.get("/store/namespaces")
    await c.get("/store")


FACTS = (
    ("one", {"kind": "fact", "n": 1, "deep": {"x": 1, "y": 2}, "list": [1, 2], "a.b": 1, "ok": True}),
    ("two", {"kind": "fact", "n": 2.5, "deep": {"x": 2}, "list": [1], "ok": False, "none": None}),
    ("three", {"kind": "rule", "n": 10, "word": "grün"}),
)


@scenario
async def item_search(c: Conversation) -> None:
    await emptied(c, "found")
    await emptied(c, "foundation")
    for key, value in FACTS:
        await kept(c, ["found", "a"], key, value)
        await asyncio.sleep(0.01)
    await kept(c, ["found"], "root", {"kind": "root"})
    await kept(c, ["foundation"], "near", {"kind": "fact"})

    async def sorted_items(*path: str, **terms: Any) -> None:
        """Search, and write what is found down by key: what comes first is each server's own rule."""
        found = await c.post("/store/items/search", {"namespace_prefix": ["found", *path], **terms})
        found["items"].sort(key=lambda item: item["key"])

    for numbers in (
        {"n": {"$gt": 1}},
        {"n": {"$gte": 2.5}},
        {"n": {"$lt": 10}},
        {"n": {"$lte": 10, "$gt": 1}},
        {"n": {"$gt": 1, "$lt": 2}},
    ):
        await sorted_items("a", filter=numbers)
    for terms in (
        {"kind": "fact"},
        {"kind": {"$eq": "fact"}},
        {"kind": {"$ne": "fact"}},
        {"n": 1},
        {"n": 1.0},
        {"n": "1"},
        {"deep": {"x": 1}},
        {"deep": {"x": {"$gt": 1}}},
        {"deep": {}},
        {"list": [1, 2]},
        {"list": [2, 1]},
        {"a.b": 1},
        {"deep.x": 1},
        {"ok": True},
        {"ok": 1},
        {"none": None},
        {"word": "grün"},
        {"missing": {"$ne": 1}},
        {"kind": "fact", "n": 1},
        {"it's": 1},
        {},
    ):
        await sorted_items(filter=terms)
    for more in ({"filter": None}, {"limit": 100000}, {"refresh_ttl": False}, {"query": None}, {"query": ""}):
        await sorted_items(**more)
    for page in ({"limit": 2}, {"limit": 1, "offset": 1}, {"limit": 3, "offset": 3}, {"offset": 10}):
        found = await c.post("/store/items/search", {"namespace_prefix": ["found"], **page})
        found["items"] = len(found["items"])


@scenario
async def item_searches_that_are_refused(c: Conversation) -> None:
    await emptied(c, "refused_search")
    await kept(c, ["refused_search"], "k", {"n": 1, "word": "text"})
    search: dict[str, Any] = {"namespace_prefix": ["refused_search"]}
    for change in (
        {"filter": {"n": {"$in": [1]}}},
        {"filter": {"n": {"$gt": "x"}}},
        {"filter": {"word": {"$gt": 1}}},
        {"filter": {"word": {"$gt": "s"}}},
        {"filter": []},
        {"filter": "n"},
        {"limit": "x"},
        {"limit": -1},
        {"limit": None},
        {"limit": 1.5},
        {"offset": -1},
        {"offset": "x"},
        {"query": 5},
        {"refresh_ttl": "yes"},
        {"namespace_prefix": "refused_search"},
        {"namespace_prefix": [1]},
        {"namespace_prefix": [""]},
        {"namespace_prefix": ["a.b"]},
        {"namespace_prefix": ["langgraph"]},
    ):
        await c.post("/store/items/search", {**search, **change})
    await c.post("/store/items/search", [])
    await c.ask("POST", "/store/items/search", raw=b"{bad")


@scenario
async def namespaces(c: Conversation) -> None:
    await emptied(c, "spaces")
    for path in (["a"], ["a", "x"], ["a", "x", "deep"], ["b", "x"], ["ab"]):
        await kept(c, ["spaces", *path], "k", {"n": 1})
    for terms in (
        {},
        {"prefix": ["spaces", "a"]},
        {"prefix": ["spaces", "*", "x"]},
        {"suffix": ["x"]},
        {"suffix": ["*", "deep"]},
        {"prefix": ["spaces", "b"], "suffix": ["x"]},
        {"max_depth": 1},
        {"max_depth": 2},
        {"max_depth": 3},
        {"limit": 2},
        {"limit": 2, "offset": 2},
        {"offset": 50},
        {"prefix": ["spaces", "none"]},
    ):
        await c.post("/store/namespaces", {"prefix": ["spaces"], **terms})
    for change in (
        {"prefix": None},
        {"suffix": None},
        {"max_depth": None},
        {"max_depth": "1"},
        {"limit": "x"},
        {"offset": "x"},
        {"prefix": "spaces"},
        {"prefix": [1]},
        {"prefix": [""]},
        {"suffix": ["a.b"]},
    ):
        await c.post("/store/namespaces", {"prefix": ["spaces", "b"], **change})
    await c.ask("POST", "/store/namespaces", raw=b"")


@scenario
async def items_found_by_meaning(c: Conversation) -> None:
    await emptied(c, "meaning")
    for key, value, more in (
        ("near", {"text": "abba", "n": 1}, {}),
        ("far", {"text": "zzzy", "n": 2}, {}),
        ("titled", {"text": "zz", "meta": {"title": "aaab"}, "n": 3}, {}),
        ("other field", {"text": "zz", "other": "abbbb"}, {"index": ["other"]}),
        ("unseen", {"text": "abba"}, {"index": False}),
        ("wordless", {"n": 4}, {}),
    ):
        await kept(c, ["meaning", "a"], key, value, **more)

    async def scores(*path: str, **terms: Any) -> None:
        found = await c.post("/store/items/search", {"namespace_prefix": ["meaning", *path], **terms})
        found["items"] = [[item["key"], item["score"] and round(item["score"], 3)] for item in found["items"]]

    await scores(query="b", limit=4)
    await scores(query="ab", limit=1)
    await scores(query="ab", limit=1, offset=3)
    await scores(query="ab", filter={"n": 2})
    await kept(c, ["meaning", "a"], "near", {"text": "hhhh"})
    await scores(query="habb", limit=3)
    await c.ask("DELETE", "/store/items", {"namespace": ["meaning", "a"], "key": "titled"})
    await scores(query="habb", limit=3)
    item = {"namespace": ["meaning", "b"], "key": "failed", "value": {"text": "wrong value"}}
    await c.ask("PUT", "/store/items", item)
    await c.get("/store/items?namespace=meaning.b&key=failed")
    await c.post("/store/items/search", {"namespace_prefix": ["meaning"], "query": "wrong value"})


@scenario
async def metrics(c: Conversation) -> None:
    await c.get("/nowhere", record=False)
    shape = await c.get("/metrics?format=json")
    for part, numbers in shape.items():  # the numbers are each server's own
        shape[part] = sorted(numbers)
    await c.ask("HEAD", "/metrics")
    await c.ask("POST", "/metrics", {})
    await c.ask("POST", "/info", {})
    await c.ask("POST", "/openapi.json", {})
    await c.ask("HEAD", "/docs")
