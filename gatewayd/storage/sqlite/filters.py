"""Filters on JSON columns as SQL: objects and lists by containment, scalars by equality.

Object A contains object B if A has all keys of B, and the value of each contains B's. List A contains list B
if every item of B is contained in an item of A; order and number don't matter. Scalars are compared as in
JSON: ``1`` equals ``1.0``, but ``"1"`` does not equal ``1``, nor does ``true``. The order of keys does not
matter. A filter becomes a flat list of conditions, one for each value in it, so that the statement stays
within SQLite's limits.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field, frozen

from gatewayd.errors import Invalid

MOST_TERMS = 500
"""Conditions of one filter; SQLite refuses expressions deeper than 1000."""

MOST_SUBQUERIES = 8
"""Nested subqueries, one for each list and odd key. SQLite's parser has no stack for many more."""

ODD = re.compile(r'["\\\x00-\x1f]')
"""Characters that JSON escapes: a JSON path of SQLite can't name a key that has one."""


@define
class Conditions:
    """Terms to be joined by AND, and their parameters."""

    terms: list[str] = field(factory=list)
    parameters: list[Any] = field(factory=list)
    most: int = MOST_TERMS
    """The limit of the number of terms, not counting nested ones."""

    def add(self, term: str, *parameters: Any) -> None:
        if len(self.terms) >= self.most:
            raise Invalid(f"the filter has more than {MOST_TERMS} conditions")
        self.terms.append(term)
        self.parameters += parameters

    def add_all(self, others: Conditions) -> None:
        """Add the terms of another filter, which has a limit of its own."""
        self.terms += others.terms
        self.parameters += others.parameters

    def add_none_of(self, others: Conditions) -> None:
        """Add that not all of these hold."""
        self.terms.append(f"({' AND '.join(others.terms) or 'true'}) IS NOT TRUE")
        self.parameters += others.parameters


@frozen(kw_only=True)
class _Place:
    """A value inside a JSON column, as SQL expressions that all take `parameters`."""

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
    """Nested subqueries so far."""

    def key(self, key: str) -> _Place:
        """Return the place of an object's key."""
        if key and not ODD.search(key):
            path = f'{self.path}."{key}"'
            return _at(self.root, self.root_parameters, path, self.subqueries)
        deeper = self._deeper()
        row = f"FROM json_each({self.root}, ?) WHERE key = ?"
        # The value of a scalar is not JSON, so json_each must not read it.
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
        Return the number of nested subqueries with one more. Raises `Invalid` if there are too many.
        """
        if self.subqueries == MOST_SUBQUERIES:
            raise Invalid(
                f"the filter has more than {MOST_SUBQUERIES} lists and keys with quotes or the like inside each other"
            )
        return self.subqueries + 1

    def has_item(self, conditions: Conditions, wanted: Any) -> None:
        """Add that it is a list and one of its items contains a value."""
        deeper = self._deeper()
        row = f"item{deeper}"
        # The value of a scalar is not JSON, so json_each must not read it.
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
        of_item = Conditions(most=conditions.most - len(conditions.terms))
        _add(of_item, item, wanted)
        conditions.add(
            f"EXISTS (SELECT 1 FROM {self.members} AS {row} WHERE {' AND '.join(of_item.terms)})",
            *self.parameters,
            *of_item.parameters,
        )
        conditions.most -= len(of_item.terms)

    def has_type(self, conditions: Conditions, name: str) -> None:
        """Add that it has this type."""
        conditions.add(f"{self.type} = ?", *self.parameters, name)

    def equals(self, conditions: Conditions, value: str | float, *types: str) -> None:
        """Add that it is this text or number, and of one of these types."""
        names = ", ".join(f"'{name}'" for name in types)
        conditions.add(
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
    Return the conditions that `column` contains `wanted`. Raises `Invalid` if the filter is too large.
    """
    conditions = Conditions()
    for key, value in wanted.items():
        _add(conditions, _at(column, (), "$").key(key), value)
    return conditions


def number(wanted: float) -> float:
    """Return a number as SQLite reads it from JSON, where integers of more than 64 bits become floats."""
    return wanted if -(2**63) <= wanted < 2**63 else float(wanted)


def _add(conditions: Conditions, place: _Place, wanted: Any) -> None:
    """Add the conditions that the value at `place` contains `wanted`."""
    match wanted:
        case dict():
            place.has_type(conditions, "object")
            for key, value in wanted.items():
                _add(conditions, place.key(key), value)
        case list():
            place.has_type(conditions, "array")
            for value in wanted:
                place.has_item(conditions, value)
        case None:
            place.has_type(conditions, "null")
        case bool():
            place.has_type(conditions, "true" if wanted else "false")
        case int() | float():
            place.equals(conditions, number(wanted), "integer", "real")
        case _:
            place.equals(conditions, wanted, "text")
