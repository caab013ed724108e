"""The pool of parsers: the processes that large bodies are parsed in (`gatewayd.parsing` is their program).

What happens on each failure
    A parser dies at a body, or takes longer than `PATIENCE_S`: the request is 503, the next gets another
    process.
    The client leaves: the process that parses for it is killed, since nothing else would stop it.
    More bodies wait than `MOST_WAITING`: 503.
    The daemon dies: the kernel kills its parsers with it; at its stop they are killed.

A process is started when a body needs it and none is idle. After a large body it ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs
from aiohttp import web
from attrs import define, field

import gatewayd
from gatewayd import parsing, tasks, wire
from gatewayd.errors import Invalid, Unavailable
from gatewayd.limits import Limits
from gatewayd.supervisor import process

log = logging.getLogger(__name__)

PROCESSES: Final = 2
MOST_WAITING: Final = 32
PATIENCE_S: Final = 60.0
"""How long a parser may take for one body."""
PIECE: Final = 256 * 1024
"""Bytes that are given or taken in one go."""


PROGRAM: Final = (
    f"import sys; sys.path.append({str(Path(gatewayd.__file__).resolve().parent.parent)!r}); "
    "from gatewayd.parsing import main; main()"
)


class NotJson(Invalid):
    """A body is no JSON."""


@define(eq=False)
class _Parser:
    """One process and the daemon's end of its socket."""

    process: asyncio.subprocess.Process
    sock: socket.socket

    @classmethod
    async def start(cls, limits: Limits) -> _Parser:
        ours, theirs = socket.socketpair()
        arguments = [str(theirs.fileno()), json.dumps(attrs.asdict(limits))]
        try:
            with theirs:
                started = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", PROGRAM, *arguments),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=2,
                    cwd="/",
                    env=os.environ,
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                    preexec_fn=process.bind_to_parent(),
                )
        except OSError as error:
            ours.close()
            raise Unavailable(f"no process could be started: {error}") from None
        ours.setblocking(False)
        return cls(started, ours)

    async def ask(self, pieces: Iterable[bytes]) -> tuple[int, list[bytearray]]:
        """Have a body parsed. Raises `ConnectionError` if the process ends at it."""
        loop, pieces = asyncio.get_running_loop(), list(pieces)
        await loop.sock_sendall(self.sock, parsing.SIZE.pack(sum(map(len, pieces))))
        for piece in pieces:
            for start in range(0, len(piece), PIECE):
                await loop.sock_sendall(self.sock, memoryview(piece)[start : start + PIECE])
                await asyncio.sleep(0)
        kind, count = parsing.ANSWER.unpack(await self._read(parsing.ANSWER.size))
        sizes = [parsing.SIZE.unpack(await self._read(parsing.SIZE.size))[0] for _ in range(count)]
        return kind, [await self._read(size) for size in sizes]

    async def _read(self, size: int) -> bytearray:
        loop, data, done = asyncio.get_running_loop(), bytearray(size), 0
        with memoryview(data) as view:
            while done < size:
                got = await loop.sock_recv_into(self.sock, view[done : done + PIECE])
                if not got:
                    raise ConnectionError("a parser has ended")
                done += got
                await asyncio.sleep(0)
        return data

    async def end(self) -> None:
        """Kill it and wait for its end."""
        self.sock.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@define(eq=False)
class Parsers:
    """All parsers of a daemon."""

    limits: Limits
    start: Any = _Parser.start
    _idle: list[_Parser] = field(factory=list, init=False)
    _places: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(PROCESSES), init=False)
    _waiting: int = field(default=0, init=False)
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("parsers"), init=False)

    async def parsed(self, pieces: Iterable[bytes], size: int) -> Any:
        """
        Return the JSON data of a body, large values raw.

        Raises `NotJson`, `Invalid` for what is beyond a limit, and `Unavailable`.
        """
        if self._waiting >= MOST_WAITING:
            raise Unavailable("too many large requests at once")
        self._waiting += 1
        try:
            async with self._places:
                kind, parts = await self._asked(pieces, size)
        finally:
            self._waiting -= 1
        match kind:
            case parsing.DONE:
                head, *raw = parts
                return wire.joined(bytes(head), raw)
            case parsing.REFUSED:
                raise Invalid(parts[0].decode())
            case _:
                raise NotJson("Invalid JSON in request body")

    async def _asked(self, pieces: Iterable[bytes], size: int) -> tuple[int, list[bytearray]]:
        parser = self._idle.pop() if self._idle else None
        if parser is not None and parser.process.returncode is not None:
            self._end(parser)
            parser = None
        parser = parser or await self.start(self.limits)
        done = False
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await parser.ask(pieces)
            done = size < parsing.LARGE
        except (TimeoutError, ConnectionError) as error:
            log.warning("a parser failed at a body of %d bytes: %s", size, type(error).__name__)
            raise Unavailable("The request body could not be parsed") from None
        finally:
            if done:
                self._idle.append(parser)
            else:
                self._end(parser)
        return answer

    def _end(self, parser: _Parser) -> None:
        self._tasks.spawn(parser.end(), "end a parser")

    async def stop(self) -> None:
        """End those that are idle, and wait for all that are ending."""
        while self._idle:
            self._end(self._idle.pop())
        await self._tasks.join()


PARSERS: Final = web.AppKey("parsers", Parsers)
