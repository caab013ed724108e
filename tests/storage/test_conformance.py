"""The tests of this folder hold for every backend: they know storage by its Protocol alone."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from gatewayd.model.caller import Caller
from gatewayd.storage import store

HERE = Path(__file__).parent
OF_ONE_BACKEND = (
    "sqlite3",
    "aiosqlite",
    "gatewayd.storage.sqlite",
    "gatewayd.checkpointing.sqlite",
    "gatewayd.blobs.sqlite",
)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_module_of_this_folder_imports_what_belongs_to_one_backend() -> None:
    found = {
        path.name: {name for name in imported(path) if name.startswith(OF_ONE_BACKEND)}
        for path in HERE.glob("*.py")
    }
    assert {name: names for name, names in found.items() if names} == {}


def test_every_operation_that_takes_a_caller_takes_it_first() -> None:
    operations = inspect.getmembers(store.Storage, inspect.isfunction)
    places = {
        name: list(inspect.signature(operation).parameters).index("whose")
        for name, operation in operations
        if "whose" in inspect.signature(operation).parameters
    }
    assert len(places) > 30
    assert set(places.values()) == {1}
    assert inspect.signature(store.Storage.thread_get).parameters["whose"].annotation in (Caller, "Caller")
