"""Whether there is room for more: the operator's limit for what is stored, and what is free on the disk.

Asked before a run or a thread is admitted or copied and before a client puts an item into the long-term
store, not while a run works: what has been accepted is carried through. So both limits are soft, and leave
space for what is under way. Deleting is always possible, and when the rows are swept there is room at once:
what counts is what is in the database's pages, not how long its file is (free pages are taken first, so the
file grows no further either).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from gatewayd.errors import InsufficientStorage
from gatewayd.storage import pages

LOOK_EVERY_S = 0.05
"""The disk is asked that often at most."""


def free_disk(folder: Path) -> int:
    """Return the bytes that this user may still write on the disk of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@define(eq=False)
class Quota:
    """The limits and how they are kept."""

    folder: Path
    max_db_size: int = 0
    """Bytes in the database and in the long-term store together; 0: no limit."""
    min_free_disk: int = 0
    """Bytes free on the disk; 0: not looked at."""
    store: Path | None = None
    """The file of the long-term store, which the service worker owns; None: there is none."""
    free: Callable[[Path], int] = free_disk
    _looked_at: float = field(default=-1.0, init=False)
    _free: int = field(default=0, init=False)

    def refusal(self, used: int) -> str | None:
        """
        Return why a request is refused, or None: there is room. `used` are bytes in the database.
        """
        if self.max_db_size and used + (items := self._items()) >= self.max_db_size:
            return (
                f"the database holds {size(used)} and the long-term store {size(items)}, their limit is "
                f"{size(self.max_db_size)} (max_db_size): delete or prune threads, delete items, or raise the limit"
            )
        if self.min_free_disk and (free := self._free_disk()) < self.min_free_disk:
            return (
                f"the disk has {size(free)} free, {size(self.min_free_disk)} must stay free (min_free_disk): "
                "make room on it"
            )
        return None

    def require(self, used: int) -> None:
        """Raise `InsufficientStorage` if there is no room for more."""
        if (refusal := self.refusal(used)) is not None:
            raise InsufficientStorage(refusal)

    def _items(self) -> int:
        return 0 if self.store is None else pages.of_file(self.store).used

    def _free_disk(self) -> int:
        now = time.monotonic()
        if self._looked_at < 0 or now - self._looked_at >= LOOK_EVERY_S:
            self._free, self._looked_at = self.free(self.folder), now
        return self._free


def size(count: float) -> str:
    """Write a number of bytes for a person: 1.5 GB."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
