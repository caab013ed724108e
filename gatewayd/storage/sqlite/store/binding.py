"""Binding SQLite's functions to the names of storage's operations.

An operation that is one function in the writer's thread, or one read on a snapshot, is not written twice: the
attribute of the class is made of the function, with its parameters, and mypy compares it with the Protocol.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from gatewayd.model.caller import Caller
from gatewayd.storage.sqlite.store.base import Base

P = ParamSpec("P")
T = TypeVar("T")

Work = Callable[Concatenate[sqlite3.Connection, P], T]
"""A function on the rows, called inside a transaction or on a snapshot."""
Operation = Callable[Concatenate[Base, P], Coroutine[Any, Any, T]]
"""An operation of storage, as a method."""


def written(function: Work[P, T], *, promise: bool = False) -> Operation[P, T]:
    """Return the operation that has the writer call a function; a `promise` is answered when it is synced."""

    async def operation(store: Base, /, *args: P.args, **named: P.kwargs) -> T:
        work = functools.partial(function, **named) if named else function
        return await store.writer.submit(work, *args, promise=promise)

    return operation


def written_in_boot(
    function: Callable[Concatenate[sqlite3.Connection, int, P], T], *, promise: bool = False
) -> Operation[P, T]:
    """Return the operation that has the writer call a function with the number of this start."""

    async def operation(store: Base, /, *args: P.args, **named: P.kwargs) -> T:
        work = functools.partial(function, **named) if named else function
        return await store.writer.submit(work, store.boot, *args, promise=promise)

    return operation


def scanned(function: Work[P, T]) -> Operation[P, T]:
    """Return the operation that calls a function on a snapshot; it may take long."""

    async def operation(store: Base, /, *args: P.args, **named: P.kwargs) -> T:
        return await store.scanner.read(function, *args, **named)

    return operation


def snapshot(function: Work[P, T]) -> Operation[P, T]:
    """Return the operation that calls a function on a snapshot, to read rows with their states."""

    async def operation(store: Base, /, *args: P.args, **named: P.kwargs) -> T:
        return await store.snapshots.read(function, *args, **named)

    return operation


S = TypeVar("S", bound=Base)


def for_caller(
    operation: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, Caller, P], Coroutine[Any, Any, T]]:
    """
    Return an operation on user data, which takes its caller first and is refused without one.

    There is nothing to filter by yet. The filter of a caller will have to be handed to the function on the
    rows: it belongs into the WHERE of its statement.
    """

    @functools.wraps(operation)
    async def of_caller(store: S, whose: Caller, /, *args: P.args, **named: P.kwargs) -> T:
        if not isinstance(whose, Caller):
            raise TypeError(f"{operation.__name__} needs its caller first, not {type(whose).__name__}")
        return await operation(store, *args, **named)

    return of_caller
