"""
A cable between clients and a server that can be cut and mended.

    async with Cable(port) as cable:
        ...                      # clients at cable.url
        cable.cut()              # every connection is reset; new ones are accepted, and get no answer
        cable.mend()             # those that wait are connected
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Cable:
    """A port whose connections are passed on to the server's."""

    def __init__(self, port: int) -> None:
        """`port`: of the server, on this machine."""
        self.port = port
        self.url = ""
        self._whole = asyncio.Event()
        self._whole.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self._whole.set()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection; those that are made from now on wait."""
        self._whole.clear()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    def mend(self) -> None:
        """Connect those that wait, and whoever comes."""
        self._whole.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        except OSError:  # one side is gone, so the other one goes
            pass
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()
