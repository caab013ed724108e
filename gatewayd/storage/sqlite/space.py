"""What the file takes, and giving back to the file system what nothing is in.

What is deleted leaves free pages, which new rows take first: the file does not grow beyond what was in it at
once. Free pages beyond a limit are given back in small steps. That needs `auto_vacuum = INCREMENTAL`, which
every new file has; one that was made without it has to be rebuilt once (`gatewayd db compact`).
"""

from __future__ import annotations

import sqlite3

from attrs import evolve, frozen

INCREMENTAL = 2
"""The value of `PRAGMA auto_vacuum` with which free pages can be given back in steps."""

STEP_PAGES = 100
"""Pages given back in one step: a few milliseconds of the writer's time."""


@frozen(kw_only=True)
class Space:
    """The pages of the file."""

    page_size: int
    pages: int
    free_pages: int
    """Those in which nothing is."""
    incremental: bool
    """Free pages can be given back in steps."""

    @property
    def used(self) -> int:
        """Bytes in which something is."""
        return (self.pages - self.free_pages) * self.page_size

    @property
    def free(self) -> int:
        """Bytes in which nothing is."""
        return self.free_pages * self.page_size


def measure(connection: sqlite3.Connection, before: Space | None = None) -> Space:
    """Look at the file's header; `before` is an earlier look at the same file."""
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
    """Give some free pages back, but for `keep` bytes of them; True when no more are to go."""
    pages = measure(connection)
    surplus = (pages.free - keep) // pages.page_size
    if surplus <= 0 or not pages.incremental:
        return True
    # One by one: a statement gives back a page at each of its steps, and Python's driver takes one step only.
    for _ in range(min(surplus, STEP_PAGES)):
        connection.execute("PRAGMA incremental_vacuum(1)")
    return surplus <= STEP_PAGES
