"""The composition root: the parts of the daemon, which of them gets which other, and how they start and stop.

`open_services` opens storage and makes everything that stands on it: event log and hub, workers, run manager,
the sender of webhooks. It starts them in this order, each after those that it depends on, and stops them in
the reverse order. `reload_project` exchanges the project under them. HTTP is not here: `api.build_app` makes
the application over the services, and `daemon` gives it a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from attrs import Factory, field, frozen

import gatewayd
from gatewayd import assistants as assistants_
from gatewayd import datadir, tasks
from gatewayd import health as health_
from gatewayd import items as items_
from gatewayd import loops as loops_
from gatewayd import project as project_
from gatewayd import serving as serving_
from gatewayd import settings as settings_
from gatewayd.crons import registry, ticker
from gatewayd.maintenance import expiry
from gatewayd.maintenance import sweeper as sweeper_
from gatewayd.model.run import Run
from gatewayd.runs import engine, manager
from gatewayd.storage import opening, quota, store
from gatewayd.streams import holds as holds_
from gatewayd.streams import hub as hub_
from gatewayd.streams import log as stream_log
from gatewayd.streams import positions as positions_
from gatewayd.supervisor import plan, supervisor
from gatewayd.threads import changes as changes_
from gatewayd.threads import records
from gatewayd.webhooks import policy, sender

Show = Callable[[Run], dict[str, Any]]
"""Returns a run as the API shows it: that is what webhooks are sent."""


@frozen(kw_only=True)
class Services:
    """The parts of the daemon that requests need."""

    settings: settings_.Settings
    """Those of the start: a reload does not change them."""
    serving: serving_.Serving
    """The project, as it is served now."""
    storage: store.Storage
    runs: manager.RunManager
    hub: hub_.Hub
    workers: supervisor.Supervisor
    webhooks: sender.Sender
    shutdown: asyncio.Event = field(factory=asyncio.Event)
    """Set when connections that wait or stream are to be cut."""
    loops: list[loops_.Loop] = Factory(list)
    """Those that go on as long as the daemon."""
    api_url: str | None = None
    """The server's own address as user code sees it (LANGGRAPH_API_URL); shown in runs' metadata."""
    holds: holds_.Holds = field(init=False)
    """Events that are kept back from streams of protocol v2 for a moment."""
    positions: positions_.Positions = field(init=False)
    """Where readers of streams begin."""
    assistants: assistants_.Assistants = field(init=False)
    threads: records.Threads = field(init=False)
    changes: changes_.Changes = field(init=False)
    sweeper: sweeper_.Sweeper = field(init=False)
    items: items_.Items = field(init=False)
    crons: registry.Crons = field(init=False)
    health: health_.Health = field(init=False)

    @holds.default
    def _holds(self) -> holds_.Holds:
        return holds_.Holds(self.settings.v2_hold / 1000)

    @positions.default
    def _positions(self) -> positions_.Positions:
        return positions_.Positions(
            storage=self.storage,
            now=self.runs.engine.now,
            replay_window_us=int(self.settings.replay_window_s * 1e6),
        )

    @assistants.default
    def _assistants(self) -> assistants_.Assistants:
        return assistants_.Assistants(
            storage=self.storage, workers=self.workers, graphs=self.serving, runs=self.runs
        )

    @threads.default
    def _threads(self) -> records.Threads:
        return records.Threads(storage=self.storage, workers=self.workers, graphs=self.serving)

    @changes.default
    def _changes(self) -> changes_.Changes:
        return changes_.Changes(
            runs=self.runs,
            storage=self.storage,
            log=self.runs.engine.log,
            workers=self.workers,
            graphs=self.serving,
        )

    @sweeper.default
    def _sweeper(self) -> sweeper_.Sweeper:
        return sweeper_.Sweeper(storage=self.storage, hub=self.hub)

    @items.default
    def _items(self) -> items_.Items:
        return items_.Items(
            workers=self.workers, serving=self.serving, require_room=self.storage.room_require
        )

    @crons.default
    def _crons(self) -> registry.Crons:
        return registry.Crons(storage=self.storage)

    @health.default
    def _health(self) -> health_.Health:
        return health_.Health(self.storage, self.workers, self.serving, self.loops)

    @property
    def project(self) -> project_.Project:
        """The project that is served now."""
        return self.serving.project

    @property
    def cors(self) -> project_.Cors:
        """What other origins' pages may do now."""
        return self.serving.cors


@contextlib.asynccontextmanager
async def open_services(
    options: settings_.Settings, served: project_.Project, url: str, show: Show
) -> AsyncIterator[Services]:
    """
    Yield the running services; orphans of earlier boots are pending again when they are yielded.

    `url` is the server's own address.
    """
    storage = await open_storage(options)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(close_storage, storage)
        services = _make(options, served, url, show, storage)
        await storage.system_assistants_sync(served.descriptions, _now())
        await _sync_default_ttl(services)
        await services.runs.recover(
            {graph_id: spec.on_restart for graph_id, spec in served.graphs.items() if spec.on_restart},
            options.on_restart,
        )
        await services.workers.start()
        stack.push_async_callback(services.workers.stop)
        stack.push_async_callback(services.runs.stop, options.drain_s)
        background = tasks.Group("services", services.loops)
        stack.push_async_callback(background.stop)
        _start_loops(background, services)
        yield services


async def reload_project(services: Services, served: project_.Project) -> None:
    """
    Serve this project from now on, without closing a connection.

    New workers load it, then its graphs get their assistants, then requests see it. Raises `Unavailable` with
    the cause when it can't be loaded: the project from before is served then.
    """
    assert services.api_url is not None
    await services.workers.reload(plan.plan_of(services.settings, served, services.api_url))
    await services.storage.system_assistants_sync(served.descriptions, _now())
    services.webhooks.policy = _policy(services.settings, served)
    services.serving.become(served)
    await _sync_default_ttl(services)


async def open_storage(options: settings_.Settings) -> store.Storage:
    """Open the database of the data directory. Raises `BadConfiguration`, `InsufficientStorage`."""
    return await opening.open_storage(
        options.data_dir / datadir.DATABASE,
        _now(),
        os.getpid(),
        gatewayd.__version__,
        quota.Quota(
            options.data_dir, options.max_db_size, options.min_free_disk, options.data_dir / datadir.STORE
        ),
    )


async def close_storage(storage: store.Storage) -> None:
    """Record the orderly stop and close the database."""
    await storage.close(_now())


def _make(
    options: settings_.Settings, served: project_.Project, url: str, show: Show, storage: store.Storage
) -> Services:
    """Make the parts over an open storage; nothing is started."""
    hub = hub_.Hub(storage, budget=options.hub_memory)
    loops = storage.loops
    workers = supervisor.Supervisor(plan.plan_of(options, served, url), storage.read_failed, loops=loops)
    webhooks = sender.Sender(
        storage=storage,
        policy=_policy(options, served),
        show=show,
        secret=options.webhook_secret,
        timeout_s=options.webhook_timeout_s,
    )
    runs = manager.RunManager(
        engine.Engine(
            storage=storage,
            log=stream_log.Log(storage, hub),
            workers=workers,
            max_retries=options.max_retries,
            cancel_deadline_s=options.cancel_deadline_s,
            job_timeout_s=options.job_timeout_s,
            webhooks=webhooks.hint,
        )
    )
    return Services(
        settings=options,
        serving=serving_.Serving(options, served),
        storage=storage,
        runs=runs,
        hub=hub,
        workers=workers,
        webhooks=webhooks,
        loops=loops,
        api_url=url,
    )


def _start_loops(background: tasks.Group, services: Services) -> None:
    """Start what is done as long as the daemon lives: by the clock, or whenever something is due."""
    options, runs = services.settings, services.runs

    def stopping() -> bool:
        return runs.stopping

    background.spawn_forever(runs.claimer, "claimer", essential=True, until=stopping)
    background.spawn_forever(
        lambda _: runs.end_cancelled(), "end what was cancelled", until=stopping, once=True
    )
    keeping = sweeper_.Keeping(
        linger_s=options.linger_s,
        failed_crons_s=options.failed_cron_ttl_s,
        events_s=options.events_ttl_s,
        idempotency_s=options.idempotency_ttl_s,
        webhooks_s=options.webhook_log_s,
    )
    background.spawn_forever(partial(services.sweeper.run, options.sweep_interval_s, keeping), "sweeper")
    background.spawn_forever(services.webhooks.run, "webhooks")
    expired = expiry.Expiry(
        storage=services.storage, changes=services.changes, rules=lambda: services.serving.retention
    )
    background.spawn_forever(expired.run, "expiry of threads")
    clock = ticker.Ticker(crons=services.crons, runs=runs)
    background.spawn_forever(clock.run, "ticker", essential=True, until=stopping)


async def _sync_default_ttl(services: Services) -> None:
    rules = services.serving.retention
    await services.storage.default_ttl_set(rules.strategy if rules.default_ttl else None, rules.default_ttl)


def _policy(options: settings_.Settings, served: project_.Project) -> policy.Policy:
    return policy.Policy(rules=served.webhooks, private=options.webhook_private == "allow")


def _now() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000
