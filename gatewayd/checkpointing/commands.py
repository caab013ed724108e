"""What a saver asks of the writer: lists ``[name, argument…]`` that ormsgpack packs as they are.

    ["put", thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id | None, format, type, checkpoint,
    metadata,
     blobs?]
    ["writes", thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, [[idx, channel, format, type,
    value], …],
     blobs?]
    ["merge", run_id, stamp, writes]
    ["blobs", thread_id, blobs]
    ["delete_thread", thread_id]
    ["delete_for_runs", [run_id, …]]
    ["copy_thread", source_thread_id, target_thread_id]
    ["prune", thread_id, [[checkpoint_ns, latest_checkpoint_id, [older id to keep, …]], …]]

`checkpoint` and `value` are bytes, `metadata` is JSON, packed (`blobs.codec.column`), `idx` and `format` are
integers, `blobs` are those that the values need and storage may not have yet, ``[[hash, kind, body], …]``
(`gatewayd.blobs`), left out if none; all else is text. The run that sends an operation is not in it: see the
package's docstring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ormsgpack

from gatewayd.blobs import codec, cut
from gatewayd.checkpointing import rows

Operation = list[Any]

PORTION = 200
"""
Blobs of one operation; more go ahead in operations of their own, so that none keeps the writer for long.
"""


def put(
    thread_id: str,
    checkpoint_ns: str,
    checkpoint_id: str,
    parent_checkpoint_id: str | None,
    kind: str,
    checkpoint: bytes,
    metadata: str,
    version: int = rows.WHOLE,
    blobs: Iterable[cut.Blob] = (),
) -> Operation:
    """Store a checkpoint in storage format `version`, or replace the same run's; `metadata` is JSON."""
    return [
        "put",
        thread_id,
        checkpoint_ns,
        checkpoint_id,
        parent_checkpoint_id,
        version,
        kind,
        checkpoint,
        codec.column(metadata.encode()),
        *_carried(blobs),
    ]


def writes(
    thread_id: str,
    checkpoint_ns: str,
    checkpoint_id: str,
    task_id: str,
    task_path: str,
    values: Iterable[tuple[int, str, int, str, bytes]],
    blobs: Iterable[cut.Blob] = (),
) -> Operation:
    """Store a task's writes on a checkpoint; `values` are (idx, channel, format, type, value)."""
    packed = [[*value] for value in values]
    return ["writes", thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, packed, *_carried(blobs)]


def merge(run_id: str, stamp: int, update: Operation) -> Operation:
    """
    Store writes that are the input of a run that waits, and cancel that run as merged; neither if it has
    changed.
    """
    return ["merge", run_id, stamp, update]


def blobs(thread_id: str, portion: Iterable[cut.Blob]) -> Operation:
    """Store blobs for an operation that follows."""
    return ["blobs", thread_id, [[*blob] for blob in portion]]


def _carried(blobs: Iterable[cut.Blob]) -> list[list[list[Any]]]:
    """Return what stands at the end of an operation that carries blobs: nothing if it carries none."""
    carried = [[*blob] for blob in blobs]
    return [carried] if carried else []


def delete_thread(thread_id: str) -> Operation:
    """Delete all checkpoints and writes of a thread."""
    return ["delete_thread", thread_id]


def delete_for_runs(run_ids: Sequence[str]) -> Operation:
    """Delete the checkpoints of these runs with all writes on them, and these runs' writes."""
    return ["delete_for_runs", [*run_ids]]


def copy_thread(source: str, target: str) -> Operation:
    """Copy all checkpoints and writes to a thread that has none."""
    return ["copy_thread", source, target]


def prune(thread_id: str, kept: Iterable[tuple[str, str, Sequence[str]]]) -> Operation:
    """Delete what is older than each namespace's latest checkpoint; `kept` are (namespace, latest, older ids
    to keep).

    Namespaces that are not named, and checkpoints newer than the latest named, stay.
    """
    return ["prune", thread_id, [[ns, latest, [*older]] for ns, latest, older in kept]]


def pack(operation: Operation) -> bytes:
    """Encode an operation for the channel."""
    return ormsgpack.packb(operation)


def unpack(data: bytes) -> Operation:
    """Decode what `pack` made."""
    operation: Operation = ormsgpack.unpackb(data)
    return operation
