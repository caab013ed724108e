"""Filters on JSON columns as SQL: recursive containment for objects, equality for scalars and lists (rest.md §1.5)."""

from __future__ import annotations

from typing import Any

from gatewayd import wire


def matches(column: str, wanted: dict[str, Any], *, containment: bool) -> tuple[list[str], list[Any]]:
    """Return the terms (to be joined by AND) and their parameters; with `containment` objects may have more keys."""
    terms: list[str] = []
    parameters: list[Any] = []
    _add(column, "$", wanted, containment, terms, parameters, top=True)
    return terms, parameters


def _add(
    column: str, path: str, wanted: Any, containment: bool, terms: list[str], parameters: list[Any], *, top: bool
) -> None:
    """Add the terms that hold when the value at `path` matches."""
    if isinstance(wanted, dict) and (containment or top):
        if not top:
            terms.append(f"json_type({column}, ?) = 'object'")
            parameters.append(path)
        for key, value in wanted.items():
            label = str(key).replace('"', '\\"')
            _add(column, f'{path}."{label}"', value, containment, terms, parameters, top=False)
        return
    match wanted:
        case None:
            terms.append(f"json_type({column}, ?) = 'null'")
            parameters.append(path)
        case bool():
            terms.append(f"json_type({column}, ?) = ?")
            parameters += [path, "true" if wanted else "false"]
        case int() | float():
            terms.append(f"(json_type({column}, ?) IN ('integer', 'real') AND json_extract({column}, ?) = ?)")
            parameters += [path, path, wanted]
        case str():
            terms.append(f"(json_type({column}, ?) = 'text' AND json_extract({column}, ?) = ?)")
            parameters += [path, path, wanted]
        case _:
            terms.append(f"json_extract({column}, ?) = json(?)")
            parameters += [path, wire.text(wanted)]
