"""The beginning of a text that is too long to be kept whole, with a mark that says so."""

from __future__ import annotations

from typing import Final

STORED: Final = 64_000
"""Bytes of an exception's text in events and rows."""
LOGGED: Final = 4_000
"""Bytes of one text in a log."""


def excerpt(text: str, most: int) -> str:
    """Return a text whose UTF-8 has at most `most` bytes: the whole of it, or its beginning and a mark."""
    if len(text) * 4 <= most:
        return text
    data = text[:most].encode("utf-8", "replace")
    if len(text) <= most and len(data) <= most:
        return text
    mark = f"… [cut, {len(text)} characters in all]"
    return data[: most - len(mark.encode())].decode("utf-8", "ignore") + mark
