"""A whole state (the values of a thread, the result of a run, the data of a `values` event) in its two forms.

Inline, it is the JSON as it goes over the wire. In parts, it is a manifest of pieces: the values of top-level
keys, and the elements of lists. Storage keeps each piece once (see `gatewayd.blobs`), and the pieces one
after the other are exactly the JSON. So storing a state that has grown a little costs only what was added.

Small states are inline. So are states that were stored before there were parts; they stay readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

FIRST: Final = b"\x93"
"""The first byte of a manifest; no JSON text begins with it."""


class Parts(NamedTuple):
    """A state in parts."""

    manifest: bytes
    size: int = 0
    """Bytes of the JSON; 0 where it is not needed."""


State = bytes | Parts
"""The JSON, or the parts of it."""


class Cut(NamedTuple):
    """A state in parts on its way to storage."""

    manifest: bytes
    size: int
    blobs: Sequence[Sequence[Any]]
    """Blobs ``(hash, kind, body)`` of the state that may not be stored yet."""


def text(state: State) -> bytes:
    """Return the JSON of a state, which must be inline or joined. Raises TypeError."""
    if not isinstance(state, bytes):
        raise TypeError("a state is shown that has not been joined")
    return state


def loaded(column: bytes | None) -> State | None:
    """Return the state in a column."""
    return Parts(column) if column is not None and column[:1] == FIRST else column


def stored(state: State | None) -> bytes | None:
    """Return the column of a state. Raises TypeError for a manifest that is not in `Parts`."""
    if isinstance(state, bytes) and state[:1] == FIRST:
        raise TypeError("a manifest is stored as if it were a state's JSON: its pieces may be missing")
    return state.manifest if isinstance(state, Parts) else state
