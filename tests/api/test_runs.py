"""Runs: their creation and its refusals, their records, results, ends."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from gatewayd import ids, wire
from gatewayd.runs import waiters
from gatewayd.storage.sqlite.store import SqliteStore

NOBODY = "00000000-0000-0000-0000-000000007777"
BOTH = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)


async def test_a_run_has_the_references_record(server):
    thread_id = await server.thread(metadata={"tm": 1})
    body = {
        "assistant_id": "chat",
        "input": {"n": 1},
        "metadata": {"rm": 1},
        "config": {"tags": ["x"], "recursion_limit": 9.0, "configurable": {"foo": "bar"}},
    }
    path = f"/threads/{thread_id}/runs"
    async with server.client.post(path, json=body, headers={"x-request-id": "req-1"}) as answer:
        run = await answer.json()
        assert answer.headers["Content-Location"] == f"{path}/{run['run_id']}"
        assert "Location" not in answer.headers
    assert list(run) == [
        "run_id",
        "thread_id",
        "assistant_id",
        "metadata",
        "status",
        "error",  # an addition to the reference's
        "kwargs",
        "multitask_strategy",
        "cancel_reason",  # of the coming reference
        "created_at",
        "updated_at",
        "langsmith_session_name",
    ]
    assert uuid.UUID(run["run_id"]).version == 7
    assert run["metadata"]["rm"] == run["metadata"]["tm"] == 1
    kwargs = run["kwargs"]
    config = kwargs.pop("config")
    assert kwargs == {
        "input": {"n": 1},
        "command": None,
        "context": {"foo": "bar"},
        "stream_mode": ["values"],
        "interrupt_before": None,
        "interrupt_after": None,
        "webhook": None,
        "feedback_keys": None,
        "temporary": False,
        "subgraphs": False,
        "resumable": False,
        "checkpoint_during": True,
        "durability": "async",
    }
    assert (config["tags"], config["recursion_limit"]) == (["x"], 9)
    assert config["configurable"]["langgraph_request_id"] == "req-1"
    assert config["configurable"]["run_id"] == run["run_id"]


async def test_a_started_run_shows_its_attempt_and_versions(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    run = await server.json("GET", f"/threads/{thread_id}/runs/{run_id}")
    about = run["kwargs"]["config"]["metadata"]
    assert (about["run_attempt"], about["langgraph_plan"]) == (1, "self-hosted")
    assert {"langgraph_version", "langgraph_api_version", "langgraph_host", "langgraph_api_url"} <= set(about)
    assert run["status"] == "success"


async def test_a_request_without_an_id_gets_a_random_one(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    run = await server.json("GET", f"/threads/{thread_id}/runs/{run_id}")
    assert uuid.UUID(run["kwargs"]["config"]["configurable"]["langgraph_request_id"]).version == 4


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({}, 422, '"assistant_id" is a required property'),
        ({"assistant_id": 5}, 422, "5 is not valid under any of the schemas listed in the 'anyOf' keyword"),
        (
            {"assistant_id": "nope"},
            422,
            (
                "Invalid assistant: 'nope'. Must be either:\n- A valid assistant UUID, or\n"
                "- One of the registered graphs: chat, other"
            ),
        ),
        ({"assistant_id": NOBODY}, 404, f"Thread or assistant not found: there is no assistant '{NOBODY}'."),
        ({"stream_mode": "zz"}, 422, '"zz" is not valid under any of the schemas'),
        ({"stream_mode": ["values", 5]}, 422, "is not valid under any of the schemas"),
        ({"stream_mode": ["values", "lifecycle"]}, 422, '"updates" or "values", or a list of these'),
        ({"interrupt_before": "a"}, 422, 'it may be "*", or a list of the names of nodes'),
        (
            {"multitask_strategy": "zz"},
            422,
            '"zz" is not one of "reject", "rollback", "interrupt" or "enqueue"',
        ),
        ({"interrupt_before": "zz"}, 422, "is not valid under any of the schemas"),
        ({"checkpoint_id": "zz"}, 422, "Invalid checkpoint ID"),
        ({"checkpoint": {"checkpoint_id": "zz"}}, 422, "Invalid checkpoint ID"),
        ({"checkpoint": {"checkpoint_ns": 1}}, 422, 'On instance["checkpoint"]["checkpoint_ns"]'),
        ({"checkpoint": {"checkpoint_map": "x"}}, 422, 'On instance["checkpoint"]["checkpoint_map"]'),
        (
            {"config": {"configurable": {"checkpoint_id": [1]}}},
            422,
            'On instance["config"]["configurable"]["checkpoint_id"]',
        ),
        ({"command": {"update": [1]}}, 422, "is not valid under any of the schemas"),
        ({"config": {"tags": "x"}}, 422, 'schema["properties"]["config"]["properties"]["tags"]'),
        ({"config": {"recursion_limit": "9"}}, 422, 'On instance["config"]["recursion_limit"]'),
        ({"after_seconds": "x"}, 422, '"x" is not of type "number"'),
        ({"after_seconds": 1e12}, 422, "is greater than the maximum"),
        ({"durability": "x"}, 422, '"x" is not one of "sync", "async" or "exit"'),
        ({"stream_resumable": "yes"}, 422, '"yes" is not of type "boolean"'),
        ({"command": "x"}, 422, '"x" is not of type "object"'),
        ({"webhook": ""}, 422, '"" is shorter than 1 character'),
        ({"webhook": "ftp://127.0.0.1"}, 422, "Webhook host blocked: scheme 'ftp' not allowed"),
        ({"webhook": "/runs"}, 422, "`webhook`: Webhook URLs must be absolute"),
        ({"webhook": "http://169.254.169.254"}, 422, "Webhook host blocked: blocked IP range"),
        ({"priority": 1}, 422, "`priority` is not supported yet"),
        ({"context": {"a": 1}, "config": {"configurable": {"b": 1}}}, 400, BOTH),
    ],
)
@pytest.mark.parametrize("way", ["", "/stream", "/wait"])
async def test_what_is_wrong_with_a_run_is_said_before_a_response_begins(server, way, body, status, part):
    thread_id = await server.thread()
    body = {"assistant_id": "chat", **body} if body else {}
    for path in (f"/threads/{thread_id}/runs{way}", f"/runs{way}"):
        assert part in (await server.json("POST", path, body, status=status))["detail"]
    assert await server.json("GET", f"/threads/{thread_id}/runs") == []


async def test_harmless_options_and_nulls_are_accepted(server):
    thread_id = await server.thread()
    body = {
        "input": None,
        "command": None,
        "config": {"tags": None},
        "metadata": None,
        "feedback_keys": ["a"],
        "langsmith_tracer": {"project_name": "x"},
        "webhook": None,
        "strict_resume": False,
        "checkpoint": {"checkpoint_id": None},
        "on_completion": "zz",
        "stream_mode": [],
        "interrupt_before": "*",
        "interrupt_after": ["a"],
    }
    made = await server.json(
        "POST", f"/threads/{thread_id}/runs?namespace=x&checkpoint_id=y", {"assistant_id": "chat", **body}
    )
    assert made["kwargs"]["stream_mode"] == ["values"]
    assert (made["kwargs"]["interrupt_before"], made["kwargs"]["interrupt_after"]) == ("*", ["a"])


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"checkpoint_during": False}, (False, "exit")),
        ({"checkpoint_during": True}, (True, "async")),
        ({"checkpoint_during": False, "durability": "sync"}, (False, "sync")),
        ({"durability": "exit"}, (True, "exit")),
    ],
)
async def test_checkpoint_during_is_the_old_name_of_durability(server, body, shown):
    thread_id = await server.thread()
    made = await server.json("POST", f"/threads/{thread_id}/runs", {"assistant_id": "chat", **body})
    assert (made["kwargs"]["checkpoint_during"], made["kwargs"]["durability"]) == shown


async def test_the_checkpoint_to_start_from_goes_into_the_configurable(server):
    thread_id = await server.thread()
    checkpoint_id = ids.new_id()
    for body in ({"checkpoint_id": checkpoint_id.upper()}, {"checkpoint": {"checkpoint_id": checkpoint_id}}):
        made = await server.json("POST", f"/threads/{thread_id}/runs", {"assistant_id": "chat", **body})
        assert made["kwargs"]["config"]["configurable"]["checkpoint_id"] == checkpoint_id


async def test_an_unknown_or_impossible_thread_is_refused_unless_it_may_be_created(server):
    body = {"assistant_id": "chat"}
    for way in ("", "/stream", "/wait"):
        answer = await server.json("POST", f"/threads/{NOBODY}/runs{way}", body, status=404)
        assert answer == {"detail": f"Thread or assistant not found: there is no thread '{NOBODY}'."}
        answer = await server.json("POST", f"/threads/zz/runs{way}", body, status=422)
        assert answer == {"detail": "Invalid thread ID"}
    made = await server.json("POST", f"/threads/{NOBODY}/runs", {**body, "if_not_exists": "create"})
    assert made["thread_id"] == NOBODY


async def test_reject_is_a_conflict_on_a_busy_thread(server, caplog):
    thread_id = await server.thread()
    await server.run(thread_id)
    body = {"assistant_id": "chat", "multitask_strategy": "reject"}
    for way in ("", "/stream", "/wait"):
        answer = await server.json("POST", f"/threads/{thread_id}/runs{way}", body, status=409)
        assert answer["detail"].startswith("Thread is already running a task.")
    assert not caplog.records, "a refusal is no error of the server"


# results


async def test_wait_answers_with_the_result_and_names_the_run_in_its_head(server):
    thread_id = await server.thread()
    async with server.client.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "chat"}) as answer:
        run_id = await server.worker.started()
        path = f"/threads/{thread_id}/runs/{run_id}"
        assert answer.headers["Location"] == f"{path}/join"
        assert answer.headers["Content-Location"] == path
        assert answer.headers["Content-Type"] == "application/json"
        server.worker.end(run_id, result=b'{"v":1}', values=b'{"v":1}')
        assert await answer.read() == b'{"v":1}'


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ({"outcome": "success", "result": b'{"__interrupt__":[]}'}, {"__interrupt__": []}),
        (
            {"outcome": "error", "error": {"error": "ValueError", "message": "boom"}},
            {"__error__": {"error": "ValueError", "message": "boom"}},
        ),
        ({"outcome": "timeout", "result": b'{"n":1}'}, {"n": 1}),
        ({"outcome": "timeout"}, {}),
        ({"outcome": "cancelled"}, {}),
    ],
)
async def test_wait_and_join_answer_alike_whatever_the_end(server, outcome, expected):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs"
    async with server.client.post(f"{path}/wait", json={"assistant_id": "chat"}) as waiting:
        run_id = await server.worker.started()
        async with server.client.get(f"{path}/{run_id}/join") as joining:
            if outcome["outcome"] == "cancelled":
                async with server.client.post(f"{path}/{run_id}/cancel") as answer:
                    assert answer.status == 202  # its worker obeys at once
            else:
                server.worker.end(run_id, **outcome)
            assert await waiting.json() == expected
            assert await joining.json() == expected
    assert await server.json("GET", f"{path}/{run_id}/join") == expected
    assert await server.json("GET", f"/runs/{run_id}/join") == expected


async def test_join_answers_with_its_own_runs_result_after_later_runs(server):
    thread_id = await server.thread()
    first = await server.completed(thread_id, result=b'{"v":1}')
    await server.completed(thread_id, result=b'{"v":2}')
    assert await server.json("GET", f"/threads/{thread_id}/runs/{first}/join") == {"v": 1}


async def test_join_of_an_unknown_run_is_404(server):
    thread_id = await server.thread()
    answer = await server.json("GET", f"/threads/{thread_id}/runs/{NOBODY}/join", status=404)
    assert answer == {"detail": "Run not found"}


async def test_a_waiting_client_is_told_when_its_run_is_deleted(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs"
    async with server.client.post(f"{path}/wait", json={"assistant_id": "chat"}) as waiting:
        run_id = await server.worker.started()
        await server.json("DELETE", f"{path}/{run_id}", status=204)
        gone = {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}
        assert await waiting.json() == gone


async def test_a_waiting_client_gets_newlines_until_the_result_comes(serve):
    server = await serve(heartbeat_s=0.02)
    thread_id = await server.thread()
    async with server.client.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "chat"}) as answer:
        run_id = await server.worker.started()
        assert await answer.content.readexactly(3) == b"\n\n\n"
        server.worker.end(run_id, result=b"{}")
        assert json.loads(await answer.read()) == {}


# lists and records


async def test_runs_are_listed_latest_first_with_limit_offset_and_status(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs"
    first = await server.completed(thread_id)
    second = await server.run(thread_id)

    async def listed(query=""):
        return [run["run_id"] for run in await server.json("GET", f"{path}{query}")]

    assert await listed() == [second, first]
    assert await listed("?limit=1") == [second]
    assert await listed("?limit=0") == []
    assert await listed("?offset=1") == [first]
    assert await listed("?status=pending&status=success") == [first]
    assert await listed("?status=zz") == []
    bad = await server.json("GET", f"{path}?limit=x", status=400)
    assert bad == {"detail": "invalid literal for int() with base 10: 'x'"}


@pytest.mark.parametrize(
    "query", ["select=run_id&select=status", 'select=["run_id","status"]', "select=run_id,status"]
)
async def test_select_is_understood_in_all_spellings(server, query):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    rows = await server.json("GET", f"/threads/{thread_id}/runs?{query}")
    assert rows == [{"run_id": run_id, "status": "success"}]


async def test_select_of_an_unknown_column_is_refused(server):
    thread_id = await server.thread()
    answer = await server.json("GET", f"/threads/{thread_id}/runs?select=zz", status=422)
    assert answer["detail"].startswith("Invalid select columns: ['zz']. Expected: ")


async def test_a_run_is_found_on_its_own_thread_only(server):
    thread_id, other = await server.thread(), await server.thread()
    run_id = await server.completed(thread_id)
    assert await server.json("GET", f"/threads/{other}/runs/{run_id}", status=404) == {"detail": "Not Found"}
    assert (await server.json("GET", f"/runs/{run_id}"))["thread_id"] == thread_id


async def test_a_deleted_run_is_gone(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    await server.json("DELETE", f"/threads/{thread_id}/runs/{run_id}", status=204)
    await server.json("GET", f"/threads/{thread_id}/runs/{run_id}", status=404)


async def test_created_at_is_the_due_time(server):
    thread_id = await server.thread()
    body = {"assistant_id": "chat", "after_seconds": 3600}
    made = await server.json("POST", f"/threads/{thread_id}/runs", body)
    assert made["created_at"] > made["updated_at"]
    assert made["status"] == "pending"


# cancelling


@pytest.mark.parametrize("wait", ["", "?wait=0"])
async def test_cancel_answers_202_with_nothing(server, wait):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    path = f"/threads/{thread_id}/runs/{run_id}"
    async with server.client.post(f"{path}/cancel{wait}") as answer:
        assert (answer.status, await answer.read()) == (202, b"")
    await server.finished(thread_id, run_id)
    assert (await server.json("GET", path))["status"] == "interrupted"
    again = await server.json("POST", f"{path}/cancel", status=404)
    assert again["detail"].startswith("No matching runs to cancel.")
    assert (await server.json("GET", path))["cancel_reason"] == (
        "interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
    )
    assert (await server.json("GET", f"/threads/{thread_id}"))["error"] is None


async def test_a_run_whose_input_was_taken_says_so_in_its_cancel_reason(server):
    thread_id = await server.thread()
    run_id, other = await server.run(thread_id), await server.run(thread_id)
    path = f"/threads/{thread_id}/runs/{other}"
    await server.json("POST", f"{path}/cancel?reason=else", status=422)
    await server.json("POST", f"{path}/cancel?reason=taken&action=rollback", status=422)
    async with server.client.post(f"{path}/cancel?reason=taken") as answer:
        assert answer.status == 202
    (shown,) = [
        run
        for run in await server.json("GET", f"/threads/{thread_id}/runs?select=run_id&select=cancel_reason")
        if run["run_id"] == other
    ]
    assert shown["cancel_reason"].startswith("taken: interrupt requested via POST ")
    assert (await server.json("GET", f"/threads/{thread_id}/runs/{run_id}"))["cancel_reason"] is None


@pytest.mark.parametrize("wait", ["wait=1", "wait=true"])
async def test_cancel_with_wait_answers_when_the_run_has_ended(server, wait):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    server.worker.obeys = False
    path = f"/threads/{thread_id}/runs/{run_id}"
    async with server.client.post(f"{path}/cancel?{wait}&action=interrupt") as answer:
        assert (answer.headers["Location"], answer.headers["Content-Location"]) == (f"{path}/join", path)
        assert (await server.json("GET", path))["status"] == "running"
        server.worker.end(run_id, "cancelled")
        assert await answer.json() == {}
    assert (await server.json("GET", path))["status"] == "interrupted"


async def test_a_join_says_that_it_waits_only_when_it_can_miss_no_end(server, monkeypatch):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    follow, asked, gate = waiters.Waiters.follow, asyncio.Event(), asyncio.Event()
    look = SqliteStore.run_get

    def following(waiting, *ids):
        asked.set()
        return follow(waiting, *ids)

    async def slowly(storage, *ids):
        if asked.is_set():
            await gate.wait()
        return await look(storage, *ids)

    monkeypatch.setattr(waiters.Waiters, "follow", following)
    monkeypatch.setattr(SqliteStore, "run_get", slowly)
    joining = asyncio.ensure_future(server.client.get(f"/threads/{thread_id}/runs/{run_id}/join"))
    await asked.wait()
    for _ in range(3):
        await server.json("GET", "/ok")
    assert not joining.done(), "the head is out before the run was looked for"
    gate.set()
    async with await joining as answer:
        server.worker.end(run_id)
        assert answer.status == 200


@pytest.mark.parametrize("values", [{"v": 1}, None])
@pytest.mark.parametrize("how", ["cancel", "bulk", "another run"])
async def test_who_waits_for_a_run_that_is_rolled_back_before_it_begins_gets_the_values_before(
    server, values, how
):
    thread_id = await server.thread()
    if values is not None:
        await server.completed(thread_id, result=wire.dumps(values))
    executing = await server.run(thread_id)
    await server.worker.started(executing)
    run_id = await server.run(thread_id)
    path = f"/threads/{thread_id}/runs/{run_id}"
    async with server.client.get(f"{path}/join") as joined:  # the head is there: it waits
        if how == "cancel":
            await server.json("POST", f"{path}/cancel?action=rollback", status=202)
        elif how == "bulk":
            body = {"thread_id": thread_id, "run_ids": [run_id]}
            await server.json("POST", "/runs/cancel?action=rollback", body, status=204)
        else:
            await server.run(thread_id, multitask_strategy="rollback")
        assert await joined.json() == (values or {})
    await server.json("GET", path, status=404)


async def test_rollback_removes_the_run(server):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    path = f"/threads/{thread_id}/runs/{run_id}"
    assert await server.json("POST", f"{path}/cancel?wait=1&action=rollback") == {}
    await server.json("GET", path, status=404)
    answer = await server.json("POST", f"{path}/cancel", status=404)
    assert answer == {"detail": "No runs found to cancel."}


async def test_many_runs_are_cancelled_by_status_or_by_id(server):
    thread_id = await server.thread()
    running, pending = await server.run(thread_id), await server.run(thread_id)
    await server.worker.started(running)
    body = {"thread_id": thread_id, "run_ids": [NOBODY, pending]}
    await server.json("POST", "/runs/cancel", body, status=204)
    await server.finished(thread_id, pending)
    assert (await server.json("GET", f"/threads/{thread_id}/runs/{running}"))["status"] == "running"
    await server.json("POST", "/runs/cancel", {"status": "pending"}, status=404)
    await server.json("POST", "/runs/cancel", {"status": "all"}, status=204)
    await server.finished(thread_id, running)
    gone = await server.json("POST", "/runs/cancel", {"thread_id": thread_id, "run_ids": []}, status=404)
    assert gone == {"detail": "No runs found to cancel."}


@pytest.mark.parametrize(
    "body", [{}, {"thread_id": NOBODY}, {"run_ids": []}, {"status": "all", "thread_id": NOBODY}]
)
async def test_cancel_wants_a_status_or_named_runs(server, body):
    await server.json("POST", "/runs/cancel", body, status=422)


# stateless runs


@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream", "/runs/batch"])
async def test_a_stateless_run_has_nothing_to_answer(server, path):
    body = {"assistant_id": "chat", "command": {"resume": "yes"}}
    refusal = await server.json("POST", path, [body] if path == "/runs/batch" else body, status=400)
    assert refusal == {"detail": "You must provide a thread_id when resuming."}


async def test_a_stateless_run_is_named_without_its_thread(server):
    async with server.client.post("/runs", json={"assistant_id": "chat"}) as answer:
        run = await answer.json()
        assert answer.headers["Content-Location"] == f"/runs/{run['run_id']}"
    assert run["kwargs"]["temporary"] is True
    await server.worker.started(run["run_id"])
    assert (await server.json("GET", f"/threads/{run['thread_id']}"))["status"] == "busy"
    server.worker.end(run["run_id"], result=b"{}")
    await server.finished(run["thread_id"], run["run_id"])
    await server.json("GET", f"/threads/{run['thread_id']}", status=404)


async def test_a_stateless_wait_names_the_real_thread_and_is_found_again_after_a_cut(server):
    async with server.client.post("/runs/wait", json={"assistant_id": "chat"}) as answer:
        run_id = await server.worker.started()
        thread_id = server.worker.orders[run_id]["thread_id"]
        assert answer.headers["Location"] == f"/threads/{thread_id}/runs/{run_id}/join"
        server.worker.end(run_id, result=b'{"v":1}')
        assert await answer.json() == {"v": 1}
        assert await server.json("GET", answer.headers["Location"]) == {"v": 1}


async def test_on_completion_keep_leaves_the_thread(server):
    body = {"assistant_id": "chat", "on_completion": "keep"}
    run = await server.json("POST", "/runs", body)
    assert run["kwargs"]["temporary"] is False
    await server.worker.started(run["run_id"])
    server.worker.end(run["run_id"], result=b"{}")
    await server.finished(run["thread_id"], run["run_id"])
    assert (await server.json("GET", f"/threads/{run['thread_id']}"))["status"] == "idle"
    bad = {"assistant_id": "chat", "on_completion": "zz"}
    assert "on_completion" in (await server.json("POST", "/runs", bad, status=422))["detail"]


# clients that leave


@pytest.mark.parametrize(
    "path", ["/runs/wait", "/threads/{t}/runs/wait", "/runs/stream", "/threads/{t}/runs/stream"]
)
async def test_a_run_tied_to_its_client_is_cancelled_when_the_client_leaves(server, path):
    thread_id = await server.thread()
    body = {"assistant_id": "chat", "on_disconnect": "cancel"}
    answer = await server.client.post(path.format(t=thread_id), json=body)
    run_id = await server.worker.started()
    answer.close()
    async with asyncio.timeout(1):
        await server.worker.until(lambda: server.worker.cancelled)
    assert server.worker.cancelled == [run_id]
    if "{t}" in path:
        await server.finished(thread_id, run_id)
        run = await server.json("GET", f"/threads/{thread_id}/runs/{run_id}")
        assert run["cancel_reason"] == "client disconnected from the run stream (on_disconnect=cancel)"
        assert (await server.json("GET", f"/threads/{thread_id}"))["error"] is None


@pytest.mark.parametrize("path", ["/runs/wait", "/runs/stream"])
async def test_a_run_goes_on_without_its_client_by_default(server, path):
    answer = await server.client.post(path, json={"assistant_id": "chat"})
    run_id = await server.worker.started()
    answer.close()
    await server.json("GET", "/ok")
    thread_id = server.worker.orders[run_id]["thread_id"]
    server.worker.end(run_id, result=b"{}")
    assert (await server.finished(thread_id, run_id)).status == "success"


@pytest.mark.parametrize("way", ["join", "stream"])
@pytest.mark.parametrize("spelling", ["true", "1"])
async def test_a_joiner_can_tie_a_run_to_itself(server, way, spelling):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    path = f"/threads/{thread_id}/runs/{run_id}/{way}?cancel_on_disconnect={spelling}"
    answer = await server.client.get(path)
    answer.close()
    async with asyncio.timeout(1):
        await server.worker.until(lambda: server.worker.cancelled)


async def test_a_stop_cancels_nothing_and_cuts_the_connections(server):
    body = {"assistant_id": "chat", "on_disconnect": "cancel"}
    answers = [await server.client.post(path, json=body) for path in ("/runs/wait", "/runs/stream")]
    await server.worker.until(lambda: len(server.worker.orders) == 2)
    server.services.runs.dispatch.stopping = True
    server.services.shutdown.set()
    for answer in answers:
        with pytest.raises(Exception, match=r"payload is not completed|Connection"):
            await answer.read()
    await server.json("GET", "/ok")
    assert server.worker.cancelled == []
    refused = await server.json("POST", "/runs", body, status=503)
    assert refused == {"detail": "the server is stopping"}


async def test_a_client_that_leaves_while_its_run_is_created_leaves_no_run_stuck(server, monkeypatch):
    """
    The handler is cancelled between the commit and the dispatch: the run must reach its worker all the same.
    """
    storing, go = asyncio.Event(), asyncio.Event()
    create = server.services.storage.run_create

    async def slow(*args, **kwargs):
        created = await create(*args, **kwargs)
        storing.set()
        await go.wait()
        return created

    monkeypatch.setattr(
        type(server.services.storage), "run_create", lambda _, *args, **kwargs: slow(*args, **kwargs)
    )
    body = {"assistant_id": "chat", "on_disconnect": "cancel"}
    client = asyncio.ensure_future(server.client.post("/runs/wait", json=body))
    await storing.wait()
    client.cancel()
    await asyncio.wait((client,))
    await server.json("GET", "/ok")
    go.set()
    run_id = await server.worker.started()
    await server.worker.until(lambda: server.worker.cancelled)
    assert server.worker.cancelled == [run_id]


async def test_why_a_run_failed_is_on_its_record_and_found_by_its_status(serve):
    server = await serve()
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    error = {"error": "ValueError", "message": "boom"}
    server.worker.end(run_id, outcome="error", error=error, trace="Traceback (most recent call last): …")
    await server.finished(thread_id, run_id)
    other = await server.run(await server.thread())
    await server.worker.started(other)
    path = f"/threads/{thread_id}/runs/{run_id}"
    assert (await server.json("GET", path))["error"] == error
    assert (await server.json("GET", f"/threads/{thread_id}/runs?select=error")) == [{"error": error}]
    (found,) = await server.json("POST", "/runs/search", {"status": "error"})
    assert (found["run_id"], found["error"]) == (run_id, error)
    everything = await server.json("POST", "/runs/search", {"assistant_id": "chat", "select": ["run_id"]})
    assert everything == [{"run_id": other}, {"run_id": run_id}]
    assert await server.json("POST", "/runs/search", {"status": "success"}) == []
    for wrong, named in (
        ({"status": "broken"}, "status"),
        ({"select": ["secrets"]}, "select"),
        ({"limit": 0}, "limit"),
    ):
        assert named in (await server.json("POST", "/runs/search", wrong, status=422))["detail"]
    assert (
        "assistant"
        in (await server.json("POST", "/runs/search", {"assistant_id": "x"}, status=422))["detail"]
    )


async def test_the_operator_who_asks_for_all_details_sees_the_traceback_of_a_run(serve):
    server = await serve(error_detail="full")
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    error = {"error": "OSError", "message": "/secret"}
    server.worker.end(run_id, outcome="error", error=error, trace="Traceback")
    await server.finished(thread_id, run_id)
    found = await server.json("GET", f"/threads/{thread_id}/runs/{run_id}")
    assert found["error"] == {**error, "traceback": "Traceback"}
    waited = await server.json("GET", f"/threads/{thread_id}/runs/{run_id}/join")
    assert waited == {"__error__": error}


async def test_the_pending_runs_of_a_thread_are_merged_into_the_oldest(server):
    thread_id = await server.thread()
    first = await server.run(thread_id, input={"messages": [{"role": "user", "content": "first"}]})
    await server.worker.started(first)
    said = [{"messages": [{"role": "user", "content": text}]} for text in "abc"]
    oldest, *others = [await server.run(thread_id, input=each) for each in said]
    path = f"/threads/{thread_id}/runs"
    merged = await server.json("POST", f"{path}/merge", {})
    assert (merged["run_id"], merged["status"], merged["merged"]) == (oldest, "pending", others)
    assert [one["content"] for one in merged["kwargs"]["input"]["messages"]] == ["a", "b", "c"]
    for run_id in others:
        await server.finished(thread_id, run_id)
        run = await server.json("GET", f"{path}/{run_id}")
        assert (run["status"], run["cancel_reason"]) == ("interrupted", f"merged:{oldest}")
    assert [run["run_id"] for run in await server.json("GET", f"{path}?status=pending")] == [oldest]
    assert (await server.json("POST", f"{path}/merge", status=409))["detail"].startswith("Nothing to merge")
    other = await server.run(thread_id, input={"messages": []}, config={"recursion_limit": 7})
    refused = await server.json("POST", f"{path}/merge", {}, status=409)
    assert refused["detail"] == f"Run {other} can't be merged: it differs from run {oldest} in its config"


async def test_a_merge_names_what_is_wrong_with_it(server):
    missing = await server.json("POST", f"/threads/{uuid.uuid4()}/runs/merge", {}, status=404)
    assert missing["detail"].startswith("Thread with ID")
    await server.json("POST", "/threads/nothing/runs/merge", {}, status=422)
    path = f"/threads/{await server.thread()}/runs/merge"
    for body in ({"into": "another"}, {"into": 1}, {"int": "running"}, []):
        refused = await server.json("POST", path, body, status=422)
        assert refused["detail"]


async def test_a_pending_run_is_merged_into_the_one_that_runs(server, monkeypatch):
    told = []
    monkeypatch.setattr(type(server.worker), "merge_run", lambda _, *run: told.append(run), raising=False)
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs/merge"
    assert (await server.json("POST", path, {"into": "running"}, status=409))["detail"].startswith("Nothing")
    first = await server.run(thread_id, input={"messages": []})
    await server.worker.started(first)
    waiting = await server.run(thread_id, input={"messages": [{"role": "user", "content": "a"}]})
    merged = await server.json("POST", path, {"into": "running"})
    assert (merged["run_id"], merged["status"], merged["merged"]) == (waiting, "pending", [])
    assert told == [(first, 1)]
