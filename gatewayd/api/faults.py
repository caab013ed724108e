"""Errors as responses: the one table.

The body is always ``{"detail": "<text>"}``; clients read the status and that string.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from aiohttp import http_exceptions, web

from gatewayd import errors, wire

log = logging.getLogger(__name__)

STATUSES: Final[dict[type[errors.GatewaydError], int]] = {
    errors.Invalid: 422,
    errors.Rejected: 400,
    errors.TooLarge: 413,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unusable: 424,
    errors.Unavailable: 503,
    errors.Unanswered: 504,
    errors.InsufficientStorage: 507,
}

ONLY_GET: Final = frozenset({"/", "/ok", "/info", "/metrics", "/openapi.json", "/docs"})
"""Paths that do not exist for other methods, as in the reference."""


def response(
    status: int, detail: str, headers: dict[str, str] | None = None, more: dict[str, Any] | None = None
) -> web.Response:
    """Return an error's response; `more` are further fields of its body."""
    body = wire.dumps({"detail": detail, **(more or {})})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def status_of(error: errors.GatewaydError) -> int:
    """Return the status of an error of ours."""
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return 500


def answer(error: Exception, request: web.Request) -> web.StreamResponse:
    """Return the response that tells the client of an error."""
    match error:
        case errors.TooLarge():
            return too_large(error.detail)
        case errors.GatewaydError():
            retry = {"Retry-After": "1"} if isinstance(error, errors.Unavailable) else None
            return response(status_of(error), error.detail, retry)
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


TOO_LARGE: Final = "Request body too large (limit: {} bytes)"


def too_large(detail: str) -> web.Response:
    """Return the refusal of a body beyond a limit; the rest of it is not read, so the connection ends."""
    closed = response(413, detail)
    closed.force_close()
    return closed
