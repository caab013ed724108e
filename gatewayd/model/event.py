"""Events of a thread's log: records, and the chunks in which they are sent and stored.

A chunk has the records ``first_seq … last_seq`` of one run on one thread, packed as they came from the
worker: a MessagePack array of ``[kind, namespace, mask, data]``. The numbers of the records follow from
`first_seq`. A chunk is unpacked at most once, by its first reader.

A `Draft` has such records before they are stored: storage gives the numbers, in the transaction that stores
them.

A record's data has one of two forms (`model.state`). `bytes` is JSON as it goes over the wire. A number n
stands for a whole state in parts: the n-th of the chunk's `parts`. To read the records of a chunk with parts,
its states must be joined (`Chunk.whole`); the cursors of the hub do that.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import ormsgpack
from attrs import define, field

from gatewayd.model.state import Cut, Parts

V1 = 1
"""Shown on the run's v1 streams."""
THREAD = 2
"""Shown on the thread stream."""
V2 = 4
"""Shown by protocol v2."""

V2_KIND = "v2/"
"""Prefix of the kinds of records in the form of protocol v2 (see `streams.v2`)."""

SEQUENCE_JUMP = 1 << 20
"""
By how much the numbers of a log jump when a run on it was cut off: numbers that were lost with the power are
never given again.
"""

END = "end"
"""Kind of the last record of a run."""

STATE_UPDATE = "state_update"
"""Kind of the record of a state update; it belongs to no run."""


class Record(NamedTuple):
    """One event."""

    seq: int
    time_ms: int
    run_id: str
    kind: str
    namespace: str
    mask: int
    data: bytes

    @property
    def event_id(self) -> str:
        """The v1 id; only the part after the dash is compared."""
        return f"{self.time_ms}-{self.seq}"


Item = tuple[str, str, int, bytes]
"""Kind, namespace (segments joined by "|"), mask, data: a record before it has a number."""

Emitted = tuple[str, str, int, bytes | Cut]
"""An item as a worker sends it: the data may be a whole state in parts."""


@define(eq=False)
class Draft:
    """Consecutive records of one run that have no numbers yet: storage gives them."""

    thread_id: str
    run_id: str
    count: int
    time_ms: int
    """When they came."""
    packed: bytes
    parts: Sequence[Parts] = ()
    """Whole states that the records refer to."""
    blobs: Sequence[Sequence[Any]] = ()
    """Blobs ``(hash, kind, body)`` that these need and storage may not have."""

    def numbered(self, first_seq: int, time_ms: int) -> Chunk:
        """Return the chunk that these records become."""
        last_seq = first_seq + self.count - 1
        return Chunk(
            self.thread_id, self.run_id, first_seq, last_seq, time_ms, self.packed, self.parts, self.blobs
        )

    @property
    def weight(self) -> int:
        """Bytes that it holds in memory, roughly."""
        return _weight(self.packed, self.parts, self.blobs)


@define(eq=False)
class Chunk:
    """Consecutive records of one run, numbered."""

    thread_id: str
    run_id: str
    first_seq: int
    last_seq: int
    time_ms: int
    packed: bytes
    parts: Sequence[Parts] = ()
    """The whole states that its records refer to."""
    blobs: Sequence[Sequence[Any]] = ()
    """Blobs ``(hash, kind, body)`` of the states that may not be stored yet; empty once stored."""
    _records: list[Record] | None = field(default=None, init=False)

    @property
    def records(self) -> list[Record]:
        """
        The records, unpacked at the first call. A chunk with parts must be the result of `whole`.
        """
        if self._records is None:
            if self.parts:
                raise RuntimeError("the whole states of this chunk have not been joined")
            self._records = self._unpacked({})
        return self._records

    def whole(self, states: Mapping[int, bytes]) -> Chunk:
        """
        Return the chunk with the given states, by number. Records with another state are left out.
        """
        return self.showing(self._unpacked(states))

    def needed(self, kinds: Container[str] | None) -> list[int]:
        """Return the numbers of the states in records of these kinds; None: of all kinds."""
        return [
            data
            for kind, _, _, data in ormsgpack.unpackb(self.packed)
            if isinstance(data, int) and (kinds is None or kind in kinds)
        ]

    def _unpacked(self, states: Mapping[int, bytes]) -> list[Record]:
        return [
            Record(
                self.first_seq + position,
                self.time_ms,
                self.run_id,
                kind,
                namespace,
                mask,
                states[data] if isinstance(data, int) else data,
            )
            for position, (kind, namespace, mask, data) in enumerate(ormsgpack.unpackb(self.packed))
            if isinstance(data, bytes) or data in states
        ]

    def behind(self, seq: int) -> Chunk:
        """Return the part with numbers greater than `seq`, which must not be empty."""
        if self.first_seq > seq:
            return self
        packed = pack(ormsgpack.unpackb(self.packed)[seq + 1 - self.first_seq :])
        return Chunk(self.thread_id, self.run_id, seq + 1, self.last_seq, self.time_ms, packed, self.parts)

    def showing(self, records: list[Record]) -> Chunk:
        """Return a copy of the chunk that shows these records instead of its own."""
        copy = Chunk(
            self.thread_id, self.run_id, self.first_seq, self.last_seq, self.time_ms, self.packed, self.parts
        )
        copy._records = records
        return copy

    @property
    def size(self) -> int:
        """Bytes of the records, with all states joined."""
        return len(self.packed) + self.joined

    @property
    def joined(self) -> int:
        """Bytes of the joined states."""
        return sum(state.size for state in self.parts)

    @property
    def weight(self) -> int:
        """Bytes that the chunk holds in memory, roughly."""
        return _weight(self.packed, self.parts, self.blobs)


def draft(thread_id: str, run_id: str, time_ms: int, items: Sequence[Item]) -> Draft:
    """Return records without whole states, before they have numbers."""
    return Draft(thread_id, run_id, len(items), time_ms, pack(items))


def _weight(packed: bytes, parts: Sequence[Parts], blobs: Sequence[Sequence[Any]]) -> int:
    held = len(packed) * 2 + 200  # its readers unpack it
    if parts:
        held += sum(len(state.manifest) + 150 for state in parts)
        held += sum(len(blob[2]) + 150 for blob in blobs)
    return held


def pack(items: Sequence[Item | tuple[str, str, int, int]]) -> bytes:
    """Pack items as they are stored. Their data is JSON, or the number of a state in parts."""
    return ormsgpack.packb(items)
