"""The section ``checkpointer``: how long threads are kept, and what stored states may become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatewayd import wire
from gatewayd.model.retention import STRATEGIES, Retention
from gatewayd.project import values


def retention(path: Path, value: Any, warnings: list[str]) -> Retention:
    """Read how long threads are kept."""
    fields: dict[str, Any] = {}
    for name, item in values.mapping(path, "checkpointer.ttl", {} if value is None else value).items():
        key = f"checkpointer.ttl.{name}"
        if item is None:
            continue
        match name:
            case "strategy":
                if item not in STRATEGIES:
                    raise values.bad(path, key, f"must be {' or '.join(STRATEGIES)}")
                fields[name] = item
            case "default_ttl" | "sweep_interval_minutes":
                fields[name] = values.minutes(path, key, item)
            case "sweep_limit":
                if type(item) is not int or item <= 0:
                    raise values.bad(path, key, "must be a whole number of threads, more than 0")
                fields[name] = item
            case _:
                warnings.append(f"{path}: {key} is ignored: unknown key")
    return Retention(**fields)


def serde(path: Path, value: Any, warnings: list[str]) -> dict[str, Any]:
    """Read what checkpoints may hold. A null says something here: nothing but langgraph's own safe types."""
    fields: dict[str, Any] = {}
    for name, item in values.mapping(path, "checkpointer.serde", {} if value is None else value).items():
        key = f"checkpointer.serde.{name}"
        match name:
            case "allowed_json_modules":
                fields[name] = _symbols(path, key, item, ["my_agent", "my_file", "SomeType"])
            case "allowed_msgpack_modules":
                fields[name] = _symbols(path, key, item, ["my_agent.my_file", "SomeType"], 2)
            case "pickle_fallback":
                fields[name] = item is not None and values.flag(path, key, item)
            case _:
                warnings.append(f"{path}: {key} is ignored: unknown key")
    return fields


def _symbols(
    path: Path, key: str, value: Any, example: list[str], most: int | None = None
) -> list[list[str]] | bool | None:
    """Read which classes may be made of stored data: a list of them, true for all, null or false for none."""
    if value is None or isinstance(value, bool):
        return value or None
    if not isinstance(value, list):
        raise values.bad(path, key, f"must be a list, true or null, not {values.kind(value)}")
    for index, symbol in enumerate(value):
        if not isinstance(symbol, list) or len(symbol) < 2 or len(symbol) > (most or len(symbol)):
            raise values.bad(path, f"{key}[{index}]", f"must be a list like {wire.text(example)}")
        values.texts(path, f"{key}[{index}]", symbol)
    return value
