"""From pieces to a manifest and the blobs that storage has not got yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import ormsgpack
from attrs import define, field

from gatewayd.blobs import codec, texts
from gatewayd.blobs.seal import Seal

LONE: Final = 256
"""An element of this many bytes is a blob of its own; shorter ones share a blob."""
SHARED: Final = 512
"""Short elements of a list share a blob that is closed when it has this many bytes."""
FANOUT: Final = 8
"""Children of a segment."""
HASH_BYTES: Final = 16

SEGMENT: Final = 0
"""Kind of a blob: the hashes of its children, one after the other. The kinds of contents are in `codec`."""
SEALED: Final = 3
"""
Kind of a manifest's body: sealed, in front of the content its kind as one byte. All its blobs' bodies are
sealed too.
"""
COMPOUND: Final = 4
"""
Kind of a blob: a content with texts that are blobs of their own. Its body is what a manifest is, and sealed
like one.
"""
AS_IT_IS: Final = 1
"""In a compound, instead of a text: the text of the next blob."""
ESCAPED: Final = 2
"""In a compound, instead of a text: the text of the next blob as it stands in JSON."""
FIRST: Final = 3
"""Where in a manifest, or in a compound's body, the first hash begins, if there are no more than fifteen."""
ONE: Final = b"\x93\xc4" + bytes([HASH_BYTES])
"""With what those begin that have one hash: most compounds have one text."""

Piece = bytes | Sequence[bytes]
"""
Bytes that stay in the manifest, or the elements of what may grow at its end (or just one, to be kept by
itself).
"""


class Blob(NamedTuple):
    """One blob as it travels and is stored."""

    hash: bytes
    kind: int
    body: bytes


Known = set[bytes]
"""Hashes of blobs that storage has for certain."""


@define
class Cutter:
    """Cuts the values of one operation; its `blobs` go with the operation, before the row that has the
    manifest.

    Not for several threads at once. When the operation is on its way, and not before, its hashes may be added
    to `known`.
    """

    known: Known = field(factory=set)
    seal: Seal | None = None
    """
    Seals the manifests' bodies and the blobs, and has the key of the addresses; None: they are stored in the
    clear.
    """
    find: texts.Find | None = None
    """Finds the long texts in an element; None: they are not looked for."""
    blobs: dict[bytes, Blob] = field(factory=dict, init=False)
    """
    New ones in the order in which they were met, children before their segment, texts before what has them.
    """

    def manifest(self, pieces: Iterable[Piece]) -> bytes:
        """Return the manifest of a value."""
        hashes: list[bytes] = []
        body: list[bytes | int] = []
        literal: list[bytes] = []

        def refer(refs: Sequence[bytes]) -> None:
            if not refs:
                return
            if literal:
                body.append(b"".join(literal))
                literal.clear()
            hashes.extend(refs)
            if body and isinstance(body[-1], int):
                body[-1] += len(refs)
            else:
                body.append(len(refs))

        for piece in pieces:
            if isinstance(piece, bytes):
                literal.append(piece)
            else:
                refs, rest = self._list(piece)
                refer(refs)
                literal.append(rest)
        if literal:
            body.append(b"".join(literal))
        return self._body(body, hashes)

    def _list(self, elements: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        """
        Return the hashes that stand for a list, and the short elements at its end that have no blob yet.
        """
        level: list[bytes] = []
        short: list[bytes] = []
        size = 0
        data, alone = self._data, self._element
        for element in elements:
            if len(element) >= LONE:
                if short:
                    level.append(data(b"".join(short)))
                    short.clear()
                    size = 0
                level.append(alone(element))
                continue
            short.append(element)
            size += len(element)
            if size >= SHARED:
                level.append(data(b"".join(short)))
                short.clear()
                size = 0
        digits: list[list[bytes]] = []
        while level:
            whole = len(level) - len(level) % FANOUT
            digits.append(level[whole:])
            level = [
                self._segment(b"".join(level[start : start + FANOUT])) for start in range(0, whole, FANOUT)
            ]
        return [hashed for digit in reversed(digits) for hashed in digit], b"".join(short)

    def _element(self, content: bytes) -> bytes:
        """Return the address of an element that is a blob of its own."""
        if self.find is None:
            return self._data(content)
        address = self._address(content, b"data")
        if address not in self.known and address not in self.blobs and not self._compound(address, content):
            self._store(address, content)
        return address

    def _data(self, content: bytes, person: bytes = b"data") -> bytes:
        address = self._address(content, person)
        if address not in self.known and address not in self.blobs:
            self._store(address, content)
        return address

    def _store(self, address: bytes, content: bytes) -> None:
        kind, body = codec.packed(content)
        if self.seal is not None:
            body = self.seal.close(body, address + bytes([kind]))
            self.seal.remember(address, content)
        self.blobs[address] = Blob(address, kind, body)

    def _compound(self, address: bytes, content: bytes) -> bool:
        """Store an element as a compound; False if it has no long text."""
        assert self.find is not None
        refs: list[bytes] = []
        items: list[bytes | int] = []
        behind = 0
        for start, end, in_json in self.find(content):
            text: bytes | None = content[start:end]
            form = AS_IT_IS
            if in_json and b"\\" in content[start:end]:
                text, form = texts.unescaped(content[start:end]), ESCAPED
            if text is None:
                continue
            items += (content[behind:start], form)
            # Under a name apart: a text is never a compound itself, so nothing is nested, and nothing has
            # itself.
            refs.append(self._data(text, b"text"))
            behind = end
        if not refs:
            return False
        items.append(content[behind:])
        body = self._body([item for item in items if item != b""], refs, address)
        if self.seal is not None:
            self.seal.remember(address, content)
        self.blobs[address] = Blob(address, COMPOUND, body)
        return True

    def _body(self, items: Sequence[bytes | int], refs: Sequence[bytes], address: bytes = b"") -> bytes:
        """Return a manifest, or the body of the compound with this address."""
        referred = b"".join(refs)
        kind, packed = codec.packed(ormsgpack.packb(items))
        if self.seal is not None:
            kind, packed = SEALED, self.seal.close(bytes([kind]) + packed, address + referred)
        return ormsgpack.packb([referred, kind, packed])

    def _segment(self, children: bytes) -> bytes:
        address = self._address(children, b"segment")
        if address not in self.known and address not in self.blobs:
            self.blobs[address] = Blob(address, SEGMENT, children)
        return address

    def _address(self, content: bytes, person: bytes) -> bytes:
        key = b"" if self.seal is None else self.seal.address_key
        return blake2b(content, digest_size=HASH_BYTES, key=key, person=person).digest()


def references(manifest: bytes) -> list[bytes]:
    """Return the hashes that a manifest, or the body of a compound, has, in order."""
    if has_one(manifest):
        return [manifest[FIRST : FIRST + HASH_BYTES]]
    hashes: bytes = ormsgpack.unpackb(manifest)[0]
    return split(hashes)


def has_one(manifest: bytes) -> bool:
    """Return whether a manifest, or the body of a compound, has just one hash."""
    return manifest.startswith(ONE)


def split(hashes: bytes) -> list[bytes]:
    """Return the hashes that stand one after the other."""
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
