"""
``gatewayd db report``: how large the database and the long-term store are, what takes how much, and how fast
they grow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gatewayd import datadir, settings, wire
from gatewayd.storage import offline
from gatewayd.storage.quota import free_disk, size

LARGEST = 10
"""Threads that are named."""
TABLES = 12
"""Tables that are shown to a person."""


def report(options: settings.Settings, *, as_json: bool) -> str:
    """Return the report, as text or as JSON. Raises `BadConfiguration`."""
    database, store = options.data_dir / datadir.DATABASE, options.data_dir / datadir.STORE
    usage, items = offline.measure(database, store, time.time_ns() // 1000, LARGEST)
    free = free_disk(options.data_dir)
    figures = {
        **_of_file(usage),
        "gives_back": usage.space.incremental,
        "disk_free_bytes": free,
        "max_db_size": options.max_db_size or None,
        "growth_bytes_a_day": usage.growth_a_day,
        "growth_days": round(usage.days, 2),
        "days_left": _days_left(usage, items, options, free),
        "store": None if items is None else _of_file(items),
        "threads": [{"thread_id": thread_id, "bytes": taken} for thread_id, taken in usage.threads],
    }
    return wire.text(figures) if as_json else "\n".join(_lines(usage, items, figures))


def _of_file(file: offline.FileUsage) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "file_bytes": file.file_bytes,
        "wal_bytes": file.wal_bytes,
        "free_bytes": file.space.free,
        "used_bytes": file.space.used,
        "tables": {table.name: {"rows": table.rows, "bytes": table.bytes} for table in file.tables},
    }


def _days_left(
    usage: offline.Usage, items: offline.FileUsage | None, options: settings.Settings, free: int
) -> float | None:
    """
    Return in how many days the limit or the disk is reached if the files go on growing like this; None if
    they don't grow, or it is not known.
    """
    if usage.growth_a_day <= 0 or usage.days < 1:
        return None
    files: list[offline.FileUsage] = [usage] if items is None else [usage, items]
    room = free - options.min_free_disk + sum(file.space.free for file in files)
    if options.max_db_size:
        room = min(room, options.max_db_size - sum(file.space.used for file in files))
    return round(max(0.0, room / usage.growth_a_day), 1)


def _lines(usage: offline.Usage, items: offline.FileUsage | None, figures: dict[str, Any]) -> Iterator[str]:
    yield f"database       {usage.path}"
    yield from _lines_of_file(usage)
    if not usage.space.incremental:
        yield "               (free pages can't be given back: stop the daemon and run gatewayd db compact once)"
    if items is not None:
        yield f"store          {items.path}"
        yield from _lines_of_file(items)
    yield f"free on disk   {size(figures['disk_free_bytes'])}"
    if figures["max_db_size"]:
        yield f"limit          {size(figures['max_db_size'])} (max_db_size), of both files"
    if usage.days < 1:
        yield "growth a day   not known before a day is over"
    else:
        yield f"growth a day   {size(usage.growth_a_day)} (last {usage.days:.1f} days, of what is still there)"
    if figures["days_left"] is not None:
        yield f"room for       {figures['days_left']:g} days like these"
    yield ""
    yield f"{'table':<30}{'rows':>12}{'bytes':>14}"
    for table in usage.tables[:TABLES]:
        if table.rows:
            yield f"{table.name:<30}{table.rows:>12}{size(table.bytes):>14}"
    for table in items.tables if items is not None else ():
        if table.rows:
            yield f"{f'store: {table.name}':<30}{table.rows:>12}{size(table.bytes):>14}"
    if usage.threads:
        yield ""
        yield f"{'largest threads':<40}{'bytes':>14}"
        for thread_id, taken in usage.threads:
            yield f"{thread_id:<40}{size(taken):>14}"


def _lines_of_file(file: offline.FileUsage) -> Iterator[str]:
    yield f"file           {size(file.file_bytes)}, of which {size(file.space.free)} free"
    yield f"log (WAL)      {size(file.wal_bytes)}"
