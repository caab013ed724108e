"""``/assistants`` over HTTP; what their graphs are is answered by the test."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from gatewayd import assistants, ids
from gatewayd.errors import Unavailable

CHAT = ids.system_assistant_id("chat")


async def make(server: Any, **body: Any) -> dict[str, Any]:
    made: dict[str, Any] = await server.json("POST", "/assistants", {"graph_id": "chat", **body})
    return made


async def test_an_assistant_gets_an_id_and_a_name_of_its_own(server):
    made = await make(server, description="d")
    assert uuid.UUID(made["assistant_id"]).version == 4
    assert (made["name"], made["version"], made["description"]) == ("Untitled", 1, "d")
    assert made["created_at"] == made["updated_at"]
    assert await server.json("GET", f"/assistants/{made['assistant_id']}") == made


@pytest.mark.parametrize(
    ("given", "config", "context"),
    [
        ({}, {}, {}),
        ({"context": {"a": 1}}, {"configurable": {"a": 1}}, {"a": 1}),
        (
            {"config": {"configurable": {"a": 1}, "tags": ["t"]}},
            {"configurable": {"a": 1}, "tags": ["t"]},
            {"a": 1},
        ),
        (
            {"config": {"tags": ["t"]}, "context": {"a": 1}},
            {"configurable": {"a": 1}, "tags": ["t"]},
            {"a": 1},
        ),
        ({"config": {"configurable": {}}, "context": {}}, {"configurable": {}}, {}),
    ],
)
async def test_config_and_context_say_the_same(server, given, config, context):
    made = await make(server, **given)
    assert (made["config"], made["context"]) == (config, context)


async def test_config_and_context_that_both_say_something_are_refused(server):
    both = {"graph_id": "chat", "config": {"configurable": {"a": 1}}, "context": {"a": 1}}
    for method, path in (("POST", "/assistants"), ("PATCH", "/assistants/chat")):
        refusal = await server.json(method, path, both, status=400)
        assert refusal["detail"].startswith("Cannot specify both configurable and context.")


async def test_a_graphs_name_stands_for_its_assistant_in_every_path(server):
    server.workers.answers = dict.fromkeys(("graph", "schemas", "subgraphs"), b'{"here":1}')
    for ending in ("", "/graph", "/graph?xray=2", "/schemas", "/subgraphs", "/subgraphs/a|b?recurse=1"):
        by_name = await server.json("GET", f"/assistants/chat{ending}")
        assert by_name == await server.json("GET", f"/assistants/{CHAT.upper()}{ending}")
    config = {"configurable": {"assistant_id": CHAT, "graph_id": "chat"}}
    assert server.workers.calls[-1] == (
        "subgraphs",
        {"graph_id": "chat", "config": config, "namespace": "a|b", "recurse": True},
    )
    assert (await server.json("PATCH", "/assistants/chat", {"name": "n"}))["version"] == 2
    assert (await server.json("POST", "/assistants/chat/latest", {"version": 1}))["name"] == "chat"
    assert len(await server.json("POST", "/assistants/chat/versions", {})) == 2
    await server.json("DELETE", "/assistants/chat", status=204)
    for ending in ("", "/graph", "/schemas", "/subgraphs", "/subgraphs/a"):
        await server.json("GET", f"/assistants/chat{ending}", status=404)
    await server.json("POST", "/runs", {"assistant_id": "chat"}, status=404)


async def test_what_neither_an_id_nor_a_graph_is_called_is_refused_in_every_path(server):
    for method, ending, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("GET", "/graph", None),
        ("GET", "/schemas", None),
        ("GET", "/subgraphs", None),
        ("POST", "/versions", {}),
        ("POST", "/latest", {"version": 1}),
    ):
        refusal = await server.json(method, f"/assistants/zz{ending}", body, status=422)
        assert refusal == {"detail": "Invalid assistant ID: must be a UUID"}


async def test_an_assistants_settings_reach_what_describes_its_graph(server):
    server.workers.answers = {"schemas": b"{}"}
    made = await make(server, config={"tags": ["t"], "configurable": {"a": 1}})
    await server.json("GET", f"/assistants/{made['assistant_id']}/schemas")
    configurable = {"a": 1, "assistant_id": made["assistant_id"], "graph_id": "chat"}
    config = {"tags": ["t"], "configurable": configurable}
    assert server.workers.calls == [("schemas", {"graph_id": "chat", "config": config})]


async def test_a_service_worker_that_is_not_there_is_told_of(server):
    server.workers.answers = {"graph": Unavailable("no worker")}
    assert await server.json("GET", "/assistants/chat/graph", status=503) == {"detail": "no worker"}


async def test_all_threads_of_an_assistant_go_with_it_if_that_is_asked_for(server, monkeypatch):
    monkeypatch.setattr(assistants, "PAGE", 2)
    theirs = (await make(server))["assistant_id"]
    gone = [await server.thread() for _ in range(5)]
    for thread_id in gone[:-1]:
        await server.completed(thread_id, assistant_id=theirs)
    running = await server.run(gone[-1], assistant_id=theirs)
    kept = await server.thread()
    await server.completed(kept, assistant_id=theirs)
    await server.completed(kept)  # the last run on it is another assistant's
    made_by_hand = await server.thread(metadata={"assistant_id": theirs})
    await server.worker.started(running)
    await server.json("DELETE", f"/assistants/{theirs}?delete_threads=true", status=204)
    for thread_id in (*gone, made_by_hand):
        await server.json("GET", f"/threads/{thread_id}", status=404)
    assert running in server.worker.cancelled
    await server.json("GET", f"/threads/{kept}")
    await server.json("DELETE", f"/assistants/{theirs}?delete_threads=true", status=404)


async def test_threads_stay_when_their_assistant_goes_alone(server):
    theirs = (await make(server))["assistant_id"]
    thread_id = await server.thread()
    run_id = await server.completed(thread_id, assistant_id=theirs)
    await server.json("DELETE", f"/assistants/{theirs}?delete_threads=false", status=204)
    assert (await server.json("GET", f"/threads/{thread_id}"))["values"] == {"done": True}
    assert (await server.json("GET", f"/threads/{thread_id}/runs/{run_id}"))["assistant_id"] == theirs


async def test_pages_of_a_search_say_where_they_go_on(server):
    for number in range(3):
        await make(server, name=f"n{number}", metadata={"mine": True})
    body = {
        "metadata": {"mine": True},
        "limit": 2,
        "sort_by": "name",
        "sort_order": "asc",
        "select": ["name"],
    }
    async with server.client.post("/assistants/search", json=body) as answer:
        assert await answer.json() == [{"name": "n0"}, {"name": "n1"}]
        assert (answer.headers["x-pagination-total"], answer.headers["x-pagination-next"]) == ("3", "2")
    async with server.client.post("/assistants/search", json={**body, "offset": 2}) as answer:
        assert await answer.json() == [{"name": "n2"}]
        assert "x-pagination-next" not in answer.headers
    assert await server.json("POST", "/assistants/count", {"metadata": {"mine": True}}) == 3


@pytest.mark.parametrize("number", [2**63, 2**70, -(2**70), 1e300])
async def test_an_integer_that_storage_cannot_take_is_refused(server, number):
    for path, name in (("latest", "version"), ("versions", "limit"), ("versions", "offset")):
        refusal = await server.json("POST", f"/assistants/chat/{path}", {name: number}, status=422)
        assert f'On instance["{name}"]' in refusal["detail"]


async def test_names_are_found_and_sorted_in_any_case_of_any_alphabet(server):
    mine = {"metadata": {"alphabet": "greek"}}
    for name in ("ΒΗΤΑ", "άλφα", "Γάμμα"):
        await make(server, name=name, **mine)
    for word, found in (("βητα", ["ΒΗΤΑ"]), ("ΆΛΦΑ", ["άλφα"]), ("γ", ["Γάμμα"]), ("%", [])):
        query = {"name": word, "select": ["name"], **mine}
        assert await server.json("POST", "/assistants/search", query) == [{"name": each} for each in found]
        assert await server.json("POST", "/assistants/count", {"name": word, **mine}) == len(found)
    query = {"sort_by": "name", "sort_order": "asc", "select": ["name"], **mine}
    names = [each["name"] for each in await server.json("POST", "/assistants/search", query)]
    assert names == ["άλφα", "ΒΗΤΑ", "Γάμμα"]
