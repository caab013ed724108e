"""The pages of the file, and giving free ones back to the file system.

Deleted rows leave free pages, which new rows use first. Free pages beyond a limit are given back in small
steps. That needs `auto_vacuum = INCREMENTAL`, which every new file has; a file without it has to be rebuilt
once (`gatewayd db compact`).
"""

from __future__ import annotations

import sqlite3

from attrs import evolve

from gatewayd.storage.retention import Space

INCREMENTAL = 2
"""The value of `PRAGMA auto_vacuum` with which free pages can be given back in steps."""

STEP_PAGES = 100
"""Pages given back in one step: a few milliseconds of the writer's time."""


def measure(connection: sqlite3.Connection, before: Space | None = None) -> Space:
    """Read the numbers of pages. `before` is an earlier result for this file; its constants are kept."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free_pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    if before is not None:
        return evolve(before, pages=pages, free_pages=free_pages)
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (auto_vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    return Space(
        page_size=page_size, pages=pages, free_pages=free_pages, incremental=auto_vacuum == INCREMENTAL
    )


def vacuum_step(connection: sqlite3.Connection, keep: int) -> bool:
    """Give some free pages back but keep `keep` bytes of them; True when no more have to go."""
    pages = measure(connection)
    surplus = (pages.free - keep) // pages.page_size
    if surplus <= 0 or not pages.incremental:
        return True
    # One by one: a statement frees one page at each of its steps, and Python's driver makes one step only.
    for _ in range(min(surplus, STEP_PAGES)):
        connection.execute("PRAGMA incremental_vacuum(1)")
    return surplus <= STEP_PAGES
