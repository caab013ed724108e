"""HTTP: the only package that knows requests and responses of the API.

Rules
    A handler is: parse, call one thing, reply. What a request means is decided below (`assistants`,
    `threads`, `runs`); how it is spelt is decided here: `parse` (values from bodies and queries), `bodies`
    (the fields of each body), `reply` (records as the wire shows them).
    Which requests are answered at all is decided in `access`, before anything else: pages of strangers may do
    nothing. No body holds the loop: `payload` reads in pieces and counts values before anything is parsed,
    `parsers` parses what is large in processes of their own, and what nobody looks into goes on as bytes
    (`wire.Raw`) to storage and worker. Errors become responses in one table, `faults`. Handlers catch
    nothing. A client that leaves cancels its handler. What the handler has asked for happens all the same:
    the run manager carries it through.
    Responses that last (`sse`, `waiting`) send their head at once, then beat, each by its own clock. Once a
    head is out no other response can be sent: what goes wrong later ends the connection without the
    terminating chunk, and clients take that for what it is, a cut.

The way of a run: `runs.create_run` (or `stream_run`, `wait_run`) → `bodies.RunCreate` → `admission.admit` →
`runs.manager` … `streams.hub` → `sse.follow` → the socket.

Wiring: `build_app` makes the application; its routes and middleware find the services under `keys.SERVICES`.
The runner must be made with ``handler_cancellation=True``: that is how a stream learns at once that its
client has left.
"""

from __future__ import annotations

from aiohttp import web

from gatewayd.api import (
    assistants,
    commands,
    counting,
    crons,
    events,
    items,
    keys,
    lifetime,
    meta,
    metrics,
    middleware,
    openapi,
    runs,
    runs_stateless,
    state,
    streams,
    threads,
    webhooks,
)
from gatewayd.services import Services


def build_app(services: Services) -> web.Application:
    """Return the HTTP application over running services."""
    app = web.Application(client_max_size=services.settings.max_body_bytes)
    app[keys.SERVICES] = services
    setup(app)
    return app


def setup(app: web.Application) -> None:
    """Make the application answer the API."""
    app[counting.COUNTS] = counting.Counts()
    app[openapi.DOCUMENTS] = {}
    app[middleware.TOLD] = set()
    app.middlewares.append(middleware.requests)
    app.on_response_prepare.append(middleware.headers)
    app.cleanup_ctx.append(lifetime.connections)
    app.cleanup_ctx.append(lifetime.parsers)
    for module in (
        crons,  # /runs/crons before /runs/{run_id}
        runs,
        runs_stateless,
        streams,
        commands,
        events,
        threads,
        state,
        assistants,
        items,
        webhooks,
        meta,
        metrics,
        openapi,
    ):  # the busiest are found first
        app.add_routes(module.routes)
