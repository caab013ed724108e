"""What a search's filter means: the comparison of one item's value.

The rules are those of langgraph's in-memory store, which is the reference's: an object without operators
matches by content at any depth, a list by all its elements, anything else by equality, so null matches what
is absent, too. Beyond it, strings can be ordered; what can't be ordered matches no comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

ORDERED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS: Final = frozenset({"$eq", "$ne", *ORDERED})


def check(terms: Any) -> None:
    """Raise ValueError if there is an operator that is none of ours."""
    if isinstance(terms, Mapping):
        for name, term in terms.items():
            if name.startswith("$") and name not in OPERATORS:
                raise ValueError(f"Unsupported operator: {name}")
            check(term)
    elif isinstance(terms, list):
        for term in terms:
            check(term)


def matches(value: Any, terms: Mapping[str, Any]) -> bool:
    """Whether an item's value has what a filter asks for."""
    return all(_same(value.get(name), term) for name, term in terms.items())


def _same(value: Any, term: Any) -> bool:
    if isinstance(term, Mapping):
        if any(name.startswith("$") for name in term):
            return all(_applies(name, value, operand) for name, operand in term.items())
        return isinstance(value, Mapping) and matches(value, term)
    if isinstance(term, list):
        return (
            isinstance(value, list)
            and len(value) == len(term)
            and all(_same(one, other) for one, other in zip(value, term, strict=True))
        )
    return bool(value == term)


def _applies(name: str, value: Any, operand: Any) -> bool:
    if name == "$eq":
        return bool(value == operand)
    if name == "$ne":
        return bool(value != operand)
    if name not in ORDERED:
        return False  # a plain name beside operators
    for kind in (int | float, str):
        if isinstance(value, kind) and isinstance(operand, kind):
            return ORDERED[name](value, operand)
    return False
