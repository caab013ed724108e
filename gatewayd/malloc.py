"""What the C library keeps of freed memory is given back to the system.

glibc takes small and middle-sized blocks from one heap and gives back only what lies free at its upper end.
When many readers of a stream have left, or large states have been joined, the heap is mostly free and stays
as large as it was: after 300 slow readers of a 68 MB stream the daemon kept 244 MB, of which `malloc_trim`
gave back 200. So the library is asked now and then how much is free; when `WORTH` has been freed since the
last time, the heap is trimmed, which takes a millisecond for each 10 MB. Other C libraries (musl, macOS) give
memory back by themselves.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
from collections.abc import Callable
from typing import Final

from attrs import define, field

INTERVAL_S: Final = 10.0
WORTH: Final = 32 << 20
"""Bytes that must have been freed."""


class _Info(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it has what is needed (glibc from 2.33 on)."""
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Info
        library.mallinfo2.argtypes = library.malloc_trim.argtypes = ()
    except (OSError, AttributeError):
        return None
    library.malloc_trim.argtypes = (ctypes.c_size_t,)
    return library


def can_trim() -> bool:
    """Whether this C library keeps memory and can give it back."""
    return _glibc() is not None


def trim() -> None:
    """Give back what is free."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def free() -> int:
    """
    Return the bytes of the heap that are free; those that were given back are among them until they are used
    again.
    """
    library = _glibc()
    return 0 if library is None else int(library.mallinfo2().fordblks)


@define(eq=False)
class Trimmer:
    """Trims when it is worth it."""

    measure: Callable[[], int] = free
    give_back: Callable[[], None] = trim
    _least: int = field(init=False)
    """
    Bytes that were free at the last trim, or have been since: what has been freed beyond them is still kept.
    """

    def __attrs_post_init__(self) -> None:
        self._least = self.measure()

    def look(self) -> bool:
        """Trim if much has been freed; True if it was done."""
        now = self.measure()
        if now - self._least < WORTH:
            self._least = min(self._least, now)
            return False
        self.give_back()
        self._least = now
        return True


async def watch(turned: Callable[[], object]) -> None:
    """Look now and then, for ever; `turned` is called after each look."""
    trimmer = Trimmer()
    while True:
        await asyncio.sleep(INTERVAL_S)
        trimmer.look()
        turned()
