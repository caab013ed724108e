"""The composition root: which part gets which other, in the order in which they start and stop.

`open_services` starts storage, log, hub, workers' supervisor and run manager, each depending on those before it, and
stops them in the reverse order. `build_app` makes the HTTP application over them and does no I/O.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

import gatewayd
from gatewayd import api, project, settings, tasks
from gatewayd.api import keys
from gatewayd.channel import orders
from gatewayd.runs import claims, manager, recovery, sweeper
from gatewayd.storage import store
from gatewayd.storage.sqlite import database
from gatewayd.streams import hub
from gatewayd.streams import log as stream_log
from gatewayd.workers import process, supervisor

DATABASE = "gatewayd.sqlite"
STORE = "store.sqlite"


def now_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


@asynccontextmanager
async def open_services(
    options: settings.Settings,
    served: project.Project,
    url: str,
    writer: database.WriterFactory = database.Writer,
    begin: process.Start = process.start,
) -> AsyncIterator[keys.Services]:
    """Yield the running services; orphans of earlier boots are pending again when they are yielded.

    `writer` and `begin` are for tests: crashes at chosen points, workers inside this process.
    """
    storage = await store.Storage.open(
        options.data_dir / DATABASE, now_us(), os.getpid(), gatewayd.__version__, writer
    )
    background = tasks.Group("services")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_close, storage)
        descriptions = {graph_id: spec.description for graph_id, spec in served.graphs.items()}
        await storage.system_assistants_sync(descriptions, now_us())
        events = hub.Hub(storage, budget=options.hub_memory)
        workers = supervisor.Supervisor(_plan(options, served, url), begin)
        runs = manager.RunManager(
            storage=storage,
            log=stream_log.Log(storage, events),
            workers=workers,
            max_retries=options.max_retries,
            cancel_deadline_s=options.cancel_deadline_s,
        )
        await recovery.recover(runs)
        await workers.start()
        stack.push_async_callback(workers.stop)
        stack.push_async_callback(runs.stop, options.drain_s)
        stack.push_async_callback(background.stop)
        background.spawn(claims.claimer(runs), "claimer")
        background.spawn(recovery.end_cancelled(runs), "end what was cancelled")
        background.spawn(
            sweeper.sweeper(runs, options.sweep_interval_s, options.linger_s, options.events_ttl_s), "sweeper"
        )
        yield keys.Services(
            settings=options,
            project=served,
            storage=storage,
            runs=runs,
            hub=events,
            workers=workers,
            shutdown=asyncio.Event(),
            api_url=url,
        )


async def _close(storage: store.Storage) -> None:
    await storage.close(now_us())


def _plan(options: settings.Settings, served: project.Project, url: str) -> supervisor.Plan:
    """Say how workers are made: the project's env overrides the shell's, as in the reference."""
    configuration = orders.Configuration(
        name="",
        role="",
        database=str((options.data_dir / DATABASE).absolute()),
        store=str((options.data_dir / STORE).absolute()),
        folder=str(served.folder),
        search_path=served.search_path(),
        graphs={graph_id: [spec.path, spec.description] for graph_id, spec in served.graphs.items()},
        log_level=options.log_level,
        log_json=options.log_json,
        log_color=options.log_color,
        window=options.run_window,
        backlog=options.run_backlog,
        job_timeout_s=options.job_timeout_s,
    )
    return supervisor.Plan(
        workers=options.workers,
        jobs_per_worker=options.jobs_per_worker,
        data_dir=options.data_dir,
        folder=Path(served.folder),
        environment={**os.environ, **served.env, "LANGGRAPH_API_URL": url},
        configuration=_without_identity(attrs.asdict(configuration)),
        call_deadline_s=options.call_deadline_s,
    )


def _without_identity(configuration: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in configuration.items() if key not in {"name", "role"}}


def build_app(services: keys.Services) -> web.Application:
    """Return the HTTP application over running services."""
    app = web.Application(client_max_size=services.settings.max_body_bytes)
    app[keys.SERVICES] = services
    api.setup(app)
    return app
