"""Live Python objects (states, updates, messages, interrupts) to the JSON of the wire.

Everything that has no JSON form of its own is told to orjson by one hook; orjson itself does numbers,
strings, dates, UUIDs, enums and dataclasses. What nobody knows becomes null, as in the reference. What orjson
can't be told is repaired afterwards, only when it occurs: lone surrogates become "?", NULs become U+FFFD,
scalars of numpy are keys as plain ones.

orjson does numpy's numbers as well, but only one by one, through the hook: of an array of times it makes
wrong dates, and JSON that nobody can read, if one of them is no time (NaT) or has no form as a date.

Raises TypeError for what the reference refuses too: integers beyond 64 bits, keys without a text form,
cycles. A run that emits such a value fails; where it is stored already, it is read through `simplified`.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import re
from collections import deque
from collections.abc import Callable
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from langgraph.types import Send

from gatewayd.worker.project import faults

_OPTIONS = orjson.OPT_NON_STR_KEYS

_ORJSONS_DEPTH = 254
"""Levels at which orjson gives up."""

# Exactly these classes, no subclasses: their fields are their __dict__, in the wire's order, so that the
# recursive copy that model_dump makes (six times the cost of the rest) can be left out.
_MESSAGES = frozenset(
    {
        AIMessage,
        AIMessageChunk,
        HumanMessage,
        HumanMessageChunk,
        RemoveMessage,
        SystemMessage,
        SystemMessageChunk,
        ToolMessage,
        ToolMessageChunk,
    }
)
_AS_TEXT = (
    PurePath,
    tzinfo,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
_SCALARS = (int, float, date, time, UUID)
DEEPEST = 200
"""Levels of a value that are shown when not all can be."""
# An escaped NUL, not the text of one: an even number of backslashes stands before it.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def dumps(value: Any, *, full: bool = False) -> bytes:
    """Encode `value`; `full` shows the messages of exceptions that are masked otherwise. Raises TypeError."""
    hook = _plain_in_full if full else _plain
    try:
        data = orjson.dumps(value, hook, _OPTIONS)
    except TypeError as error:
        if "surrogates" not in str(error) and "Dict key" not in str(error):
            raise
        data = orjson.dumps(_repaired(value, hook), hook, _OPTIONS)
    return _NUL.sub(rb"\1\\ufffd", data) if b"\\u0000" in data else data


def plain(value: Any) -> Any:
    """Return what `value` is on the wire, as plain JSON data; what has no form there, as in `shown`."""
    return orjson.loads(shown(value))


def shown(value: Any) -> bytes:
    """Encode what is stored: what has no JSON form does not hide the rest, it is shown as its text."""
    try:
        return dumps(value)
    except TypeError:
        return dumps(simplified(value))


def simplified(value: Any, depth: int = DEEPEST) -> Any:
    """
    Return a copy that `dumps` takes: texts for what has no JSON form, nulls for what is nested too deeply.
    """
    if depth == 0:
        return None
    match value:
        case orjson.Fragment():
            return value
        case Enum():
            return simplified(value.value, depth)
        case dict():
            return {_key(key): simplified(item, depth - 1) for key, item in value.items()}
        case list():
            return [simplified(item, depth - 1) for item in value]
        case tuple() if type(value) is tuple:
            return [simplified(item, depth - 1) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if value is None or isinstance(value, (str, *_SCALARS)):
        return value if _encodes(value) else str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: simplified(getattr(value, name), depth - 1) for name in names}
    return simplified(_plain(value), depth - 1)


def _key(key: Any) -> Any:
    return key if _encodes({key: None}) else str(key)


def _encodes(value: Any) -> bool:
    try:
        dumps(value)
    except TypeError:
        return False
    return True


def fields(message: Any) -> Any:
    """Return the fields of a message (or what else may stand in its place), their values as they are."""
    return message if isinstance(message, dict | str | None) else _plain(message)


def _plain(value: Any) -> Any:
    """Return, for an object that orjson does not know, one that it knows or will ask about again."""
    kind = type(value)
    if kind in _MESSAGES:
        extra = value.__pydantic_extra__
        return {**value.__dict__, **extra} if extra else value.__dict__
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return _numpys(value)
    if isinstance(value, BaseException):
        return faults.describe(value)
    if isinstance(value, type):
        return None
    for classes, convert in _CONVERSIONS:
        if isinstance(value, classes):
            return convert(value)
    # Asked of the class, since objects that answer to every name (mocks, proxies) would answer to these as
    # well.
    for method in ("model_dump", "_asdict", "dict"):
        if callable(getattr(kind, method, None)):
            return getattr(value, method)()
    return None


def _numpys(value: Any) -> Any:
    """Return what stands for an array or a scalar of numpy."""
    if isinstance(value, float):
        return float(value)
    if value.dtype.kind == "M":
        return [_numpys(element) for element in value] if value.ndim else _moment(value[()])
    try:
        return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError:
        told = value.tolist()
    if type(told).__module__ != "numpy":
        return told
    return float(told) if value.dtype.kind == "f" else None  # wider than Python's numbers


def _moment(value: Any) -> str | None:
    """Return the text of a time, as orjson writes it if it can; None: it is no time."""
    text = str(value)
    if text == "NaT":
        return None
    try:
        return str(orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)))
    except TypeError:
        return text


def _plain_in_full(value: Any) -> Any:
    """Like `_plain`, with the whole message of an exception."""
    return faults.describe(value, full=True) if isinstance(value, BaseException) else _plain(value)


def _number(value: Decimal) -> int | float | None:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):  # a letter: NaN or infinity
        return None
    return int(value) if exponent >= 0 else float(value)


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode()


def _send(value: Send) -> dict[str, Any]:
    return {"node": value.node, "args": value.arg}


def _pattern(value: re.Pattern[Any]) -> Any:
    return value.pattern


_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((set, frozenset, deque), list),
    ((bytes, bytearray, memoryview), _base64),
    (timedelta, timedelta.total_seconds),
    (Decimal, _number),
    (Send, _send),
    (re.Pattern, _pattern),
    (_AS_TEXT, str),
)


def _repaired(value: Any, hook: Callable[[Any], Any], depth: int = _ORJSONS_DEPTH) -> Any:
    """Return a copy made of JSON types, and of scalars that orjson knows. Raises TypeError for cycles."""
    if depth == 0:
        raise TypeError("Recursion limit reached")
    deeper = depth - 1
    match value:
        case Enum():
            return _repaired(value.value, hook, deeper)
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_repaired_key(key): _repaired(element, hook, deeper) for key, element in value.items()}
        case list():
            return [_repaired(element, hook, deeper) for element in value]
        case tuple() if type(value) is tuple:
            return [_repaired(element, hook, deeper) for element in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: _repaired(getattr(value, name), hook, deeper) for name in names}
    if value is None or isinstance(value, (*_SCALARS, orjson.Fragment)):
        return value
    return _repaired(hook(value), hook, deeper)


def _repaired_key(key: Any) -> Any:
    if isinstance(key, str):
        return key.encode("utf-8", "replace").decode()
    if type(key).__module__ != "numpy" or isinstance(key, bytes):
        return key
    plain = _moment(key) if key.dtype.kind == "M" else key.item()
    return plain.total_seconds() if isinstance(plain, timedelta) else plain
