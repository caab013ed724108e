"""The HTTP server beneath the application: what is no HTTP is answered like everything else, and hardly
logged.

aiohttp answers a request that it can't parse by itself: in plain text with what it stumbled over and with its
version, and it logs a traceback each time. What comes to an open port without being meant for us would fill
the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import hdrs, http_exceptions, web
from attrs import define, field

from gatewayd.api import faults
from gatewayd.api.requests import payload

log = logging.getLogger(__name__)

QUIET_S: Final = 10.0
"""Seconds between two lines about malformed requests."""


@define(eq=False)
class Malformed:
    """Tells of malformed requests: of the first at once, of those that follow how many they were."""

    clock: Callable[[], float] = time.monotonic
    _next: float = field(default=float("-inf"), init=False)
    _untold: int = field(default=0, init=False)

    def tell(self, remote: str | None, error: BaseException | None) -> None:
        """Log a malformed request, or count it until the next line is due."""
        now = self.clock()
        if now < self._next:
            self._untold += 1
            return
        more = f", and {self._untold} more since the last such line" if self._untold else ""
        self._next, self._untold = now + QUIET_S, 0
        log.warning("a malformed request from %s: %s%s", remote, type(error).__name__, more)


class Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ("_malformed",)

    def __init__(self, manager: web.Server, *, malformed: Malformed, **options: Any) -> None:
        super().__init__(manager, **options)
        self._malformed = malformed

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """
        Answer what has not come to a handler, or has gone wrong behind all of them; the connection ends.
        """
        if isinstance(exc, http_exceptions.HttpProcessingError):
            self._malformed.tell(request.remote, exc)
            return _closing(_refusal(exc))
        if request.writer.output_size > 0:  # aiohttp logs it and cuts the connection
            return super().handle_error(request, status, exc, message)
        self.log_exception("a request failed outside of its handler", exc_info=exc)
        return _closing(faults.response(status, "Internal Server Error"))

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """
        Log what went wrong below the application; a body that is not what its head says is the client's
        doing.
        """
        error = kw.get("exc_info")
        if isinstance(error, web.RequestPayloadError | http_exceptions.HttpProcessingError):
            self._malformed.tell(self._remote(), error)
        else:
            super().log_exception(*args, **kw)

    def _remote(self) -> str | None:
        peer = self.peername
        return str(peer[0]) if isinstance(peer, tuple) else None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; a refusal of aiohttp's own, which the middleware has not seen, in our form."""
        if isinstance(resp, web.HTTPException) and not resp.prepared:
            resp = _closing(faults.response(resp.status, resp.reason))
        sent = await super().finish_response(request, resp, start_time)
        body = request.content
        if not body.is_eof() and body.total_compressed_bytes is not None:
            self.force_close()  # aiohttp would decompress the rest, to look for the next request behind it
        return sent


def _refusal(error: http_exceptions.HttpProcessingError) -> web.Response:
    """Return the answer to what is no HTTP, without a word of it."""
    match error:
        case http_exceptions.ContentEncodingError():  # a codec that this installation does not have
            return payload.unknown_encoding()
        case http_exceptions.LineTooLong():
            return faults.response(400, "A line of the request's head is too long")
        case _:
            return faults.response(400, "The request is not valid HTTP")


def _closing(response: web.Response) -> web.Response:
    response.headers[hdrs.SERVER] = "gatewayd"
    response.force_close()
    return response


class _Server(web.Server):
    """Makes the connections."""

    def __init__(self, handler: Any, *, options: dict[str, Any], **rest: Any) -> None:
        super().__init__(handler, **rest)
        self._options = {**options, "malformed": Malformed()}

    def __call__(self) -> Connection:
        """Return what serves a new connection."""
        return Connection(self, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        options = {name: value for name, value in self._kwargs.items() if name != "handler_cancellation"}
        return _Server(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
            options=options,
        )
