"""``GET /metrics``: what the server counts, for Prometheus or as JSON.

While the server works it updates plain numbers only, each in the part that it belongs to; they are read when
metrics are asked for. The names beginning with ``lg_api_`` and the JSON's `queue`, `api` and `workers` are
the reference's, so that dashboards made for it go on; the others are ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import frozen

import gatewayd
from gatewayd.api import counting, keys
from gatewayd.api.description.operation import TEXT, Answer, operation
from gatewayd.api.requests import parse
from gatewayd.api.responses import reply
from gatewayd.api.sockets import incoming
from gatewayd.model import transitions
from gatewayd.services import Services
from gatewayd.storage import pages, store
from gatewayd.supervisor import memory, worker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

routes = web.RouteTableDef()


@frozen(kw_only=True)
class Moment:
    """What is read for one answer."""

    counts: counting.Counts
    queue: store.Queue
    services: Services
    listener: incoming.Owner | None = None

    @property
    def places(self) -> int:
        """Runs that may execute at once."""
        return self.services.settings.workers * self.services.settings.jobs_per_worker

    @property
    def active(self) -> int:
        return len(self.services.runs.active)

    @property
    def available(self) -> int:
        """Runs that could be started now."""
        return max(0, self.places - self.active)


@routes.get("/metrics")
@operation(query={"format": TEXT}, answers=(Answer(str, content_type="text/plain"), parse.Object))
async def metrics(request: web.Request) -> web.Response:
    """Tell what the server counts: Prometheus' text, or JSON with `format=json`."""
    services, connection = request.app[keys.SERVICES], incoming.of(request)
    moment = Moment(
        counts=request.app[counting.COUNTS],
        queue=await services.runs.queue(),
        services=services,
        listener=None if connection is None else connection.listener,
    )
    if request.query.get("format") == "json":
        return reply.json(as_json(moment))
    return web.Response(
        body=as_text(moment), headers={"Content-Type": "text/plain; version=1.0.0; charset=utf-8"}
    )


def as_json(moment: Moment) -> dict[str, Any]:
    """Return the numbers as JSON data."""
    queue = moment.queue
    return {
        "queue": {
            "n_pending": queue.pending,
            "pending_runs_wait_time_max_secs": _seconds(queue.longest),
            "pending_runs_wait_time_med_secs": _seconds(queue.median),
            "pending_unblocked_runs_wait_time_max_secs": _seconds(queue.longest_unblocked),
            "n_running": queue.running,
        },
        "api": {
            "http_requests_total": [
                {"method": method, "path": path, "status": status, "count": answered.count}
                for (method, path, status), answered in moment.counts.answered.items()
            ]
        },
        "workers": {"max": moment.places, "active": moment.active, "available": moment.available},
        "gatewayd": {name: value for name, _, value, _ in own_numbers(moment)}
        | {
            "runs_ended": [
                {"graph": graph, "status": status, "count": count}
                for (graph, status), count in moment.services.runs.counts.ended.items()
            ],
            "worker_deaths": dict(moment.services.workers.deaths),
            "workers": [
                {"worker": name, "lag_seconds": lag, "resident_bytes": size, "runs": runs}
                for name, lag, size, runs in _workers(moment.services)
            ],
            "workers_blocked": [
                {"worker": name, "blocked_at": place, "blocked_seconds": seconds}
                for name, place, seconds in _blocked(moment.services)
            ],
        },
    }


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1e6


def own_numbers(moment: Moment) -> Iterator[tuple[str, str, float, str]]:
    """Yield the numbers that the reference does not have: name, kind, value, meaning."""
    services = moment.services
    storage, hub, log = services.storage, services.hub, services.runs.engine.log
    writes = storage.writes
    yield "queue_pending", "gauge", moment.queue.pending, "Runs that wait for their start"
    yield "queue_running", "gauge", moment.queue.running, "Runs that execute"
    yield (
        "queue_oldest_seconds",
        "gauge",
        (moment.queue.longest or 0) / 1e6,
        "How long the oldest due run waits",
    )
    if moment.listener is not None:
        yield "connections", "gauge", len(moment.listener.open), "Connections of clients"
        yield "connections_refused", "counter", moment.listener.refusals, "Refused connections and requests"
    yield "events", "counter", log.events, "Events of all threads"
    yield "event_bytes", "counter", log.event_bytes, "Bytes of the events"
    yield "hub_bytes", "gauge", hub.held, "Bytes of memory that live tails of streams hold"
    yield "hub_readers", "gauge", hub.readers, "Readers of streams"
    yield "writer_batches", "counter", writes.transactions, "Transactions that were committed"
    yield "writer_operations", "counter", writes.operations, "Operations in them"
    yield "writer_seconds", "counter", writes.busy_s, "Seconds that transactions took"
    yield "syncs", "counter", writes.syncs, "Syncs of the write-ahead log, beside the writer"
    yield "sync_seconds", "counter", writes.sync_s, "Seconds that they took"
    yield "writer_longest_seconds", "gauge", writes.longest_s, "The longest transaction since the start"
    yield "writer_locked_seconds", "gauge", storage.locked_s(), "How long another process has held the lock"
    yield "database_damaged", "gauge", storage.damage is not None, "1: the database is damaged and only read"
    yield "loops_down", "gauge", sum(loop.down for loop in services.loops), "Loops that fail or have ended"
    yield "writer_backlog_bytes", "gauge", storage.backlog, "Bytes of events that wait to be stored"
    sent, planned = services.webhooks, services.crons.counts
    yield (
        "webhook_attempts_failed",
        "counter",
        sent.attempts_failed,
        "Attempts to deliver a webhook that failed",
    )
    yield "webhooks_given_up", "counter", sent.given_up, "Webhooks that are not tried again by themselves"
    yield (
        "cron_firings_failed",
        "counter",
        planned.firings_failed,
        "Dates of crons that could not be fired and are tried again",
    )
    yield "cron_dates_passed", "counter", planned.dates_passed, "Dates of crons whose run was refused"
    yield "cron_runs_failed", "counter", services.runs.counts.cron_runs_failed, "Runs of crons that failed"
    for name, file, what in storage.files:
        wal = file.with_name(f"{file.name}-wal")
        yield f"{name}_bytes", "gauge", pages.bytes_of(file), f"Size of {what}"
        yield f"{name}_wal_bytes", "gauge", pages.bytes_of(wal), f"Size of the write-ahead log of {what}"


def _workers(services: Services) -> Iterator[tuple[str, float, int, int]]:
    """Yield name, seconds of lag, bytes of memory and runs of each worker process."""
    now = time.monotonic()
    for process in services.workers.processes:
        yield _name(process), process.lag(now), memory.resident(process.pid) or 0, len(process.runs)


def _blocked(services: Services) -> Iterator[tuple[str, str, float]]:
    """Yield name, place (file:line) and seconds of each worker whose event loop does not turn."""
    now = time.monotonic()
    for process in services.workers.processes:
        if process.blocked_since is not None:
            yield _name(process), process.place, now - process.blocked_since


def _name(each: worker.Worker) -> str:
    """Name a worker; one whose post another may have is told from it by its process."""
    return each.name if each.retire_reason is None else f"{each.name} (pid {each.pid})"


# Prometheus


class _Collector:
    """Gives one moment's numbers to the library that writes Prometheus' text."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        moment = self.moment
        about = {"service_name": "gatewayd", "service_version": gatewayd.__version__}
        yield InfoMetricFamily("target", "Target metadata", about)
        labels = ("method", "path", "status")
        requests = CounterMetricFamily("lg_api_http_requests", "HTTP requests", labels=labels)
        latency = HistogramMetricFamily(
            "lg_api_http_requests_latency", "Milliseconds until a response begins", labels=labels, unit=""
        )
        for (method, path, status), answered in moment.counts.answered.items():
            values = (method, path, str(status))
            requests.add_metric(values, answered.count)
            latency.add_metric(values, list(answered.cumulative()), answered.total)
        yield requests
        yield latency
        for name, value in (
            ("max", moment.places),
            ("active", moment.active),
            ("available", moment.available),
        ):
            yield GaugeMetricFamily(f"lg_api_workers_{name}", f"Places for runs: {name}", value)
        for name, kind, number, meaning in own_numbers(moment):
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            yield family(f"gatewayd_{name}", meaning, number)
        yield from self._of_runs()
        deaths = CounterMetricFamily(
            "gatewayd_worker_deaths", "Workers that ended without having been told to", labels=("role",)
        )
        for role in ("run", "service", "quarantine"):
            deaths.add_metric((role,), moment.services.workers.deaths[role])
        yield deaths
        lag = GaugeMetricFamily(
            "gatewayd_worker_lag_seconds", "Time a worker takes to answer a ping", labels=("worker",)
        )
        size = GaugeMetricFamily("gatewayd_worker_resident_bytes", "Memory of a worker", labels=("worker",))
        runs = GaugeMetricFamily("gatewayd_worker_runs", "Runs that a worker has", labels=("worker",))
        for name, seconds, resident, count in _workers(moment.services):
            for gauge, number in ((lag, seconds), (size, resident), (runs, count)):
                gauge.add_metric((name,), number)
        blocked = GaugeMetricFamily(
            "gatewayd_worker_blocked_seconds",
            "Time for which a worker's event loop has not turned, and where it is",
            labels=("worker", "blocked_at"),
        )
        for name, place, seconds in _blocked(moment.services):
            blocked.add_metric((name, place), seconds)
        yield from (lag, size, runs, blocked)

    def _of_runs(self) -> Iterator[Metric]:
        """Yield what is counted of runs; the names beginning with ``lg_api_`` are the reference's."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        counts, queue = self.moment.services.runs.counts, self.moment.queue
        yield GaugeMetricFamily("lg_api_num_pending_runs", "Runs that wait for their start", queue.pending)
        yield GaugeMetricFamily("lg_api_num_running_runs", "Runs that execute", queue.running)
        ended = CounterMetricFamily(
            "gatewayd_runs_ended", "Runs that have ended, by graph and status", labels=("graph", "status")
        )
        of_graphs: dict[str, dict[str, int]] = {"started": dict(counts.attempts), "success": {}, "failed": {}}
        for (graph, status), count in counts.ended.items():
            ended.add_metric((graph, status), count)
            if kind := "success" if status == "success" else "failed" if status in transitions.FAILED else "":
                of_graphs[kind][graph] = of_graphs[kind].get(graph, 0) + count
        yield ended
        for name, kind, meaning in (
            ("attempt_started", "started", "Attempts of runs that were given to a worker"),
            ("success", "success", "Runs that have succeeded"),
            ("failed_after_retry", "failed", "Runs that have failed or timed out"),
        ):
            family = CounterMetricFamily(f"lg_api_run_{name}_counter", meaning, labels=("graph",))
            for graph, count in of_graphs[kind].items():
                family.add_metric((graph,), count)
            yield family
        for name, histograms, meaning in (
            ("execution_latency", counts.took_ms, "Milliseconds from the first start of a run to its end"),
            (
                "queue_wait_time_1st_attempt",
                counts.waited_ms,
                "Milliseconds from the moment at which a run was due to its first start",
            ),
        ):
            times = HistogramMetricFamily(f"lg_api_run_{name}", meaning, labels=("graph",), unit="")
            for graph, histogram in histograms.items():
                times.add_metric((graph,), list(histogram.cumulative()), histogram.total)
            yield times


def as_text(moment: Moment) -> bytes:
    """Return the numbers in Prometheus' text format, and those of this process."""
    # Imported when it is first asked for: it takes a tenth of the start, and many servers have no Prometheus.
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
    from prometheus_client.exposition import generate_latest

    registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    GCCollector(registry)
    registry.register(_Collector(moment))
    return bytes(generate_latest(registry))
