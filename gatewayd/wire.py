"""JSON as it goes over the wire: compact UTF-8, and times as ISO 8601 with microseconds.

`orjson` refuses NaN, lone surrogates and trailing garbage on its own; what it accepts beyond the contract is
cleaned in `loads`: NUL characters in strings become U+FFFD, as in the reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

JSONDecodeError = orjson.JSONDecodeError


DEEPEST: Final = 200
"""Levels of nesting in what clients send; the encoder that stores it gives up at 254."""
TOO_DEEP: Final = f"The request body is nested more than {DEEPEST} levels deep"


class Raw:
    """
    A value as JSON that is passed on unread: checked, compact, without NULs. It stands for what it is in any
    data.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Raw) and self.data == other.data

    def __hash__(self) -> int:
        return hash(bytes(self.data))

    @property
    def is_object(self) -> bool:
        """Whether it is an object."""
        return self.data[:1] == b"{"

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return self.data[:1] == b"["


def dumps(value: Any) -> bytes:
    """Encode plain JSON data; keys that aren't strings are converted."""
    return orjson.dumps(value, _inline, orjson.OPT_NON_STR_KEYS)


def text(value: Any) -> str:
    """Encode plain JSON data as text, for a TEXT column."""
    return orjson.dumps(value, _inline, orjson.OPT_NON_STR_KEYS).decode()


def _inline(value: Any) -> Any:
    if isinstance(value, Raw):
        return orjson.Fragment(bytes(value.data))
    raise TypeError(f"{type(value).__name__} is no JSON")


# data with values that stay raw


def parts(value: Any) -> list[Any]:
    """
    Encode JSON data as its head and its raw values, each by itself.

    In the head a raw value is a string, a NUL and its position: no other string has a NUL.
    """
    raw: list[Any] = []

    def hook(found: Any) -> Any:
        if not isinstance(found, Raw):
            raise TypeError(f"{type(found).__name__} is no JSON")
        raw.append(found.data)
        return f"\0{len(raw) - 1}"

    return [orjson.dumps(value, hook, orjson.OPT_NON_STR_KEYS), *raw]


def joined(head: bytes | memoryview, raw: Sequence[bytes | bytearray | memoryview]) -> Any:
    """Return the data of what `parts` made."""
    return _with_raw(orjson.loads(head), raw)


def _with_raw(value: Any, raw: Sequence[bytes | bytearray | memoryview]) -> Any:
    match value:
        case str() if value.startswith("\0"):
            return Raw(raw[int(value[1:])])
        case list():
            return [_with_raw(item, raw) for item in value]
        case dict():
            return {key: _with_raw(item, raw) for key, item in value.items()}
        case _:
            return value


def pieces(value: Any) -> list[Any]:
    """Encode JSON data in pieces, which are its JSON one behind the other: raw values are not copied."""
    head, *raw = parts(value)
    if not raw:
        return [head]
    found: list[Any] = PLACE.split(head)
    found[1::2] = [raw[int(position)] for position in found[1::2]]
    return found


PLACE: Final = re.compile(rb'"\\u0000(\d+)"')


def packed(value: Any) -> bytes:
    """Encode JSON data to be stored: one line of JSON, and a line for each raw value."""
    head, *raw = parts(value)
    return b"\n".join([head, *raw]) if raw else bytes(head)


def unpacked(data: bytes | str) -> Any:
    """Return the data of what `packed` made; plain JSON is that, too."""
    if isinstance(data, str):
        data = data.encode()
    end = data.find(b"\n")
    if end < 0:
        return loads(data)
    lines, view = [], memoryview(data)
    head = view[:end]
    while end >= 0:
        start, end = end + 1, data.find(b"\n", end + 1)
        lines.append(view[start:end] if end >= 0 else view[start:])
    return joined(head, lines)


def has_raw(value: Any) -> bool:
    """Whether there are raw values in data that is not large otherwise."""
    match value:
        case dict():
            return any(map(has_raw, value.values()))
        case list():
            return any(map(has_raw, value))
        case _:
            return isinstance(value, Raw)


def opened(value: Any) -> Any:
    """Return data with what was raw as data, too; over a channel that has come as bytes."""
    match value:
        case Raw():
            return orjson.loads(value.data)
        case bytes():
            return orjson.loads(value)
        case dict():
            return {key: opened(item) for key, item in value.items()}
        case list():
            return [opened(item) for item in value]
        case _:
            return value


def too_deep(value: Any) -> bool:
    """Whether a value is nested too deep to be stored."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def loads(data: bytes | str) -> Any:
    """Decode JSON; strings lose their NULs. Raises `JSONDecodeError` (a ValueError)."""
    value = orjson.loads(data)
    escaped = b"\\u0000" in data if isinstance(data, bytes) else "\\u0000" in data
    return without_nul(value) if escaped else value


def without_nul(value: Any) -> Any:
    """Return a copy of JSON data with U+FFFD for every NUL, keys included."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case list():
            return [without_nul(item) for item in value]
        case dict():
            return {without_nul(key): without_nul(item) for key, item in value.items()}
        case _:
            return value


def iso(us: int) -> str:
    """Return microseconds since the epoch as the wire's timestamp; whole seconds have no fraction."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000).isoformat()


def parse_iso(stamp: str) -> int:
    """Return an ISO timestamp as microseconds since the epoch; a naive one is taken as UTC."""
    moment = datetime.fromisoformat(stamp)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000 + moment.microsecond
