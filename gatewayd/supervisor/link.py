"""The daemon's side of a worker's two sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from attrs import define, field

from gatewayd.channel import frames

log = logging.getLogger(__name__)

OnFrame = Callable[[list[Any], int], None]


class _Side(asyncio.Protocol):
    """One socket: cuts what arrives into frames."""

    def __init__(self, on_frame: OnFrame, on_lost: Callable[[], None]) -> None:
        self._splitter = frames.Splitter()
        self._on_frame = on_frame
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(
            high=1 << 30
        )  # acknowledgements are small; nobody waits for the drain
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for frame, size in self._splitter.feed(data):
                self._on_frame(frame, size)
        except frames.Broken:
            log.exception("a worker sent bytes that are no frames")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._on_lost()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@define(eq=False)
class Link:
    """Both sockets of one worker. `on_lost` is called once, when either has ended."""

    on_control: OnFrame
    on_data: OnFrame
    on_lost: Callable[[], None]
    _control: _Side | None = field(default=None, init=False)
    _data: _Side | None = field(default=None, init=False)
    lost: bool = field(default=False, init=False)
    """Both sockets have ended, and everything that was in them has been read."""
    _ending: bool = field(default=False, init=False)

    async def open(self, control: socket.socket, data: socket.socket) -> None:
        """Take over the connected sockets."""
        loop = asyncio.get_running_loop()
        for sock in (control, data):
            sock.setblocking(False)
        _, self._control = await loop.create_connection(
            lambda: _Side(self.on_control, self._end), sock=control
        )
        _, self._data = await loop.create_connection(lambda: _Side(self.on_data, self._end), sock=data)

    def control(self, *frame: Any) -> None:
        """Send a frame on control; nothing happens when the worker is gone."""
        if self._control is not None and self._control.transport is not None:
            self._control.transport.write(frames.pack(*frame))

    def data(self, *frame: Any) -> None:
        """Send a frame on data."""
        if self._data is not None and self._data.transport is not None:
            self._data.transport.write(frames.pack(*frame))

    def pause(self, paused: bool) -> None:
        """Stop or resume reading data."""
        transport = self._data.transport if self._data else None
        if transport is None or transport.is_closing():
            return
        if paused and transport.is_reading():
            transport.pause_reading()
        elif not paused and not transport.is_reading():
            transport.resume_reading()

    def _end(self) -> None:
        """
        One side has ended: what is still in the other is read to its end before the link counts as lost.
        """
        if not self._ending:
            self._ending = True
            self.on_lost()
        self.lost = all(side is None or side.transport is None for side in (self._control, self._data))

    def close(self) -> None:
        """Close both sockets; what has not been sent is dropped."""
        for side in (self._control, self._data):
            if side is not None:
                side.abort()
