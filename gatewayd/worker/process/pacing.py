"""Pacing: a thread of a run that emits faster than its events are stored is made to wait, in the thread
itself.

langgraph hands what a synchronous node emits to a queue of the event loop, which has no limit. Before a
thread does so, `Pace.handed` is called in it (`loop.Loop.pace`). It counts what was handed over; when that is
enough, it waits until the run's consumer has taken all of it, and then until the run's backlog is at most
half of its limit. So only code on the event loop's own thread, which must not wait, can exceed the limit.

The loop may itself wait for such a thread, when asynchronous code of the run calls something synchronously
that emits. Then the consumer can't take anything, and the thread goes on without it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from typing import Any, Protocol

MOST_ITEMS = 256
"""Events that the threads of a run may hand over before one waits for the consumer."""
SHARE = 8
"""A waiting thread has handed over at most this part of the backlog's limit, as far as sizes can be told."""
NODES = 200
"""Objects of one event that are looked at to tell its size."""
LARGE = 1 << 20
"""Size that an event counts for which has more of them."""
OBJECT = 16
"""Bytes that an object counts for beside its text."""
PATIENCE_S = 0.5
"""Time without a turn of the loop after which a thread looks whether the loop waits for it."""


class Outbox(Protocol):
    """What a pace needs of a run's outbox."""

    def stored_blocking(self, most: int) -> bool:
        """
        Wait until the backlog is at most `most` bytes and the consumer consumes; False if that took a wait.
        """


class Pace:
    """The pace of one run's threads. Made in the event loop."""

    def __init__(self, out: Outbox, *, limit: int, hops: int, holds_loop: Callable[[], bool]) -> None:
        """
        `limit` is that of the backlog, in bytes; after `hops` passes of the loop the consumer has what was
        handed over.

        `holds_loop()` tells, in any thread, whether the loop's own thread is in code of this run.
        """
        self._loop, self._out = asyncio.get_running_loop(), out
        self._limit, self._hops = limit, hops
        self._holds_loop = holds_loop
        self._turn = threading.Lock()
        """
        Held by the thread that hands over or waits: all of a run's threads together keep within the share.
        """
        self._items = self._bytes = 0
        self._taken: threading.Event | None = None
        """Set when the consumer has what was handed over before it was made."""
        self._off = False

    def end(self) -> None:
        """Have no thread wait any more: nobody consumes what they emit."""
        self._off = True

    def handed(self, item: Any) -> None:
        """
        Note, in the thread, that it is about to hand something over; waits when the run is too far ahead.
        """
        size = bulk(item)
        with self._turn:
            self._items += 1
            self._bytes += size
            if self._off or (self._items < MOST_ITEMS and self._bytes < self._limit // SHARE):
                return
            while True:
                if not self._wait_until_taken():
                    return
                self._items = self._bytes = 0
                if self._out.stored_blocking(self._limit // 2):
                    return

    def _wait_until_taken(self) -> bool:
        """
        Wait until the consumer has what was handed over; False if the loop waits for this thread, or nobody
        consumes.
        """
        if self._taken is None:
            self._taken = threading.Event()
            self._loop.call_soon_threadsafe(self._hop, self._hops, self._taken)
        elif not self._taken.is_set() and self._holds_loop():
            return False
        while not self._taken.wait(PATIENCE_S):
            if self._off or self._holds_loop():
                return False
        self._taken = None
        return not self._off

    def _hop(self, hops: int, taken: threading.Event) -> None:
        if hops:
            self._loop.call_soon(self._hop, hops - 1, taken)
        else:
            taken.set()


def bulk(item: Any) -> int:
    """
    Return about how many bytes of text and data an object holds; one that is not looked through counts as
    `LARGE`.
    """
    size, left, looked = 0, [item], 0
    while left:
        each = left.pop()
        looked += 1
        if isinstance(each, str | bytes | bytearray):
            size += len(each)
            continue
        size += OBJECT
        if type(each) is dict:
            inner: Collection[Any] = each.values()
        elif type(each) in (list, tuple, set, frozenset):
            inner = each
        else:  # messages and such
            inner = getattr(each, "__dict__", {}).values()
        if looked + len(left) + len(inner) > NODES:
            return max(size, LARGE)
        left += inner
    return size


def is_put(callback: Any) -> bool:
    """Tell whether a callback puts something into a queue of an event loop."""
    return isinstance(getattr(callback, "__self__", None), asyncio.Queue)
