"""Every place inside every body and query, with values that nobody means: none may end in a 5xx.

The API's description does not tell what is looked into below a field that takes any object, so schemathesis
does not go there. `BODIES` does: each is a valid request, written so deep that every key a handler looks up
is in it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from gatewayd import ids
from tests.engine import inprocess, test_protocol

PROJECT = Path(__file__).parent / "project" / "langgraph.json"

NOWHERE = "019b0000-0000-7000-8000-000000000000"
CHECKPOINT = "1f0b0000-0000-6000-8000-000000000000"

DEEP: Any = []
for _ in range(150):
    DEEP = {"a": [DEEP]}

UGLY: list[Any] = [
    [1],
    {"a": [1]},
    "x",
    1.5,
    None,
    True,
    0,
    -1,
    2**63,
    2**64 - 1,
    1e308,
    "",
    "\0",
    "ä" * 2000,
    [],
    {},
    [[1]],
    [None],
    [{}],
    {"": {"": 1}},
    {"configurable": [1]},
    {"$gt": [1]},
    DEEP,
]
FEW = 4

PLACE = {"checkpoint_id": CHECKPOINT, "checkpoint_ns": "", "checkpoint_map": {"": CHECKPOINT}}
CONFIG = {
    "tags": ["a"],
    "recursion_limit": 10,
    "configurable": {
        "a": 1,
        "checkpoint_id": CHECKPOINT,
        "checkpoint_ns": "",
        "checkpoint_map": {"": CHECKPOINT},
    },
    "metadata": {"a": 1},
    "callbacks": ["a"],
}
COMMAND = {"resume": {"a": 1}, "update": {"word": "w"}, "goto": [{"node": "a", "input": {"a": 1}}]}
ASSISTANT = {"config": CONFIG, "metadata": {"a": {"b": 1}}, "name": "n", "description": "d"}
UPDATE = {"values": {"word": "w"}, "as_node": "a", "command": COMMAND}
RUN = {
    "assistant_id": "steps",
    "input": {"word": "w", "path": ["a"]},
    "command": COMMAND,
    "config": CONFIG,
    "metadata": {"a": 1},
    "checkpoint": PLACE,
    "interrupt_before": ["a"],
    "interrupt_after": ["a"],
    "stream_mode": ["values"],
    "feedback_keys": ["a"],
    "webhook": "http://127.0.0.1:9/",
    "multitask_strategy": "enqueue",
    "if_not_exists": "create",
    "after_seconds": 3600,
    "on_disconnect": "continue",
    "durability": "async",
}
STATELESS = {name: value for name, value in RUN.items() if name != "command"} | {"on_completion": "delete"}
CRON = {
    name: RUN[name]
    for name in ("assistant_id", "input", "config", "metadata", "interrupt_before", "stream_mode", "webhook")
} | {"schedule": "0 0 1 1 *", "timezone": "UTC", "end_time": "2100-01-01T00:00:00Z"}
SEARCH = {"metadata": {"a": {"b": [1, {"c": None}]}}, "limit": 5, "offset": 0, "sort_order": "asc"}

BODIES: list[tuple[str, str, Any]] = [
    (
        "POST",
        "/threads",
        {
            "metadata": {"graph_id": "steps", "assistant_id": "steps"},
            "if_exists": "do_nothing",
            "ttl": {"ttl": 5, "strategy": "delete"},
            "supersteps": [{"updates": [UPDATE]}],
        },
    ),
    (
        "POST",
        "/threads/search",
        SEARCH | {"values": {"a": {"b": [1]}}, "ids": [NOWHERE], "select": ["values"]},
    ),
    ("POST", "/threads/search", {"extract": {"a": "values.messages[0].content"}, "sort_by": "status"}),
    ("POST", "/threads/count", {"metadata": {"a": {"b": [1]}}, "values": {"a": [1]}, "status": "idle"}),
    ("POST", "/threads/prune", {"thread_ids": [NOWHERE], "strategy": "keep_latest"}),
    ("PATCH", "/threads/{thread}", {"metadata": {"a": 1}, "ttl": {"ttl": 5, "strategy": "delete"}}),
    ("POST", "/threads/{thread}/state", {"values": {"word": "w"}, "as_node": "a", "checkpoint": PLACE}),
    (
        "POST",
        "/threads/{thread}/state",
        {"values": {"word": "w"}, "as_node": "a", "checkpoint_id": CHECKPOINT},
    ),
    ("PATCH", "/threads/{thread}/state", {"metadata": {"a": {"b": 1}}}),
    (
        "POST",
        "/threads/{thread}/state/checkpoint",
        {"checkpoint": PLACE, "subgraphs": True, "select": ["values.a"]},
    ),
    (
        "POST",
        "/threads/{thread}/history",
        {
            "limit": 3,
            "before": {"configurable": {"checkpoint_id": CHECKPOINT}},
            "metadata": {"source": {"a": [1]}},
            "checkpoint": PLACE,
            "select": ["values"],
        },
    ),
    ("POST", "/threads/{thread}/history", {"before": {"checkpoint_id": CHECKPOINT}}),
    ("POST", "/threads/{thread}/runs", RUN),
    ("POST", "/threads/{thread}/runs", {"assistant_id": "steps", "context": {"a": 1}, "after_seconds": 3600}),
    ("POST", "/threads/{thread}/runs/stream", RUN),
    ("POST", "/threads/{thread}/runs/wait", RUN),
    ("POST", "/threads/{thread}/runs/crons", CRON),
    ("POST", "/runs", STATELESS),
    ("POST", "/runs/stream", STATELESS),
    ("POST", "/runs/wait", STATELESS),
    ("POST", "/runs/batch", [STATELESS]),
    ("POST", "/runs/cancel", {"thread_id": NOWHERE, "run_ids": [NOWHERE]}),
    ("POST", "/runs/cancel", {"status": "running"}),
    ("POST", "/threads/{thread}/runs/merge", {"into": "running"}),
    (
        "POST",
        "/runs/search",
        {
            "status": "error",
            "assistant_id": "steps",
            "thread_id": NOWHERE,
            "limit": 5,
            "offset": 0,
            "select": ["status"],
        },
    ),
    ("POST", "/runs/crons", CRON),
    (
        "POST",
        "/runs/crons/search",
        SEARCH | {"assistant_id": "steps", "thread_id": NOWHERE, "select": ["payload"]},
    ),
    ("POST", "/runs/crons/count", {"assistant_id": "steps", "metadata": {"a": [1]}, "enabled": True}),
    ("PATCH", "/runs/crons/{cron}", CRON | {"enabled": True}),
    ("POST", "/assistants", ASSISTANT | {"graph_id": "steps", "if_exists": "do_nothing"}),
    ("POST", "/assistants", {"graph_id": "steps", "context": {"a": {"b": 1}}}),
    ("PATCH", "/assistants/{assistant}", ASSISTANT | {"graph_id": "steps"}),
    ("POST", "/assistants/search", SEARCH | {"graph_id": "steps", "name": "n", "select": ["config"]}),
    ("POST", "/assistants/count", {"metadata": {"a": [1]}, "graph_id": "steps"}),
    ("POST", "/assistants/{assistant}/versions", {"metadata": {"a": {"b": [1]}}, "limit": 5}),
    ("POST", "/assistants/{assistant}/latest", {"version": 1}),
    (
        "PUT",
        "/store/items",
        {"namespace": ["n"], "key": "k", "value": {"a": {"b": 1}}, "index": ["a"], "ttl": 5},
    ),
    ("DELETE", "/store/items", {"namespace": ["n"], "key": "k"}),
    (
        "POST",
        "/store/items/search",
        {"namespace_prefix": ["n"], "filter": {"a": {"$gt": 1}, "b": [1]}, "query": "q"},
    ),
    ("POST", "/store/namespaces", {"prefix": ["n", "*"], "suffix": ["*"], "max_depth": 2}),
    (
        "POST",
        "/threads/{thread}/commands",
        {
            "id": 1,
            "method": "run.start",
            "params": {
                "assistant_id": "steps",
                "input": {"word": "w"},
                "config": CONFIG,
                "metadata": {"a": 1},
            },
        },
    ),
    (
        "POST",
        "/threads/{thread}/commands",
        {
            "id": 1,
            "method": "input.respond",
            "params": {
                "responses": [{"interrupt_id": "i", "namespace": ["a"], "response": {"a": 1}}],
                "config": CONFIG,
                "update": {"word": "w"},
                "goto": [{"node": "a", "input": {"a": 1}}],
            },
        },
    ),
    (
        "POST",
        "/threads/{thread}/commands",
        {
            "id": 1,
            "method": "subscription.subscribe",
            "params": {"channels": ["values"], "namespaces": [["a"]]},
        },
    ),
    (
        "POST",
        "/threads/{thread}/stream/events",
        {"channels": ["values", "custom:a"], "namespaces": [["a"]], "depth": 1, "since": 0},
    ),
]
"""Method, path and a valid body."""

QUERIES: list[tuple[str, dict[str, Any]]] = [
    (
        "/threads/{thread}/history",
        {"before": {"configurable": {"checkpoint_id": CHECKPOINT}}, "limit": 3, "select": ["values"]},
    ),
    ("/threads/{thread}/state", {"select": ["values.a"], "subgraphs": True}),
    ("/threads/{thread}", {"include": ["ttl"]}),
    ("/threads/{thread}/runs", {"limit": 3, "offset": 0, "select": ["status"], "status": "pending"}),
    ("/threads/{thread}/stream", {"stream_mode": ["run_modes"], "stream_modes": ["lifecycle"]}),
    ("/store/items", {"namespace": "n", "key": "k", "refresh_ttl": True}),
    ("/assistants/{assistant}/graph", {"xray": 1}),
    ("/assistants/{assistant}/subgraphs", {"recurse": True}),
    ("/ok", {"check_db": 1}),
    ("/info", {"a": 1}),
    ("/metrics", {"format": "json"}),
]
"""Path and the query of a GET, its values as they are or as JSON."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all values inside a body, itself included."""
    yield path
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield from places(member, (*path, key))


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a body with another value at a path."""
    if not path:
        return value
    changed = copy.deepcopy(body)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return changed


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[tuple[TestClient[Any, Any], dict[str, str]]]:
    """Yield a client, and the ids that paths are made with."""
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(
            inprocess.request(
                "steps", thread_id=thread_id, input={"word": "w", "path": []}, metadata={"a": 1}
            )
        )
        async with test_protocol.serving(daemon) as http:
            named = {"thread": thread_id}
            for name, path, body in (
                ("assistant", "/assistants", {"graph_id": "steps"}),
                ("cron", "/runs/crons", {"assistant_id": "steps", "schedule": "0 0 1 1 *"}),
            ):
                async with http.post(path, json=body) as response:
                    named[name] = (await response.json())[f"{name}_id"]
            yield http, named


async def ask(http: TestClient[Any, Any], method: str, path: str, data: bytes | None) -> str | None:
    """Return what is wrong with an answer; of one that lasts only the head is read."""
    async with http.request(method, path, data=data) as response:
        if response.status >= 500:
            return (
                f"{method} {path} {(data or b'').decode()[:400]}: {response.status} {await response.text()}"
            )
        if response.status >= 400:
            assert "detail" in (answer := await response.json()) or answer["type"] == "error"
        elif not path.endswith(("/stream", "/wait", "/events")):
            await response.read()
    return None


async def sent_to_every_body(tmp_path: Path, each: int) -> list[str]:
    wrong = []
    async with opened(tmp_path) as (http, named):
        turn = 0
        for method, path, body in BODIES:
            for inside in places(body):
                for number in range(each):
                    turn += 1
                    ugly = UGLY[number if each == len(UGLY) or number < 2 else turn % len(UGLY)]
                    data = json.dumps(replaced(body, inside, ugly)).encode()
                    if found := await ask(http, method, path.format_map(named), data):
                        wrong.append(f"{inside}: {found}")
    return wrong


async def test_no_place_in_a_body_makes_a_5xx(tmp_path: Path) -> None:
    assert not (wrong := await sent_to_every_body(tmp_path, FEW)), "\n\n".join(wrong)


@pytest.mark.storm
@pytest.mark.timeout(1200)
async def test_no_place_in_a_body_makes_a_5xx_with_any_value(tmp_path: Path) -> None:
    assert not (wrong := await sent_to_every_body(tmp_path, len(UGLY))), "\n\n".join(wrong)


async def test_no_place_in_a_query_makes_a_5xx(tmp_path: Path) -> None:
    wrong = []
    async with opened(tmp_path) as (http, named):
        for path, query in QUERIES:
            for name, value in query.items():
                inner = [replaced(value, inside, ugly) for inside in places(value) for ugly in UGLY]
                for text in {
                    *(json.dumps(each) for each in inner),
                    "{",
                    "[",
                    "[1",
                    "x" * 5000,
                    "\0",
                    "９",
                    "1_0",
                }:
                    async with http.get(
                        path.format_map(named), params={**_texts(query), name: text}
                    ) as response:
                        if response.status >= 500:
                            wrong.append(
                                f"{path} {name}={text[:200]}: {response.status} {await response.text()}"
                            )
    assert not wrong, "\n\n".join(wrong)


def _texts(query: dict[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}


async def test_every_operation_with_a_body_is_asked(tmp_path: Path) -> None:
    async with opened(tmp_path) as (http, named), http.get("/openapi.json") as response:
        document = await response.json()
    names = {f"{{{name}_id}}": f"{{{name}}}" for name in named}
    described = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                described.add((method.upper(), _renamed(path, names)))
    assert described == {(method, path) for method, path, _ in BODIES}


def _renamed(path: str, names: dict[str, str]) -> str:
    for name, short in names.items():
        path = path.replace(name, short)
    return path
