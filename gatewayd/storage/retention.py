"""How long things are kept: times to live, sweeping what nothing refers to, giving free pages back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from gatewayd.blobs import cut
from gatewayd.blobs.sweeping import Sweep
from gatewayd.checkpointing import conversion
from gatewayd.model.caller import Caller
from gatewayd.model.retention import ThreadTtl, TtlStrategy


@frozen
class Expired:
    """A thread whose time to live is over."""

    expired_at: int
    thread_id: str
    strategy: TtlStrategy
    updated_at: int
    """Its last activity; the thread is touched only if there has been none since."""


@frozen(kw_only=True)
class Space:
    """The pages of the file."""

    page_size: int
    pages: int
    free_pages: int
    """Pages without content."""
    incremental: bool
    """Free pages can be given back in steps."""

    @property
    def used(self) -> int:
        """Bytes of the pages with content."""
        return (self.pages - self.free_pages) * self.page_size

    @property
    def free(self) -> int:
        """Bytes of the free pages."""
        return self.free_pages * self.page_size


class Retention(Protocol):
    """Operations of the sweepers."""

    async def vacuum_step(self, keep: int) -> bool:
        """Give some free pages back to the file system, but for `keep` bytes; True when no more are to go."""

    async def thread_ttl_set(
        self, thread_id: str, strategy: TtlStrategy | None, ttl_minutes: float | None
    ) -> None:
        """Give a thread its time to live, or with None keep it for ever. Raises `Invalid`, `NotFound`."""

    async def thread_ttl_get(self, whose: Caller, thread_id: str) -> ThreadTtl | None:
        """Return how long a thread is kept; None: for ever, or there is no such thread."""

    async def default_ttl_set(self, strategy: TtlStrategy | None, ttl_minutes: float | None) -> None:
        """Say what threads get that are created from now on; None: they are kept for ever."""

    async def threads_expired(self, now: int, behind: Expired | None, limit: int) -> list[Expired]:
        """
        Return threads whose time is over and that no run or operation works on, in pages behind the last of
        the page before.
        """

    async def thread_delete_if_expired(self, expired: Expired, now: int) -> bool:
        """Mark a thread deleted if its time is still over and no run or operation works on it."""

    async def thread_keep_latest_done(self, expired: Expired) -> None:
        """Note that all but the latest states of a thread are removed."""

    async def blobs_sweep_begin(self, after: int) -> Sweep | None:
        """
        Begin to sweep the first family of threads behind `after` that is at rest and has garbage; None: none
        has.
        """

    async def blobs_sweep_step(self, begun: Sweep) -> bool:
        """Go on with a sweep for a few milliseconds; True when it is over."""

    async def conversion_next(self) -> conversion.OldRow | None:
        """
        Return the next row of an older version that is to be converted (see `checkpointing.conversion`).
        """

    async def conversion_store(self, thread_id: str, some: Sequence[cut.Blob]) -> None:
        """Store some of the blobs of a row that is being converted."""

    async def conversion_finish(self, found: conversion.OldRow, manifest: bytes) -> None:
        """Put the manifest into the row."""
