"""The program of a parser: a process that turns the JSON of a large body into what the daemon needs of it.

A parser holds the interpreter for as long as it takes (0.4 s for a megabyte of empty lists), so no thread of
the daemon may do it. This process gets a body, checks it, and gives back its *head*: the body without the
values that no part of the daemon looks into. Those (`input`, `values`, `resume` and so on, see `OPAQUE`) come
beside it as JSON again and stay bytes (`wire.Raw`) until a worker opens them.

A parser has no code of the project, nothing of the daemon but a socket, and ends with it. After a large body
it ends by itself, which gives its memory back; the daemon starts another when it needs one.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import sys
from pathlib import Path
from typing import Any, Final

from gatewayd import structure, wire
from gatewayd.errors import Invalid
from gatewayd.limits import Limits

SIZE: Final = struct.Struct(">Q")
ANSWER: Final = struct.Struct(">BI")
"""What it is, and how many parts follow: their sizes, then their bytes."""
DONE, NO_JSON, REFUSED = range(3)

OPAQUE: Final = frozenset({"input", "values", "value", "resume", "update", "response"})
"""Fields that are passed on unread if they are large."""
WITHIN: Final = frozenset({"command", "params", "responses", "supersteps", "updates"})
"""Fields in which these are looked for."""
SMALL: Final = 16 * 1024
"""Bytes of what is left in the head anyway."""
MOST_KEYS: Final = 1000
INTERRUPT_ID: Final = re.compile(r"[0-9a-f]{32}")
"""Answers to several interrupts, by their ids, are passed on each by itself."""

HEAD_BYTES: Final = 4 << 20
HEAD_VALUES: Final = 50_000
"""What a head may have, since the daemon parses it again: some ten milliseconds' worth."""
TOO_MUCH: Final = (
    f"Beside `input`, `values`, `resume` and `update` a request body may have {HEAD_BYTES >> 20} MiB and "
    f"{HEAD_VALUES} values"
)
LARGE: Final = 8 << 20
"""Bytes of a body after which the process ends."""


def split(data: bytes | bytearray, limits: Limits) -> list[bytes]:
    """Return the head of a body and what was taken out of it. Raises `JSONDecodeError`, `Invalid`."""
    value = wire.loads(bytes(data))
    if wire.too_deep(value):
        raise Invalid(wire.TOO_DEEP)
    limits.check(value)
    head, *rest = wire.parts(_without_opaque(value))
    counted = structure.Structure(HEAD_VALUES)
    try:
        counted.feed(head)
    except Invalid:
        raise Invalid(TOO_MUCH) from None
    if len(head) > HEAD_BYTES:
        raise Invalid(TOO_MUCH)
    return [head, *rest]


def _without_opaque(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_opaque(item) if isinstance(item, dict | list) else item for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _field(name, item) for name, item in value.items()}


def _field(name: str, item: Any) -> Any:
    if name in WITHIN and isinstance(item, dict | list):
        return _without_opaque(item)
    if name not in OPAQUE or (name == "update" and isinstance(item, list)):  # pairs, which are looked at
        return item
    if isinstance(item, dict) and 0 < len(item) <= MOST_KEYS and all(map(INTERRUPT_ID.fullmatch, item)):
        return {key: _raw(answer) for key, answer in item.items()}
    return _raw(item)


def _raw(item: Any) -> Any:
    if not isinstance(item, dict | list | str) or not item:
        return item
    data = wire.dumps(item)
    return wire.Raw(data) if len(data) > SMALL else item


# the process


def main() -> None:
    """Answer until the daemon closes the socket, or a body was large."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    limits = Limits(**json.loads(sys.argv[2]))
    with contextlib.suppress(OSError):  # the kernel is to take it, and not the daemon, when memory is short
        Path("/proc/self/oom_score_adj").write_text("800")
    size = 0
    while size < LARGE and (head := _read(sock, SIZE.size)) is not None:
        (size,) = SIZE.unpack(head)
        body = _read(sock, size)
        if body is None:
            break
        kind, parts = _answer(body, limits)
        del body
        sizes = b"".join(SIZE.pack(len(part)) for part in parts)
        for part in (ANSWER.pack(kind, len(parts)) + sizes, *parts):
            sock.sendall(part)


def _answer(body: bytearray, limits: Limits) -> tuple[int, list[bytes]]:
    try:
        return DONE, split(body, limits)
    except Invalid as error:
        return REFUSED, [error.detail.encode("utf-8", "replace")]
    except ValueError:
        return NO_JSON, []


def _read(sock: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    with memoryview(data) as view:
        done = 0
        while done < size:
            got = sock.recv_into(view[done:])
            if not got:
                return None
            done += got
    return data
