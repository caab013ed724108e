"""Keeping back the ends of earlier runs in a replay, which a reader may take for the end of its own run.

Front ends open their streams when they start a run, or just before, without a position in the log. So their
replay begins with earlier runs. The JavaScript SDK up to 1.11 takes the first end of a root graph for the end
of its own run (later versions compare run ids), and its submission would settle at once. Therefore such a
reader gets the ends of earlier runs right after the next end. They are not left out, because another page may
still wait for one of them after its connection broke.
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
    """The ends that are kept back from one reader."""

    newest: str | None = None
    """The run that the reader may have started; None: nothing is kept back."""
    through: int = 0
    """Number of the newest event when the reader started."""
    _kept: dict[int, Record] = field(factory=dict, init=False)

    def again(self, other: Ends) -> None:
        """Start another replay; what is kept back already stays so."""
        self.newest, self.through = other.newest, other.through

    def arrange(self, chunks: Sequence[Chunk], upto: int | None = None) -> Sequence[Chunk]:
        """
        Return the chunks up to a number, with the ends of earlier runs moved behind another end.
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
