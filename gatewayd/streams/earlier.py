"""The ends of earlier runs in a replay, kept back from readers who may take one for the end of the run they
have just started.

Front ends open their streams when they start a run, or just before, and name no place in the log. What is
replayed to them begins with earlier runs. The JavaScript SDK takes the first end of a root graph that comes
for that of its own run (until 1.11; later ones compare the runs' ids), so its submission would settle at
once. Therefore such a reader gets the ends of earlier runs right behind the next end that comes. It gets them
at all because another page may still wait for one of them, after a break of its connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import define, field

from gatewayd.model import event
from gatewayd.model.event import Chunk, Record
from gatewayd.streams import v2

RECENT_S: Final = 30.0
"""Seconds for which a run counts as just started: its client is about to open its streams."""

ENDS: Final = frozenset(f"{event.V2_KIND}lifecycle={name}" for name in v2.STATUSES.values())
"""Kinds of the records that end a run, or a subgraph."""


def ends(record: Record) -> bool:
    """Whether a record ends a run."""
    return record.kind in ENDS and not record.namespace


@define(eq=False)
class Ends:
    """Those that are kept back from one reader."""

    newest: str | None = None
    """The run that the reader may have started; None: nothing is kept back."""
    through: int = 0
    """Number of the newest event when the reader began."""
    _kept: dict[int, Record] = field(factory=dict, init=False)

    def again(self, other: Ends) -> None:
        """Begin to replay once more, beside what is kept back already."""
        self.newest, self.through = other.newest, other.through

    def arrange(self, chunks: Sequence[Chunk], upto: int | None = None) -> Sequence[Chunk]:
        """
        Return the chunks, up to a number, without the ends of earlier runs, or with them behind another end.
        """
        if self.newest is None and not self._kept and upto is None:
            return chunks
        return [chunk.showing(self._arranged(chunk.records, upto)) for chunk in chunks]

    def _arranged(self, records: Iterable[Record], upto: int | None) -> list[Record]:
        shown = []
        for record in records:
            if upto is not None and record.seq > upto:
                break
            if ends(record) and self.newest not in (None, record.run_id) and record.seq <= self.through:
                self._kept[record.seq] = record
                continue
            shown.append(record)
            if ends(record):
                shown += (self._kept[seq] for seq in sorted(self._kept))
                self._kept.clear()
        return shown
