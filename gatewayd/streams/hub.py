"""The hub: the latest committed chunks of each thread, and the cursors that read the logs.

See the package's docstring.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
import operator
from collections import deque
from collections.abc import Awaitable, Callable, Container
from functools import partial
from types import TracebackType
from typing import TypeVar

from attrs import define, field, frozen

from gatewayd.errors import Damaged, Unavailable
from gatewayd.model.event import Chunk
from gatewayd.storage import store

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGE_BYTES = 96 * 1024
"""What a cursor takes from a tail at once."""

STALE_ENTRIES = 10_000
"""When more entries of the eviction order belong to removed topics, they are removed."""

AGAIN_S = 0.2
"""Pause before a failed read is retried; it doubles with every further failure."""
LONGEST_AGAIN_S = 5.0

_LAST_SEQ = operator.attrgetter("last_seq")


@define(eq=False)
class Topic:
    """A thread with readers: its tail, and how far its log has been published."""

    published: int | None = None
    """Number of the newest published event; None until one is published while the topic exists."""
    covered_from: int | None = None
    """Everything published after this number is in the tail; None: the tail covers nothing."""
    tail: deque[Chunk] = field(factory=deque)
    held: int = 0
    """Bytes in the tail."""
    last_event: Chunk | None = None
    """The last event for the readers of a deleted thread; it is not stored."""
    readers: int = 0
    nudges: int = 0
    """How often the cursors were woken without an event."""
    waiting: set[asyncio.Future[None]] = field(factory=set)

    def wake(self) -> None:
        """Wake every cursor that waits."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)
        self.waiting.clear()

    def after(self, position: int) -> list[Chunk]:
        """Return the tail's chunks after `position`: at least one, and no more than a page."""
        tail = self.tail
        start = len(tail) - 1  # mostly it is the last one
        if start and tail[start - 1].last_seq > position:
            start = bisect.bisect_right(tail, position, key=_LAST_SEQ)
        page = [tail[start]]
        size = tail[start].size
        for index in range(start + 1, len(tail)):
            size += tail[index].size
            if size > PAGE_BYTES:
                break
            page.append(tail[index])
        return page


@define(eq=False)
class Hub:
    """All topics. `budget` is the memory of all tails together, in bytes."""

    storage: store.Storage
    budget: int = 64 << 20
    held: int = field(default=0, init=False)
    """Bytes in the tails."""
    _topics: dict[str, Topic] = field(factory=dict, init=False)
    _order: deque[tuple[Topic, int]] = field(factory=deque, init=False)
    """One entry per chunk in a tail, oldest first. Entries of removed topics are skipped."""
    _stale: int = field(default=0, init=False)
    """Entries of removed topics."""

    @property
    def readers(self) -> int:
        return sum(topic.readers for topic in self._topics.values())

    def has_readers(self, thread_id: str) -> bool:
        """Whether the thread has readers."""
        return thread_id in self._topics

    def has(self, thread_id: str, topic: Topic) -> bool:
        """Whether this is still the thread's topic."""
        return self._topics.get(thread_id) is topic

    def publish(self, chunk: Chunk) -> None:
        """
        Show a committed chunk to the thread's cursors. A thread's chunks come in the order of their numbers.
        """
        topic = self._topics.get(chunk.thread_id)
        if topic is None:
            return
        if chunk.blobs:
            self.storage.states_take(chunk)
            chunk.blobs = ()
        if topic.covered_from is None:
            topic.covered_from = chunk.first_seq - 1
        topic.published = chunk.last_seq
        topic.tail.append(chunk)
        weight = chunk.weight
        topic.held += weight
        self.held += weight
        self._order.append((topic, weight))
        while self.held > self.budget:
            self._evict()
        topic.wake()

    def _evict(self) -> None:
        topic, weight = self._order.popleft()
        if not topic.readers:
            self._stale -= 1
            return
        self.held -= weight
        topic.held -= weight
        topic.covered_from = topic.tail.popleft().last_seq

    def wake_readers(self, thread_id: str) -> None:
        """Have the thread's cursors return an empty page: a run was removed without a last event."""
        if topic := self._topics.get(thread_id):
            topic.nudges += 1
            topic.wake()

    def drop(self, thread_id: str, last_event: Chunk | None = None) -> None:
        """
        Detach the cursors of a deleted thread. New cursors don't share their topic, and no event reaches
        them.

        The exception is `last_event`, which every one of them gets at any position.
        """
        self.wake_readers(thread_id)
        if (topic := self._topics.pop(thread_id, None)) is not None:
            topic.last_event = last_event

    def join(self, thread_id: str) -> Topic:
        """Add a reader to the thread's topic and return the topic."""
        topic = self._topics.setdefault(thread_id, Topic())
        topic.readers += 1
        return topic

    def leave(self, thread_id: str, topic: Topic) -> None:
        """Remove a reader; with the last one the tail goes too."""
        topic.readers -= 1
        if topic.readers:
            return
        if self._topics.get(thread_id) is topic:
            del self._topics[thread_id]
        self.held -= topic.held
        self._stale += len(topic.tail)
        topic.tail.clear()
        if self._stale > STALE_ENTRIES and self._stale * 2 > len(self._order):
            self._order = deque(entry for entry in self._order if entry[0].readers)
            self._stale = 0


@frozen
class Gap:
    """Events that are not kept any more for a reader."""

    after: int
    """Number of the last event that the reader got."""
    resumes_at: int
    """Number from which on everything is kept."""
    attempt: int = 0
    """The run's attempt, for a reader of one run."""


@define(eq=False)
class Cursor:
    """
    A position in a thread's log: ``with Cursor(hub, thread_id, after) as cursor: chunks = await
    cursor.page()``.

    With `run_id` only chunks of that run are returned. Pages are empty only after `wake_readers`, and where
    events were removed before this reader reached them; then `gap` is set until the next page. Whole states
    in the pages are joined. With `kinds`, only states in records of these kinds are joined, and other records
    with a state are left out.
    """

    hub: Hub
    thread_id: str
    position: int
    run_id: str | None = None
    kinds: Container[str] | None = None
    gap: Gap | None = field(default=None, init=False)
    """Events that the last page left out; the position is after them."""
    _topic: Topic = field(init=False)
    _nudges: int = field(init=False)
    """The topic's `nudges` that were handled."""

    def __enter__(self) -> Cursor:
        self._topic = self.hub.join(self.thread_id)
        self._nudges = self._topic.nudges
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hub.leave(self.thread_id, self._topic)

    def skip_to_now(self) -> bool:
        """Move to the newest published event, if it is known."""
        if self._topic.published is None:
            return False
        self.position = max(self.position, self._topic.published)
        return True

    @property
    def detached(self) -> bool:
        """
        Whether the thread was deleted: no more events come, though a new thread may have its id.
        """
        return not self.hub.has(self.thread_id, self._topic)

    def last_event(self) -> list[Chunk]:
        """Return the last event of a deleted thread, if there is one."""
        last = self._topic.last_event
        return [] if last is None else [last]

    async def page(self) -> list[Chunk]:
        """Return the next chunks, oldest first, as soon as there are any."""
        before = self.position
        chunks = await self._next()
        if not any(chunk.parts for chunk in chunks):
            return chunks
        try:
            return [await self._read(partial(self._joined, chunk)) for chunk in chunks]
        except BaseException:  # a reader whose wait was cancelled will ask again
            self.position = before
            raise

    async def _next(self) -> list[Chunk]:
        topic, self.gap = self._topic, None
        while True:
            published = topic.published
            if published is not None and published <= self.position:
                if await self._nudged():
                    return []
            elif topic.covered_from is not None and self.position >= topic.covered_from:
                chunks = self._taken(topic.after(self.position))
                if chunks := self._of_run(chunks):
                    return chunks
            else:
                chunks = await self._read(self._page)
                if self.detached:  # the chunks may be of another thread with its id
                    return []
                if await self._passed_over(chunks):
                    return []
                if chunks:
                    return self._taken(chunks)
                if published is not None:  # all of this run up to there has been read
                    self.position = max(self.position, published)
                elif topic.published is None and await self._nudged():
                    return []

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        """
        Read, and retry while storage is unavailable: a stream survives a lock or a fault of the disk.
        """
        pause_s = AGAIN_S
        while True:
            try:
                return await read()
            except Damaged:
                raise
            except Unavailable as error:
                log.warning("events of thread %s can't be read now: %s", self.thread_id, error.detail)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_AGAIN_S, pause_s * 2)

    async def _page(self) -> list[Chunk]:
        return await self.hub.storage.events_page(self.thread_id, self.position, self.run_id)

    async def _joined(self, chunk: Chunk) -> Chunk:
        return await self.hub.storage.chunk_joined(chunk, self.kinds)

    async def _removed(self) -> tuple[int, int] | None:
        """Return the number up to which events were removed, and the run's attempt; None if none were."""
        storage = self.hub.storage
        if self.run_id is not None:
            return await storage.run_events_gap(self.thread_id, self.run_id, self.position)
        gone_to = await storage.events_gap(self.thread_id, self.position)
        return None if gone_to is None else (gone_to, 0)

    async def _passed_over(self, chunks: list[Chunk]) -> bool:
        """
        Move past events that were removed between the position and the chunks read; True if any were.

        This is looked up after the chunks were read; otherwise a removal in between would go unnoticed. A gap
        in the numbers alone proves nothing: numbers may have been lost, and other runs use some.
        """
        following = chunks[0].first_seq if chunks else self._topic.published
        if following is None or following <= self.position + 1:
            return False
        removed = await self._read(self._removed)
        if removed is None:
            return False
        gone_to, attempt = removed
        self.gap = Gap(self.position, gone_to + 1, attempt)
        self.position = gone_to
        return True

    def _taken(self, chunks: list[Chunk]) -> list[Chunk]:
        """Move past the chunks, and cut the records before the position off the first one."""
        first = chunks[0]
        if first.first_seq <= self.position:  # the reader has its beginning
            chunks = [first.behind(self.position), *chunks[1:]]
        self.position = chunks[-1].last_seq
        return chunks

    def _of_run(self, chunks: list[Chunk]) -> list[Chunk]:
        if self.run_id is None:
            return chunks
        return [chunk for chunk in chunks if chunk.run_id == self.run_id]

    async def _nudged(self) -> bool:
        """
        Wait for a publication or a nudge, unless a nudge is unhandled; True if there was a nudge.
        """
        if self._nudges == self._topic.nudges:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._topic.waiting.add(waiter)
            try:
                await waiter
            finally:
                self._topic.waiting.discard(waiter)
        nudged = self._nudges != self._topic.nudges
        self._nudges = self._topic.nudges
        return nudged
