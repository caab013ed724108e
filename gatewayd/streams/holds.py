"""Events of a run that a command of protocol v2 has started, kept back from streams until their client can
use them.

A run is started before its command is answered, and a quick one is over by then. The SDKs subscribe their
iterators after the answer only: what a stream of theirs has brought before is lost, and an iterator that has
missed the run's end waits for ever. So, for each run by itself:

- No stream gets an event of the run before the command's answer has left.
- A stream that the client had open before the command gets the run's events when the client asks again on the
  thread (for the state, a new stream, a changed subscription), at the latest `hold_s` after the answer.
- A client that opens one stream after the other (`Client.rotates`) gets the run's end on later streams no
  sooner than `hold_s` after the opening, unless it names a place in the log. Everything else it gets at once.
  On a busy machine the next stream takes longer to come: the time that the first one took after the answer
  tells how much.
- A stream that a new one replaces goes on waiting: the client is about to close it, and would take the run's
  end on it for the end of what the new one is still to bring.

The last two are for SDKs outside of browsers (`api.clients` tells who that is); nobody else waits beyond the
answer. Order is kept: what lies behind an event that waits, waits with it.

A stream may also come just before its client starts a run. A browser's or a JavaScript SDK's that names no
place in the log therefore waits for `hold_s` before it is replayed the ends of runs: if a run begins, they
come behind its own (`earlier`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence

from attrs import define, field, frozen

from gatewayd.model.event import Chunk
from gatewayd.streams import earlier, v2

LONGEST_S = 5.0
"""
Seconds for which an answer is waited for, a run is known to have been started by a command, and a replaced
stream waits to be closed.
"""

SLOWER = 10
"""How much longer than for its first stream a client may take for all the others."""
SLOWEST = 8
"""How much longer than otherwise the end of a run waits for a slow client, at most."""


@frozen
class Client:
    """An SDK outside of a browser."""

    key: str
    """The same for all requests of one client."""
    rotates: bool
    """
    It replaces its stream with a wider one at each subscription, and ends what it reads by the first end that
    comes.
    """


@define(eq=False)
class Hold:
    """What is kept back of one run."""

    thread_id: str
    run_id: str
    client: Client | None
    """Whose streams wait beyond the answer; None: nobody's."""
    number: int
    """Streams with a smaller one were open before the command."""
    over: float
    """When it ends in any case, in the loop's seconds."""
    answered: float | None = None
    """When the command was answered."""
    asked: bool = False
    """The client has asked again."""
    pace: float | None = None
    """Seconds from the answer until the client opened its first stream."""
    _moved: asyncio.Event = field(factory=asyncio.Event, init=False)

    def move(self) -> None:
        """Have those who wait look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def moved(self, until: float) -> None:
        """Wait until there is reason to look again, or a moment in the loop's seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._moved.wait()


@define(eq=False)
class Command:
    """A command, while it is carried out and answered."""

    holds: Holds
    thread_id: str
    client: Client | None
    _held: list[Hold] = field(factory=list, init=False)

    def begins(self, run_id: str) -> None:
        """Keep back the events of a run that the command has made; before it emits any."""
        self._held.append(self.holds._begin(self.thread_id, run_id, self.client))

    def answered(self) -> None:
        """The answer has left, or there will be none."""
        for hold in self._held:
            self.holds._answered(hold)
        self._held.clear()


@define(eq=False)
class Reader:
    """A connection that brings the events of one thread."""

    holds: Holds
    thread_id: str
    client: Client | None
    front_end: bool = False
    """It may take any run's end for that of its own; the Python SDK and others tell them apart."""
    wanted: v2.Filter | None = field(default=None, init=False)
    """Its filter if it has one alone."""
    placed: bool = field(default=False, init=False)
    """It has named the place in the log at which it begins."""
    number: int = field(default=0, init=False)
    """Those of commands that came later are greater."""
    opened: float = field(default=0.0, init=False)
    """When, in the loop's seconds."""
    replaced: float | None = field(default=None, init=False)
    """When the client opened a stream that brings all that this one does."""
    begun: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when a command begins a run on the thread."""

    def open(self, wanted: v2.Filter, *, placed: bool) -> None:
        """Begin with a filter; this is to ask again on the thread."""
        self.wanted, self.placed, self.number = wanted, placed, next(self.holds.numbers)
        self.opened = asyncio.get_running_loop().time()
        self.holds._replace(self)
        self.holds._time(self)
        self.asks()

    async def starts(self) -> bool:
        """Wait a moment for a run that the client may be about to start; whether one has begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.holds.hold_s):
                await self.begun.wait()
        return self.begun.is_set()

    def widen(self) -> None:
        """Have one filter more, or less; this is to ask again on the thread."""
        self.wanted = None
        self.asks()

    def asks(self) -> None:
        """Note that the client asks again on the thread."""
        self.holds.asks(self.thread_id, self.client)

    async def due(self, chunks: list[Chunk]) -> AsyncIterator[list[Chunk]]:
        """Take the chunks out of a list, in pieces, each when this stream may have it."""
        while chunks:
            if free := self.free(chunks):
                due = chunks[:free]
                del chunks[:free]
                yield due
                del due
            elif (wait := self._wait(chunks[0])) is not None:
                hold, until = wait
                await hold.moved(until)

    def free(self, chunks: Sequence[Chunk]) -> int:
        """Return how many of the chunks, from the first on, the stream may have now."""
        if not self.holds.any_on(self.thread_id):
            return len(chunks)
        return next((n for n, chunk in enumerate(chunks) if self._wait(chunk) is not None), len(chunks))

    def _wait(self, chunk: Chunk) -> tuple[Hold, float] | None:
        """Return what keeps a chunk back, and until when at the latest."""
        hold = self.holds.of(self.thread_id, chunk.run_id)
        if hold is None or (until := self._until(hold, chunk)) is None:
            return None
        return None if asyncio.get_running_loop().time() >= until else (hold, until)

    def _until(self, hold: Hold, chunk: Chunk) -> float | None:
        if hold.answered is None:
            return hold.over
        if hold.client is None or self.client is None or hold.client.key != self.client.key:
            return None
        hold_s, earlier = self.holds.hold_s, self.number < hold.number
        if not earlier and (not self.client.rotates or self.placed or not _ends(chunk)):
            return None
        if self.replaced is not None:
            return self.replaced + LONGEST_S
        if earlier and not hold.asked:
            return hold.answered + hold_s
        if self.client.rotates and not self.placed and _ends(chunk):
            slowly = min(SLOWER * (hold.pace or 0.0), SLOWEST * hold_s)
            return max(hold.answered, self.opened) + max(hold_s, slowly)
        return None


def _ends(chunk: Chunk) -> bool:
    return any(map(earlier.ends, chunk.records))


@define(eq=False)
class Holds:
    """What is kept back on all threads; `hold_s` is 0 for nothing beyond the answers."""

    hold_s: float = 0.25
    _held: dict[str, dict[str, Hold]] = field(factory=dict, init=False)
    """By thread and run."""
    _readers: dict[str, set[Reader]] = field(factory=dict, init=False)
    """By thread."""
    numbers: Iterator[int] = field(factory=itertools.count, init=False)

    def any_on(self, thread_id: str) -> bool:
        """Whether something of the thread is kept back."""
        return thread_id in self._held

    def of(self, thread_id: str, run_id: str) -> Hold | None:
        """Return what is kept back of a run."""
        return self._held.get(thread_id, {}).get(run_id)

    @contextlib.contextmanager
    def command(self, thread_id: str, client: Client | None) -> Iterator[Command]:
        """Provide for the runs that a command starts; it is to be answered inside the block."""
        carried = Command(self, thread_id, client)
        try:
            yield carried
        finally:
            carried.answered()

    @contextlib.contextmanager
    def reader(self, thread_id: str, client: Client | None, *, front_end: bool = False) -> Iterator[Reader]:
        connected = Reader(self, thread_id, client, front_end)
        readers = self._readers.setdefault(thread_id, set())
        readers.add(connected)
        try:
            yield connected
        finally:
            readers.discard(connected)
            if not readers and self._readers.get(thread_id) is readers:
                del self._readers[thread_id]

    def _replace(self, opened: Reader) -> None:
        if opened.client is None or opened.wanted is None or not self.any_on(opened.thread_id):
            return
        for other in self._readers[opened.thread_id] - {opened}:
            wanted = other.wanted if other.client == opened.client and other.replaced is None else None
            if wanted is not None and opened.wanted.covers(wanted):
                other.replaced = opened.opened

    def _time(self, opened: Reader) -> None:
        for hold in self._held.get(opened.thread_id, {}).values():
            if hold.client == opened.client and hold.answered is not None and hold.pace is None:
                hold.pace = opened.opened - hold.answered

    def asks(self, thread_id: str, client: Client | None) -> None:
        """Note that a client asks again on a thread."""
        for hold in self._held.get(thread_id, {}).values():
            if client is not None and hold.client is not None and hold.client.key == client.key:
                hold.asked = True
                hold.move()

    def _begin(self, thread_id: str, run_id: str, client: Client | None) -> Hold:
        loop = asyncio.get_running_loop()
        over = loop.time() + LONGEST_S
        hold = Hold(thread_id, run_id, client if self.hold_s else None, next(self.numbers), over)
        self._held.setdefault(thread_id, {})[run_id] = hold
        loop.call_at(over, self._end, hold)
        for reader in self._readers.get(thread_id, ()):
            reader.begun.set()
        return hold

    def _answered(self, hold: Hold) -> None:
        loop = asyncio.get_running_loop()
        hold.answered = loop.time()
        hold.over = hold.answered + (LONGEST_S if hold.client is not None else 0)
        loop.call_at(hold.over, self._end, hold)
        hold.move()

    def _end(self, hold: Hold) -> None:
        held = self._held.get(hold.thread_id, {})
        if asyncio.get_running_loop().time() >= hold.over and held.get(hold.run_id) is hold:
            del held[hold.run_id]
            if not held:
                del self._held[hold.thread_id]
        hold.move()
