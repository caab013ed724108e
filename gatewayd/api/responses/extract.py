"""Picking single values out of threads: the `extract` of a search, alias to path (rest.md §4.3).

A path is a column, then keys and list positions: ``values.messages[-1].content``. What it does not lead to is
null.
"""

from __future__ import annotations

import re
from typing import Any, Final, get_args

from attrs import frozen

from gatewayd import wire
from gatewayd.api.requests import thread_bodies
from gatewayd.errors import Invalid
from gatewayd.model import state
from gatewayd.model.thread import Thread

COLUMNS: Final = ("config", "interrupts", "metadata", "values")
RESERVED: Final = frozenset(get_args(thread_bodies.ThreadColumn))
"""Names that no alias may have."""
ALIAS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
ROOT: Final = re.compile(rf"({'|'.join(COLUMNS)})(?=[.\[]|\Z)")
STEP: Final = re.compile(r"([^\[]*)((?:\[\s*[+-]?[0-9]{1,18}\s*\])*)", re.ASCII)
POSITION: Final = re.compile(r"[+-]?[0-9]+")
SHOWN: Final = 1000
"""Characters of a path that are repeated to the client."""


@frozen(kw_only=True)
class Path:
    """One value to pick."""

    alias: str
    column: str
    steps: tuple[str | int, ...] | None
    """Keys and positions from the column on; None: it leads nowhere."""

    def value(self, columns: dict[str, Any]) -> Any:
        """Return what a thread has at the path, None if nothing."""
        if self.steps is None:
            return None
        found = columns[self.column]
        for step in self.steps:
            if isinstance(step, str) and isinstance(found, dict):
                found = found.get(step)
            elif isinstance(step, int) and isinstance(found, list) and -len(found) <= step < len(found):
                found = found[step]
            else:
                return None
        return found


def paths(wanted: dict[str, str]) -> tuple[Path, ...]:
    """Read aliases and paths. Raises `Invalid`, which names the wrong one."""
    if taken := sorted(RESERVED & wanted.keys()):
        raise Invalid(f"Extract keys cannot use reserved field names: {taken}")
    return tuple(_path(alias, path) for alias, path in wanted.items())


def _path(alias: str, path: str) -> Path:
    if not ALIAS.fullmatch(alias):
        raise Invalid(
            f"Extract key '{alias[:SHOWN]}' must be a valid identifier (letters, digits, underscores)"
        )
    if not path:
        raise Invalid(f"Extract path for '{alias[:SHOWN]}' must be a non-empty string")
    root = ROOT.match(path)
    if root is None:
        raise Invalid(f"Extract path '{path[:SHOWN]}' must start with one of: {', '.join(COLUMNS)}")
    return Path(alias=alias, column=root[1], steps=_steps(path[root.end() :]))


def _steps(path: str) -> tuple[str | int, ...] | None:
    steps: list[str | int] = []
    for part in path.split("."):
        found = STEP.fullmatch(part)
        if found is None:
            return None
        if found[1]:
            steps.append(found[1])
        steps += [int(position) for position in POSITION.findall(found[2])]
    return tuple(steps)


def extracted(thread: Thread, wanted: tuple[Path, ...]) -> dict[str, Any]:
    """
    Return the values of all paths by their aliases; the thread's values are decoded only if a path needs
    them.
    """
    columns: dict[str, Any] = {
        "config": thread.config,
        "metadata": thread.metadata,
        "interrupts": thread.interrupts or {},
        "values": None,
    }
    if thread.values is not None and any(path.column == "values" for path in wanted):
        columns["values"] = wire.loads(state.text(thread.values))
    return {path.alias: path.value(columns) for path in wanted}
