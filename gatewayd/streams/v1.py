"""Records as frames of protocol v1: server-sent events with CRLF, `event`, `data`, `id` in this order.

The format is that of the reference server (contract: CRLF, one line of data, `: heartbeat` comments). Frames
of one page are joined into one write; a single event is never held back for that.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatewayd.model import event
from gatewayd.model.event import Chunk, Record
from gatewayd.streams import v2

HEARTBEAT = b": heartbeat\r\n\r\n"

BEGINNING = frozenset({"-1", "0", "-"})
"""Values of Last-Event-ID that mean "everything that is kept"."""

ALWAYS = frozenset({"metadata", "error"})
"""Kinds that no mode filter removes: without them a failed run looks like a successful one."""

MESSAGES = ("messages", "messages/metadata", "messages/partial", "messages/complete")
NAMES = {"messages-tuple": MESSAGES, "messages": MESSAGES}
"""
Modes whose events have other names. A run's messages come in one of both forms, as its reader asks.
"""


def frame(name: str, data: bytes, event_id: str | None = None) -> bytes:
    if event_id is None:
        return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)
    return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (name.encode(), data, event_id.encode())


def event_name(record: Record) -> str:
    """Return ``kind`` or ``kind|namespace``."""
    return f"{record.kind}|{record.namespace}" if record.namespace else record.kind


def shown_on(record: Record, mask: int) -> Record | None:
    """Return the record in the form of v1; None if v1 does not show it."""
    if not record.mask & mask:
        return None
    return v2.shown_to_v1(record) if record.kind.startswith(event.V2_KIND) else record


def names_of(modes: Iterable[str]) -> frozenset[str]:
    """Return the names of the events that a filter by stream modes lets through."""
    return frozenset(name for mode in modes for name in NAMES.get(mode, (mode,))) | ALWAYS


def run_frames(
    chunks: Iterable[Chunk], run_id: str, *, names: frozenset[str] | None, with_ids: bool
) -> tuple[bytes, bool]:
    """Return the frames of one run in `chunks`, joined, and whether its last record was among them."""
    frames: list[bytes] = []
    for chunk in chunks:
        if chunk.run_id != run_id:
            continue
        for record in chunk.records:
            if record.kind == event.END:
                return b"".join(frames), True
            shown = shown_on(record, event.V1)
            if shown is not None and (names is None or shown.kind in names):
                frames.append(frame(event_name(shown), shown.data, shown.event_id if with_ids else None))
    return b"".join(frames), False


def cursor_of(last_event_id: str) -> int | None:
    """Return the number behind which a client wants to read: 0 for all, None for an unknown form of id."""
    text = last_event_id.strip()
    if text in BEGINNING:
        return 0
    stamp, dash, number = text.partition("-")
    if dash and stamp.isdecimal() and number.isdecimal() and len(number) < 19 and len(stamp) < 19:
        return int(number)
    return None


def gap_frame(after: int, resumes_at: int, run_id: str | None = None, attempt: int = 0) -> bytes:
    """Tell a reader of a run, or of a whole thread, that events between two numbers are not kept any more."""
    whose = b"" if run_id is None else b'"run_id":"%b","attempt":%d,' % (run_id.encode(), attempt)
    return frame("metadata", b'{%b"gap":{"after":%d,"resumes_at":%d}}' % (whose, after, resumes_at))
