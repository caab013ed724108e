"""What lives as long as the application: the tasks of requests, the responses that last, the parsers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from gatewayd import tasks
from gatewayd.api import connections as connections_
from gatewayd.api import keys
from gatewayd.api.requests import parsers as parsers_
from gatewayd.limits import Limits


async def connections(app: web.Application) -> AsyncIterator[None]:
    """Cut all responses at the server's stop, and wait for what requests have left running."""
    group = app[keys.TASKS] = tasks.Group("api")
    opened = app[keys.CONNECTIONS] = connections_.Connections()

    async def cutter() -> None:
        await app[keys.SERVICES].shutdown.wait()
        opened.abort_all()

    watcher = group.spawn(cutter(), "cut connections at the stop")
    yield
    opened.abort_all()
    watcher.cancel()
    await group.join()


async def parsers(app: web.Application) -> AsyncIterator[None]:
    """Have processes that parse large bodies."""
    options = app[keys.SERVICES].settings
    app[parsers_.PARSERS] = parsers_.Parsers(
        Limits(
            part_values=options.max_metadata_values,
            metadata_bytes=options.max_metadata_bytes,
            ids=options.max_ids,
            batch=options.max_batch,
        )
    )
    yield
    await app[parsers_.PARSERS].stop()
