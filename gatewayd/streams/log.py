"""The numbering of each thread's log: from 1, without repetition, in the order of arrival.

The counter of a thread lives here while somebody produces events for it (`open` … `close`) and for a while
after; storage says where it stands when it is opened first. After a crash it starts 2²⁰ higher, because
numbers that were given and lost with the power must not be given again. A number that was given and could not
be stored is left out.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from gatewayd.model import event
from gatewayd.model.event import Chunk, Item
from gatewayd.model.state import Parts
from gatewayd.storage import store
from gatewayd.streams import hub

IDLE_COUNTERS = 20_000
"""Counters kept for threads without a producer, so that the next run of a thread needs no read."""


@define
class _Counter:
    seq: int
    time_ms: int
    producers: int = 0


@define(eq=False)
class Log:
    """Gives numbers, has them stored, and publishes what is committed."""

    storage: store.Storage
    hub: hub.Hub
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    numbered: int = field(default=0, init=False)
    """Events that were given numbers."""
    numbered_bytes: int = field(default=0, init=False)
    """Their size."""
    _counters: dict[str, _Counter] = field(factory=dict, init=False)
    """Of threads with producers."""
    _idle: OrderedDict[str, _Counter] = field(factory=OrderedDict, init=False)
    """Of threads without, the longest idle first."""

    async def open(self, thread_id: str, *, jump: bool = False) -> None:
        """Make the thread's counter ready for a producer; `jump` after a crash."""
        counter = self._cached(thread_id)
        if counter is None:
            seq, time_ms = await self.storage.events_last(thread_id)
            counter = self._cached(thread_id)  # somebody else may have opened it meanwhile
            if counter is None:
                counter = self._counters[thread_id] = _Counter(seq, time_ms)
        if jump:
            counter.seq += store.SEQUENCE_JUMP
        counter.producers += 1

    def open_now(self, thread_id: str, *, empty: bool = False) -> bool:
        """
        Like `open`, without a read: False if one is needed. `empty`: the log is known to have no events yet.
        """
        counter = self._cached(thread_id)
        if counter is None:
            if not empty:
                return False
            counter = self._counters[thread_id] = _Counter(0, 0)
        counter.producers += 1
        return True

    def _cached(self, thread_id: str) -> _Counter | None:
        if (idle := self._idle.pop(thread_id, None)) is not None:
            self._counters[thread_id] = idle
        return self._counters.get(thread_id)

    def close(self, thread_id: str) -> None:
        """One producer less; the counter stays for a while."""
        counter = self._counters[thread_id]
        counter.producers -= 1
        if counter.producers == 0:
            self._idle[thread_id] = self._counters.pop(thread_id)
            if len(self._idle) > IDLE_COUNTERS:
                self._idle.popitem(last=False)

    def forget(self, thread_id: str) -> None:
        """Drop the counter of a thread that was deleted, unless a producer still has it open."""
        self._idle.pop(thread_id, None)

    def number(
        self,
        thread_id: str,
        run_id: str,
        count: int,
        packed: bytes,
        parts: Sequence[Parts] = (),
        blobs: Sequence[Sequence[Any]] = (),
    ) -> Chunk:
        """
        Give the next `count` numbers to packed records, with their whole states. The thread must be open.
        """
        counter = self._counters[thread_id]
        counter.time_ms = max(counter.time_ms, self.now_ms())
        first = counter.seq + 1
        counter.seq += count
        self.numbered += count
        self.numbered_bytes += len(packed) + sum(each.size for each in parts)
        return Chunk(thread_id, run_id, first, counter.seq, counter.time_ms, packed, parts, blobs)

    def chunk(self, thread_id: str, run_id: str, items: list[Item]) -> Chunk:
        """Number records made by the daemon itself, without whole states."""
        return self.number(thread_id, run_id, len(items), event.pack(items))

    def append(
        self,
        chunk: Chunk,
        committed: Callable[[], None],
        failed: Callable[[BaseException], None],
        chain: store.Chain | None = None,
    ) -> None:
        """
        Have a chunk stored, then published; `committed` is called after both, or `failed` if it was not
        stored.

        With `chain` it is not stored behind anything of its run that was not.
        """

        def done(_: None) -> None:
            self.hub.publish(chunk)
            committed()

        self.storage.events_append(chunk, done, failed, chain)
