"""The composition root: which part gets which other, in the order in which they start and stop.

`open_services` starts storage, log, hub, workers' supervisor and run manager, each depending on those before
it, and stops them in the reverse order. `reload` exchanges the project under them. `build_app` makes the HTTP
application over them and does no I/O.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

import gatewayd
from gatewayd import api, datadir, project, serving, settings, tasks
from gatewayd.api import keys, reply
from gatewayd.channel import orders
from gatewayd.crons import ticker
from gatewayd.runs import claims, manager, recovery, retention, sweeper
from gatewayd.storage import quota, store
from gatewayd.storage.sqlite import writing
from gatewayd.streams import hub
from gatewayd.streams import log as stream_log
from gatewayd.supervisor import plan, process, supervisor
from gatewayd.webhooks import policy, sender


def now_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


@asynccontextmanager
async def open_services(
    options: settings.Settings,
    served: project.Project,
    url: str,
    writer: writing.WriterFactory = writing.Writer,
    begin: process.Start = process.start,
) -> AsyncIterator[keys.Services]:
    """Yield the running services; orphans of earlier boots are pending again when they are yielded.

    `writer` and `begin` are for tests: crashes at chosen points, workers inside this process.
    """
    storage = await store.Storage.open(
        options.data_dir / datadir.DATABASE,
        now_us(),
        os.getpid(),
        gatewayd.__version__,
        writer,
        quota.Quota(
            options.data_dir, options.max_db_size, options.min_free_disk, options.data_dir / datadir.STORE
        ),
    )
    known = storage.writer.loops
    background = tasks.Group("services", known)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_close, storage)
        await storage.system_assistants_sync(descriptions(served), now_us())
        serves = serving.Serving(options, served)
        await _sync_default_ttl(storage, serves)
        events = hub.Hub(storage, budget=options.hub_memory)
        workers = supervisor.Supervisor(
            plan_of(options, served, url), begin, known, storage.writer.damage.translated
        )
        runs = manager.RunManager(
            storage=storage,
            log=stream_log.Log(storage, events),
            workers=workers,
            max_retries=options.max_retries,
            cancel_deadline_s=options.cancel_deadline_s,
            job_timeout_s=options.job_timeout_s,
        )
        posting = sender.Sender(
            storage=storage,
            policy=_policy(options, served),
            show=partial(reply.run, api_url=url),
            secret=options.webhook_secret,
            timeout_s=options.webhook_timeout_s,
        )
        runs.on_webhook_due = posting.hint.give
        await recovery.recover(
            runs,
            {graph_id: spec.on_restart for graph_id, spec in served.graphs.items() if spec.on_restart},
            options.on_restart,
        )
        await workers.start()
        stack.push_async_callback(workers.stop)
        stack.push_async_callback(runs.stop, options.drain_s)
        stack.push_async_callback(background.stop)

        def stopping() -> bool:
            return runs.stopping

        background.spawn_forever(partial(claims.claimer, runs), "claimer", essential=True, until=stopping)
        background.spawn_forever(
            lambda _: recovery.end_cancelled(runs), "end what was cancelled", until=stopping, once=True
        )
        keeping = sweeper.Keeping(
            linger_s=options.linger_s,
            failed_crons_s=options.failed_cron_ttl_s,
            events_s=options.events_ttl_s,
            idempotency_s=options.idempotency_ttl_s,
            webhooks_s=options.webhook_log_s,
        )
        background.spawn_forever(partial(sweeper.sweeper, runs, options.sweep_interval_s, keeping), "sweeper")
        background.spawn_forever(posting.run, "webhooks")
        services = keys.Services(
            settings=options,
            serving=serves,
            storage=storage,
            runs=runs,
            hub=events,
            workers=workers,
            webhooks=posting,
            shutdown=asyncio.Event(),
            api_url=url,
            loops=known,
        )
        expiring = retention.Expiring(services.operations, lambda: serves.retention)
        background.spawn_forever(expiring.run, "expiry of threads")
        clock = ticker.Ticker(crons=services.crons, runs=runs)
        background.spawn_forever(clock.run, "ticker", essential=True, until=stopping)
        yield services


async def reload(services: keys.Services, served: project.Project) -> None:
    """
    Serve this project from now on, without closing a connection.

    New workers load it, then its graphs get their assistants, then requests see it. Raises `Unavailable` with
    the cause when it can't be loaded: the project from before is served then.
    """
    assert services.api_url is not None
    await services.workers.reload(plan_of(services.settings, served, services.api_url))
    await services.storage.system_assistants_sync(descriptions(served), now_us())
    services.webhooks.policy = _policy(services.settings, served)
    services.serving.become(served)
    await _sync_default_ttl(services.storage, services.serving)


async def _sync_default_ttl(storage: store.Storage, serves: serving.Serving) -> None:
    rules = serves.retention
    await storage.default_ttl_set(rules.strategy if rules.default_ttl else None, rules.default_ttl)


def _policy(options: settings.Settings, served: project.Project) -> policy.Policy:
    return policy.Policy(rules=served.webhooks, private=options.webhook_private == "allow")


def descriptions(served: project.Project) -> dict[str, str | None]:
    """Return what the graphs are about, by id."""
    return {graph_id: spec.description for graph_id, spec in served.graphs.items()}


async def _close(storage: store.Storage) -> None:
    await storage.close(now_us())


def plan_of(options: settings.Settings, served: project.Project, url: str) -> plan.Plan:
    """Say how workers are made: the project's env overrides the shell's, as in the reference."""
    configuration = orders.Configuration(
        name="",
        role="",
        database=str((options.data_dir / datadir.DATABASE).absolute()),
        store=str((options.data_dir / datadir.STORE).absolute()),
        folder=str(served.folder),
        search_path=served.search_path(),
        dependencies=list(served.dependencies),
        graphs={graph_id: [spec.path, spec.description] for graph_id, spec in served.graphs.items()},
        log_level=options.log_level,
        log_json=options.log_json,
        log_color=options.log_color,
        log_levels=dict(options.log_levels),
        window=options.run_window,
        backlog=options.run_backlog,
        job_timeout_s=options.job_timeout_s,
        patience_s=options.cancel_deadline_s / 2,
        full_errors=options.error_detail == "full",
        v2_places=options.v2_places,
        call_deadline_s=options.call_deadline_s,
        store_index=None if served.store_index is None else attrs.asdict(served.store_index),
        store_ttl=attrs.asdict(served.store_ttl),
        serde=served.serde,
    )
    return plan.Plan(
        workers=options.workers,
        jobs_per_worker=options.jobs_per_worker,
        data_dir=options.data_dir,
        folder=Path(served.folder),
        environment={**os.environ, **served.env, "LANGGRAPH_API_URL": url},
        configuration=_without_identity(attrs.asdict(configuration)),
        call_deadline_s=options.call_deadline_s,
        max_runs=options.worker_max_runs,
        memory=options.worker_memory,
        blocked_s=options.worker_blocked_s,
    )


def _without_identity(configuration: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in configuration.items() if key not in {"name", "role"}}


def build_app(services: keys.Services) -> web.Application:
    """Return the HTTP application over running services."""
    app = web.Application(client_max_size=services.settings.max_body_bytes)
    app[keys.SERVICES] = services
    api.setup(app)
    return app
