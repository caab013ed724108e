"""How many values a JSON text has, counted before it is parsed, as its bytes come.

A parsed value takes some sixty bytes, and its text two: what is to be refused for its size has to be refused
before. Counted is what stands outside of strings: each comma and each opening bracket is one more value.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gatewayd.errors import Invalid

STEP: Final = 64 * 1024
"""Bytes that are looked at in one go: a millisecond or two at worst."""


@define(eq=False)
class Structure:
    """The count of one text."""

    most: int
    """Values beyond which it is refused."""
    values: int = field(default=1, init=False)
    _inside: bool = field(default=False, init=False)
    """What was fed last ends inside of a string."""
    _escaped: bool = field(default=False, init=False)
    """It ends with a backslash, which belongs to what comes."""

    def feed(self, data: bytes) -> None:
        """Count what at most `STEP` more bytes have. Raises `Invalid`."""
        if self._escaped and data:
            data, self._escaped = data[1:], False
        if b"\\" in data:
            data = data.replace(b"\\\\", b"")  # what is left of a run of backslashes escapes what follows it
            if data.endswith(b"\\"):
                self._escaped = True
            data = data.replace(b'\\"', b"")
        pieces = data.split(b'"')
        outside = b"".join(pieces[self._inside :: 2])
        self._inside ^= len(pieces) % 2 == 0
        self.values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        if self.values > self.most:
            raise Invalid(f"The request body has more than {self.most} values")
