"""A misspelt field is refused, an unknown one is named, and what is the client's own is not looked at."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

HEADER = "X-Gatewayd-Ignored-Fields"
THREAD = str(uuid.uuid4())


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (
            "/runs",
            {"assistant_id": "chat", "streamMode": []},
            '"streamMode" is not a known field; did you mean "stream_mode"?',
        ),
        ("/runs/wait", {"assistant_id": "chat", "interupt_before": []}, 'did you mean "interrupt_before"?'),
        (
            "/runs/batch",
            [{"assistant_id": "chat"}, {"assistant_id": "chat", "inputs": {}}],
            'did you mean "input"?',
        ),
        (
            "/runs",
            {"assistant_id": "chat", "config": {"recursionLimit": 3}},
            'did you mean "recursion_limit"?',
        ),
        ("/runs", {"assistant_id": "chat", "command": {"resumes": 1}}, 'did you mean "resume"?'),
        (
            "/runs",
            {"assistant_id": "chat", "checkpoint": {"checkpointId": "x"}},
            'did you mean "checkpoint_id"?',
        ),
        ("/threads", {"if_exist": "raise"}, 'did you mean "if_exists"?'),
        ("/threads/search", {"metadatas": {}}, 'did you mean "metadata"?'),
        ("/threads/count", {"values_": {}}, 'did you mean "values"?'),
        ("/assistants", {"graphId": "chat"}, 'did you mean "graph_id"?'),
        ("/assistants/search", {"offsets": 1}, 'did you mean "offset"?'),
        (
            "/runs/crons",
            {"assistant_id": "chat", "schedule": "* * * * *", "end-time": "x"},
            'did you mean "end_time"?',
        ),
        ("/store/items/search", {"namespacePrefix": []}, 'did you mean "namespace_prefix"?'),
    ],
)
async def test_a_near_miss_of_a_field_is_refused_with_the_suggestion(
    server: Any, path: str, body: Any, sentence: str
) -> None:
    answer = await server.json("POST", path, body, status=422)
    assert sentence in answer["detail"]


async def test_a_near_miss_in_a_command_of_v2_is_refused(server: Any) -> None:
    for method, params, meant in (
        ("run.start", {"assistant_id": "chat", "interrupt_befor": []}, "interrupt_before"),
        ("input.respond", {"interrupt_id": "x", "meta_data": {}}, "metadata"),
    ):
        body = {"id": 1, "method": method, "params": params}
        answer = await server.json("POST", f"/threads/{THREAD}/commands", body)
        assert (answer["type"], answer["error"]) == ("error", "invalid_argument")
        assert f'did you mean "{meant}"?' in answer["message"]


@pytest.mark.parametrize(
    "option", ["command", "stream_mode", "stream_subgraphs", "on_disconnect", "on_completion", "priority"]
)
async def test_an_option_that_v2_can_not_honour_is_refused_by_name(server: Any, option: str) -> None:
    body = {"id": 1, "method": "run.start", "params": {"assistant_id": "chat", option: "x"}}
    answer = await server.json("POST", f"/threads/{THREAD}/commands", body)
    assert (answer["error"], answer["message"]) == ("invalid_argument", f"`{option}` is not supported yet")


async def test_an_unknown_field_is_ignored_and_named(server: Any) -> None:
    body = {"metadata": {"limt": 1}, "colour": "red", "größe": 1, "nothing": None}
    async with server.client.post("/threads", json=body) as answer:
        assert answer.status == 200
        assert answer.headers[HEADER] == "colour, gr\\xf6\\xdfe"
    async with server.client.post("/threads", json={"metadata": {}}) as answer:
        assert HEADER not in answer.headers


async def test_an_unknown_field_is_refused_if_the_operator_wants_it(serve: Any) -> None:
    server = await serve(unknown_fields="refuse")
    answer = await server.json("POST", "/threads", {"colour": "red"}, status=422)
    assert '"colour" is not a known field' in answer["detail"]
    await server.json("POST", "/threads", {"metadata": {"colour": "red"}})


async def test_what_is_the_clients_own_is_not_looked_at(server: Any) -> None:
    own = {"stream_modes": 1, "limt": 2, "assistantId": 3}
    body = {"assistant_id": "chat", "input": own, "metadata": own, "context": own}
    await server.json("POST", "/runs", body)
    body = {"assistant_id": "chat", "config": {"configurable": own, "metadata": own, "run_name": "x"}}
    async with server.client.post("/runs", json=body) as answer:
        assert answer.status == 200
        assert HEADER not in answer.headers


async def test_a_run_of_v2_has_the_options_of_one_of_v1(server: Any) -> None:
    params = {
        "assistant_id": "chat",
        "input": {},
        "interrupt_before": ["a"],
        "interrupt_after": "*",
        "context": {"user": "x"},
        "durability": "sync",
        "feedback_keys": [],
        "strict_resume": True,
        "config": {"configurable": {"thread_id": THREAD}},
    }
    body = {"id": 1, "method": "run.start", "params": params}
    answer = await server.json("POST", f"/threads/{THREAD}/commands", body)
    assert answer["type"] == "success"
    run = await server.json("GET", f"/threads/{THREAD}/runs/{answer['result']['run_id']}")
    kwargs = run["kwargs"]
    assert (kwargs["interrupt_before"], kwargs["interrupt_after"]) == (["a"], "*")
    assert kwargs["durability"] == "sync"
    assert kwargs["context"]["user"] == "x"


async def test_a_run_of_v2_may_go_out_from_a_checkpoint_and_demand_that_its_thread_exists(
    server: Any,
) -> None:
    checkpoint_id = "1f1e652f-0000-6000-8000-000000000000"
    thread_id = await server.thread()
    params = {"assistant_id": "chat", "input": {}, "checkpoint_id": checkpoint_id}
    answer = await server.json(
        "POST", f"/threads/{thread_id}/commands", {"id": 1, "method": "run.start", "params": params}
    )
    run = await server.json("GET", f"/threads/{thread_id}/runs/{answer['result']['run_id']}")
    assert run["kwargs"]["config"]["configurable"]["checkpoint_id"] == checkpoint_id
    params = {"assistant_id": "chat", "input": {}, "if_not_exists": "reject"}
    answer = await server.json(
        "POST", f"/threads/{uuid.uuid4()}/commands", {"id": 1, "method": "run.start", "params": params}
    )
    assert (answer["type"], answer["message"][:3]) == ("error", "404")
