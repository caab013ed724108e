"""Turning rows that an older version has stored in one piece into manifests: what is done outside of storage.

The sweeper converts one row after the other, in the background: storage finds a row, it is cut here, storage
takes its blobs a few at a time, and at last changes the row if it is still what was read. Stopped anywhere,
the conversion begins again at the same row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gatewayd.blobs import cut
from gatewayd.checkpointing import pieces, split

BLOBS: Final = 100
"""Blobs stored in one step."""


class OldRow(NamedTuple):
    """A row that is to be converted; without a body, a range that has been looked through."""

    table: str
    rowid: int
    thread_id: str = ""
    kind: str = ""
    body: bytes = b""


def cut_row(row: OldRow, known: cut.Known) -> tuple[bytes, list[Sequence[cut.Blob]]]:
    """Return the row's manifest and its blobs that are not in `known`, in portions; they are added to it."""
    cutter = cut.Cutter(known, find=split.long_texts)
    _, _, manifest = pieces.pack(row.kind, row.body, cutter)
    known.update(cutter.blobs)
    return manifest, list(_portions(list(cutter.blobs.values())))


def _portions(blobs: Sequence[cut.Blob]) -> Iterator[Sequence[cut.Blob]]:
    for start in range(0, len(blobs), BLOBS):
        yield blobs[start : start + BLOBS]
