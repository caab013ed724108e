"""
The listening socket and all its connections: their limits, and the watch over what they owe. See `incoming`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from aiohttp import web
from attrs import define, field

from gatewayd import logs
from gatewayd.api.sockets.addresses import Addresses
from gatewayd.api.sockets.incoming import TICK_S, Incoming
from gatewayd.errors import Unavailable

log = logging.getLogger(__name__)

REFUSED: Final = 64
"""Refused connections that wait for their 503, or for their end behind it."""
REFUSED_S: Final = 5.0
"""How long one may wait."""
CROWDED: Final = 0.9
"""Share of the connections from which on idle ones are closed."""
IDLE_S: Final = 10.0
"""How long a connection must have been idle for that."""
ACCEPTED_AT_ONCE: Final = 64
"""Connections that are accepted in one turn of the loop."""

TOO_MANY: Final = "Too many connections; try again later"
TOO_MANY_OF_ONE: Final = "Too many connections from one address; try again later"


@define(eq=False)
class Listener:
    """All connections of a socket, their limits and their watch."""

    addresses: Addresses
    most: int
    """Connections."""
    most_of_one: int
    """Connections, or requests that proxies pass on, of one address; 0: no limit."""
    receive_timeout_s: float
    write_timeout_s: float
    clock: Callable[[], float] = field(factory=lambda: asyncio.get_running_loop().time)
    open: set[Incoming] = field(factory=set, init=False)
    refused: set[Incoming] = field(factory=set, init=False)
    refusals: int = field(default=0, init=False)
    """Connections and requests that were refused since the start."""
    owing: set[Incoming] = field(factory=set, init=False)
    """Those that the watch looks at."""
    _counts: Counter[str] = field(factory=Counter, init=False)
    """Connections and requests by address."""
    _checked: float | None = field(default=None, init=False)
    _full: logs.Seldom = field(factory=logs.Seldom, init=False)
    _slow: logs.Seldom = field(factory=logs.Seldom, init=False)

    def lets_in(self, connection: Incoming) -> bool:
        """Take a connection in; False if it is refused."""
        if self._reason(connection) is None:
            self.open.add(connection)
            self.owing.add(connection)
            if connection.address is not None:
                self._counts[connection.address] += 1
            return True
        self._refuse(connection.address)
        if len(self.refused) < REFUSED:
            self.refused.add(connection)
        else:
            connection.abort()
        return False

    def reason(self, connection: Incoming) -> str:
        """Return why a connection was refused, in a sentence."""
        return self._reason(connection) or TOO_MANY

    def _reason(self, connection: Incoming) -> str | None:
        if len(self.open) >= self.most:
            return TOO_MANY
        return TOO_MANY_OF_ONE if self._is_full(connection.address) else None

    def _is_full(self, address: str | None) -> bool:
        return address is not None and 0 < self.most_of_one <= self._counts[address]

    def _refuse(self, address: str | None) -> None:
        self.refusals += 1
        if (times := self._full.times()) is not None:
            log.warning("refused %d connections or requests; the last was of %s", times, address or "a proxy")

    def forget(self, connection: Incoming) -> None:
        """Note the end of a connection."""
        self.owing.discard(connection)
        self.refused.discard(connection)
        if connection in self.open:
            self.open.remove(connection)
            self.uncount(connection.address)

    def count(self, address: str | None) -> None:
        """Count a request for an address that its proxy has told. Raises `Unavailable`."""
        if address is None:
            return
        if self._is_full(address):
            self._refuse(address)
            raise Unavailable(TOO_MANY_OF_ONE)
        self._counts[address] += 1

    def uncount(self, address: str | None) -> None:
        """Count one less for an address."""
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def tell_slow(self, received: int) -> None:
        """Note that a connection is ended because what it sends makes no progress."""
        if received and (times := self._slow.times()) is not None:
            log.info("ended %d connections whose requests came too slowly", times)

    def check(self) -> None:
        """Look at what connections owe."""
        now = self.clock()
        late = 0.0 if self._checked is None else now - self._checked - TICK_S
        self._checked = now
        for connection in list(self.owing):
            if late > TICK_S:  # the loop stood
                connection.forgive(late)
            connection.check(now)
        for connection in list(self.refused):
            if now - connection.since >= REFUSED_S:
                connection.abort()
        if len(self.open) > CROWDED * self.most:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        idle = [
            connection for connection in self.open if connection.idle and now - connection.since >= IDLE_S
        ]
        idle.sort(key=lambda each: each.since)
        for connection in idle[: len(self.open) - int(CROWDED * self.most)]:
            connection.close()

    async def watch(self, turned: Callable[[], object] = lambda: None) -> None:
        """Look once a second, for ever; `turned` is called after each look."""
        while True:
            await asyncio.sleep(TICK_S)
            self.check()
            turned()


class Site(web.BaseSite):
    """A bound socket, served by a runner's HTTP protocol behind a listener."""

    def __init__(self, runner: web.BaseRunner, sock: socket.socket, listener: Listener, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._sock = sock
        self._listener = listener

    @property
    def name(self) -> str:
        return str(self._sock.getsockname())

    async def start(self) -> None:
        """Accept connections from now on."""
        await super().start()
        make = self._runner.server
        assert make is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Incoming(self._listener, make), sock=self._sock, backlog=ACCEPTED_AT_ONCE
        )
        self._sock.listen(self._backlog)  # asyncio takes one number for both
