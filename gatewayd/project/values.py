"""Reading single values of the file; each raises `BadConfiguration` with the file, the key and the cause."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewayd.errors import BadConfiguration
from gatewayd.model.retention import MOST_MINUTES


def bad(path: Path, key: str, cause: str) -> BadConfiguration:
    """Return the error that a key is not what it must be."""
    return BadConfiguration(f"{path}: {key}: {cause}")


def ports(path: Path, key: str, value: Any) -> tuple[int, ...]:
    """Return a list of ports."""
    found = value if isinstance(value, list) else None
    if found is None or not all(type(port) is int and 0 < port < 65536 for port in found):
        raise bad(path, key, "must be a list of ports")
    return tuple(found)


def mapping(path: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise bad(path, key, f"must be an object, not {kind(value)}")
    return value


def text(path: Path, key: str, value: Any, *, empty: bool = False) -> str:
    """Return a string, not an empty one unless `empty`."""
    if not isinstance(value, str):
        raise bad(path, key, f"must be a string, not {kind(value)}")
    if not value and not empty:
        raise bad(path, key, "must not be empty")
    return value


def texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    """Return a list of strings."""
    if not isinstance(value, list):
        raise bad(path, key, f"must be a list of strings, not {kind(value)}")
    return tuple(text(path, f"{key}[{index}]", item) for index, item in enumerate(value))


def flag(path: Path, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise bad(path, key, f"must be true or false, not {kind(value)}")
    return value


def whole(path: Path, key: str, value: Any, unit: str = "seconds") -> int:
    """Return a whole number of something, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad(path, key, f"must be a whole number of {unit}, 0 or more")
    return value


def pattern(path: Path, key: str, value: Any) -> str:
    """Return a regular expression, as it is written."""
    found = text(path, key, value)
    try:
        re.compile(found)
    except re.error as error:
        raise bad(path, key, f"not a regular expression: {error}") from error
    return found


def kind(value: Any) -> str:
    """Name what a value is in JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def minutes(path: Path, key: str, value: Any) -> float:
    """Return a number of minutes, more than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_MINUTES:
        raise bad(path, key, f"must be a number of minutes, more than 0 and at most {MOST_MINUTES:g}")
    return float(value)


def known(path: Path, key: str, value: Any, names: tuple[str, ...], warnings: list[str]) -> dict[str, Any]:
    """Return an object's options that are not null; unknown ones are warned of."""
    given = {name: item for name, item in mapping(path, key, value).items() if item is not None}
    for name in given.keys() - set(names):
        warnings.append(f"{path}: {key}.{name} is ignored: unknown key")
    return given
