"""
Typed keys of what handlers find in the application, set by `build_app` and by `lifetime`; and a request's
caller.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gatewayd import tasks
from gatewayd.api import connections
from gatewayd.model.caller import ANONYMOUS, Caller
from gatewayd.services import Services

SERVICES: Final = web.AppKey("services", Services)
"""The parts of the daemon; set before the application answers."""
TASKS: Final = web.AppKey("tasks", tasks.Group)
"""Work that a request has begun and that goes on without it."""
CONNECTIONS: Final = web.AppKey("connections", connections.Connections)
"""The responses that last."""


def caller(_: web.Request) -> Caller:
    """Return who asks. There is no authentication yet: all requests have one caller, who sees all."""
    return ANONYMOUS
