"""Where a serialised value may be cut: slices of its MessagePack encoding, which together are the encoding.

The outer maps are gone through (a checkpoint, its channels, a channel that is an object), arrays are lists
that may grow at their end, and so are larger maps, which keep the order of insertion. What langgraph writes
as an extension (a message, a model) is one slice (but for the
snapshot of a delta channel, which is looked into): two equal values have equal slices wherever they stand. In
a slice, the long texts are found: each is stored once for all slices, and all JSON, that have it (`blobs`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from attrs import define, field

from gatewayd.blobs import cut, texts

WIDE: Final = (256, 256, 32)
"""
Entries of a map, by its depth, up to which its values are looked into; deeper or larger ones are lists of
pairs.
"""

DELTA_SNAPSHOT: Final = 7
"""langgraph's extension around the whole value of a delta channel."""

_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9})

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from

_HEADER: Final = re.compile(rb"(?:\xda[^\x00].|\xdb\x00...)(?=[\x00-\x7f\xc2-\xf4])", re.DOTALL)
"""
With what a text of 256 bytes to 16 MB begins, its length in it, before a byte with which UTF-8 may begin.
"""

# By first byte: bytes that are always there, the width of the length that follows the first one, and (for
# containers) how many values an entry has.
_FIXED: Final = [1] * 256
_WIDTH: Final = [0] * 256
_VALUES: Final = [0] * 256
for _byte in range(0xA0, 0xC0):
    _FIXED[_byte] = 1 + (_byte & 0x1F)
for _first, _fixed, _width in (
    (0xC4, 2, 1), (0xC5, 3, 2), (0xC6, 5, 4), (0xC7, 3, 1), (0xC8, 4, 2), (0xC9, 6, 4),
    (0xCA, 5, 0), (0xCB, 9, 0), (0xCC, 2, 0), (0xCD, 3, 0), (0xCE, 5, 0), (0xCF, 9, 0),
    (0xD0, 2, 0), (0xD1, 3, 0), (0xD2, 5, 0), (0xD3, 9, 0),
    (0xD4, 3, 0), (0xD5, 4, 0), (0xD6, 6, 0), (0xD7, 10, 0), (0xD8, 18, 0),
    (0xD9, 2, 1), (0xDA, 3, 2), (0xDB, 5, 4), (0xDC, 3, 2), (0xDD, 5, 4), (0xDE, 3, 2), (0xDF, 5, 4),
):  # fmt: skip
    _FIXED[_first], _WIDTH[_first] = _fixed, _width
for _byte in (*range(0x90, 0xA0), 0xDC, 0xDD):
    _VALUES[_byte] = 1
for _byte in (*range(0x80, 0x90), 0xDE, 0xDF):
    _VALUES[_byte] = 2


def _length(data: bytes, position: int) -> int:
    """Return the length that stands behind the first byte; of the short containers the one in it."""
    width = _WIDTH[data[position]]
    if width == 1:
        return data[position + 1]
    if width == 2:
        return int(_U16(data, position + 1)[0])
    if width == 4:
        return int(_U32(data, position + 1)[0])
    return data[position] & 0x0F


def _end(data: bytes, position: int) -> int:
    """Return where the value that begins at `position` ends."""
    left = 1
    while left:
        left -= 1
        first = data[position]
        values = _VALUES[first]
        if values:
            left += values * _length(data, position)
        elif _WIDTH[first]:
            position += _length(data, position)
        position += _FIXED[first]
    return position


@define
class _Splitter:
    data: bytes
    pieces: list[cut.Piece] = field(factory=list)
    start: int = 0
    """What lies behind this is not in a piece yet."""

    def cut(self, begin: int, end: int, piece: cut.Piece) -> None:
        """Add a piece for a range, and before it one for what stands in between."""
        if begin > self.start:
            self.pieces.append(self.data[self.start : begin])
        self.pieces.append(piece)
        self.start = end

    def value(self, position: int, depth: int) -> int:
        """Go through the value at `position`; return where it ends."""
        data = self.data
        first = data[position]
        values = _VALUES[first]
        if not values:
            end = _end(data, position)
            inner = position + _FIXED[first]
            if first in _EXTENSIONS and data[inner - 1] == DELTA_SNAPSHOT:
                return self.value(inner, depth)
            if end - position >= cut.LONE:
                self.cut(position, end, [data[position:end]])
            return end
        count = _length(data, position)
        begin = position = position + _FIXED[first]
        if values == 2 and depth < len(WIDE) and count <= WIDE[depth]:
            for _ in range(count):
                position = self.value(_end(data, position), depth + 1)
            return position
        elements = []
        for _ in range(count):
            end = _end(data, position)
            if values == 2:
                end = _end(data, end)
            elements.append(data[position:end])
            position = end
        if position - begin >= cut.LONE:
            self.cut(begin, position, elements)
        return position


def pieces(data: bytes) -> list[cut.Piece]:
    """
    Return the pieces of one encoded value; what stands behind it is in the last one.

    Raises IndexError, struct.error or RecursionError if it is none.
    """
    splitter = _Splitter(data)
    splitter.value(0, 0)
    if splitter.start < len(data) or not splitter.pieces:
        splitter.pieces.append(data[splitter.start :])
    return splitter.pieces


def long_texts(data: bytes) -> Iterator[texts.Place]:
    """
    Yield the places of the long texts in a slice of an encoding, those in extensions too: what these hold is
    MessagePack.

    They are looked for by what they begin with, since going through a message takes longer. What only looks
    like one (its length fits, and it is UTF-8) may be cut as well.
    """
    view = memoryview(data)
    position = 0
    while (found := _HEADER.search(data, position)) is not None:
        start = found.end()
        end = start + int.from_bytes(data[found.start() + 1 : start], "big")
        if start + texts.MINIMUM <= end <= len(data) and _is_text(view[start:end]):
            yield texts.Place(start, end, in_json=False)
            position = end
        else:
            position = found.start() + 1


def _is_text(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
