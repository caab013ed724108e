"""How large a SQLite file is that another process owns: by its header, without opening the database.

The header is that of the last checkpoint of the write-ahead log; what is only in the log (4 MB, if no reader
holds it up) is not counted yet.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from attrs import frozen

MAGIC: Final = b"SQLite format 3\0"
HEADER: Final = struct.Struct(">16sH10xI4xI")
"""
The file's first 40 bytes: the magic text, the size of a page, the number of pages, the number of free ones.
"""


@frozen(kw_only=True)
class Pages:
    """The pages of a file."""

    page_size: int = 0
    pages: int = 0
    free_pages: int = 0

    @property
    def used(self) -> int:
        """Bytes in which something is."""
        return (self.pages - self.free_pages) * self.page_size


def of_file(path: Path) -> Pages:
    """Return the pages of a file; of one that is missing or not made yet, none."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
    except FileNotFoundError:
        return Pages()
    if len(head) < HEADER.size:
        return Pages()
    magic, page_size, pages, free_pages = HEADER.unpack(head)
    if magic != MAGIC:
        return Pages()
    # 1 stands for 65536, which the two bytes can't hold.
    return Pages(page_size=65536 if page_size == 1 else page_size, pages=pages, free_pages=free_pages)


def bytes_of(path: Path) -> int:
    """Return the size of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
