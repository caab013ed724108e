"""Filters on JSON columns as SQL (rest.md §1.5): objects by containment, scalars and lists by equality.

Equal is what JSON calls equal: ``1`` and ``1.0`` are, ``"1"`` and ``1``, ``true`` and ``1`` are not, the order of an
object's keys does not count. Every filter becomes a flat list of conditions, one for each value in it, so that the
statement stays within SQLite's limits on any input.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field

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


@define
class _Place:
    """A value inside a JSON column: an expression with JSON, its parameters, and a path in it."""

    json: str
    parameters: tuple[Any, ...] = ()
    path: str = "$"
    odd: int = 0
    """Odd keys on the way here: subqueries in each other."""

    def key(self, key: str) -> _Place:
        """Return the place of an object's key."""
        if key and not ODD.search(key):
            return _Place(self.json, self.parameters, f'{self.path}."{key}"', self.odd)
        if self.odd == MOST_ODD:
            raise Invalid(f"the filter has more than {MOST_ODD} keys with quotes or the like inside each other")
        # The subquery has a value's JSON again, scalars too: they are looked at through `path`.
        each = (
            f"(SELECT json_array(CASE WHEN type IN ('object', 'array') THEN json(value) "
            f"WHEN type IN ('true', 'false') THEN json(type) ELSE value END) "
            f"FROM json_each({self.json}, ?) WHERE key = ?)"
        )
        return _Place(each, (*self.parameters, self.path, key), "$[0]", self.odd + 1)

    def item(self, index: int) -> _Place:
        """Return the place of a list's item."""
        return _Place(self.json, self.parameters, f"{self.path}[{index}]", self.odd)

    def has(self, found: Conditions, condition: str, *more: Any) -> None:
        """Add a condition; `{type}`, `{value}` and `{size}` in it stand for those of this place."""
        here = (*self.parameters, self.path)
        expressions = {
            "type": f"json_type({self.json}, ?)",
            "value": f"json_extract({self.json}, ?)",
            "size": f"(SELECT count(*) FROM json_each({self.json}, ?))",
        }
        used = sum(condition.count(f"{{{name}}}") for name in expressions)
        found.add(condition.format(**expressions), *(here * used), *more)


def matches(column: str, wanted: dict[str, Any], *, containment: bool) -> Conditions:
    """
    Return what holds for rows whose `column` has all keys of `wanted`, with these values.

    With `containment` objects inside may have more keys too. Raises `Invalid` for a filter that is too large.
    """
    found = Conditions()
    for key, value in wanted.items():
        _add(found, _Place(column).key(key), value, containment)
    return found


def _add(found: Conditions, place: _Place, wanted: Any, containment: bool) -> None:
    """Add what holds when the value at `place` matches."""
    match wanted:
        case dict():
            place.has(found, "{type} = 'object'")
            if not containment:
                place.has(found, "{size} = ?", len(wanted))
            for key, value in wanted.items():
                _add(found, place.key(key), value, containment)
        case list():
            place.has(found, "{type} = 'array'")
            place.has(found, "{size} = ?", len(wanted))
            for index, value in enumerate(wanted):
                _add(found, place.item(index), value, containment=False)
        case None:
            place.has(found, "{type} = 'null'")
        case bool():
            place.has(found, "{type} = ?", "true" if wanted else "false")
        case int() | float():
            number = wanted if -(2**63) <= wanted < 2**63 else float(wanted)
            place.has(found, "({type} IN ('integer', 'real') AND {value} = ?)", number)
        case _:
            place.has(found, "({type} = 'text' AND {value} = ?)", wanted)
