"""The delivery log of webhooks over HTTP."""

from __future__ import annotations

NOBODY = "00000000-0000-0000-0000-000000007777"
BODY = {"webhook": "http://127.0.0.1:9/hook"}


async def test_a_runs_webhook_is_shown_with_the_run_and_in_the_log_when_it_is_owed(server):
    thread_id = await server.thread()
    run_id = await server.run(thread_id, **BODY)
    path = f"/threads/{thread_id}/runs/{run_id}"
    assert (await server.json("GET", path))["kwargs"]["webhook"] == BODY["webhook"]
    assert await server.json("GET", f"{path}/webhooks") == []
    server.worker.end(await server.worker.started(run_id))
    await server.finished(thread_id, run_id)
    (delivery,) = await server.json("GET", f"{path}/webhooks")
    assert (delivery["url"], delivery["state"], delivery["status"]) == (BODY["webhook"], "owed", "success")
    assert delivery["attempts"] == []
    assert delivery["next_attempt_at"] == delivery["created_at"]
    await server.json("DELETE", path, status=204)
    assert await server.json("GET", f"{path}/webhooks") == [delivery]
    one = f"/webhooks/{delivery['delivery_id']}"
    assert await server.json("GET", one) == delivery
    assert "being delivered" in (await server.json("POST", f"{one}/redeliver", status=409))["detail"]


async def test_what_is_not_there_is_404(server):
    thread_id = await server.thread()
    for path in (f"/threads/{thread_id}/runs/{NOBODY}/webhooks", f"/webhooks/{NOBODY}"):
        assert "not found" in (await server.json("GET", path, status=404))["detail"]
    await server.json("POST", f"/webhooks/{NOBODY}/redeliver", status=404)
    await server.json("GET", "/webhooks/x", status=422)
