"""Whole states as they leave the worker: small ones as JSON, others cut into parts (`model.state`).

The cuts are made along the live object, and every piece is serialised by itself: the values of the keys of
dicts, down to `DEPTH`, and the elements of lists. That orjson's output is the concatenation of its parts is
what makes the pieces, joined, the very bytes that the whole would have been. Anything that is no plain dict
or list is one piece.

A state is serialised anew every time, for a node may have changed any message in place and nothing tells but
looking (4,000 messages of 2 kB: some 40 ms, half of it for hashing; in one piece it would be 15 ms, and then
8 MB to copy, send and store). What is saved is compressing, sending and storing. Of a new
message, what is stored is little: its text is a blob that its checkpoint has, too (`blobs`). So that a run
need not send what the thread's last run has stored, it reads at its first large state which pieces the
thread's values are made of; no run takes them away as long as it has the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field

from gatewayd.blobs import join, texts
from gatewayd.blobs.cut import LONE, Cutter, Known, Piece
from gatewayd.checkpointing import reader as reading
from gatewayd.errors import GatewaydError
from gatewayd.model import state
from gatewayd.worker.states import serialise

SMALL: Final = 1024
"""Bytes of JSON up to which a state stays in one piece."""
DEPTH: Final = 4
"""How deep dicts and lists are looked into: ``debug`` shows the messages of a checkpoint at depth 3."""
LONG: Final = 8
"""A list of more elements makes a state large for certain, or nearly so."""
WIDE: Final = 256
"""Keys of a dict up to which its values are looked into."""
SCALARS: Final = frozenset({int, float, bool, type(None)})
GROUPS: Final = {**dict.fromkeys(SCALARS, 64), str: 8}
"""How many elements are serialised together, by the type of a list's first one; else each by itself."""
KINDS: Final = frozenset({"values", "checkpoints", "debug", "tasks"})
"""Kinds of events that show whole states."""


@define(eq=False)
class States:
    """Cuts the states of one run, or of one call, on a thread whose lock it has."""

    reader: reading.Reader
    thread_id: str
    _known: Known | None = field(default=None, init=False)
    """What storage has, or will have before what is cut next; None: it has not been looked at."""

    def cut(self, value: Any, *, full: bool = False) -> bytes | state.Cut:
        """
        Return a state as JSON or cut; `full` as in `serialise.dumps`. What is cut must be sent in the order
        of cutting.
        """
        if not _long(value, 0):
            data = serialise.dumps(value, full=full)
            if len(data) <= SMALL:
                return data
        pieces: list[Piece] = []
        _add(pieces, value, 0, full)
        size = sum(len(piece) if isinstance(piece, bytes) else sum(map(len, piece)) for piece in pieces)
        if size <= SMALL:
            return b"".join(piece if isinstance(piece, bytes) else b"".join(piece) for piece in pieces)
        known = self._stored()
        cutter = Cutter(known, find=texts.in_json)
        manifest = cutter.manifest(pieces)
        known.update(cutter.blobs)
        return state.Cut(manifest, size, [tuple(blob) for blob in cutter.blobs.values()])

    def shown(self, value: Any) -> bytes | state.Cut:
        """Cut a state that is stored: what has no JSON form in it is shown as its text."""
        try:
            return self.cut(value)
        except TypeError:
            return self.cut(serialise.simplified(value))

    def forget(self) -> None:
        """Something that was cut has not been stored: what is cut from now on leaves nothing out."""
        self._known = set()

    def _stored(self) -> Known:
        if self._known is None:
            self._known = set()
            try:
                manifest = self.reader.values_manifest(self.thread_id)
                if manifest is not None:
                    self._known = join.reached(self.thread_id, self.reader, manifest)
            except GatewaydError:  # then it sends what may be there already
                self._known = set()
        return self._known


def inline(cut_: bytes | state.Cut) -> bytes:
    """Return what a frame or a column has of a state."""
    return cut_ if isinstance(cut_, bytes) else cut_.manifest


def blobs_of(*cuts: bytes | state.Cut) -> list[Sequence[Any]]:
    """Return the blobs of several states, each once."""
    found = {blob[0]: blob for cut in cuts if isinstance(cut, state.Cut) for blob in cut.blobs}
    return list(found.values())


def _long(value: Any, depth: int) -> bool:
    """Whether a state is so large for certain that it need not be tried in one piece first."""
    kind = type(value)
    if kind is list:
        return len(value) > LONG
    return kind is dict and depth < DEPTH and any(_long(item, depth + 1) for item in value.values())


def _add(out: list[Piece], value: Any, depth: int, full: bool) -> None:
    kind = type(value)
    if (
        kind is dict
        and value
        and depth < DEPTH
        and len(value) <= WIDE
        and all(type(key) is str for key in value)
    ):
        before = b"{"
        for key, item in value.items():
            out.append(before + serialise.dumps(key) + b":")
            _add(out, item, depth + 1, full)
            before = b","
        out.append(b"}")
    elif kind is list and len(value) > 1 and depth < DEPTH:
        out += (b"[", _elements(value, full), b"]")
    else:
        data = serialise.dumps(value, full=full)
        out.append([data] if len(data) >= LONE else data)


def _elements(value: list[Any], full: bool) -> list[bytes]:
    dumps = serialise.dumps
    together = GROUPS.get(type(value[0]))
    if together is None:
        found = [b"," + dumps(item, full=full) for item in value]
    else:
        found = [
            b"," + dumps(value[start : start + together], full=full)[1:-1]
            for start in range(0, len(value), together)
        ]
    found[0] = found[0][1:]
    return found
