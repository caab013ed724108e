"""What handlers find in the application: typed keys, set by the composition root and by `setup`."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from attrs import Factory, field, frozen

from gatewayd import assistants as assistants_
from gatewayd import health as health_
from gatewayd import items as items_
from gatewayd import loops as loops_
from gatewayd import project as project_
from gatewayd import serving as serving_
from gatewayd import settings as settings_
from gatewayd import tasks
from gatewayd import threads as threads_
from gatewayd.api import connections
from gatewayd.crons import registry
from gatewayd.runs import manager
from gatewayd.runs import operations as operations_
from gatewayd.storage import store
from gatewayd.streams import holds as holds_
from gatewayd.streams import hub as hub_
from gatewayd.supervisor import supervisor
from gatewayd.webhooks import sender


def _assistants(services: Services) -> assistants_.Assistants:
    return assistants_.Assistants(storage=services.storage, workers=services.workers, graphs=services.serving)


def _threads(services: Services) -> threads_.Threads:
    return threads_.Threads(storage=services.storage, workers=services.workers, graphs=services.serving)


def _items(services: Services) -> items_.Items:
    return items_.Items(
        workers=services.workers, serving=services.serving, require_room=services.storage.room_require
    )


def _crons(services: Services) -> registry.Crons:
    return registry.Crons(storage=services.storage)


def _operations(services: Services) -> operations_.Operations:
    return operations_.Operations(runs=services.runs, graphs=services.serving)


def _health(services: Services) -> health_.Health:
    return health_.Health(services.storage, services.workers, services.serving, services.loops)


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
    holds: holds_.Holds = field(init=False)
    """Events that are kept back from streams of protocol v2 for a moment."""
    workers: supervisor.Supervisor
    webhooks: sender.Sender
    shutdown: asyncio.Event
    """Set when connections that wait or stream are to be cut."""
    loops: list[loops_.Loop] = Factory(list)
    """Those that go on as long as the daemon."""
    api_url: str | None = None
    """The server's own address as user code sees it (LANGGRAPH_API_URL); shown in runs' metadata."""
    assistants: assistants_.Assistants = field(default=Factory(_assistants, takes_self=True), init=False)
    threads: threads_.Threads = field(default=Factory(_threads, takes_self=True), init=False)
    operations: operations_.Operations = field(default=Factory(_operations, takes_self=True), init=False)
    items: items_.Items = field(default=Factory(_items, takes_self=True), init=False)
    health: health_.Health = field(default=Factory(_health, takes_self=True), init=False)
    crons: registry.Crons = field(default=Factory(_crons, takes_self=True), init=False)

    @holds.default
    def _holds(self) -> holds_.Holds:
        return holds_.Holds(self.settings.v2_hold / 1000)

    @property
    def project(self) -> project_.Project:
        """The project that is served now."""
        return self.serving.project

    @property
    def cors(self) -> project_.Cors:
        """What other origins' pages may do now."""
        return self.serving.cors


SERVICES: Final = web.AppKey("services", Services)
"""Set by the composition root before the application answers."""
TASKS: Final = web.AppKey("tasks", tasks.Group)
"""Work that a request has begun and that goes on without it."""
CONNECTIONS: Final = web.AppKey("connections", connections.Connections)
"""The responses that last."""
