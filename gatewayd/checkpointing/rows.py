"""
The rows of the tables `checkpoints` and `writes` as they are read, and which of several runs' writes count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gatewayd.blobs import codec

WHOLE = 1
"""Storage format: the serialiser's output in one piece."""
PIECES = 2
"""Storage format: a manifest of blobs (`gatewayd.blobs`) that make up the serialiser's output."""
PACKED = 3
"""Storage format: the serialiser's output in one piece, compressed (`blobs.codec.column`)."""

OPERATION = ""
"""Stands for the run of rows that an operation of the server has made (a state update)."""


class CheckpointRow(NamedTuple):
    """A row of `checkpoints`, as `CHECKPOINT` selects it."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    run_id: str
    format: int
    type: str
    checkpoint: bytes
    metadata: bytes | str
    """Packed (`blobs.codec.column`), or of older rows JSON text."""

    @property
    def told(self) -> bytes | str:
        return codec.content(self.metadata) if isinstance(self.metadata, bytes) else self.metadata


CHECKPOINT = ", ".join((*CheckpointRow._fields[:-1], "coalesce(metadata_packed, metadata)"))
"""The columns of a row, in a SELECT from `checkpoints`."""


class WriteRow(NamedTuple):
    """A row of `writes` without its first three columns (the checkpoint), the others in the table's order."""

    task_id: str
    idx: int
    run_id: str
    stamp: int
    task_path: str
    channel: str
    format: int
    type: str
    value: bytes


def newest(rows: Iterable[WriteRow]) -> list[WriteRow]:
    """Return those of one checkpoint's writes that count, in their order.

    Of a task's regular writes the rows of the run that wrote last count, of each special index the newest
    row.
    """
    rows = list(rows)
    if len({row.run_id for row in rows}) < 2:
        return rows
    latest: dict[tuple[str, int], WriteRow] = {}
    for row in rows:
        slot = (row.task_id, min(row.idx, 0))
        if slot not in latest or row.stamp > latest[slot].stamp:
            latest[slot] = row
    return [row for row in rows if latest[row.task_id, min(row.idx, 0)].run_id == row.run_id]


def consumed(rows: Iterable[WriteRow], run_id: str) -> list[WriteRow]:
    """Return the writes of a checkpoint that the run which made its child `run_id` has applied, in their
    order.

    For each task its own rows, else the newest from before its last row here: a run that came back to the
    checkpoint later has left rows that this child never saw. A run without rows here has taken what it found.
    """
    rows = list(rows)
    own = [row for row in rows if row.run_id == run_id]
    if not own or len(own) == len(rows):
        return newest(rows)
    last = max(row.stamp for row in own)
    tasks = {row.task_id for row in own if row.idx >= 0}
    return newest(
        row
        for row in rows
        if row.run_id == run_id or (row.stamp < last and (row.idx < 0 or row.task_id not in tasks))
    )
