"""What handlers find in the application: typed keys, set by the composition root and by `setup`."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from attrs import Factory, field, frozen

from gatewayd import assistants, project, settings, tasks, threads
from gatewayd.api import connections
from gatewayd.runs import manager
from gatewayd.storage import store
from gatewayd.streams import hub
from gatewayd.workers import supervisor


def _assistants(services: Services) -> assistants.Assistants:
    return assistants.Assistants(storage=services.storage, graphs=services.project.graphs)


def _threads(services: Services) -> threads.Threads:
    return threads.Threads(storage=services.storage, workers=services.workers, graphs=services.project.graphs)


def _cors(services: Services) -> project.Cors:
    return settings.effective_cors(services.settings, services.project)


@frozen(kw_only=True)
class Services:
    """The parts of the daemon that requests need."""

    settings: settings.Settings
    project: project.Project
    storage: store.Storage
    runs: manager.RunManager
    hub: hub.Hub
    workers: supervisor.Supervisor
    shutdown: asyncio.Event
    """Set when connections that wait or stream are to be cut."""
    api_url: str | None = None
    """The server's own address as user code sees it (LANGGRAPH_API_URL); shown in runs' metadata."""
    cors: project.Cors = field(default=Factory(_cors, takes_self=True), init=False)
    assistants: assistants.Assistants = field(default=Factory(_assistants, takes_self=True), init=False)
    threads: threads.Threads = field(default=Factory(_threads, takes_self=True), init=False)


SERVICES: Final = web.AppKey("services", Services)
"""Set by the composition root before the application answers."""
TASKS: Final = web.AppKey("tasks", tasks.Group)
"""Work that a request has begun and that goes on without it."""
CONNECTIONS: Final = web.AppKey("connections", connections.Connections)
"""The responses that last."""
