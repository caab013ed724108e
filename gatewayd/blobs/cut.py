"""From pieces to a manifest and the blobs that storage has not got yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import ormsgpack
from attrs import define, field

from gatewayd.blobs import codec
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
"""Kind of a manifest's body: sealed, in front of the content its kind as one byte. All its blobs' bodies are sealed too."""

Piece = bytes | Sequence[bytes]
"""Bytes that stay in the manifest, or the elements of what may grow at its end (or just one, to be kept by itself)."""


class Blob(NamedTuple):
    """One blob as it travels and is stored."""

    hash: bytes
    kind: int
    body: bytes


Known = set[bytes]
"""Hashes of blobs that storage has for certain."""


@define
class Cutter:
    """Cuts the values of one operation; its `blobs` go with the operation, before the row that has the manifest.

    Not for several threads at once. When the operation is on its way, and not before, its hashes may be added to
    `known`.
    """

    known: Known = field(factory=set)
    seal: Seal | None = None
    """Seals the manifests' bodies and the blobs, and has the key of the addresses; None: they are stored in the clear."""
    blobs: dict[bytes, Blob] = field(factory=dict, init=False)
    """New ones in the order in which they were met, children before their segment."""

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
        referred = b"".join(hashes)
        kind, packed = codec.packed(ormsgpack.packb(body))
        if self.seal is not None:
            kind, packed = SEALED, self.seal.close(bytes([kind]) + packed, referred)
        return ormsgpack.packb([referred, kind, packed])

    def _list(self, elements: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        """Return the hashes that stand for a list, and the short elements at its end that have no blob yet."""
        level: list[bytes] = []
        short: list[bytes] = []
        size = 0
        data = self._data
        for element in elements:
            if len(element) >= LONE:
                if short:
                    level.append(data(b"".join(short)))
                    short.clear()
                    size = 0
                level.append(data(element))
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
        return [one for digit in reversed(digits) for one in digit], b"".join(short)

    def _data(self, content: bytes) -> bytes:
        address = self._address(content, b"data")
        if address not in self.known and address not in self.blobs:
            kind, body = codec.packed(content)
            if self.seal is not None:
                body = self.seal.close(body, address + bytes([kind]))
                self.seal.remember(address, content)
            self.blobs[address] = Blob(address, kind, body)
        return address

    def _segment(self, children: bytes) -> bytes:
        address = self._address(children, b"segment")
        if address not in self.known and address not in self.blobs:
            self.blobs[address] = Blob(address, SEGMENT, children)
        return address

    def _address(self, content: bytes, person: bytes) -> bytes:
        key = b"" if self.seal is None else self.seal.address_key
        return blake2b(content, digest_size=HASH_BYTES, key=key, person=person).digest()


def references(manifest: bytes) -> list[bytes]:
    """Return the hashes that a manifest has, in order."""
    hashes: bytes = ormsgpack.unpackb(manifest)[0]
    return split(hashes)


def split(hashes: bytes) -> list[bytes]:
    """Return the hashes that stand one after the other."""
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
