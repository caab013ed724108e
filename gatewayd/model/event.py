"""Events of a thread's log: records, and the chunks in which they travel and are stored.

A chunk is the records ``first_seq … last_seq`` of one run on one thread, packed as they came from the worker:
a MessagePack array of ``[kind, namespace, mask, data]``. Their numbers follow from `first_seq`. It is unpacked at
most once, when the first reader wants to see inside.

Data in both forms: `bytes` is JSON as it goes over the wire (inline); a list of content hashes is a state made of
parts that storage keeps once each.
"""

from __future__ import annotations

from typing import NamedTuple

import ormsgpack
from attrs import define, field

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


@define(eq=False)
class Chunk:
    """Consecutive records of one run."""

    thread_id: str
    run_id: str
    first_seq: int
    last_seq: int
    time_ms: int
    packed: bytes
    _records: list[Record] | None = field(default=None, init=False)

    @property
    def records(self) -> list[Record]:
        """The records, unpacked at the first call."""
        if self._records is None:
            self._records = [
                Record(self.first_seq + position, self.time_ms, self.run_id, kind, namespace, mask, data)
                for position, (kind, namespace, mask, data) in enumerate(ormsgpack.unpackb(self.packed))
            ]
        return self._records

    def behind(self, seq: int) -> Chunk:
        """Return the part with greater numbers; the chunk must have one."""
        if self.first_seq > seq:
            return self
        records = self.records[seq + 1 - self.first_seq :]
        packed = pack([(each.kind, each.namespace, each.mask, each.data) for each in records])
        return Chunk(self.thread_id, self.run_id, seq + 1, self.last_seq, self.time_ms, packed)

    @property
    def weight(self) -> int:
        """Bytes that the chunk holds in memory, roughly."""
        return len(self.packed) * (1 if self._records is None else 2) + 200


def pack(items: list[Item]) -> bytes:
    """Pack items as they are stored."""
    return ormsgpack.packb(items)
