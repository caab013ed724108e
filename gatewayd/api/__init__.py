"""HTTP: the only package that knows requests and responses of the API.

Rooms
    - `resources`    a module for each resource: handlers.
    - `streaming`    responses and connections that last, of both protocols.
    - `description`  the OpenAPI document, and the page that shows it.
    - `admission`    what a body asks for, as a run that is to be created.
    - `requests`     requests as values: bytes, JSON, the fields of each kind of body.
    - `responses`    records as the wire shows them.
    - `sockets`      below HTTP: the listening socket and its connections.
    Beside them what concerns every request: `middleware`, `access`, `cors`, `counting`, `connections`,
    `lifetime`, `keys`, and `faults`.

Rules
    A handler is: parse, call one thing, reply. What a request means is decided below (`assistants`,
    `threads`, `runs`); how it is spelt is decided here. Which requests are answered at all is decided in
    `access`, before anything else: pages of other origins may do nothing that is not allowed to them. No
    body holds the loop: `requests.payload` reads in pieces and counts values before anything is parsed,
    `requests.parsers` parses what is large in processes of their own, and what the daemon does not look
    into goes on as bytes (`wire.Raw`) to storage and worker. Errors become responses in one table,
    `faults`. Handlers catch nothing. A client that leaves cancels its handler. What the handler has asked
    for happens all the same: the run manager carries it through. Responses that last (`streaming.sse`,
    `streaming.waiting`) send their head at once, then heartbeats, each by its own clock. Once a head is out
    no other response can be sent: what goes wrong later ends the connection without the terminating chunk,
    which clients take for a cut connection.

The way of a run: `resources.runs.create_run` (or `stream_run`, `wait_run`) →
`requests.run_bodies.RunCreate` → `admission.admit` → `runs.manager` … `streams.hub` →
`streaming.sse.follow` → the socket.

Wiring: `build_app` makes the application; its routes and middleware find the services under `keys.SERVICES`.
The runner must be made with ``handler_cancellation=True``: that is how a stream learns at once that its
client has left.
"""

from __future__ import annotations

from aiohttp import web

from gatewayd.api import counting, keys, lifetime, middleware
from gatewayd.api.description import openapi
from gatewayd.api.resources import (
    assistants,
    crons,
    items,
    meta,
    metrics,
    runs,
    runs_stateless,
    state,
    threads,
    webhooks,
)
from gatewayd.api.streaming import commands, v1, v2
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
        v1,
        commands,
        v2,
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
