"""How long things are kept: times to live, sweeping what nothing refers to, giving free pages back."""

from __future__ import annotations

from collections.abc import Sequence

from gatewayd.blobs import cut
from gatewayd.blobs.sqlite import sweep
from gatewayd.checkpointing import conversion
from gatewayd.checkpointing.sqlite import convert
from gatewayd.model.retention import ThreadTtl, TtlStrategy
from gatewayd.storage import desk
from gatewayd.storage.sqlite import blobs, retention
from gatewayd.storage.sqlite.engine import space


class Retention(desk.Desk):
    """Operations of the sweepers."""

    __slots__ = ()

    async def vacuum_step(self, keep: int) -> bool:
        """Give some free pages back to the file system, but for `keep` bytes; True when no more are to go."""
        return await self.writer.submit(space.vacuum_step, keep)

    async def thread_ttl_set(
        self, thread_id: str, strategy: TtlStrategy | None, ttl_minutes: float | None
    ) -> None:
        """Give a thread its time to live, or with None keep it for ever. Raises `Invalid`, `NotFound`."""
        await self.writer.submit(retention.thread_ttl_set, thread_id, strategy, ttl_minutes)

    async def thread_ttl_get(self, thread_id: str) -> ThreadTtl | None:
        """Return how long a thread is kept; None: for ever, or there is no such thread."""
        rows = await self.readers.rows(retention.TTL, (thread_id,))
        return retention.record(rows[0]) if rows else None

    async def default_ttl_set(self, strategy: TtlStrategy | None, ttl_minutes: float | None) -> None:
        """Say what threads get that are created from now on; None: they are kept for ever."""
        await self.writer.submit(retention.default_ttl_set, strategy, ttl_minutes)

    async def threads_expired(
        self, now: int, behind: retention.Expired | None, limit: int
    ) -> list[retention.Expired]:
        """
        Return threads whose time is over and nobody works on them, in pages behind the last of the page
        before.
        """
        place = (0, "") if behind is None else (behind.expired_at, behind.thread_id)
        rows = await self.readers.rows(retention.EXPIRED, (now, *place, limit))
        return [retention.Expired(*row) for row in rows]

    async def thread_delete_if_expired(self, expired: retention.Expired, now: int) -> bool:
        """Mark a thread deleted if its time is still over and nobody works on it."""
        return await self.writer.submit(retention.thread_delete_if_expired, expired, now)

    async def thread_keep_latest_done(self, expired: retention.Expired) -> None:
        """Note that all but the latest states of a thread are removed."""
        await self.writer.submit(retention.thread_keep_latest_done, expired)

    async def blobs_sweep_begin(self, after: int) -> sweep.Sweep | None:
        """
        Begin to sweep the first family of threads behind `after` that is at rest and has garbage; None: none
        has.
        """
        return await self.writer.submit(blobs.blobs_sweep_begin, after)

    async def blobs_sweep_step(self, begun: sweep.Sweep) -> bool:
        """Go on with a sweep for a few milliseconds; True when it is over."""
        over = await self.writer.submit(blobs.blobs_sweep_step, begun)
        begun.unsettled = False
        return over

    async def conversion_next(self) -> conversion.OldRow | None:
        """Return the next row of an older version that is to be converted (see `checkpointing.convert`)."""
        return await self.writer.submit(convert.next_row)

    async def conversion_store(self, thread_id: str, some: Sequence[cut.Blob]) -> None:
        """Store some of the blobs of a row that is being converted."""
        await self.writer.submit(convert.store_some, thread_id, some)

    async def conversion_finish(self, found: conversion.OldRow, manifest: bytes) -> None:
        """Put the manifest into the row."""
        await self.writer.submit(convert.finish, found, manifest)
