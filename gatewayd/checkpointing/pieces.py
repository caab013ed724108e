"""Between serialised values and the columns format, type and value (or checkpoint) of both tables."""

from __future__ import annotations

import struct
from typing import Any, Final, NoReturn, TypeVar

from gatewayd.blobs import codec, cut, join
from gatewayd.blobs import seal as sealing
from gatewayd.checkpointing import rows, split
from gatewayd.errors import GatewaydError

SMALL: Final = 1024
"""Bytes of a serialised value up to which it stays in its row in one piece, compressed or not."""

MSGPACK: Final = "msgpack"
"""The serialiser's tag of what `split` knows."""

COLUMN: Final[dict[type, str]] = {rows.CheckpointRow: "checkpoint", rows.WriteRow: "value"}
"""Where a row has its value or its manifest."""

Row = TypeVar("Row", rows.CheckpointRow, rows.WriteRow)


def pack(kind: str, data: bytes, cutter: cut.Cutter) -> tuple[int, str, bytes]:
    """Return format, type and column of a value whose tag is `kind`; its new blobs are in the cutter."""
    if len(data) <= SMALL:
        version, column = _small(data)
        if cutter.seal is not None:
            return version, kind + sealing.TAG, cutter.seal.close(column)
        # What the serialiser has sealed would be taken for sealed after it was compressed.
        return (rows.WHOLE, kind, data) if kind.endswith(sealing.TAG) else (version, kind, column)
    return rows.PIECES, kind, cutter.manifest(_pieces(data) if kind == MSGPACK else [[bytes(data)]])


def _small(data: bytes) -> tuple[int, bytes]:
    """Return format and column of a value in one piece: compressed, if that pays."""
    packed = codec.smaller(data)
    return (rows.WHOLE, data) if packed is None else (rows.PACKED, packed)


def _pieces(data: bytes) -> list[cut.Piece]:
    """
    Return where the bytes are cut; what is not what its tag says (an imported row may be damaged) is one
    piece.
    """
    try:
        return split.pieces(data)
    except (IndexError, struct.error, RecursionError):
        return [[bytes(data)]]


def manifest(row: rows.CheckpointRow | rows.WriteRow) -> bytes | None:
    """
    Return the row's manifest, None if it has its value in one piece; raises GatewaydError for unknown
    formats.
    """
    if row.format in (rows.WHOLE, rows.PACKED):
        return None
    if row.format != rows.PIECES:
        _refuse(row.format)
    found: bytes = getattr(row, COLUMN[type(row)])
    return found


def whole(row: Row, joiner: join.Joiner) -> Row:
    """
    Return the row with its value in one piece and in the clear. Raises `join.Missing` and `seal.Locked`.
    """
    found = manifest(row)
    sealed = row.type.endswith(sealing.TAG)
    if row.format == rows.WHOLE and not sealed:
        return row
    column = COLUMN[type(row)]
    value = getattr(row, column) if found is None else joiner.join(found)
    # A manifest says itself whether it is sealed. Here it is the value that was sealed before it was cut, if
    # at all: what another saver has stored with langgraph's `EncryptedSerializer`.
    if sealed:
        value = sealing.opened(joiner.seal, value)
    if row.format == rows.PACKED:
        value = codec.content(value)
    changes: dict[str, Any] = {
        "format": rows.WHOLE,
        "type": row.type.removesuffix(sealing.TAG),
        column: value,
    }
    return row._replace(**changes)


def prove(kind: str, version: int, column: bytes, seal: sealing.Seal | None) -> None:
    """Raise `seal.Locked` if a row's column is sealed and can't be opened; its blobs are not looked at."""
    if version == rows.PIECES:
        join.unpacked(column, seal)
    elif kind.endswith(sealing.TAG):
        sealing.opened(seal, column)


def _refuse(version: int) -> NoReturn:
    raise GatewaydError(
        f"This checkpoint has storage format {version}; this version reads up to {rows.PACKED}"
    )
