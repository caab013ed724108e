"""Filters on JSON columns as SQL: objects and lists by containment, scalars by equality.

An object is contained in one that has all its keys with values that contain its own; a list in one of whose
items each of its own is contained, whatever their order and number. Equal is what JSON calls equal: ``1`` and
``1.0`` are, ``"1"`` and ``1``, ``true`` and ``1`` are not, the order of an object's keys does not count.
Every filter becomes a flat list of conditions, one for each value in it, so that the statement stays within
SQLite's limits on any input.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field, frozen

from gatewayd.errors import Invalid

MOST_TERMS = 500
"""Conditions of one filter; SQLite refuses expressions deeper than 1000."""

MOST_SUBQUERIES = 8
"""
Subqueries inside each other, one for each list and odd key; the stack of SQLite's parser ends soon after.
"""

ODD = re.compile(r'["\\\x00-\x1f]')
"""What JSON escapes, and a path of SQLite therefore can't name."""


@define
class Conditions:
    """Terms to be joined by AND, and their parameters."""

    terms: list[str] = field(factory=list)
    parameters: list[Any] = field(factory=list)
    most: int = MOST_TERMS
    """Terms that there may be, without those inside others."""

    def add(self, term: str, *parameters: Any) -> None:
        if len(self.terms) >= self.most:
            raise Invalid(f"the filter has more than {MOST_TERMS} conditions")
        self.terms.append(term)
        self.parameters += parameters

    def add_all(self, others: Conditions) -> None:
        """Add the terms of a filter of its own, beyond the number that this one may have."""
        self.terms += others.terms
        self.parameters += others.parameters

    def add_none_of(self, others: Conditions) -> None:
        """Add that not all of these hold."""
        self.terms.append(f"({' AND '.join(others.terms) or 'true'}) IS NOT TRUE")
        self.parameters += others.parameters


@frozen(kw_only=True)
class _Place:
    """A value inside a JSON column: SQL expressions for what it is, each with the same `parameters`."""

    type: str
    value: str
    members: str
    """A table of its items, if it is a list."""
    parameters: tuple[Any, ...]
    path: str
    """Where it is in `root`."""
    root: str
    root_parameters: tuple[Any, ...] = ()
    subqueries: int = 0
    """Subqueries that are inside each other so far."""

    def key(self, key: str) -> _Place:
        """Return the place of an object's key."""
        if key and not ODD.search(key):
            path = f'{self.path}."{key}"'
            return _at(self.root, self.root_parameters, path, self.subqueries)
        deeper = self._deeper()
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
            subqueries=deeper,
        )

    def _deeper(self) -> int:
        """
        Return the number of subqueries inside each other with one more. Raises `Invalid` if they are too
        many.
        """
        if self.subqueries == MOST_SUBQUERIES:
            raise Invalid(
                f"the filter has more than {MOST_SUBQUERIES} lists and keys with quotes or the like inside each other"
            )
        return self.subqueries + 1

    def has_item(self, found: Conditions, wanted: Any) -> None:
        """Add that it is a list and one of its items contains a value."""
        deeper = self._deeper()
        row = f"item{deeper}"
        # What is neither object nor list is no JSON by itself: nothing is looked for in it.
        inside = f"CASE WHEN {row}.type IN ('object', 'array') THEN {row}.value END"
        item = _Place(
            type=f"{row}.type",
            value=f"{row}.atom",
            members=f"json_each({inside})",
            parameters=(),
            path="$",
            root=inside,
            subqueries=deeper,
        )
        of_item = Conditions(most=found.most - len(found.terms))
        _add(of_item, item, wanted)
        found.add(
            f"EXISTS (SELECT 1 FROM {self.members} AS {row} WHERE {' AND '.join(of_item.terms)})",
            *self.parameters,
            *of_item.parameters,
        )
        found.most -= len(of_item.terms)

    def has_type(self, found: Conditions, name: str) -> None:
        """Add that it has this type."""
        found.add(f"{self.type} = ?", *self.parameters, name)

    def equals(self, found: Conditions, value: str | float, *types: str) -> None:
        """Add that it is this text or number, and of one of these types."""
        names = ", ".join(f"'{name}'" for name in types)
        found.add(
            f"({self.type} IN ({names}) AND {self.value} = ?)", *self.parameters, *self.parameters, value
        )


def _at(root: str, root_parameters: tuple[Any, ...], path: str, subqueries: int = 0) -> _Place:
    """Return the place that a path of SQLite names."""
    return _Place(
        type=f"json_type({root}, ?)",
        value=f"json_extract({root}, ?)",
        members=f"json_each({root}, ?)",
        parameters=(*root_parameters, path),
        path=path,
        root=root,
        root_parameters=root_parameters,
        subqueries=subqueries,
    )


def matches(column: str, wanted: dict[str, Any]) -> Conditions:
    """
    Return what holds for rows whose `column` contains `wanted`. Raises `Invalid` for a filter that is too
    large.
    """
    found = Conditions()
    for key, value in wanted.items():
        _add(found, _at(column, (), "$").key(key), value)
    return found


def number(wanted: float) -> float:
    """Return a number as SQLite reads it in JSON: an integer of more than 64 bits is a float."""
    return wanted if -(2**63) <= wanted < 2**63 else float(wanted)


def _add(found: Conditions, place: _Place, wanted: Any) -> None:
    """Add what holds when the value at `place` contains `wanted`."""
    match wanted:
        case dict():
            place.has_type(found, "object")
            for key, value in wanted.items():
                _add(found, place.key(key), value)
        case list():
            place.has_type(found, "array")
            for value in wanted:
                place.has_item(found, value)
        case None:
            place.has_type(found, "null")
        case bool():
            place.has_type(found, "true" if wanted else "false")
        case int() | float():
            place.equals(found, number(wanted), "integer", "real")
        case _:
            place.equals(found, wanted, "text")
