"""Filters on JSON columns as SQL (rest.md §1.5): objects by containment, scalars and lists by equality.

Equal is what JSON calls equal: ``1`` and ``1.0`` are, ``"1"`` and ``1``, ``true`` and ``1`` are not, the order of an
object's keys does not count. Every filter becomes a flat list of conditions, one for each value in it, so that the
statement stays within SQLite's limits on any input.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field, frozen

from gatewayd.errors import Invalid

MOST_TERMS = 500
"""Conditions of one filter; SQLite refuses expressions deeper than 1000."""

MOST_ODD = 8
"""Odd keys inside each other; SQLite's parser takes a few dozen subqueries."""

ODD = re.compile(r'["\\\x00-\x1f]')
"""What JSON escapes, and a path of SQLite therefore can't name."""


@define
class Conditions:
    """Terms to be joined by AND, and their parameters."""

    terms: list[str] = field(factory=list)
    parameters: list[Any] = field(factory=list)

    def add(self, term: str, *parameters: Any) -> None:
        """Add one term."""
        if len(self.terms) >= MOST_TERMS:
            raise Invalid(f"the filter has more than {MOST_TERMS} conditions")
        self.terms.append(term)
        self.parameters += parameters


@frozen(kw_only=True)
class _Place:
    """A value inside a JSON column: SQL expressions for what it is, each with the same `parameters`."""

    type: str
    value: str
    members: str
    """A table of its members."""
    parameters: tuple[Any, ...]
    path: str
    """Where it is in `root`."""
    root: str
    root_parameters: tuple[Any, ...] = ()
    odd: int = 0
    """Odd keys on the way here: subqueries inside each other."""

    def key(self, key: str) -> _Place:
        """Return the place of an object's key."""
        if key and not ODD.search(key):
            return _at(self.root, self.root_parameters, f'{self.path}."{key}"', self.odd)
        if self.odd == MOST_ODD:
            raise Invalid(
                f"the filter has more than {MOST_ODD} keys with quotes or the like inside each other"
            )
        row = f"FROM json_each({self.root}, ?) WHERE key = ?"
        # What is neither object nor list is no JSON by itself: nothing is looked for in it.
        inside = f"(SELECT value {row} AND type IN ('object', 'array'))"
        parameters = (*self.root_parameters, self.path, key)
        return _Place(
            type=f"(SELECT type {row})",
            value=f"(SELECT atom {row})",
            members=f"json_each({inside})",
            parameters=parameters,
            path="$",
            root=inside,
            root_parameters=parameters,
            odd=self.odd + 1,
        )

    def item(self, index: int) -> _Place:
        """Return the place of a list's item."""
        return _at(self.root, self.root_parameters, f"{self.path}[{index}]", self.odd)

    def has_type(self, found: Conditions, name: str) -> None:
        """Add that it has this type."""
        found.add(f"{self.type} = ?", *self.parameters, name)

    def has_size(self, found: Conditions, size: int) -> None:
        """Add that it is an object or list of this many members."""
        found.add(f"(SELECT count(*) FROM {self.members}) = ?", *self.parameters, size)

    def equals(self, found: Conditions, value: str | float, *types: str) -> None:
        """Add that it is this text or number, and of one of these types."""
        names = ", ".join(f"'{name}'" for name in types)
        found.add(
            f"({self.type} IN ({names}) AND {self.value} = ?)", *self.parameters, *self.parameters, value
        )


def _at(root: str, root_parameters: tuple[Any, ...], path: str, odd: int) -> _Place:
    """Return the place that a path of SQLite names."""
    return _Place(
        type=f"json_type({root}, ?)",
        value=f"json_extract({root}, ?)",
        members=f"json_each({root}, ?)",
        parameters=(*root_parameters, path),
        path=path,
        root=root,
        root_parameters=root_parameters,
        odd=odd,
    )


def matches(column: str, wanted: dict[str, Any], *, containment: bool) -> Conditions:
    """
    Return what holds for rows whose `column` has all keys of `wanted`, with these values.

    With `containment` objects inside may have more keys too. Raises `Invalid` for a filter that is too large.
    """
    found = Conditions()
    for key, value in wanted.items():
        _add(found, _at(column, (), "$", 0).key(key), value, containment)
    return found


def number(wanted: float) -> float:
    """Return a number as SQLite reads it in JSON: an integer of more than 64 bits is a float."""
    return wanted if -(2**63) <= wanted < 2**63 else float(wanted)


def _add(found: Conditions, place: _Place, wanted: Any, containment: bool) -> None:
    """Add what holds when the value at `place` matches."""
    match wanted:
        case dict():
            place.has_type(found, "object")
            if not containment:
                place.has_size(found, len(wanted))
            for key, value in wanted.items():
                _add(found, place.key(key), value, containment)
        case list():
            place.has_type(found, "array")
            place.has_size(found, len(wanted))
            for index, value in enumerate(wanted):
                _add(found, place.item(index), value, containment=False)
        case None:
            place.has_type(found, "null")
        case bool():
            place.has_type(found, "true" if wanted else "false")
        case int() | float():
            place.equals(found, number(wanted), "integer", "real")
        case _:
            place.equals(found, wanted, "text")
