"""What the server counts, in both formats, and the switches that hide it."""

from __future__ import annotations

from typing import Any

import attrs
from prometheus_client.parser import text_string_to_metric_families

from gatewayd import histogram


async def families(server: Any) -> dict[str, Any]:
    async with server.client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
        return {family.name: family for family in text_string_to_metric_families(await answer.text())}


def value(found: dict[str, Any], family: str, sample: str | None = None, **labels: str) -> float:
    (number,) = [
        each.value
        for each in found[family].samples
        if each.name == (sample or family) and labels.items() <= each.labels.items()
    ]
    return number


async def test_json_has_the_references_numbers_and_ours(server):
    thread_id = await server.thread()
    running = await server.run(thread_id)
    await server.worker.started(running)
    waiting = await server.run(thread_id)
    found = await server.json("GET", "/metrics?format=json")
    assert (found["queue"]["n_pending"], found["queue"]["n_running"]) == (1, 1)
    assert found["queue"]["pending_runs_wait_time_max_secs"] >= 0
    assert found["queue"]["pending_runs_wait_time_med_secs"] >= 0
    assert found["queue"]["pending_unblocked_runs_wait_time_max_secs"] is None, "its thread is not free"
    assert found["workers"] == {"max": 10, "active": 1, "available": 9}
    counted = {"method": "POST", "path": "/threads/{thread_id}/runs", "status": 200, "count": 2}
    assert counted in found["api"]["http_requests_total"]
    assert found["gatewayd"]["writer_batches"] > 0
    assert found["gatewayd"]["database_bytes"] > 0
    for run_id in (running, waiting):
        await server.worker.started(run_id)
        server.worker.end(run_id, result=b"{}", values=b"{}", next=[], interrupts={})
        await server.finished(thread_id, run_id)
    found = await server.json("GET", "/metrics?format=json")
    assert found["queue"] == {
        "n_pending": 0,
        "n_running": 0,
        "pending_runs_wait_time_max_secs": None,
        "pending_runs_wait_time_med_secs": None,
        "pending_unblocked_runs_wait_time_max_secs": None,
    }


async def test_prometheus_can_read_the_text_whose_numbers_are_those_of_the_parts(server):
    before = await families(server)
    await server.json("GET", "/nowhere/at/all", status=404)
    await server.json("GET", "/elsewhere", status=404)
    thread_id = await server.thread()
    await server.completed(thread_id)
    await server.json("GET", f"/threads/{thread_id}")
    found = await families(server)
    requests = "lg_api_http_requests"
    labels = {"method": "GET", "path": "/threads/{thread_id}", "status": "200"}
    assert value(found, requests, f"{requests}_total", **labels) == 1
    assert value(found, requests, f"{requests}_total", path="", status="404") == 2, (
        "paths are those of routes"
    )
    latency = "lg_api_http_requests_latency"
    assert value(found, latency, f"{latency}_count", **labels) == 1
    assert value(found, latency, f"{latency}_bucket", **labels, le="+Inf") == 1
    assert 0 < value(found, latency, f"{latency}_sum", **labels) < 10_000
    for name in ("events", "event_bytes", "writer_batches", "writer_operations", "writer_seconds"):
        family, sample = f"gatewayd_{name}", f"gatewayd_{name}_total"
        assert value(found, family, sample) > value(before, family, sample), name
    assert value(found, "gatewayd_writer_longest_seconds") > 0
    assert value(found, "lg_api_workers_max") == 10
    assert value(found, "lg_api_workers_available") in (9, 10)  # the run's place may not be free yet
    assert {"process_resident_memory_bytes", "python_info", "target_info"} <= found.keys()


async def test_a_request_counts_where_its_time_belongs_and_a_method_nobody_knows_as_other():
    counted = histogram.Histogram((1.0, 2.5, 5.0))
    for took_ms in (0.5, 1.0, 3.0, 99_999.0):
        counted.add(took_ms)
    assert (counted.count, counted.total) == (4, 100_003.5)
    assert counted.buckets == [2, 0, 1, 1]
    assert list(counted.cumulative()) == [("1.0", 2.0), ("2.5", 2.0), ("5.0", 3.0), ("+Inf", 4.0)]


async def test_runs_count_by_graph_and_status_with_their_times(server):
    before = await families(server)
    assert before["lg_api_num_pending_runs"].samples[0].value == 0
    thread_id = await server.thread()
    error = {"error": "ValueError", "message": "boom"}
    for outcome in ({}, {}, {"outcome": "error", "error": error}, {"outcome": "timeout", "error": error}):
        run_id = await server.run(thread_id)
        await server.worker.started(run_id)
        server.worker.end(run_id, next=[], interrupts={}, **outcome)
        await server.finished(thread_id, run_id)
    cancelled = await server.run(thread_id, after_seconds=60)
    await server.json("POST", f"/threads/{thread_id}/runs/{cancelled}/cancel?wait=1")
    await server.thread()  # stored later, so settled later: what follows from the cancel has been done
    found = await families(server)
    ended = "gatewayd_runs_ended"
    for status, count in (("success", 2), ("error", 1), ("timeout", 1), ("interrupted", 1)):
        assert value(found, ended, f"{ended}_total", graph="chat", status=status) == count
    for name, count in (("attempt_started", 4), ("success", 2), ("failed_after_retry", 2)):
        family = f"lg_api_run_{name}_counter"
        assert value(found, family, f"{family}_total", graph="chat") == count
    for name, count in (("execution_latency", 4), ("queue_wait_time_1st_attempt", 4)):
        family = f"lg_api_run_{name}"
        assert value(found, family, f"{family}_count", graph="chat") == count
        assert value(found, family, f"{family}_bucket", graph="chat", le="+Inf") == count
        assert 0 <= value(found, family, f"{family}_sum", graph="chat") < 60_000 * count
    told = (await server.json("GET", "/metrics?format=json"))["gatewayd"]
    assert {"graph": "chat", "status": "success", "count": 2} in told["runs_ended"]


async def test_failures_beside_runs_count(server):
    server.services.workers.deaths["run"] += 2
    server.services.webhooks.attempts_failed = 5
    server.services.webhooks.given_up = 1
    server.services.crons.counts.dates_passed = 3
    server.services.crons.counts.firings_failed = 4
    server.services.runs.counts.cron_runs_failed = 6
    found = await families(server)
    assert value(found, "gatewayd_worker_deaths", "gatewayd_worker_deaths_total", role="run") == 2
    assert value(found, "gatewayd_worker_deaths", "gatewayd_worker_deaths_total", role="service") == 0
    for name, count in (
        ("webhook_attempts_failed", 5),
        ("webhooks_given_up", 1),
        ("cron_dates_passed", 3),
        ("cron_firings_failed", 4),
        ("cron_runs_failed", 6),
    ):
        assert value(found, f"gatewayd_{name}", f"gatewayd_{name}_total") == count
    told = (await server.json("GET", "/metrics?format=json"))["gatewayd"]
    assert told["worker_deaths"] == {"run": 2}
    assert told["webhooks_given_up"] == 1


async def test_a_method_that_nobody_knows_counts_as_other(server):
    async with server.client.request("PROPFIND", "/ok") as answer:
        assert answer.status == 404
    found = await server.json("GET", "/metrics?format=json")
    methods = {each["method"] for each in found["api"]["http_requests_total"]}
    assert "OTHER" in methods
    assert "PROPFIND" not in methods


async def test_what_the_project_switches_off_is_not_found(server):
    served = server.services.project
    server.services.serving.become(attrs.evolve(served, disabled=frozenset({"meta", "store"})))
    for path in ("/", "/info", "/docs", "/openapi.json", "/metrics", "/store/items?namespace=a&key=k"):
        assert await server.json("GET", path, status=404) == {"detail": "Not Found"}
    await server.json("POST", "/store/items/search", {}, status=404)
    assert await server.json("GET", "/ok?check_db=1") == {"ok": True}
    server.services.serving.become(served)
    await server.json("GET", "/info")
