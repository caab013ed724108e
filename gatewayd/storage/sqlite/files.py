"""The files of an open database: whether the names still lead to the files that we have open.

A file that was removed, or replaced by a restored copy, stays as it is for whoever has it open: what is
stored from then on is lost at the next start, without any error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

Identity = tuple[int, int]
"""Device and inode."""


@define(eq=False)
class Files:
    """The files that were there when they were first looked at."""

    paths: tuple[Path, ...]
    _known: dict[Path, Identity] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.changed()

    def changed(self) -> list[str]:
        """Say of each file that has gone or is another one; a file that comes later is known from then on."""
        return list(self._changes())

    def _changes(self) -> Iterator[str]:
        for path in self.paths:
            try:
                found = path.stat()
            except FileNotFoundError:
                if path in self._known:
                    yield f"{path} is gone"
            except OSError as error:
                yield f"{path} can't be looked at: {error.strerror or error}"
            else:
                identity = (found.st_dev, found.st_ino)
                if self._known.setdefault(path, identity) != identity:
                    yield f"{path} was replaced by another file"


def of_database(path: Path) -> Files:
    """Return the files of a database that is open."""
    return Files((path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")))
