"""Events of a thread's log: records, and the chunks in which they travel and are stored.

A chunk is the records ``first_seq … last_seq`` of one run on one thread, packed as they came from the worker:
a MessagePack array of ``[kind, namespace, mask, data]``. Their numbers follow from `first_seq`. It is
unpacked at most once, when the first reader wants to see inside.

Data in both forms (`model.state`): `bytes` is JSON as it goes over the wire; a number n stands for a whole
state that is in parts, the n-th of the chunk's `parts`. Whoever wants to see inside a chunk that has some
needs it with the states joined (`Chunk.whole`); the cursors of the hub give it out so.
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
"""What the kinds of records begin with that are in the words of protocol v2 (see `streams.v2`)."""

END = "end"
"""Kind of the record that closes a run; the last one of its run."""

STATE_UPDATE = "state_update"
"""Kind of the record that tells of a state update; it belongs to no run."""


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
        """The v1 id; only the part behind the dash is ever compared."""
        return f"{self.time_ms}-{self.seq}"


Item = tuple[str, str, int, bytes]
"""Kind, namespace (segments joined by "|"), mask, data: a record before it has a number."""

Emitted = tuple[str, str, int, bytes | Cut]
"""The same as it leaves a worker: the data may be a whole state in parts."""


@define(eq=False)
class Chunk:
    """Consecutive records of one run."""

    thread_id: str
    run_id: str
    first_seq: int
    last_seq: int
    time_ms: int
    packed: bytes
    parts: Sequence[Parts] = ()
    """Whole states that its records refer to."""
    blobs: Sequence[Sequence[Any]] = ()
    """Blobs ``(hash, kind, body)`` that these need and storage may not have; only on the way there."""
    _records: list[Record] | None = field(default=None, init=False)

    @property
    def records(self) -> list[Record]:
        """
        The records, unpacked at the first call; of a chunk with parts only those of `whole` can be seen.
        """
        if self._records is None:
            if self.parts:
                raise RuntimeError("the whole states of this chunk have not been joined")
            self._records = self._unpacked({})
        return self._records

    def whole(self, states: Mapping[int, bytes]) -> Chunk:
        """
        Return the chunk with these states joined, by number; records whose state is not among them are left
        out.
        """
        return self.showing(self._unpacked(states))

    def needed(self, kinds: Container[str] | None) -> list[int]:
        """Return the numbers of the states that records of these kinds have; None: of all kinds."""
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
        """Return the part with greater numbers; the chunk must have one."""
        if self.first_seq > seq:
            return self
        packed = pack(ormsgpack.unpackb(self.packed)[seq + 1 - self.first_seq :])
        return Chunk(self.thread_id, self.run_id, seq + 1, self.last_seq, self.time_ms, packed, self.parts)

    def showing(self, records: list[Record]) -> Chunk:
        """Return a chunk in whose place these records are shown."""
        made = Chunk(
            self.thread_id, self.run_id, self.first_seq, self.last_seq, self.time_ms, self.packed, self.parts
        )
        made._records = records
        return made

    @property
    def size(self) -> int:
        """Bytes of the records with all states joined."""
        return len(self.packed) + self.joined

    @property
    def joined(self) -> int:
        """Bytes of its states, joined."""
        return sum(each.size for each in self.parts)

    @property
    def weight(self) -> int:
        """Bytes that the chunk holds in memory, roughly."""
        held = len(self.packed) * 2 + 200  # whoever holds it looks inside
        if self.parts:
            held += sum(len(each.manifest) + 150 for each in self.parts)
            held += sum(len(blob[2]) + 150 for blob in self.blobs)
        return held


def pack(items: Sequence[Item | tuple[str, str, int, int]]) -> bytes:
    """Pack items as they are stored; the data of each is JSON, or the number of a state that is in parts."""
    return ormsgpack.packb(items)
