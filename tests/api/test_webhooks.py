"""The delivery log of webhooks over HTTP."""

from __future__ import annotations

from gatewayd.model.caller import INTERNAL

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


async def test_user_and_query_of_a_webhook_are_hidden_in_every_answer(server):
    given = "http://agent:pa55word@127.0.0.1:9/hook?token=s3cret&s3cret"
    shown = "http://***@127.0.0.1:9/hook?token=***&***"
    thread_id = await server.thread()
    asked = {"assistant_id": "chat", "webhook": given}
    made = await server.json("POST", f"/threads/{thread_id}/runs", asked)
    path = f"/threads/{thread_id}/runs/{made['run_id']}"
    listed = await server.json("GET", f"/threads/{thread_id}/runs")
    for run in (made, await server.json("GET", path), *listed):
        assert run["kwargs"]["webhook"] == shown
    server.worker.end(await server.worker.started(made["run_id"]))
    await server.finished(thread_id, made["run_id"])
    (delivery,) = await server.json("GET", f"{path}/webhooks")
    assert delivery["url"] == shown
    assert (await server.services.storage.webhook_get(INTERNAL, delivery["delivery_id"])).url == given
    schedule = {"schedule": "0 0 1 1 *", **asked}
    cron = await server.json("POST", "/runs/crons", schedule)
    (found,) = await server.json("POST", "/runs/crons/search", {})
    assert cron["payload"]["webhook"] == found["payload"]["webhook"] == shown
    for method, to in (("PATCH", f"/runs/crons/{cron['cron_id']}"), ("POST", f"/threads/{thread_id}/runs")):
        refused = await server.json(method, to, {"assistant_id": "chat", "webhook": shown}, status=422)
        assert "stands for what an answer has hidden" in refused["detail"]


async def test_what_is_not_there_is_404(server):
    thread_id = await server.thread()
    for path in (f"/threads/{thread_id}/runs/{NOBODY}/webhooks", f"/webhooks/{NOBODY}"):
        assert "not found" in (await server.json("GET", path, status=404))["detail"]
    await server.json("POST", f"/webhooks/{NOBODY}/redeliver", status=404)
    await server.json("GET", "/webhooks/x", status=422)
