"""JSON as it goes over the wire: compact UTF-8, and times as ISO 8601 with microseconds.

`orjson` refuses NaN, lone surrogates and trailing garbage on its own; what it accepts beyond the contract is cleaned
in `loads`: NUL characters in strings become U+FFFD, as in the reference.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

JSONDecodeError = orjson.JSONDecodeError


def dumps(value: Any) -> bytes:
    """Encode plain JSON data; keys that aren't strings are converted."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def text(value: Any) -> str:
    """Encode plain JSON data as text, for a TEXT column."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


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
