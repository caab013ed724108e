"""Compressing bodies: one rule for all that is stored, and the kinds that say what was done.

Small bodies are compressed with the `dictionary`, which has what they are mostly made of. On a machine with 2
cores, in bytes (as it is, in a frame without the dictionary, with it) and µs (without, with, reading it
again):

    metadata of a checkpoint        470   293   117    6    3   1
    a checkpoint without its values 556   282   148    7   12   1
    short messages, MessagePack     313   241   108    6    3   1
    a message of 2 kB              2141  1074   985   17   48   6
    kwargs of a run, 2 kB of text  2840  1446  1167   20   25   6    (hasty)
    a token of a model             1133   602   216   10    5   2    (hasty)

`scripts/measure/compression.py` tells the same of any database. Where a body has a column to itself, its kind
stands in front of it (`column`).
"""

from __future__ import annotations

import functools
import threading
from typing import Final

import zstandard

from gatewayd.blobs.dictionary import DICTIONARY
from gatewayd.errors import Unreadable

PLAIN: Final = 1
"""Kind of a body: the content as it is."""
ZSTD: Final = 2
"""Kind of a body: the content in a zstd frame."""
PRIMED: Final = 5
"""
Kind of a body: the content in a zstd frame that needs the dictionary, without the four bytes with which all
frames begin.
"""

LEAST: Final = 48
"""Bodies of this many bytes are compressed, if that makes them smaller by an eighth."""
SHORT: Final = 512
"""Bodies of less bytes are left to the fast search, which relies on the dictionary's tables …"""
MOST: Final = 16 << 10
"""
… and from here on the dictionary is of no use. What is in between is mostly text, which has a better search
with it.
"""
FAST: Final = 3
"""Level of the fast search."""
THOROUGH: Final = 5
"""Level of the better one: three times the time (50 µs for 2 kB), and texts that would be larger than without
a dictionary become smaller."""


def packed(content: bytes, *, hasty: bool = False) -> tuple[int, bytes]:
    """
    Return kind and body of a content; `hasty` is for the writer, for which everybody waits: it searches fast
    only.
    """
    size = len(content)
    if size < LEAST:
        return PLAIN, content
    if size > MOST:
        kind, compressor = ZSTD, _tools.compressor
    else:
        kind, compressor = PRIMED, _tools.primed_compressors[FAST if hasty or size < SHORT else THOROUGH]
    body = compressor.compress(content)
    return (kind, body) if len(body) <= size * 7 // 8 else (PLAIN, content)


def unpacked(kind: int, body: bytes) -> bytes:
    """Return the content of a body."""
    if kind == PLAIN:
        return body
    if kind == PRIMED:
        return _tools.primed_decompressor.decompress(body)
    if kind == ZSTD:
        return _tools.decompressor.decompress(body)
    raise Unreadable(f"This version can't read what is stored in a body of kind {kind}")


def column(content: bytes, *, hasty: bool = False) -> bytes:
    """Return kind (one byte) and body of a content in one."""
    kind, body = packed(content, hasty=hasty)
    return bytes((kind,)) + body


def smaller(content: bytes, *, hasty: bool = False) -> bytes | None:
    """Return the `column` of a content, or None where it would not be smaller than the content itself."""
    made = column(content, hasty=hasty)
    return None if made[0] == PLAIN else made


def content(column: bytes) -> bytes:
    """Return the content of what `column` has made."""
    return unpacked(column[0], column[1:])


def _parameters(level: int) -> zstandard.ZstdCompressionParameters:
    return zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=1024,
        dict_size=len(DICTIONARY),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=True,
        write_dict_id=False,
    )


@functools.cache
def _dictionary(level: int) -> zstandard.ZstdCompressionDict:
    """Return the dictionary made ready for compressing, which all threads may use."""
    made = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_FULLDICT)
    made.precompute_compress(compression_params=_parameters(level))
    return made


class _Tools(threading.local):
    """
    Objects of zstd, of each thread its own: making one costs more than using it, and two must not use one at
    once.
    """

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=FAST)
        self.decompressor = zstandard.ZstdDecompressor()
        self.primed_compressors = {
            level: zstandard.ZstdCompressor(
                compression_params=_parameters(level), dict_data=_dictionary(level)
            )
            for level in (FAST, THOROUGH)
        }
        self.primed_decompressor = zstandard.ZstdDecompressor(
            dict_data=_dictionary(FAST), format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )


_tools = _Tools()
