"""The files of an open database: whether their names still refer to the files that are open.

A process that has a file open keeps it when the file is removed or replaced by a restored copy. What is
stored after that is lost at the next start, without any error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

Identity = tuple[int, int]
"""Device and inode."""


@define(eq=False)
class Files:
    """Files with their identities when they were first seen."""

    paths: tuple[Path, ...]
    _known: dict[Path, Identity] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.changed()

    def changed(self) -> list[str]:
        """Return a sentence for each file that is gone or was replaced; files that appear later are added."""
        return list(self._changes())

    def _changes(self) -> Iterator[str]:
        for path in self.paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                if path in self._known:
                    yield f"{path} is gone"
            except OSError as error:
                yield f"{path} can't be looked at: {error.strerror or error}"
            else:
                identity = (status.st_dev, status.st_ino)
                if self._known.setdefault(path, identity) != identity:
                    yield f"{path} was replaced by another file"


def of_database(path: Path) -> Files:
    """Return the files of a database that is open."""
    return Files((path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")))
