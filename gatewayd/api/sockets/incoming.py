"""Connections as they come in: how many there may be, and that what a client owes makes progress (with
`listening`).

An `Incoming` stands between a socket and aiohttp's HTTP protocol. It passes everything on, counts bytes, and
knows what the client owes. Its states, and who moves them:

    head        opened, or bytes have come that belong to no request yet [data_received]
    body        a handler is at work, and its request's body has not come whole [begin]
    busy        a handler is at work; its response may last (a stream, a WebSocket) [begin, or the end of the
                body]
    idle        the response is on its way, or out [end]; the next byte begins a head

What a client may not do, and what happens then:

    head or body stands still           no byte for `receive_timeout_s`, or less than `SLOWEST` bytes a second
                                        over that time: 408, unless a response has begun, and the connection
                                        is closed. The handshake of a WebSocket is a head; afterwards PINGs
                                        take over.
    it takes nothing of a response      for `write_timeout_s`: aborted. (Responses that last see to that
                                        themselves.)
    connections beyond the limit        503 when the head comes, then closed. All connections count, and those
                                        of one address where it is known (`addresses`); behind a proxy that
                                        tells it, requests under way take their place. Beyond `REFUSED` at
                                        once none is answered.

While we do not read (the handler takes nothing of the body), and while the event loop stands, no time counts.
If there are nearly as many connections as may be, those that have been idle for `IDLE_S` are closed, the
longest idle first, so that keep-alive keeps no one out. A connection that owes nothing costs nothing: the
watch, once a second, looks only at `Listener.owing`. In the log a refusal or an end costs one line a minute.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import StreamReader, hdrs, web

from gatewayd import wire
from gatewayd.api.sockets.addresses import Addresses

SLOWEST: Final = 1000.0
"""Bytes a second that a head or a body must have on average."""
TICK_S: Final = 1.0
"""Between two looks at what is owed."""
UNSENT: Final = 32 * 1024
"""Bytes in a connection's buffer from which on its writer has to wait."""
TOO_SLOW: Final = "The request came too slowly"
REASONS: Final = {408: "Request Timeout", 503: "Service Unavailable"}


class Owner(Protocol):
    """The owner of connections (`listening.Listener`), as each of them needs it."""

    addresses: Addresses
    receive_timeout_s: float
    write_timeout_s: float
    clock: Callable[[], float]
    open: set[Incoming]
    owing: set[Incoming]
    """Connections that the watch looks at."""
    refusals: int

    def lets_in(self, connection: Incoming) -> bool:
        """Take a connection in; False if it is refused."""

    def reason(self, connection: Incoming) -> str:
        """Return why a connection was refused, in a sentence."""

    def forget(self, connection: Incoming) -> None:
        """Note the end of a connection."""

    def count(self, address: str | None) -> None:
        """Count a request for an address that its proxy has told. Raises `Unavailable`."""

    def uncount(self, address: str | None) -> None:
        """Count one less for an address."""

    def tell_slow(self, received: int) -> None:
        """Note that a connection is ended because what it sends makes no progress."""


class Incoming(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_answered",
        "_body",
        "_handling",
        "_inner",
        "_mark",
        "_marked",
        "_moved",
        "_pending",
        "_received",
        "_seen",
        "_told",
        "_transport",
        "_unsent",
        "address",
        "listener",
        "since",
    )

    def __init__(self, listener: Owner, make: Callable[[], asyncio.Protocol]) -> None:
        self.listener = listener
        self._inner: asyncio.Protocol | None = make()
        self.address: str | None = None
        """What the connection counts for."""
        self.since = listener.clock()
        """Since when it has been in its state, in the listener's seconds."""
        self._told: str | None = None
        """What the present request counts for, by what its proxy says."""
        self._handling = False
        self._answered = False
        """A response's head is out; or the 503 of a refused connection."""
        self._pending = True
        self._body: StreamReader | None = None
        self._received = 0
        """Bytes that have come in all."""
        self._seen = 0
        """Those that had come at the last look."""
        self._moved = self.since
        """When a look last found more."""
        self._mark = 0
        self._marked = self.since
        """Bytes and time of the beginning of the present measurement."""
        self._unsent: float = math.inf
        """Bytes that the client had still to take at the last look."""

    # the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or refuse it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.address = self.listener.addresses.of_peer(transport.get_extra_info("peername"))
        transport.set_write_buffer_limits(high=UNSENT)
        if self.listener.lets_in(self):
            assert self._inner is not None
            self._inner.connection_made(transport)
        else:
            self._inner = None

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            if not self._answered:
                self._say(503, self.listener.reason(self))
                self._transport.write_eof()
            return
        self._received += len(data)
        if not self._pending and not self._handling:
            self._pending = True
            self._owe()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the client's end on."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on that the client takes too little."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on that the client takes more."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.forget(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    # the handler's side

    def begin(self, request: web.Request) -> None:
        """
        Note that a request is being handled. Raises `Unavailable` if its address has too many under way.
        """
        self._handling, self._answered, self._pending = True, False, False
        self._body = None if request.content.is_eof() else request.content
        if self._body is None:
            self.listener.owing.discard(self)
        else:
            self._owe()
        if hdrs.X_FORWARDED_FOR in request.headers:
            told = self.listener.addresses.of_request(
                self._transport.get_extra_info("peername"), request.headers.getall(hdrs.X_FORWARDED_FOR)
            )
            self.listener.count(told)
            self._told = told

    def answered(self) -> None:
        """Note that a response's head is out."""
        self._answered = True

    def end(self) -> None:
        """Note that the handler is done with the request."""
        self.listener.uncount(self._told)
        self._told, self._handling, self._body = None, False, None
        self._unsent = math.inf
        if not self._transport.is_closing():
            self._owe()

    # the watch's side

    def check(self, now: float) -> None:
        """Cut the connection if it owes something for too long; stop watching it if it owes nothing."""
        if not self._handling and not self._pending:
            self._check_taking(now)
        elif self._handling and (self._body is None or self._body.is_eof() or self._body.exception()):
            self._body = None
            self.listener.owing.discard(self)
        elif self._handling and not self._transport.is_reading():  # the handler takes its time
            self._measure(now)
        else:
            self._check_coming(now)

    def _check_coming(self, now: float) -> None:
        limit = self.listener.receive_timeout_s
        if self._received != self._seen:
            self._seen, self._moved = self._received, now
        if now - self._moved < limit:
            if now - self._marked < limit:
                return
            if self._received - self._mark >= SLOWEST * (now - self._marked):
                self._measure(now)
                return
        self.listener.tell_slow(self._received)
        if self._received and not self._answered:
            self._say(408, TOO_SLOW)
            self._transport.close()
        else:
            self._transport.abort()

    def _check_taking(self, now: float) -> None:
        left = self._transport.get_write_buffer_size()
        if not left and now - self.since > 2 * TICK_S:  # the response has been written by now
            self.listener.owing.discard(self)
        elif not left or left < self._unsent:
            self._unsent, self._moved = left or math.inf, now
        elif now - self._moved >= self.listener.write_timeout_s:
            self._transport.abort()

    def forgive(self, seconds: float) -> None:
        """Leave out of account a time in which nothing could have been read."""
        self._moved += seconds
        self._marked += seconds

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self._handling or self._pending or self._transport.get_write_buffer_size())

    def close(self) -> None:
        """Close the connection when all has been sent."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _owe(self) -> None:
        self.since = self.listener.clock()
        self._measure(self.since)
        self.listener.owing.add(self)

    def _measure(self, now: float) -> None:
        self._mark = self._seen = self._received
        self._marked = self._moved = now

    def _say(self, status: int, detail: str) -> None:
        """Write a response in place of aiohttp, which has none to write."""
        self._answered = True
        body = wire.dumps({"detail": detail})
        retry = "Retry-After: 1\r\n" if status == 503 else ""
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nServer: gatewayd\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n{retry}\r\n"
        )
        self._transport.write(head.encode() + body)


def of(request: web.Request) -> Incoming | None:
    """Return the connection of a request; None in tests that have no listener."""
    transport = request.transport
    protocol = None if transport is None else transport.get_protocol()
    return protocol if isinstance(protocol, Incoming) else None
