"""``gatewayd db report``: how large the database is, what in it takes how much, and how fast it grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gatewayd import app, settings, wire
from gatewayd.storage.room import free_disk, size
from gatewayd.storage.sqlite import usage

LARGEST = 10
"""Threads that are named."""
TABLES = 12
"""Tables that are shown to a person."""


def report(options: settings.Settings, *, as_json: bool) -> str:
    """Return the report, as text or as JSON. Raises `BadConfiguration`."""
    found = usage.look(options.data_dir / app.DATABASE, time.time_ns() // 1000, LARGEST)
    free = free_disk(options.data_dir)
    figures = {
        "path": str(found.path),
        "file_bytes": found.file_bytes,
        "wal_bytes": found.wal_bytes,
        "free_bytes": found.space.free,
        "used_bytes": found.space.used,
        "gives_back": found.space.incremental,
        "disk_free_bytes": free,
        "max_db_size": options.max_db_size or None,
        "growth_bytes_a_day": found.growth_a_day,
        "growth_days": round(found.days, 2),
        "days_left": _days_left(found, options, free),
        "tables": {table.name: {"rows": table.rows, "bytes": table.bytes} for table in found.tables},
        "threads": [{"thread_id": thread_id, "bytes": taken} for thread_id, taken in found.threads],
    }
    return wire.text(figures) if as_json else "\n".join(_lines(found, figures))


def _days_left(found: usage.Usage, options: settings.Settings, free: int) -> float | None:
    """Return in how many days the limit or the disk is reached if it goes on like this; None: not that way, or not known."""
    if found.growth_a_day <= 0 or found.days < 1:
        return None
    room = free - options.min_free_disk + found.space.free
    if options.max_db_size:
        room = min(room, options.max_db_size - found.space.used)
    return round(max(0.0, room / found.growth_a_day), 1)


def _lines(found: usage.Usage, figures: dict[str, Any]) -> Iterator[str]:
    yield f"database       {found.path}"
    yield f"file           {size(found.file_bytes)}, of which {size(found.space.free)} free"
    if not found.space.incremental:
        yield "               (free pages can't be given back: stop the daemon and run gatewayd db compact once)"
    yield f"log (WAL)      {size(found.wal_bytes)}"
    yield f"free on disk   {size(figures['disk_free_bytes'])}"
    if figures["max_db_size"]:
        yield f"limit          {size(figures['max_db_size'])} (max_db_size)"
    if found.days < 1:
        yield "growth a day   not known before a day is over"
    else:
        yield f"growth a day   {size(found.growth_a_day)} (last {found.days:.1f} days, of what is still there)"
    if figures["days_left"] is not None:
        yield f"room for       {figures['days_left']:g} days like these"
    yield ""
    yield f"{'table':<20}{'rows':>12}{'bytes':>14}"
    for table in found.tables[:TABLES]:
        if table.rows:
            yield f"{table.name:<20}{table.rows:>12}{size(table.bytes):>14}"
    if found.threads:
        yield ""
        yield f"{'largest threads':<40}{'bytes':>14}"
        for thread_id, taken in found.threads:
            yield f"{thread_id:<40}{size(taken):>14}"
