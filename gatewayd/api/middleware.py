"""
What happens to every request: its id, whether it is answered, other origins' rights, trailing slashes, and
errors as JSON.
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gatewayd import logs
from gatewayd.api import access, cors, counting, faults, keys
from gatewayd.api.requests import payload, unknown
from gatewayd.api.sockets import incoming

log = logging.getLogger(__name__)
access_log = logging.getLogger("gatewayd.access")
"""
A line for each request, when its response has gone out whole or was cut. Never the query: it may hold
secrets.
"""

LONGEST_ID: Final = 200
"""Characters of an `x-request-id` that are kept."""

META: Final = frozenset({"/", "/info", "/docs", "/openapi.json", "/metrics"})
"""What ``http.disable_meta`` switches off; /ok stays, without checks."""

MOST_TOLD: Final = 100
"""Kinds of refused requests that are logged, each once."""
TOLD: Final[web.AppKey[set[str]]] = web.AppKey("told")
"""Those that have been logged."""

REQUEST_ID: Final = web.RequestKey("request_id", str)
"""The id that the client gave its request, or a random one."""
CLIENT_LEFT: Final = 499
"""What the log says, as nginx does, of a response that was cut: its client has left, or the server stops."""
BEGUN: Final = web.RequestKey("begun", bool)
"""Set when a response's head is about to go out."""


@web.middleware
async def requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request: what goes wrong becomes a response, unless one has begun."""
    request[counting.STARTED] = time.monotonic()
    request_id = request[REQUEST_ID] = _request_id(request)
    token = logs.attach(request_id=request_id)
    response: web.StreamResponse | None = None
    try:
        response = await _answered(request, handler)
        return response
    finally:
        if access_log.isEnabledFor(logging.INFO):
            _tell(request, response)
        logs.detach(token)


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    connection = incoming.of(request)
    unknown.begin(refused=request.app[keys.SERVICES].settings.unknown_fields == "refuse")
    try:
        if connection is not None:
            connection.begin(request)
        if (answered := _refused(request) or _at_once(request)) is not None:
            return answered
        return await handler(request)
    except web.HTTPNotFound as error:
        return await _redirect(request) or faults.answer(error, request)
    except Exception as error:
        if BEGUN in request:  # a second head would be garbage inside the first one's body
            raise
        return faults.answer(error, request)
    finally:
        if connection is not None:
            connection.end()


def _tell(request: web.Request, response: web.StreamResponse | None) -> None:
    """Log a request that is over; without a response it was cut before its end."""
    status = CLIENT_LEFT if response is None else response.status
    took_ms = (time.monotonic() - request[counting.STARTED]) * 1000
    path = request.rel_url.raw_path
    values = {"route": counting.path_of(request) or None, "ms": round(took_ms, 1), "client": request.remote}
    access_log.info("%s %s %d", request.method, path, status, extra=logs.fields(**values))


async def headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete a response's head; called when it is about to go out, for streams too."""
    request[BEGUN] = True
    if (connection := incoming.of(request)) is not None:
        connection.answered()
    request.app[counting.COUNTS].add(request, response.status)
    response.headers[hdrs.SERVER] = "gatewayd"
    if (noted := unknown.of_request()) is not None and noted.names:
        response.headers[unknown.HEADER] = unknown.header(noted)
    cors.allow(request, response)


def _request_id(request: web.Request) -> str:
    given = request.headers.get("x-request-id", "")[:LONGEST_ID]
    # A header may hold bytes that are no UTF-8; as JSON they could not be stored.
    return given.encode("utf-8", "replace").decode() or str(uuid.uuid4())


def _refused(request: web.Request) -> web.Response | None:
    """Refuse what strangers ask for, before anything of it is done."""
    refusal = access.judge(access.rules_of(request), access.asked_of(request))
    if refusal is None:
        return None
    told, about = request.app[TOLD], refusal.about or refusal.detail
    if about not in told and len(told) < MOST_TOLD:
        told.add(about)
        log.warning("%s %s is refused: %s", request.method, request.path, refusal.detail)
    return faults.response(refusal.status, refusal.detail)


def _at_once(request: web.Request) -> web.Response | None:
    """Answer what needs no handler: preflights, and bodies that are not going to be read."""
    if request.method == hdrs.METH_OPTIONS:
        return cors.preflight(request)
    if (disabled := request.app[keys.SERVICES].project.disabled) and _switched_off(request.path, disabled):
        return faults.response(404, "Not Found")
    if (length := request.content_length) is not None and length > request.client_max_size:
        return faults.too_large(faults.TOO_LARGE.format(request.client_max_size))
    if payload.has_unknown_encoding(request):
        return payload.unknown_encoding()
    return None


def _switched_off(path: str, disabled: frozenset[str]) -> bool:
    """Whether a path belongs to a part of the API that the project has switched off."""
    if "store" in disabled and path.startswith("/store/"):
        return True
    return "meta" in disabled and (path in META or path.startswith("/docs/"))


async def _redirect(request: web.Request) -> web.Response | None:
    """Send a client that put a slash behind a known path to that path."""
    path = request.rel_url.raw_path
    stripped = path[:-1]
    if not path.endswith("/") or stripped in faults.ONLY_GET or not stripped:
        return None
    target = request.rel_url.with_path(stripped, encoded=True, keep_query=True)
    found = await request.app.router.resolve(request.clone(rel_url=target))
    if found.http_exception is not None:
        return None
    return web.Response(status=307, headers={hdrs.LOCATION: f"{request.scheme}://{request.host}{target}"})
