"""
Identifiers: UUIDv7 for threads and runs, UUIDv5 for system assistants, and the spellings clients may send.
"""

from __future__ import annotations

import os
import time
import uuid

SYSTEM_ASSISTANTS = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Namespace of the system assistants' ids, the same as the reference's, so that ids survive a move."""

_GREGORIAN = 0x01B21DD213814000
"""The Unix epoch in the ticks of 100 ns that UUIDs of version 6 count."""


def new_id(now_ms: int | None = None) -> str:
    """Return a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = (ms & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def time_ms(text: str) -> int:
    """Return the moment in a UUIDv7, in Unix milliseconds."""
    return uuid.UUID(text).int >> 80


def system_assistant_id(graph_id: str) -> str:
    """Return the id of the assistant that every graph gets at start."""
    return str(uuid.uuid5(SYSTEM_ASSISTANTS, graph_id))


def parse_uuid(text: str) -> str | None:
    """Return the canonical form of any spelling `uuid.UUID` accepts (case, dashes, braces, urn), or None."""
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError):
        return None


def checkpoint_time_ms(checkpoint_id: str) -> int | None:
    """Return when a checkpoint was made: langgraph's ids are UUIDs of version 6. None: it is no such id."""
    try:
        number = uuid.UUID(checkpoint_id)
    except ValueError:
        return None
    if number.version != 6:
        return None
    ticks = (number.int >> 80) << 12 | (number.int >> 64) & 0xFFF
    return (ticks - _GREGORIAN) // 10_000
