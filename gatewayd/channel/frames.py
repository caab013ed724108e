"""Frames as bytes: packing, and cutting a stream of bytes back into frames."""

from __future__ import annotations

import struct
from typing import Any

import ormsgpack
from attrs import define, field

from gatewayd import wire

LONGEST = 1 << 30
"""Bytes of the longest frame that is believed."""

EXIT_FAILED = 70
"""Exit code of a worker whose channel has failed for another reason than its daemon's end."""

HEAD = struct.Struct(">I")


class Broken(Exception):
    """The bytes are no frames."""


def pack(*frame: Any) -> bytes:
    """Return one frame: its length and its MessagePack array."""
    body = ormsgpack.packb(frame, _raw, ormsgpack.OPT_NON_STR_KEYS)
    return HEAD.pack(len(body)) + body


def _raw(value: Any) -> Any:
    """Return a raw value as its bytes; `wire.opened` reads them."""
    if isinstance(value, wire.Raw):
        return bytes(value.data)
    raise TypeError(f"{type(value).__name__} can't be sent")


@define
class Splitter:
    """Cuts what arrives into frames; incomplete ones wait for the rest."""

    _rest: bytearray = field(factory=bytearray, init=False)

    def feed(self, data: bytes | bytearray | memoryview) -> list[tuple[list[Any], int]]:
        """Add bytes; return the frames that are complete, each with its size in bytes."""
        rest = self._rest
        rest += data
        frames: list[tuple[list[Any], int]] = []
        position = 0
        with memoryview(rest) as view:
            while len(rest) - position >= HEAD.size:
                (length,) = HEAD.unpack_from(rest, position)
                if length > LONGEST:
                    raise Broken(f"a frame of {length} bytes")
                end = position + HEAD.size + length
                if end > len(rest):
                    break
                try:
                    frame = ormsgpack.unpackb(
                        view[position + HEAD.size : end], option=ormsgpack.OPT_NON_STR_KEYS
                    )
                except ValueError as error:
                    raise Broken(str(error)) from error
                frames.append((frame, length + HEAD.size))
                position = end
        if position:
            del rest[:position]
        return frames
