"""Assistants, threads, states and history."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime, timedelta

import attrs
import pytest

from gatewayd import ids
from gatewayd.api import keys
from gatewayd.storage.sqlite import search
from gatewayd.threads.records import NO_STATE

THREAD = "01a2027b-0000-7000-8000-00000000abcd"


async def test_each_graph_has_a_system_assistant_under_its_id_and_its_name(server):
    assistant_id = ids.system_assistant_id("chat")
    by_id = await server.json("GET", f"/assistants/{assistant_id}")
    assert by_id == await server.json("GET", "/assistants/chat")
    assert by_id == await server.json("GET", f"/assistants/{assistant_id.upper()}")
    expected = {
        "assistant_id": assistant_id,
        "graph_id": "chat",
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "name": "chat",
        "version": 1,
        "description": None,
    }
    assert {name: value for name, value in by_id.items() if not name.endswith("_at")} == expected


async def test_assistants_search_pages_and_tells_where_it_goes_on(server):
    async with server.client.post(
        "/assistants/search", json={"limit": 1, "sort_by": "name", "sort_order": "asc"}
    ) as answer:
        assert [row["name"] for row in await answer.json()] == ["chat"]
        assert (answer.headers["x-pagination-total"], answer.headers["x-pagination-next"]) == ("2", "1")
    async with server.client.post("/assistants/search", json={"offset": 9}) as answer:
        assert await answer.json() == []
        assert answer.headers["x-pagination-total"] == "9"
        assert "x-pagination-next" not in answer.headers


async def test_assistants_search_filters_and_selects(server):
    rows = await server.json("POST", "/assistants/search", {"name": "HA", "select": ["graph_id", "name"]})
    assert rows == [{"graph_id": "chat", "name": "chat"}]
    rows = await server.json("POST", "/assistants/search", {"graph_id": "other"})
    assert [row["graph_id"] for row in rows] == ["other"]
    assert await server.json("POST", "/assistants/search", {"metadata": {"created_by": "me"}}) == []
    unknown = await server.json("POST", "/assistants/search", {"graph_id": "zz"}, status=404)
    assert unknown == {"detail": "Graph 'zz' not found. Expected one of: ['chat', 'other']"}


async def test_a_fresh_thread_has_the_references_fields(server):
    made = await server.json("POST", "/threads", {"metadata": {"u": "bob"}})
    assert uuid.UUID(made["thread_id"]).version == 7
    assert made["created_at"] == made["updated_at"] == made["state_updated_at"]
    rest = {name: made[name] for name in made if name != "thread_id" and not name.endswith("_at")}
    assert rest == {
        "metadata": {"u": "bob"},
        "status": "idle",
        "config": {},
        "values": None,
        "error": None,
        "interrupts": {},
    }
    assert await server.json("GET", f"/threads/{made['thread_id']}?include=ttl") == made


@pytest.mark.parametrize(
    "spelling", [THREAD, THREAD.upper(), THREAD.replace("-", ""), f"{{{THREAD}}}", f"urn:uuid:{THREAD}"]
)
async def test_every_spelling_of_a_uuid_is_echoed_in_its_canonical_form(server, spelling):
    made = await server.json("POST", "/threads", {"thread_id": spelling})
    assert made["thread_id"] == THREAD
    assert (await server.json("GET", f"/threads/{spelling}"))["thread_id"] == THREAD


async def test_an_existing_thread_is_a_conflict_unless_asked_otherwise(server):
    await server.thread(thread_id=THREAD, metadata={"a": 1})
    again = await server.json("POST", "/threads", {"thread_id": THREAD}, status=409)
    assert again == {"detail": f"Thread with ID {THREAD} already exists"}
    kept = {"thread_id": THREAD, "if_exists": "do_nothing", "metadata": {"a": 2}}
    assert (await server.json("POST", "/threads", kept))["metadata"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], '[] is not of type "object"\n\nFailed validating "type" in schema\n\nOn instance:\n    []'),
        (
            {"thread_id": 5},
            (
                '5 is not of type "string"\n\nFailed validating "type" in schema["properties"]["thread_id"]\n\n'
                'On instance["thread_id"]:\n    5'
            ),
        ),
        ({"thread_id": "zz"}, "Invalid thread ID: must be a UUID"),
        (
            {"if_exists": "zz"},
            (
                '"zz" is not one of "raise" or "do_nothing"\n\nFailed validating "enum" in '
                'schema["properties"]["if_exists"]\n\nOn instance["if_exists"]:\n    "zz"'
            ),
        ),
        ({"ttl": {"ttl": -5}}, "ttl.ttl: must be a number of minutes, more than 0 and at most 5.2704e+07"),
        (
            {"supersteps": [{"updates": []}, {"updates": [{"values": {}}]}]},
            (
                '"as_node" is a required property\n\nFailed validating "required" in schema["properties"]["supersteps"]'
                '["items"]["properties"]["updates"]["items"]\n\nOn instance["supersteps"][1]["updates"][0]:\n'
                '    {"values":{}}'
            ),
        ),
    ],
)
async def test_a_wrong_field_is_named_in_the_references_words(server, body, detail):
    assert await server.json("POST", "/threads", body, status=422) == {"detail": detail}


async def test_nulls_and_unknown_fields_are_as_good_as_absent(server):
    body = {"thread_id": None, "metadata": None, "if_exists": None, "ttl": None, "supersteps": [], "zz": 5}
    assert (await server.json("POST", "/threads", body))["metadata"] == {}


async def test_patch_merges_at_the_top_and_can_answer_with_nothing(server):
    thread_id = await server.thread(metadata={"a": {"x": 1}, "b": 1})
    patched = await server.json("PATCH", f"/threads/{thread_id}", {"metadata": {"a": {"y": 2}, "c": None}})
    assert patched["metadata"] == {"a": {"y": 2}, "b": 1, "c": None}
    minimal = {"Prefer": "return=minimal"}
    body = {"metadata": {"d": 1}}
    assert await server.json("PATCH", f"/threads/{thread_id}", body, status=204, headers=minimal) is None
    assert (await server.json("GET", f"/threads/{thread_id}"))["metadata"]["d"] == 1
    assert await server.json("PATCH", f"/threads/{THREAD}", {}, status=404) == {"detail": "Not Found"}


async def test_a_deleted_thread_is_gone_with_its_runs(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    await server.json("DELETE", f"/threads/{thread_id}", status=204)
    for path in (
        f"/threads/{thread_id}",
        f"/threads/{thread_id}/runs/{run_id}",
        f"/threads/{thread_id}/runs",
    ):
        assert await server.json("GET", path, status=404) == {
            "detail": f"Thread with ID {thread_id} not found"
        }
    await server.json("GET", f"/runs/{run_id}", status=404)
    await server.json("DELETE", f"/threads/{thread_id}", status=404)


async def test_deleting_a_busy_thread_stops_its_run(server):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    await server.json("DELETE", f"/threads/{thread_id}", status=204)
    assert server.worker.cancelled == [run_id]


async def test_threads_are_found_by_metadata_values_status_and_ids(server):
    first = await server.thread(metadata={"n": {"x": 1, "y": 2}})
    second = await server.thread(metadata={"n": {"x": 2}})
    await server.completed(second, result=b'{"v":["a"]}')

    async def found(**body):
        return {row["thread_id"] for row in await server.json("POST", "/threads/search", body)}

    assert await found() == {first, second}
    assert await found(metadata={"n": {"x": 1}}) == {first}
    assert await found(values={"v": ["a"]}) == {second}
    assert await found(status="busy") == set()
    assert await found(ids=[first.upper(), THREAD]) == {first}
    assert await found(ids=[]) == {first, second}


async def test_threads_and_their_number_leave_out_what_is_excluded_and_find_items_of_lists(server):
    shown = await server.thread(metadata={"tags": ["a", "b"], "nest": {"y": [1, 2]}})
    hidden = await server.thread(metadata={"tags": ["b", {"k": 1, "l": 2}], "hidden": True})
    bare = await server.thread()
    await server.completed(bare, result=b'{"messages":[{"type":"human","id":"1"},{"type":"ai","id":"2"}]}')

    async def found(**body):
        rows = await server.json("POST", "/threads/search", body)
        assert await server.json("POST", "/threads/count", body) == len(rows)
        return {row["thread_id"] for row in rows}

    assert await found(exclude_metadata={"hidden": True}) == {shown, bare}
    assert await found(exclude_metadata=[{"hidden": True}, {"nest": {"y": [2]}}]) == {bare}
    assert await found(exclude_metadata=None) == {shown, hidden, bare}
    assert await found(exclude_metadata={"hidden": True, "tags": ["a"]}) == {shown, hidden, bare}
    assert await found(metadata={"tags": ["b"]}, exclude_metadata={"hidden": True}) == {shown}
    assert await found(metadata={"tags": ["b"]}) == {shown, hidden}
    assert await found(metadata={"tags": [{"l": 2}]}) == {hidden}
    assert await found(metadata={"tags": "b"}) == set()
    assert await found(values={"messages": [{"type": "ai"}]}) == {bare}
    assert await found(values={"messages": [{"type": "ai", "id": "1"}]}) == set()
    rows = await server.json(
        "POST", "/threads/search", {"ids": [shown, bare], "exclude_metadata": {"nest": {}}}
    )
    assert [row["thread_id"] for row in rows] == [bare]


@pytest.mark.parametrize("path", ["/threads/search", "/threads/count"])
@pytest.mark.parametrize("excluded", [{}, [], [{}], [{"a": 1}, {}], "x", 5, [5], [[{"a": 1}]], True])
async def test_what_is_excluded_is_an_object_or_a_list_of_them_and_none_is_empty(server, path, excluded):
    refused = await server.json("POST", path, {"exclude_metadata": excluded}, status=422)
    assert 'On instance["exclude_metadata"]' in refused["detail"]


@pytest.mark.parametrize("key", ["assistants", "runs/crons"])
async def test_assistants_and_crons_are_found_and_counted_by_items_of_lists(server, key):
    async def found(**body):
        rows = await server.json("POST", f"/{key}/search", body)
        assert await server.json("POST", f"/{key}/count", body) == len(rows)
        return len(rows)

    body = {"metadata": {"tags": ["a", {"k": 1, "l": 2}]}}
    if key == "assistants":
        await server.json("POST", "/assistants", {"graph_id": "chat", **body})
    else:
        await server.json("POST", "/runs/crons", {"assistant_id": "chat", "schedule": "0 0 1 1 *", **body})
    assert await found(metadata={"tags": [{"k": 1}, "a"]}) == 1
    assert await found(metadata={"tags": ["a", "b"]}) == 0


async def test_a_thread_search_sorts_pages_and_selects(server):
    made = [await server.thread() for _ in range(3)]
    ids_ = sorted(made)  # two of one millisecond are in no order
    async with server.client.post(
        "/threads/search",
        json={"limit": 2, "offset": 1, "sort_by": "thread_id", "sort_order": "asc", "select": ["thread_id"]},
    ) as answer:
        assert await answer.json() == [{"thread_id": ids_[1]}, {"thread_id": ids_[2]}]
        assert answer.headers["x-pagination-total"] == "3"
        assert "x-pagination-next" not in answer.headers
    newest = await server.json("POST", "/threads/search", {"sort_order": "asc"})
    assert [row["thread_id"] for row in newest] == made[::-1]


async def test_a_search_that_looks_at_too_many_threads_says_so_and_a_count_is_refused(server, monkeypatch):
    for n in range(5):
        await server.json("POST", "/threads", {"metadata": {"deep": {"n": n}, "top": n}})
    body = {"metadata": {"deep": {"n": 0}}, "sort_by": "created_at", "sort_order": "desc"}
    async with server.client.post("/threads/search", json=body) as answer:
        assert len(await answer.json()) == 1
        assert "x-search-incomplete" not in answer.headers
    assert await server.json("POST", "/threads/count", {"metadata": body["metadata"]}) == 1
    services = server.services
    monkeypatch.setitem(
        server.client.server.app._state,  # an application that has started takes no new values
        keys.SERVICES,
        attrs.evolve(services, settings=attrs.evolve(services.settings, search_scan=2)),
    )
    monkeypatch.setattr(search, "CHUNK", 2)
    async with server.client.post("/threads/search", json=body) as answer:
        assert await answer.json() == []
        assert answer.headers["x-search-incomplete"] == "scanned=2"
    refused = await server.json("POST", "/threads/count", {"metadata": body["metadata"]}, status=422)
    assert "more than 2 threads would have to be looked at" in refused["detail"]
    assert await server.json("POST", "/threads/count", {"metadata": {"top": 0}}) == 1
    assert await server.json("POST", "/threads/count", {}) == 5


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"limit": 0}, 422, "0 is less than the minimum of 1"),
        ({"limit": 1001}, 422, "1001 is greater than the maximum of 1000"),
        ({"limit": "3"}, 422, '"3" is not of type "integer"'),
        ({"limit": True}, 422, 'true is not of type "integer"'),
        ({"offset": -1}, 422, "-1 is less than the minimum of 0"),
        ({"offset": 2**63}, 422, "is greater than the maximum of"),
        (
            {"sort_by": "x"},
            422,
            '"x" is not one of "thread_id", "status", "created_at", "updated_at" or "state_updated_at"',
        ),
        ({"select": ["thread_id", "x"]}, 422, 'On instance["select"][1]'),
        ({"ids": ["zz"]}, 400, "Invalid thread ID zz"),
        ({"extract": {"a": "status"}}, 422, "must start with one of: config, interrupts, metadata, values"),
        ({"extract": {"a b": "values"}}, 422, "Extract key 'a b' must be a valid identifier"),
        ({"extract": {"a": ""}}, 422, "Extract path for 'a' must be a non-empty string"),
        ({"extract": {"a": 1}}, 422, '1 is not of type "string"'),
        ({"extract": {f"a{n}": "values" for n in range(11)}}, 422, "has more than 10 properties"),
        ({"metadata": {"a": 2**63}}, 422, "is greater than the maximum of"),
        ({"metadata": {str(n): n for n in range(300)}}, 422, "more than 200 values"),
        ({"metadata": {"l": list(range(200))}}, 422, "more than 200 values"),
        ({"values": {"l": [{"a": 2**63}]}}, 422, "is greater than the maximum of"),
        ({"exclude_metadata": {"l": [2**63]}}, 422, "is greater than the maximum of"),
        ({"exclude_metadata": [{"a": n} for n in range(201)]}, 422, "more than 200 values"),
    ],
)
async def test_a_search_refuses_what_it_cannot_do(server, body, status, part):
    assert part in (await server.json("POST", "/threads/search", body, status=status))["detail"]


async def test_an_integral_number_is_an_integer(server):
    await server.thread()
    assert len(await server.json("POST", "/threads/search", {"limit": 1.0})) == 1


async def test_a_thread_without_a_graph_has_the_empty_state_and_no_history(server):
    thread_id = await server.thread()
    for path in ("state", "state/zz"):
        assert await server.json("GET", f"/threads/{thread_id}/{path}") == json.loads(NO_STATE)
    assert await server.json("GET", f"/threads/{thread_id}/history") == []
    assert server.workers.calls == []


async def test_a_thread_is_not_idle_while_a_run_of_it_has_not_begun(server):
    thread_id = await server.thread()
    server.workers.answers["state"] = b'{"values":{},"next":[]}'
    first, second = await server.run(thread_id), await server.run(thread_id)

    async def coming(path: str = "state") -> list[str]:
        state = await server.json("GET", f"/threads/{thread_id}/{path}")
        return list(state["next"])

    assert await coming() == ["__start__"]
    assert await coming("state/1f1e") == []
    assert (await server.json("GET", f"/threads/{thread_id}/state?select=values"))["values"] == {}
    for run_id in (first, second):
        assert await coming() == ["__start__"]
        await server.worker.started(run_id)
        server.worker.end(run_id, result=b"{}", values=b"{}", next=[], interrupts={})
        await server.finished(thread_id, run_id)
    assert await coming() == []
    await server.run(thread_id)
    server.workers.answers["state"] = b'{"values":{},"next":["ask"]}'
    assert await coming() == ["ask"]


async def test_a_graph_that_is_gone_is_not_found_by_name(server):
    thread_id = await server.thread(metadata={"graph_id": "gone"})
    answer = await server.json("GET", f"/threads/{thread_id}/state", status=404)
    assert answer == {"detail": "Graph 'gone' not found. Expected one of: ['chat', 'other']"}


async def test_states_pass_through_from_the_worker_with_the_questions_details(server):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    server.workers.answers["state"] = b'{"values":{"a":1}}'
    where = {"thread_id": thread_id, "graph_id": "chat", "settings": {}}
    latest = {**where, "checkpoint_id": None, "checkpoint_ns": "", "subgraphs": False}
    body = {
        "checkpoint": {"thread_id": "other", "checkpoint_ns": "inner:1", "checkpoint_id": None},
        "subgraphs": True,
    }
    for method, path, sent, asked in (
        ("GET", "state", None, latest),
        ("GET", "state?subgraphs=true", None, {**latest, "subgraphs": True}),
        ("GET", "state?subgraphs=zz", None, latest),
        ("GET", "state/1f1e", None, {**latest, "checkpoint_id": "1f1e"}),
        ("POST", "state/checkpoint", body, {**latest, "checkpoint_ns": "inner:1", "subgraphs": True}),
        ("POST", "state/checkpoint", {"checkpoint": {}}, latest),
    ):
        server.workers.calls.clear()
        assert await server.json(method, f"/threads/{thread_id}/{path}", sent) == {"values": {"a": 1}}
        assert server.workers.calls == [("state", asked)]


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ({}, {}),
        ({"limit": 10}, {"limit": 10}),
        ({"before": "c1"}, {"before": "c1"}),
        ({"before": {"checkpoint_id": "c1", "checkpoint_ns": None}}, {"before": "c1"}),
        ({"before": {"configurable": {"checkpoint_id": "c1"}}}, {"before": "c1"}),
        ({"before": {}}, {}),
        ({"metadata": {"rm": 1}}, {"metadata": {"rm": 1}}),
        (
            {"checkpoint": {"checkpoint_ns": "in", "checkpoint_id": "c"}},
            {"checkpoint_ns": "in", "checkpoint_id": "c"},
        ),
    ],
)
async def test_history_accepts_all_forms_of_its_fields(server, body, changed):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    server.workers.answers["history"] = b"[]"
    asked = {
        "thread_id": thread_id,
        "graph_id": "chat",
        "settings": {},
        "limit": 1,
        "before": None,
        "metadata": None,
        "checkpoint_ns": "",
        "checkpoint_id": None,
        **changed,
    }
    assert await server.json("POST", f"/threads/{thread_id}/history", body) == []
    assert server.workers.calls == [("history", asked)]
    if set(changed) <= {"limit", "before"}:
        server.workers.calls.clear()
        query = {
            name: value if name == "limit" else json.dumps(value).strip('"') for name, value in body.items()
        }
        async with server.client.get(f"/threads/{thread_id}/history", params=query) as answer:
            assert await answer.json() == []
        assert server.workers.calls == [("history", asked)]


@pytest.mark.parametrize(
    ("before", "said", "place"),
    [
        ({"configurable": [1]}, '[1] is not of type "object"', '["before"]["configurable"]'),
        ({"configurable": "x"}, '"x" is not of type "object"', '["before"]["configurable"]'),
        ({"configurable": {"checkpoint_id": {}}}, "{} is not", '["before"]["configurable"]["checkpoint_id"]'),
        ({"checkpoint_id": 1}, "1 is not", '["before"]["checkpoint_id"]'),
        ([1], '[1] is not of type "string"', '["before"]'),
    ],
)
async def test_a_history_before_what_is_no_checkpoint_is_refused_by_the_place(server, before, said, place):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    path = f"/threads/{thread_id}/history"
    answer = await server.json("POST", path, {"before": before}, status=422)
    assert answer["detail"].startswith(said)
    assert f"On instance{place}" in answer["detail"]
    if isinstance(before, dict):
        async with server.client.get(path, params={"before": json.dumps(before)}) as answer:
            assert answer.status == 422
            assert f"On instance{place}" in (await answer.json())["detail"]


async def test_history_limits_are_the_references(server):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    path = f"/threads/{thread_id}/history"
    assert await server.json("GET", f"{path}?limit=x", status=422) == {"detail": "Invalid limit x"}
    assert await server.json("GET", f"{path}?limit=0") == []
    assert await server.json("GET", f"{path}?limit=-5") == []
    assert "minimum of 1" in (await server.json("POST", path, {"limit": 0}, status=422))["detail"]


async def test_of_two_creations_of_one_thread_at_once_one_wins(server):
    made = await asyncio.gather(
        *[server.client.post("/threads", json={"thread_id": str(uuid.UUID(int=7))}) for _ in range(4)]
    )
    assert sorted(answer.status for answer in made) == [200, 409, 409, 409]


async def test_patches_that_come_together_are_all_there(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}"
    await asyncio.gather(*[server.json("PATCH", path, {"metadata": {str(n): n}}) for n in range(8)])
    assert (await server.json("GET", path))["metadata"] == {str(n): n for n in range(8)}


async def test_a_time_to_live_is_shown_to_those_who_ask_for_it(server):
    made = await server.json("POST", "/threads", {"ttl": {"ttl": 1.5, "strategy": "keep_latest"}})
    path = f"/threads/{made['thread_id']}"
    assert "ttl" not in made
    assert await server.json("GET", path) == made
    shown = (await server.json("GET", f"{path}?include=other,ttl"))["ttl"]
    assert (shown["strategy"], shown["ttl_minutes"]) == ("keep_latest", 1.5)
    changed = await server.json("PATCH", path, {"ttl": {"ttl": 60}})
    shown = (await server.json("GET", f"{path}?include=ttl"))["ttl"]
    lasts = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(changed["updated_at"])
    assert (shown["strategy"], lasts) == ("delete", timedelta(hours=1))
    await server.json("PATCH", path, {"ttl": {}, "metadata": {"a": 1}})  # says nothing of the time
    assert (await server.json("GET", f"{path}?include=ttl"))["ttl"]["ttl_minutes"] == 60
    await server.json("PATCH", path, {"ttl": {"ttl": -1}, "metadata": {"a": 2}}, status=422)
    assert (await server.json("GET", path))["metadata"] == {"a": 1}  # all of a request is done, or nothing


async def test_the_states_of_a_thread_that_is_there_are_not_computed_again(server):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    steps = [{"updates": [{"as_node": "a"}]}]
    body = {"thread_id": thread_id, "metadata": {"graph_id": "chat"}, "supersteps": steps}
    await server.json("POST", "/threads", body, status=409)
    await server.json("POST", "/threads", {**body, "if_exists": "do_nothing"})
    assert server.workers.calls == []


async def test_metadata_are_merged_through_the_state_too(server):
    thread_id = await server.thread(metadata={"a": 1})
    await server.json("PATCH", f"/threads/{thread_id}/state", {"metadata": {"b": 2}}, status=204)
    assert (await server.json("GET", f"/threads/{thread_id}"))["metadata"] == {"a": 1, "b": 2}
    await server.json("PATCH", f"/threads/{uuid.uuid4()}/state", {"metadata": {}}, status=404)
    await server.json("PATCH", f"/threads/{thread_id}/state", {"metadata": 5}, status=422)


async def test_a_state_shows_the_parts_that_are_asked_for(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}"
    nothing = await server.json("GET", f"{path}/state?select=next&select=values.a")
    assert nothing == {"next": [], "values": {}}
    await server.json("PATCH", path, {"metadata": {"graph_id": "chat"}})
    server.workers.answers |= {"state": b"{}", "history": b"[]"}
    for method, ending, body in (
        ("GET", "/state?select=next,values.a", None),
        ("GET", f'/state/{uuid.uuid4()}?select=["next","values.a"]', None),
        ("POST", "/state/checkpoint", {"checkpoint": {}, "select": ["next", "values.a"]}),
        ("GET", "/history?select=next&select=values.a", None),
        ("POST", "/history", {"select": ["next", "values.a"]}),
    ):
        await server.json(method, path + ending, body)
        assert server.workers.calls[-1][1]["select"] == ["next", "values.a"]
    for method, ending, body in (
        ("GET", "/state?select=next&select=colour", None),
        ("GET", "/history?select=next,values.", None),
        ("POST", "/history", {"select": ["next", "colour"]}),
    ):
        refusal = await server.json(method, path + ending, body, status=422)
        assert refusal["detail"].endswith(('On instance["select"][1]:\n    "colour"', '"values."'))
