"""What handlers find in the application: typed keys, set by the composition root and by `setup`."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from attrs import Factory, field, frozen

from gatewayd import assistants as assistants_
from gatewayd import project as project_
from gatewayd import settings as settings_
from gatewayd import tasks
from gatewayd import threads as threads_
from gatewayd.api import connections
from gatewayd.runs import manager
from gatewayd.runs import operations as operations_
from gatewayd.storage import store
from gatewayd.streams import hub as hub_
from gatewayd.workers import supervisor


def _assistants(services: Services) -> assistants_.Assistants:
    return assistants_.Assistants(storage=services.storage, graphs=services.project.graphs)


def _threads(services: Services) -> threads_.Threads:
    return threads_.Threads(
        storage=services.storage, workers=services.workers, graphs=services.project.graphs
    )


def _operations(services: Services) -> operations_.Operations:
    return operations_.Operations(runs=services.runs, graphs=services.project.graphs)


def _cors(services: Services) -> project_.Cors:
    return settings_.effective_cors(services.settings, services.project)


@frozen(kw_only=True)
class Services:
    """The parts of the daemon that requests need."""

    settings: settings_.Settings
    project: project_.Project
    cors: project_.Cors = field(default=Factory(_cors, takes_self=True), init=False)
    storage: store.Storage
    runs: manager.RunManager
    hub: hub_.Hub
    workers: supervisor.Supervisor
    shutdown: asyncio.Event
    """Set when connections that wait or stream are to be cut."""
    api_url: str | None = None
    """The server's own address as user code sees it (LANGGRAPH_API_URL); shown in runs' metadata."""
    assistants: assistants_.Assistants = field(default=Factory(_assistants, takes_self=True), init=False)
    threads: threads_.Threads = field(default=Factory(_threads, takes_self=True), init=False)
    operations: operations_.Operations = field(default=Factory(_operations, takes_self=True), init=False)


SERVICES: Final = web.AppKey("services", Services)
"""Set by the composition root before the application answers."""
TASKS: Final = web.AppKey("tasks", tasks.Group)
"""Work that a request has begun and that goes on without it."""
CONNECTIONS: Final = web.AppKey("connections", connections.Connections)
"""The responses that last."""
