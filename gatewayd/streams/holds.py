"""Keeping back the events of a run that a command of protocol v2 has started, until its client can use them.

A run starts before its command is answered, and a short one has ended by then. The SDKs subscribe their
iterators only after the answer. They drop events that arrived before, and an iterator that has missed the
run's end waits for ever. So for each run:

- No stream gets an event of the run before the command's answer is sent.
- A stream that the client had open before the command gets the run's events when the client makes another
  request on the thread (for the state, a new stream, a changed subscription), at the latest `hold_s` after
  the answer.
- A client that opens one stream after the other (`Client.rotates`) gets the run's end on later streams at the
  earliest `hold_s` after they were opened, unless it names a position in the log. All other events are sent
  at once. On a busy machine the next stream comes later; how much later is estimated from the time between
  the answer and the first stream.
- A stream that a new one replaces keeps waiting. The client is about to close it, and would take the run's
  end on it for the end of what the new stream has yet to bring.

The last three are for SDKs outside of browsers (`api.clients` recognises them). All other clients wait only
for the answer. Order is kept: events behind a waiting one wait with it.

A stream may also be opened just before its client starts a run. So a stream of a browser or a JavaScript SDK
without a position in the log waits `hold_s` before the ends of runs are replayed to it. If a run begins by
then, the ends of earlier runs come behind its own (`earlier`).
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
Seconds that a hold waits for the answer, that it lasts after the answer, and that a replaced stream waits to
be closed.
"""

SLOWER = 10
"""How many times longer a client may take for its next streams than for its first."""
SLOWEST = 8
"""The end of a run waits for a slow client at most this many times `hold_s`."""


@frozen
class Client:
    """An SDK outside of a browser."""

    key: str
    """Equal for all requests of one client."""
    rotates: bool
    """At each subscription it replaces its stream with a wider one; the first end ends all it reads."""


@define(eq=False)
class Hold:
    """The hold on the events of one run."""

    thread_id: str
    run_id: str
    client: Client | None
    """Its streams wait beyond the answer; None: no streams do."""
    number: int
    """Streams with a smaller one were open before the command."""
    over: float
    """When the hold ends at the latest, in the loop's time."""
    answered: float | None = None
    """When the command was answered."""
    asked: bool = False
    """The client has made another request on the thread."""
    pace: float | None = None
    """Seconds from the answer until the client opened its first stream."""
    _moved: asyncio.Event = field(factory=asyncio.Event, init=False)

    def move(self) -> None:
        """Wake the readers that wait."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def moved(self, until: float) -> None:
        """Wait for `move`, at the latest until a moment in the loop's time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._moved.wait()


@define(eq=False)
class Command:
    """A command, until it is answered."""

    holds: Holds
    thread_id: str
    client: Client | None
    _held: list[Hold] = field(factory=list, init=False)

    def begins(self, run_id: str) -> None:
        """Hold the events of a run that the command has created; to be called before it emits any."""
        self._held.append(self.holds._begin(self.thread_id, run_id, self.client))

    def answered(self) -> None:
        """The answer was sent, or there will be none."""
        for hold in self._held:
            self.holds._answered(hold)
        self._held.clear()


@define(eq=False)
class Reader:
    """A connection that streams the events of one thread."""

    holds: Holds
    thread_id: str
    client: Client | None
    front_end: bool = False
    """It may take any run's end for that of its own run; the Python SDK and others can tell them apart."""
    wanted: v2.Filter | None = field(default=None, init=False)
    """Its filter, if it has exactly one."""
    placed: bool = field(default=False, init=False)
    """It named its start position in the log."""
    number: int = field(default=0, init=False)
    """Commands that came later have greater numbers."""
    opened: float = field(default=0.0, init=False)
    """When it was opened, in the loop's time."""
    replaced: float | None = field(default=None, init=False)
    """When the client opened a stream that covers this one."""
    begun: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when a command begins a run on the thread."""

    def open(self, wanted: v2.Filter, *, placed: bool) -> None:
        """Start with a filter; this counts as another request on the thread."""
        self.wanted, self.placed, self.number = wanted, placed, next(self.holds.numbers)
        self.opened = asyncio.get_running_loop().time()
        self.holds._replace(self)
        self.holds._time(self)
        self.asks()

    async def starts(self) -> bool:
        """Wait `hold_s` for a run that the client may be about to start; return whether one began."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.holds.hold_s):
                await self.begun.wait()
        return self.begun.is_set()

    def widen(self) -> None:
        """Have one filter more, or fewer; this counts as another request on the thread."""
        self.wanted = None
        self.asks()

    def asks(self) -> None:
        """Record that the client has made another request on the thread."""
        self.holds.asks(self.thread_id, self.client)

    async def due(self, chunks: list[Chunk]) -> AsyncIterator[list[Chunk]]:
        """Empty a list of chunks, and yield them in pieces, each as soon as this stream may have it."""
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
        """Return how many chunks from the first on the stream may have now."""
        if not self.holds.any_on(self.thread_id):
            return len(chunks)
        return next((n for n, chunk in enumerate(chunks) if self._wait(chunk) is not None), len(chunks))

    def _wait(self, chunk: Chunk) -> tuple[Hold, float] | None:
        """Return the hold that keeps a chunk back, and when it ends at the latest."""
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
    """The holds on all threads. With `hold_s` 0 readers wait only for the answers."""

    hold_s: float = 0.25
    _held: dict[str, dict[str, Hold]] = field(factory=dict, init=False)
    """By thread and run."""
    _readers: dict[str, set[Reader]] = field(factory=dict, init=False)
    """By thread."""
    numbers: Iterator[int] = field(factory=itertools.count, init=False)

    def any_on(self, thread_id: str) -> bool:
        """Whether there are holds on the thread."""
        return thread_id in self._held

    def of(self, thread_id: str, run_id: str) -> Hold | None:
        """Return the hold on a run."""
        return self._held.get(thread_id, {}).get(run_id)

    @contextlib.contextmanager
    def command(self, thread_id: str, client: Client | None) -> Iterator[Command]:
        """Hold the runs that a command starts; the command must be answered inside the block."""
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
        """Record that a client has made another request on a thread."""
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
