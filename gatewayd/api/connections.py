"""Responses that last: their heads, their beats, and their ends — orderly, by the client, or by the server's
stop.

A response that lasts is written by one task, with a deadline on every write: a client that takes nothing for
`write_timeout_s` is cut off, one that is slow is not. At the server's stop, and whenever something goes wrong
behind a head that is out, the connection is aborted, so that the terminating chunk is missing and the client
knows.

What is sent is written in slices: a client that takes its time has what it is sent and less than 100 KiB of
it in the socket's buffer, and not all of it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

from aiohttp import web
from attrs import define, field

SLICE = 32 * 1024
"""Bytes that are written at once."""
SMALL = 64 * 1024
"""Bytes that go out together with the end of the body."""


class ClientGone(ConnectionError):
    """The client has left or was cut off; nothing more can be sent."""


class Abortable(Protocol):
    """What lasts and can be cut."""

    def abort(self) -> None:
        """Close the connection without an orderly end."""


@define(eq=False)
class Connections:
    """All responses that last, so that they can be cut together."""

    cut: bool = field(default=False, init=False)
    """The server is stopping: a response that begins now is cut at once."""
    _open: set[Abortable] = field(factory=set, init=False)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, response: Abortable) -> None:
        """Remember a response that has begun."""
        self._open.add(response)
        if self.cut:
            response.abort()

    def remove(self, response: Abortable) -> None:
        """Forget a response that is over."""
        self._open.discard(response)

    def abort_all(self) -> None:
        """Cut every response that lasts, and those that are still to begin."""
        self.cut = True
        for response in list(self._open):
            response.abort()


@define(eq=False)
class StreamingResponse:
    """
    One response that lasts: ``async with StreamingResponse(…) as out: …``; the head is out when the block
    begins.

    `heartbeat_s` is the interval of the beats in seconds, `heartbeat` what is sent. Leaving the block with an
    error, or without `finish`, aborts the connection.
    """

    request: web.Request
    owner: Connections
    headers: Mapping[str, str]
    heartbeat: bytes
    heartbeat_s: float
    write_timeout_s: float
    next_heartbeat: float = field(default=0.0, init=False)
    """When the next beat is due, in the loop's seconds."""
    response: web.StreamResponse = field(init=False)
    _finished: bool = field(default=False, init=False)

    async def __aenter__(self) -> StreamingResponse:
        self.response = web.StreamResponse(headers=self.headers)
        self.owner.add(self)
        try:
            await self.response.prepare(self.request)
        except BaseException:
            self.owner.remove(self)
            raise
        self.next_heartbeat = asyncio.get_running_loop().time() + self.heartbeat_s
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self.owner.remove(self)
        if not self._finished:
            self.abort()

    def abort(self) -> None:
        """Close the connection without the terminating chunk."""
        if (transport := self.request.transport) is not None:
            transport.abort()

    async def send(self, data: bytes) -> None:
        """Write and wait until the client has taken enough of it. Raises `ClientGone`."""
        whole = memoryview(data)
        for start in range(0, len(data), SLICE):
            part = data if len(data) <= SLICE else whole[start : start + SLICE]
            await taken(
                self.request,
                self.response,
                partial(self.response.write, part),
                len(part),
                self.write_timeout_s,
            )

    async def finish(self, data: bytes = b"") -> None:
        """Write the last bytes and end the body."""
        if len(data) > SMALL:  # `send` lets a slow client take its time
            await self.send(data)
            data = b""
        try:
            async with asyncio.timeout(self.write_timeout_s):
                await self.response.write_eof(data)
        except (TimeoutError, ConnectionError) as error:
            raise ClientGone from error
        self._finished = True

    async def heartbeat_if_due(self) -> bool:
        """Send the beat when its time has come; True if it was sent."""
        now = asyncio.get_running_loop().time()
        if now < self.next_heartbeat:
            return False
        self.next_heartbeat += self.heartbeat_s * max(1, -(-(now - self.next_heartbeat) // self.heartbeat_s))
        await self.send(self.heartbeat)
        return True


async def taken(
    request: web.Request,
    response: web.StreamResponse,
    write: Callable[[], Awaitable[None]],
    size: int,
    limit_s: float,
) -> None:
    """
    Write about `size` bytes, and wait until the client has taken enough of what is unsent. Raises
    `ClientGone`.

    That is raised when the client has left, or takes nothing for `limit_s` seconds; one that takes something
    has time.
    """
    before = unsent(request) + size
    try:
        async with asyncio.timeout(limit_s):
            await write()
            return
    except TimeoutError:
        pass
    except ConnectionError as error:
        raise ClientGone from error
    while (left := unsent(request)) < before:  # slow, but it takes something
        before = left
        try:
            async with asyncio.timeout(limit_s):
                await response.drain()
                return
        except TimeoutError:
            pass
        except ConnectionError as error:
            raise ClientGone from error
    raise ClientGone("the client takes nothing")


def unsent(request: web.Request) -> int:
    """Return how many bytes the client has still to take. Raises `ClientGone`."""
    transport = request.transport
    if transport is None:
        raise ClientGone
    return int(transport.get_write_buffer_size())
