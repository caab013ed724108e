"""From manifests back to bytes, with few queries for each level of the trees."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import ormsgpack
import zstandard
from attrs import define, field

from gatewayd.blobs import codec, cut, texts
from gatewayd.blobs.seal import Seal, opened
from gatewayd.errors import Unreadable


class Blobs(Protocol):
    """The blobs that are stored for the family of a thread."""

    def blobs(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """
        Return those of the blobs that are stored: hash, kind and body, and with a compound its first text,
        mostly the only one: hash, kind and body once more, None where there is none.
        """

    def segments(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Return those of the blobs that are segments: hash, and the hashes of the children."""


class NoBlobs:
    """Nothing is stored: a joiner that is given all that it joins needs no more."""

    def blobs(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[Any, ...]]:
        return []

    def segments(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        return []


class Missing(Unreadable):
    """A manifest refers to a blob that storage has not got."""


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Turn what the decoders make of damaged bytes into `Unreadable`."""
    try:
        yield
    except (ValueError, TypeError, LookupError, struct.error, zstandard.ZstdError) as error:
        raise Unreadable(f"a stored state is damaged ({type(error).__name__}: {error})") from error


@define
class Joiner:
    """
    Joins manifests of one thread; what it has fetched it keeps, for others share it. One reading, then
    dropped.
    """

    thread_id: str
    stored: Blobs
    seal: Seal | None = None
    """Opens what was stored sealed; without it that raises `seal.Locked`."""
    content: dict[bytes, bytes] = field(factory=dict, init=False)
    """By hash, what a blob stands for, or of a segment the hashes of its children."""
    segments: set[bytes] = field(factory=set, init=False)
    _opened: set[bytes] = field(factory=set, init=False)
    """Segments whose children have been fetched."""
    _leaves: dict[bytes, list[bytes]] = field(factory=dict, init=False)
    _compounds: dict[bytes, bytes] = field(factory=dict, init=False)
    """Bodies of compounds that are not put together yet."""

    def load(self, manifests: Iterable[bytes]) -> None:
        """Fetch what these manifests need, level by level."""
        plain, sealed = set[bytes](), set[bytes]()
        with decoding():
            for manifest in manifests:
                hashes, kind, _ = ormsgpack.unpackb(manifest)
                (sealed if kind == cut.SEALED else plain).update(cut.split(hashes))
            self._load(plain, sealed=False)
            self._load(sealed, sealed=True)

    def load_blobs(self, hashes: Iterable[bytes]) -> None:
        """
        Fetch these blobs and what is below them, level by level; sealed ones if there is a seal, plain ones
        if not.
        """
        with decoding():
            self._load(set(hashes), sealed=self.seal is not None)

    def _load(self, wanted: set[bytes], *, sealed: bool) -> None:
        content, compounds = self.content, self._compounds
        met = set[bytes]()
        while wanted:
            absent = [address for address in wanted if address not in content and address not in compounds]
            if absent:
                self._fetch(absent, sealed=sealed)
            # Also below what was there already: blobs that are not stored yet may stand on stored ones.
            opened = (wanted & self.segments) - self._opened
            self._opened |= opened
            found = compounds.keys() & wanted
            met |= found
            wanted = {child for segment in opened for child in cut.split(content[segment])}
            for compound in found:
                wanted.update(cut.references(compounds[compound]))
        self._put_together(met)

    def _fetch(self, hashes: Sequence[bytes], *, sealed: bool) -> None:
        rows = self.stored.blobs(self.thread_id, hashes)
        self._take([row[:3] for row in rows], sealed=sealed)
        with_text = [row for row in rows if row[3] and row[0] in self._compounds]
        self._take({row[3]: row[3:] for row in with_text}.values(), sealed=sealed)
        self._put_together([row[0] for row in with_text if cut.has_one(row[2])])
        if len(rows) < len(hashes):
            lost = next(
                address
                for address in hashes
                if address not in self.content and address not in self._compounds
            )
            raise Missing(f"Thread {self.thread_id} refers to a blob that is not stored: {lost.hex()}")

    def take(self, blobs: Iterable[cut.Blob | tuple[Any, ...]]) -> None:
        """Keep blobs ``(hash, kind, body)`` that are not stored yet, of a cutter with the same seal."""
        self._take(blobs, sealed=self.seal is not None)

    def put_together(self, kept: Callable[[bytes], bytes | None]) -> None:
        """
        Make the contents of the compounds that were taken, if all their texts were too or are `cache` by
        hash.
        """
        for address, body in list(self._compounds.items()):
            absent = {text for text in cut.references(body) if text not in self.content}
            found = {text: content for text in absent if (content := kept(text)) is not None}
            if len(found) == len(absent):
                self.content |= found
                self._put_together([address])

    def _take(self, blobs: Iterable[cut.Blob | tuple[Any, ...]], *, sealed: bool) -> None:
        content, compounds = self.content, self._compounds
        for address, kind, body in blobs:
            if kind == cut.SEGMENT:
                content[address] = body
                self.segments.add(address)
            elif kind == cut.COMPOUND:
                whole = None if self.seal is None else self.seal.remembered(address)
                if whole is None:
                    compounds[address] = body
                else:
                    content[address] = whole
            elif sealed:
                content[address] = self._opened_blob(address, kind, body)
            else:
                content[address] = codec.unpacked(kind, body)

    def _put_together(self, compounds: Iterable[bytes]) -> None:
        """Make the contents of compounds of which all texts are here."""
        content, waiting, seal = self.content, self._compounds, self.seal
        for address in compounds:
            refs, items = _opened_body(waiting.pop(address), seal, address)
            out: list[bytes] = []
            position = 0
            for item in items:
                if isinstance(item, bytes):
                    out.append(item)
                    continue
                text = content[refs[position : position + cut.HASH_BYTES]]
                position += cut.HASH_BYTES
                out.append(text if item == cut.AS_IT_IS else texts.escaped(text))
            whole = content[address] = b"".join(out)
            if seal is not None:
                seal.remember(address, whole)

    def _opened_blob(self, address: bytes, kind: int, body: bytes) -> bytes:
        content = None if self.seal is None else self.seal.remembered(address)
        if content is None:
            packed = opened(self.seal, body, address + bytes([kind]))
            content = codec.unpacked(kind, packed)
            if self.seal is not None:
                self.seal.remember(address, content)
        return content

    def join(self, manifest: bytes) -> bytes:
        """Return the value of a manifest. Raises `Unreadable`: `Missing`, `seal.Locked`, or it is damaged."""
        self.load([manifest])
        with decoding():
            return assembled(manifest, self.below, self.seal)

    def below(self, address: bytes) -> Sequence[bytes]:
        """Return the contents that a blob which was loaded stands for, in order."""
        return self._below(address) if address in self.segments else (self.content[address],)

    def _below(self, segment: bytes) -> list[bytes]:
        """Return the contents below a segment, in order."""
        known = self._leaves.get(segment)
        if known is None:
            known = self._leaves[segment] = []
            for child in cut.split(self.content[segment]):
                if child in self.segments:
                    known += self._below(child)
                else:
                    known.append(self.content[child])
        return known


def unpacked(manifest: bytes, seal: Seal | None) -> list[bytes | int]:
    """Return what stands in a manifest's body: bytes, and numbers of blobs. Raises `seal.Locked`."""
    return _opened_body(manifest, seal)[1]


def _opened_body(body: bytes, seal: Seal | None, address: bytes = b"") -> tuple[bytes, list[bytes | int]]:
    """Return hashes and items of a manifest, or of the compound with this address. Raises `seal.Locked`."""
    refs, kind, packed = ormsgpack.unpackb(body)
    if kind == cut.SEALED:
        inner = opened(seal, packed, address + refs)
        kind, packed = inner[0], inner[1:]
    items: list[bytes | int] = ormsgpack.unpackb(codec.unpacked(kind, packed))
    return refs, items


def assembled(manifest: bytes, below: Callable[[bytes], Sequence[bytes]], seal: Seal | None = None) -> bytes:
    """Return the value of a manifest; `below` gives what each of the blobs in it stands for, in pieces."""
    hashes, items = _opened_body(manifest, seal)
    refs = cut.split(hashes)
    out: list[bytes] = []
    position = 0
    for item in items:
        if isinstance(item, bytes):
            out.append(item)
            continue
        for address in refs[position : position + item]:
            out += below(address)
        position += item
    return b"".join(out)


def reached(thread_id: str, stored: Blobs, manifest: bytes) -> set[bytes]:
    """
    Return all blobs that a manifest of a thread needs, without reading their contents: what a sender may
    leave out.

    The children of a segment are segments, or none of them is: so only the first of each has to be looked at.
    The texts in compounds are not among them: whoever leaves out a compound does not ask for its texts.
    """
    found = set(cut.references(manifest))
    unread = list(found)
    while unread:
        groups = [cut.split(body) for _, body in stored.segments(thread_id, unread)]
        for group in groups:
            found.update(group)
        deeper = {address for address, _ in stored.segments(thread_id, [group[0] for group in groups])}
        unread = [address for group in groups if group[0] in deeper for address in group]
    return found
