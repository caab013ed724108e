"""
``gatewayd db report``: how large the database and the long-term store are, what takes how much, and how fast
they grow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gatewayd import datadir, settings, wire
from gatewayd.storage.quota import free_disk, size
from gatewayd.storage.sqlite import usage

LARGEST = 10
"""Threads that are named."""
TABLES = 12
"""Tables that are shown to a person."""


def report(options: settings.Settings, *, as_json: bool) -> str:
    """Return the report, as text or as JSON. Raises `BadConfiguration`."""
    database, store = options.data_dir / datadir.DATABASE, options.data_dir / datadir.STORE
    found, items = usage.look(database, store, time.time_ns() // 1000, LARGEST)
    free = free_disk(options.data_dir)
    figures = {
        **_of_file(found),
        "gives_back": found.space.incremental,
        "disk_free_bytes": free,
        "max_db_size": options.max_db_size or None,
        "growth_bytes_a_day": found.growth_a_day,
        "growth_days": round(found.days, 2),
        "days_left": _days_left(found, items, options, free),
        "store": None if items is None else _of_file(items),
        "threads": [{"thread_id": thread_id, "bytes": taken} for thread_id, taken in found.threads],
    }
    return wire.text(figures) if as_json else "\n".join(_lines(found, items, figures))


def _of_file(found: usage.File) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "file_bytes": found.file_bytes,
        "wal_bytes": found.wal_bytes,
        "free_bytes": found.space.free,
        "used_bytes": found.space.used,
        "tables": {table.name: {"rows": table.rows, "bytes": table.bytes} for table in found.tables},
    }


def _days_left(
    found: usage.Usage, items: usage.File | None, options: settings.Settings, free: int
) -> float | None:
    """
    Return in how many days the limit or the disk is reached if it goes on like this; None: not that way, or
    not known.
    """
    if found.growth_a_day <= 0 or found.days < 1:
        return None
    files: list[usage.File] = [found] if items is None else [found, items]
    room = free - options.min_free_disk + sum(each.space.free for each in files)
    if options.max_db_size:
        room = min(room, options.max_db_size - sum(each.space.used for each in files))
    return round(max(0.0, room / found.growth_a_day), 1)


def _lines(found: usage.Usage, items: usage.File | None, figures: dict[str, Any]) -> Iterator[str]:
    yield f"database       {found.path}"
    yield from _lines_of_file(found)
    if not found.space.incremental:
        yield "               (free pages can't be given back: stop the daemon and run gatewayd db compact once)"
    if items is not None:
        yield f"store          {items.path}"
        yield from _lines_of_file(items)
    yield f"free on disk   {size(figures['disk_free_bytes'])}"
    if figures["max_db_size"]:
        yield f"limit          {size(figures['max_db_size'])} (max_db_size), of both files"
    if found.days < 1:
        yield "growth a day   not known before a day is over"
    else:
        yield f"growth a day   {size(found.growth_a_day)} (last {found.days:.1f} days, of what is still there)"
    if figures["days_left"] is not None:
        yield f"room for       {figures['days_left']:g} days like these"
    yield ""
    yield f"{'table':<30}{'rows':>12}{'bytes':>14}"
    for table in found.tables[:TABLES]:
        if table.rows:
            yield f"{table.name:<30}{table.rows:>12}{size(table.bytes):>14}"
    for table in items.tables if items is not None else ():
        if table.rows:
            yield f"{f'store: {table.name}':<30}{table.rows:>12}{size(table.bytes):>14}"
    if found.threads:
        yield ""
        yield f"{'largest threads':<40}{'bytes':>14}"
        for thread_id, taken in found.threads:
            yield f"{thread_id:<40}{size(taken):>14}"


def _lines_of_file(found: usage.File) -> Iterator[str]:
    yield f"file           {size(found.file_bytes)}, of which {size(found.space.free)} free"
    yield f"log (WAL)      {size(found.wal_bytes)}"
