"""Errors as responses: the one table.

The body is always ``{"detail": "<text>"}``; clients read the status and that string.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from aiohttp import http_exceptions, web
from attrs import frozen

from gatewayd import errors, wire

log = logging.getLogger(__name__)


@frozen
class Told:
    """How an error is told to clients."""

    status: int
    word: str | None = None
    """The code of protocol v2; without one it is "unknown_error", and the status stands before the detail."""


TABLE: Final[dict[type[errors.GatewaydError], Told]] = {
    errors.Invalid: Told(422, "invalid_argument"),
    errors.Rejected: Told(400, "invalid_argument"),
    errors.TooLarge: Told(413),
    errors.NotFound: Told(404),
    errors.UnknownInterrupt: Told(404, "no_such_interrupt"),
    errors.Conflict: Told(409),
    errors.Unusable: Told(424),
    errors.Unavailable: Told(503),
    errors.Unanswered: Told(504),
    errors.InsufficientStorage: Told(507),
}
FAULT: Final = Told(500)
"""What is not in the table."""

ONLY_GET: Final = frozenset({"/", "/ok", "/info", "/metrics", "/openapi.json", "/docs"})
"""Paths that do not exist for other methods, as in the reference."""


def response(
    status: int, detail: str, headers: dict[str, str] | None = None, more: dict[str, Any] | None = None
) -> web.Response:
    """Return an error's response; `more` are further fields of its body."""
    body = wire.dumps({"detail": detail, **(more or {})})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def told(error: errors.GatewaydError) -> Told:
    """Return how an error of ours is told."""
    if isinstance(error, errors.ProjectRefusal):
        return Told(error.status)
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), FAULT)


def answer(error: Exception, request: web.Request) -> web.StreamResponse:
    """Return the response that tells the client of an error."""
    match error:
        case errors.TooLarge():
            return too_large(error.detail)
        case errors.GatewaydError():
            return response(told(error).status, error.detail, _headers(error))
        case web.HTTPMethodNotAllowed() if request.path in ONLY_GET:
            return response(404, "Not Found")
        case web.HTTPMethodNotAllowed():
            return response(405, "Method Not Allowed", {"Allow": ", ".join(sorted(error.allowed_methods))})
        case web.HTTPRequestEntityTooLarge():
            return too_large(TOO_LARGE.format(request.client_max_size))
        case web.HTTPException() if error.status < 400:
            return web.Response(status=error.status, headers={"Location": error.headers["Location"]})
        case web.HTTPException():
            return response(error.status, error.reason)
        case web.RequestPayloadError() | http_exceptions.HttpProcessingError():
            return response(400, "The request body could not be read")
        case _:
            log.error("%s %s failed", request.method, request.path, exc_info=error)
            return response(500, "Internal Server Error")


def _headers(error: errors.GatewaydError) -> dict[str, str] | None:
    match error:
        case errors.Unavailable():
            return {"Retry-After": "1"}
        case errors.ProjectRefusal():
            return error.headers
    return None


TOO_LARGE: Final = "Request body too large (limit: {} bytes)"


def too_large(detail: str) -> web.Response:
    """Return the refusal of a body beyond a limit; the rest of it is not read, so the connection ends."""
    closed = response(413, detail)
    closed.force_close()
    return closed
