"""Importing what langgraph.json names: "path:attribute".

The rule is the reference's, because module names end up in checkpoints: a left part with a "/" is a file,
executed under the module name that is its path without ".py", with "__" for "/" and without leading dots
(``./src/agent.py`` → ``__src__agent``); anything else is a dotted module on `sys.path`. Each file is executed
once in a process, however many attributes of it are asked for, so that its classes and globals exist once.

A failure is told in one line that ends with the place in the project's own code where it happened,
``tools.py:4``; the whole traceback, without the frames of the import system and of gatewayd, is `trace`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from gatewayd.errors import BadConfiguration
from gatewayd.worker.process import stacks
from gatewayd.worker.project import importing


class LoadError(BadConfiguration):
    """User code can't be used; `detail` is one line: which graph, which path, why."""

    def __init__(self, path: str, cause: str, graph: str | None = None) -> None:
        subject = path if graph is None else f"graph '{graph}' ({path})"
        super().__init__(f"{subject}: {cause}")
        self.path = path
        self.cause = cause
        self.graph = graph


def extend_path(paths: Iterable[Path]) -> None:
    """Append folders to `sys.path`, each once; what is there already keeps its place."""
    for path in map(str, paths):
        if path not in sys.path:
            sys.path.append(path)


def load(spec_path: str, folder: Path) -> object:
    """
    Return the object that "path:attribute" names; file paths are relative to `folder`. Raises `LoadError`.
    """
    location, colon, attribute = spec_path.rpartition(":")
    if not (colon and location and attribute):
        raise LoadError(spec_path, 'must be "path:attribute"')
    with importing.as_script(spec_path):
        if "/" in location:
            module = _from_file(spec_path, location, folder)
        else:
            module = _from_path(spec_path, location, folder)
        try:
            return getattr(module, attribute)
        except AttributeError:
            raise LoadError(spec_path, f"no attribute '{attribute}' in {location}") from None
        except Exception as error:
            raise LoadError(spec_path, _cause(error, folder)) from error


def module_name(location: str) -> str:
    """
    Return the module name under which the file at `location` (as written in langgraph.json) is executed.
    """
    return location.removesuffix(".py").replace("/", "__").lstrip(".")


def trace(error: BaseException) -> str | None:
    """
    Return the traceback behind a `LoadError`, beginning in the project's code; None if no code of it has
    failed.
    """
    cause: BaseException | None = error
    while isinstance(cause, LoadError):
        cause = cause.__cause__
    if cause is None:
        return None
    told = traceback.TracebackException.from_exception(cause)
    frames = [entry for entry in told.stack if not entry.filename.startswith("<frozen importlib")]
    users = [number for number, entry in enumerate(frames) if stacks.is_users(entry.filename)]
    told.stack = traceback.StackSummary.from_list(frames[users[0] :] if users else frames)
    return "".join(told.format()).rstrip()


def _from_path(spec_path: str, name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        hint = f" (a file is written with a slash: ./{name})" if name.endswith(".py") else ""
        raise LoadError(spec_path, _cause(error, folder) + hint) from error


def _from_file(spec_path: str, location: str, folder: Path) -> ModuleType:
    """Execute a file as a module of its own, or return the module if that has been done."""
    file = (folder / location).resolve()
    name = module_name(location)
    known = sys.modules.get(name)
    if known is not None:
        if known.__file__ == str(file):
            return known
        # Registering both would let one's classes be revived from checkpoints as the other's.
        raise LoadError(spec_path, f"its module name '{name}' is taken by {known.__file__}")
    if not file.is_file():
        raise LoadError(spec_path, "no such file")
    if file.suffix != ".py":
        raise LoadError(spec_path, "not a Python file (graphs in other languages are not served)")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # a .py file always has a spec and a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered first: dataclasses and pydantic resolve annotations through sys.modules while the file runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise LoadError(spec_path, _cause(error, folder)) from error
    return module


def _cause(error: BaseException, folder: Path) -> str:
    """
    Return class, first line of the message, and the innermost place of the project's code in the traceback.
    """
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, SyntaxError):  # its message has the place
        return text
    stack = traceback.extract_tb(error.__traceback__)
    places = [entry for entry in stack if stacks.is_users(entry.filename)]
    return f"{text} ({_shown(places[-1].filename, folder)}:{places[-1].lineno})" if places else text


def _shown(filename: str, folder: Path) -> str:
    """
    Return a file's path as the project's author writes it: from the project's folder if it is below that.
    """
    file, root = Path(filename), folder.resolve()
    return str(file.relative_to(root)) if file.is_relative_to(root) else filename
