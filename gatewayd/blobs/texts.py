"""Long texts inside of other contents: how they may stand there, and where they stand in JSON.

A text is stored as what it is, in UTF-8. MessagePack has it like that, JSON too unless something in it must
be escaped. The escaping is written out here instead of left to a library: what is joined in some years must
be the bytes that were cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

MINIMUM: Final = 400
"""
Bytes of a text that is worth a blob of its own: its row, and the hash wherever it is, take about a hundred.
"""

_ESCAPES: Final = ((b'"', b'\\"'), (b"\n", b"\\n"), (b"\t", b"\\t"), (b"\r", b"\\r"))
"""
But for the backslash. Texts with other control characters are left where they are, if they stand in JSON.
"""

_SHORT: Final = re.compile(rb'(?:[^"]*"[^"\\]{0,250}")*')
"""Short strings without escapes, all of them at once: a large piece may have very many."""
_STRING: Final = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)


class Place(NamedTuple):
    """Where a text stands in a content."""

    start: int
    end: int
    in_json: bool
    """It may have escapes."""


Find = Callable[[bytes], Iterable[Place]]
"""Returns the places of long texts in a content, in order. A wrong place does no harm."""


def escaped(text: bytes) -> bytes:
    """Return a text as it stands in JSON, between the quotation marks."""
    text = text.replace(b"\\", b"\\\\")
    for plain, escape in _ESCAPES:
        text = text.replace(plain, escape)
    return text


def unescaped(inside: bytes) -> bytes | None:
    """Return the text of which `escaped` makes exactly this, if there is one."""
    parts = inside.split(b"\\\\")
    for plain, escape in _ESCAPES:
        parts = [part.replace(escape, plain) for part in parts]
    text = b"\\".join(parts)
    return text if escaped(text) == inside else None


def in_json(content: bytes) -> Iterator[Place]:
    """Yield the places of the long texts in a piece of JSON that begins outside of a string."""
    behind = 0
    while len(content) - behind > MINIMUM:
        short = _SHORT.match(content, behind)
        found = _STRING.search(content, short.end() if short else behind)
        if found is None:
            return
        start, end = found.span(1)
        behind = found.end()
        if end - start >= MINIMUM:
            yield Place(start, end, in_json=True)
