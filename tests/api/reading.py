"""What a handler reads from its request, found in its code: what it declares is compared with that.

A handler calls `parse.body` (or `structure`, `items_of`) with the class of its body, `parse.flag`, `whole`
and `listed` with the names of its query, `request.query.get`, `request.headers.get`, `parse.once`. The same
is looked for in the functions of the API that it calls.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs
from attrs import define, field

PACKAGE: Final = "gatewayd.api"
DEEPEST: Final = 4
"""Calls from a handler to what reads for it."""


@define
class Reads:
    """What is read. The classes of bodies come with whether the body is an array of them."""

    bodies: list[tuple[type[Any], bool]] = field(factory=list)
    query: dict[str, dict[str, Any]] = field(factory=dict)
    """JSON schemas by name."""
    headers: set[str] = field(factory=set)


STRING: Final[dict[str, Any]] = {"type": "string"}
QUERIES: Final[dict[str, dict[str, Any]]] = {
    "flag": {"type": "boolean", "default": False},
    "whole": {"type": "integer", "minimum": 0},
    "listed": {"type": "array", "items": STRING},
}
"""The functions of `parse` that read a query, and what they make of it."""


def of(handler: Callable[..., Any]) -> Reads:
    """Return what a handler reads."""
    found = Reads()
    level, seen = [_plain(handler)], set()
    for _ in range(DEEPEST):
        level = [function for function in level if function not in seen]
        seen.update(level)
        level = [called for function in level for called in _look(function, found)]
    return found


def _plain(handler: Callable[..., Any]) -> FunctionType:
    function = inspect.unwrap(handler)
    assert isinstance(function, FunctionType)
    return function


def _body_of(function: FunctionType) -> list[ast.stmt]:
    return _functions(function.__code__.co_filename).get(function.__code__.co_firstlineno, [])


@functools.cache
def _functions(file: str) -> dict[int, list[ast.stmt]]:
    """Return the bodies of a file's functions by their first lines, as code objects tell them."""
    return {
        min([each.lineno, *(mark.lineno for mark in each.decorator_list)]): each.body
        for each in ast.walk(ast.parse(Path(file).read_bytes()))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _look(function: FunctionType, found: Reads) -> Iterator[FunctionType]:
    """Note what a function reads, and yield the functions of this package that it names."""
    names = function.__globals__
    for statement in _body_of(function):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                _note_call(node, names, found)
            if isinstance(node, ast.Name | ast.Attribute):
                named = _resolved(node, names)
                if isinstance(named, FunctionType) and _is_ours(named.__module__):
                    yield named


def _note_call(call: ast.Call, names: dict[str, Any], found: Reads) -> None:
    words = [
        each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    match call.func:
        case ast.Attribute(value=ast.Name(id="parse"), attr=("flag" | "whole" | "listed") as how):
            found.query.update((word, QUERIES[how]) for word in words)
        case ast.Attribute(value=ast.Name(id="parse"), attr="once"):
            found.headers.add("Idempotency-Key")
        case ast.Attribute(value=ast.Name(id="parse"), attr=("body" | "structure" | "items_of") as how):
            for argument in call.args:
                kind = _resolved(argument, names)
                if isinstance(kind, type) and attrs.has(kind):
                    found.bodies.append((kind, how == "items_of"))
        case ast.Attribute(value=ast.Attribute(attr="query"), attr="get" | "getall"):
            found.query.update((word, STRING) for word in words[:1] if word not in found.query)
        case ast.Attribute(value=ast.Attribute(attr="headers"), attr="get"):
            found.headers.update(word for word in words[:1] if word in SHOWN_HEADERS)


SHOWN_HEADERS: Final = frozenset({"Last-Event-ID", "Prefer"})


def _resolved(node: ast.AST, names: dict[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            module = names.get(name)
            if isinstance(module, ModuleType) and _is_ours(module.__name__):
                return getattr(module, attribute, None)
    return None


def _is_ours(module: str) -> bool:
    return (
        module.startswith(f"{PACKAGE}.") and module != f"{PACKAGE}.requests.parse" and module in sys.modules
    )
