"""Fields of a body that are not known.

A near miss of a known field is refused with the suggestion: the client meant something, and would not get it.
Near is what is equal but for case, ``_`` and ``-``, or one edit away (two, from `LONG` letters on), while the
known field is absent. Any other field is ignored, as in the reference: clients are newer than we are. It is
named in the response's header ``X-Gatewayd-Ignored-Fields`` and once in the log. With
``GATEWAYD_UNKNOWN_FIELDS=refuse`` it is refused, too.

What is inside of `metadata`, `input`, `configurable` and other values that are the client's own is never
looked at.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable
from contextvars import ContextVar
from typing import Final

from attrs import define, field

log = logging.getLogger(__name__)

HEADER: Final = "X-Gatewayd-Ignored-Fields"
LONG: Final = 10
"""Letters from which on two may be wrong."""
LONGEST: Final = 100
"""Characters of a name that are looked at and repeated."""
MOST_TOLD: Final = 20
"""Names in one header."""
MOST_EXAMINED: Final = 50
"""Unknown fields of one body that are looked at; those of a body that has more are no slips."""
MOST_REMEMBERED: Final = 1000
"""Names that the log tells of once; further ones it does not tell of at all."""


@define(eq=False)
class Unknown:
    """The unknown fields of one request."""

    refused: bool = False
    names: list[str] = field(factory=list)

    def add(self, name: str) -> None:
        """Note one that is ignored."""
        if len(self.names) < MOST_TOLD and name not in self.names:
            self.names.append(name)


_of_request: ContextVar[Unknown | None] = ContextVar("gatewayd.unknown_fields", default=None)
_logged: set[tuple[str, str]] = set()


def begin(*, refused: bool) -> Unknown:
    """Note unknown fields from now on, for the request that is handled in this context."""
    noted = Unknown(refused)
    _of_request.set(noted)
    return noted


def of_request() -> Unknown | None:
    """Return what has been noted of the request that is handled in this context."""
    return _of_request.get()


def problem(
    given: Iterable[str], known: Collection[str], body: str, *, others_pass: bool = False
) -> tuple[str, str] | None:
    """
    Return the first given field that is to be refused, with the sentence that says why; note those that are
    ignored.

    `body` names what they are fields of, for the log. With `others_pass` those that are no near miss are
    honoured elsewhere.
    """
    given = set(given)
    others = (name for name in given if name not in known)
    for name in sorted(itertools.islice(others, MOST_EXAMINED)):
        if (meant := nearest(name, set(known).difference(given))) is not None:
            return name, f'"{name[:LONGEST]}" is not a known field; did you mean "{meant}"?'
        if others_pass:
            continue
        noted = _of_request.get()
        if noted is not None and noted.refused:
            return name, f'"{name[:LONGEST]}" is not a known field'
        _ignore(name[:LONGEST], body, noted)
    return None


def header(noted: Unknown) -> str:
    """Return the names of the fields that were ignored, as a header tells them."""
    return ", ".join(name.encode("ascii", "backslashreplace").decode() for name in noted.names)


def _ignore(name: str, body: str, noted: Unknown | None) -> None:
    if noted is not None:
        noted.add(name if name.isprintable() else repr(name))
    if (body, name) not in _logged and len(_logged) < MOST_REMEMBERED:
        _logged.add((body, name))
        log.info("a client sends the unknown field %r in %s; it is ignored", name, body)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known field that a name is a near miss of, if there is one."""
    if len(name) > LONGEST:
        return None
    plain = _plain(name)
    for candidate in sorted(known):
        if _plain(candidate) == plain:
            return candidate
    for candidate in sorted(known):
        edits = 2 if len(candidate) >= LONG else 1
        if abs(len(name) - len(candidate)) <= edits and distance(name, candidate) <= edits:
            return candidate
    return None


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def distance(one: str, other: str) -> int:
    """Return how many letters must be put in, left out, exchanged, or swapped with their neighbour."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, counterpart in enumerate(other, 1):
            cost = min(last[column] + 1, current[-1] + 1, last[column - 1] + (letter != counterpart))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == counterpart:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, last = last, current
    return last[-1]
