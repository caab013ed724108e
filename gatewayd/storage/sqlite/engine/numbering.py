"""The numbers of events, given in the transaction that stores them.

Each thread's log is numbered from 1, in the order in which its chunks are stored. Where a log stands is read
from it once; from then on the writer's connection remembers it, so that an append costs no read.

A number is never given twice. When a transaction is rolled back, or a savepoint in it, the numbers that were
given in it are left out: the log has a gap there. The memory therefore runs ahead of the table sometimes, and
such a counter is kept as long as the process lives. Others are dropped when there are too many.

What storage has acknowledged without a sync may be lost with the power, while clients have seen it. So the
log of a thread whose run was cut off goes on much higher at the next start (`Counters.jump`).
"""

from __future__ import annotations

import sqlite3
from itertools import islice

from attrs import define, field

from gatewayd.model.event import SEQUENCE_JUMP

LAST = "SELECT last_seq, time_ms FROM events WHERE thread_id = ? ORDER BY last_seq DESC LIMIT 1"
"""Number and time of a thread's newest chunk."""

KEPT = 20_000
"""Threads whose counters are remembered."""

DROPPED_AT_ONCE = 100
"""Counters that are looked at after one batch when there are too many."""


@define(eq=False)
class Counter:
    """Where the log of a thread stands."""

    seq: int
    """The last number that was given."""
    time_ms: int
    """The latest time of an event, or when the last number was given if that is later."""


@define(eq=False)
class Counters:
    """The counters of the threads that were written to lately. The writer's thread alone uses them."""

    _counters: dict[str, Counter] = field(factory=dict, init=False)
    """In the order in which they were read."""
    _ahead: dict[str, Counter] = field(factory=dict, init=False)
    """Those that were dropped, but have given numbers which are not in the log."""

    def __len__(self) -> int:
        """Return how many are remembered and may be dropped."""
        return len(self._counters)

    def take(
        self, connection: sqlite3.Connection, thread_id: str, count: int, time_ms: int
    ) -> tuple[int, int]:
        """
        Give the next `count` numbers of a thread's log, to events that came at `time_ms`.

        Return the first number and the time to store: that of a thread's events never falls.
        """
        counter = self._counters.get(thread_id) or self._found(connection, thread_id)
        first = counter.seq + 1
        counter.seq += count
        if time_ms > counter.time_ms:  # noqa: PLR1730 - for every chunk, and max() takes three times as long
            counter.time_ms = time_ms
        return first, counter.time_ms

    def last(self, connection: sqlite3.Connection, thread_id: str) -> tuple[int, int]:
        """Return the number that a thread's log has given last, and its time."""
        counter = self._found(connection, thread_id)
        return counter.seq, counter.time_ms

    def jump(self, connection: sqlite3.Connection, thread_id: str) -> None:
        """Leave out so many numbers that none is given again that was lost with the power."""
        self._found(connection, thread_id).seq += SEQUENCE_JUMP

    def forget(self, thread_id: str) -> None:
        """Drop the counter of a thread that is gone: another thread of this id begins with 1."""
        self._counters.pop(thread_id, None)
        self._ahead.pop(thread_id, None)

    def shrink(self, connection: sqlite3.Connection) -> None:
        """Drop some counters if there are too many. Not inside a transaction: it might be rolled back."""
        for thread_id in list(islice(self._counters, max(0, len(self._counters) - KEPT)))[:DROPPED_AT_ONCE]:
            counter = self._counters.pop(thread_id)
            if _read(connection, thread_id).seq != counter.seq:
                self._ahead[thread_id] = counter

    def _found(self, connection: sqlite3.Connection, thread_id: str) -> Counter:
        counter = self._counters.get(thread_id)
        if counter is None:
            counter = self._ahead.pop(thread_id, None) or _read(connection, thread_id)
            self._counters[thread_id] = counter
        return counter


def _read(connection: sqlite3.Connection, thread_id: str) -> Counter:
    row = connection.execute(LAST, (thread_id,)).fetchone()
    return Counter(*row) if row else Counter(0, 0)


class Connection(sqlite3.Connection):
    """The connection that writes, with the counters of the logs that it has written to."""

    counters: Counters

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # handed on as they came
        self.counters = Counters()


def of(connection: sqlite3.Connection) -> Counters:
    """Return the counters of the connection that writes."""
    assert isinstance(connection, Connection), "events are stored by the writing connection alone"
    return connection.counters
