"""What to install when a module that the project imports is missing: the hint behind the error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

PROJECT_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
NAME = re.compile(r"""^\s*name\s*=\s*["']?([A-Za-z0-9._-]+)""", re.MULTILINE)
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def hint(error: BaseException | None, folder: Path, dependencies: Iterable[str]) -> str:
    """
    Return how to install what is missing, if `dependencies` of langgraph.json has it; else an empty text.

    They are folders (relative to `folder`) or names of packages. `error` is looked through down to its first
    cause.
    """
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__
    if error is None or not error.name:
        return ""
    top = _plain(error.name.partition(".")[0])
    for dependency in dependencies:
        if (folder / dependency).is_dir():
            if _provides(folder / dependency, top):
                return f" (hint: pip install -e {dependency})"
        elif (name := REQUIREMENT.match(dependency)) is not None and _plain(name[0]) == top:
            return f" (hint: pip install {name[0]})"
    return ""


def _provides(folder: Path, top: str) -> bool:
    """Whether a folder is a Python project that has this top-level module."""
    files = [folder / name for name in PROJECT_FILES if (folder / name).is_file()]
    if not files:
        return False
    if any(_plain(entry.stem) == top for place in (folder, folder / "src") for entry in _modules(place)):
        return True
    return any(
        _plain(name) == top for file in files for name in NAME.findall(file.read_text(errors="replace"))
    )


def _modules(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [entry for entry in place.iterdir() if entry.suffix == ".py" or entry.is_dir()]


def _plain(name: str) -> str:
    """Return a name of a package or module as both are compared: packaging's normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()
