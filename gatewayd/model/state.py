"""A whole state (the values of a thread, the result of a run, the data of a `values` event) in its two forms.

Inline it is the JSON as it goes over the wire. In parts it is a manifest of pieces that storage keeps once
each (see `gatewayd.blobs`): the top-level keys' values and the elements of lists; the pieces, one after the
other, are the very bytes of the JSON. So a state that was stored before, and has grown a little, costs what
it has grown.

Small states are inline. What came from before there were parts is, too, and is read for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

FIRST: Final = b"\x93"
"""The first byte of a manifest, with which no JSON text begins."""


class Parts(NamedTuple):
    """A state in parts."""

    manifest: bytes
    size: int = 0
    """Bytes of the JSON; 0 where nobody needs to know."""


State = bytes | Parts
"""JSON, or the parts that it is made of."""


class Cut(NamedTuple):
    """A state in parts on its way to storage."""

    manifest: bytes
    size: int
    blobs: Sequence[Sequence[Any]]
    """Blobs ``(hash, kind, body)`` that it needs and storage may not have."""


def text(state: State) -> bytes:
    """Return the JSON of a state that has been joined, or was whole before."""
    if not isinstance(state, bytes):
        raise TypeError("a state is shown that has not been joined")
    return state


def loaded(column: bytes | None) -> State | None:
    """Return the state that a column has."""
    return Parts(column) if column is not None and column[:1] == FIRST else column


def stored(state: State | None) -> bytes | None:
    """Return what a column has of a state. Raises TypeError for a manifest that nobody has said to be one."""
    if isinstance(state, bytes) and state[:1] == FIRST:
        raise TypeError("a manifest is stored as if it were a state's JSON: its pieces may be missing")
    return state.manifest if isinstance(state, Parts) else state
