"""Selecting the parts of a state that a client wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

FIELDS: Final = (
    "values",
    "next",
    "tasks",
    "metadata",
    "created_at",
    "checkpoint",
    "parent_checkpoint",
    "interrupts",
    "checkpoint_id",
    "parent_checkpoint_id",
)
"""The parts of a state on the wire; ``values.<key>`` selects one of its values."""

ONE_VALUE: Final = "values."


def known(name: str) -> bool:
    """Return whether this is the name of a part."""
    return name in FIELDS or (name.startswith(ONE_VALUE) and name != ONE_VALUE)


def selected(state: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the named parts of a state; no names mean all. Missing values are left out."""
    if not names:
        return state
    shown = {name: state[name] for name in FIELDS if name in names}
    keys = [name.removeprefix(ONE_VALUE) for name in names if name.startswith(ONE_VALUE)]
    if keys and "values" not in shown:
        values = state["values"]
        held = values if isinstance(values, Mapping) else {}
        shown["values"] = {key: held[key] for key in keys if key in held}
    return shown
