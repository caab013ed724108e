"""The ``Idempotency-Key`` header over HTTP: a repeat is answered like the first and makes nothing."""

from __future__ import annotations

import asyncio
import json

import pytest

from gatewayd.model.caller import INTERNAL

KEY = {"Idempotency-Key": "key 1"}
BODY = {"assistant_id": "chat", "input": {"a": 1}}


async def runs_of(server, thread_id: str) -> list[str]:
    return [run["run_id"] for run in await server.json("GET", f"/threads/{thread_id}/runs")]


async def test_a_run_is_created_once_and_its_repeat_has_the_same_answer(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs"
    answers = []
    for _ in range(2):
        async with server.client.post(path, json=BODY, headers=KEY) as answer:
            answers.append((answer.status, answer.headers["Content-Location"], await answer.read()))
    assert answers[0] == answers[1]
    assert len(await runs_of(server, thread_id)) == 1


async def test_repeats_that_come_together_make_one_run(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs"
    made = await asyncio.gather(*[server.json("POST", path, BODY, headers=KEY) for _ in range(5)])
    assert len({run["run_id"] for run in made}) == 1
    assert len(await runs_of(server, thread_id)) == 1


async def test_the_repeat_of_a_stream_is_the_stream_of_the_same_run_from_its_beginning(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs/stream"
    async with server.client.post(path, json=BODY, headers=KEY) as first:
        run_id = await server.worker.started()
        await server.worker.committed(run_id, server.worker.emit(run_id, "values", 1))
        async with server.client.post(path, json=BODY, headers=KEY) as second:
            server.worker.end(run_id)
            seen = await first.read()
            assert await second.read() == seen
            assert second.headers["Location"] == first.headers["Location"]
    async with server.client.post(path, json=BODY, headers=KEY) as third:
        assert await third.read() == seen
    assert len(await runs_of(server, thread_id)) == 1


async def test_the_repeat_of_a_wait_has_the_same_result(server):
    thread_id = await server.thread()
    path = f"/threads/{thread_id}/runs/wait"
    first = asyncio.ensure_future(server.json("POST", path, BODY, headers=KEY))
    run_id = await server.worker.started()
    second = asyncio.ensure_future(server.json("POST", path, BODY, headers=KEY))
    server.worker.end(run_id, result=b'{"r":1}')
    assert await first == await second == {"r": 1}
    assert await server.json("POST", path, BODY, headers=KEY) == {"r": 1}
    await server.json("DELETE", f"/threads/{thread_id}/runs/{run_id}", status=204)
    gone = await server.json("POST", path, BODY, headers=KEY)
    assert gone == {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}


async def test_a_thread_is_created_once(server):
    first = await server.json("POST", "/threads", {"metadata": {"a": 1}}, headers=KEY)
    assert await server.json("POST", "/threads", {"metadata": {"a": 1}}, headers=KEY) == first
    other = await server.json("POST", "/threads", {"metadata": {"a": 1}})
    assert other["thread_id"] != first["thread_id"]


async def test_a_batch_is_created_once(server):
    first = await server.json("POST", "/runs/batch", [BODY, BODY], headers=KEY)
    assert await server.json("POST", "/runs/batch", [BODY, BODY], headers=KEY) == first
    assert len({run["run_id"] for run in first}) == 2


async def test_a_key_of_another_request_is_refused_by_its_name(server):
    await server.json("POST", "/runs", BODY, headers=KEY)
    for path, body in (("/runs", {**BODY, "input": 2}), ("/runs/wait", BODY)):
        answer = await server.json("POST", path, body, status=422, headers=KEY)
        assert "Idempotency-Key" in answer["detail"]


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
async def test_what_is_no_key_is_refused_by_its_name(server, key):
    answer = await server.json("POST", "/runs", BODY, status=422, headers={"Idempotency-Key": key})
    assert "Idempotency-Key" in answer["detail"]


# batches


async def test_a_batch_answers_its_runs_in_their_order(server):
    made = await server.json("POST", "/runs/batch", [{**BODY, "metadata": {"n": n}} for n in range(3)])
    assert [run["metadata"]["n"] for run in made] == [0, 1, 2]
    for run in made:
        await server.worker.started(run["run_id"])


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ([], 422, "[] has less than 1 item"),
        ({}, 422, 'is not of type "array"'),
        ([BODY, {"input": 1}], 422, '"assistant_id" is a required property'),
        ([BODY, {**BODY, "after_seconds": "x"}], 422, '[1]["after_seconds"]'),
        ([BODY, {"assistant_id": "nobody"}], 422, "Invalid assistant: 'nobody'"),
        ([BODY, {"assistant_id": "00000000-0000-0000-0000-000000000001"}], 404, "not found"),
    ],
)
async def test_of_a_batch_with_something_wrong_no_run_is_created(server, body, status, told):
    answer = await server.json("POST", "/runs/batch", body, status=status)
    assert told in answer["detail"], json.dumps(answer)
    assert await server.services.storage.runs_active(INTERNAL, None) == []


# the queue


async def place(server, thread_id: str, run_id: str):
    return await server.json("GET", f"/threads/{thread_id}/runs/{run_id}/queue")


async def test_a_waiting_run_tells_its_position_and_why_it_waits(server):
    thread_id = await server.thread()
    first = await server.run(thread_id)
    await server.worker.started(first)
    second = await server.run(thread_id)
    late = await server.run(thread_id, after_seconds=60)
    assert (await place(server, thread_id, first))["position"] is None
    waiting = await place(server, thread_id, second)
    assert (waiting["status"], waiting["position"], waiting["reason"]) == ("pending", 1, "thread_busy")
    assert waiting["holder"] == first
    delayed = await place(server, thread_id, late)
    assert (delayed["position"], delayed["reason"], delayed["holder"]) == (2, "delayed", None)
    assert delayed["due_at"] == (await server.json("GET", f"/threads/{thread_id}/runs/{late}"))["created_at"]
    server.worker.end(first)
    await server.finished(thread_id, first)
    ended = await place(server, thread_id, first)
    assert (ended["status"], ended["position"], ended["reason"]) == ("success", None, None)


async def test_a_run_that_waits_for_a_place_says_so(server):
    server.workers.places = 0
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    assert (await place(server, thread_id, run_id))["reason"] == "concurrency_limit"
    answer = await server.json("GET", f"/threads/{thread_id}/runs/{thread_id}/queue", status=404)
    assert answer == {"detail": "Not Found"}


async def test_a_run_tells_the_line_that_blocks_its_worker_or_the_one_it_waits_for(server):
    inside = await server.thread()
    executing = await server.run(inside)
    await server.worker.started(executing)
    assert (await place(server, inside, executing))["blocked_at"] is None
    server.worker.blocked_since, server.worker.place = 1.0, "graph.py:7 in node"
    server.workers.places = 0
    outside = await server.thread()
    waiting = await server.run(outside)
    for thread_id, run_id in ((inside, executing), (outside, waiting)):
        told = await place(server, thread_id, run_id)
        assert (told["reason"], told["blocked_at"]) == ("worker_blocked", "graph.py:7 in node")
