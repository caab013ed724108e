"""The operations on crons."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gatewayd import wire
from gatewayd.model.cron import Cron, Firing
from gatewayd.storage import desk
from gatewayd.storage.sqlite import crons


class Crons(desk.Desk):
    """Operations on crons."""

    __slots__ = ()

    async def cron_create(self, cron: Cron) -> Cron:
        """Store a cron, with its assistant resolved. Raises `NotFound` (assistant or thread)."""
        return await self.writer.submit(crons.cron_create, cron, promise=True)

    async def cron_find(self, cron_id: str) -> Cron | None:
        """Return the cron, or None."""
        rows = await self.readers.rows(crons.FIND, (cron_id,))
        return crons.record(rows[0]) if rows else None

    async def cron_update_if_current(self, cron: Cron) -> bool:
        """
        Store what has changed of the cron as it was at its revision; False if it has moved on or is gone.
        """
        return await self.writer.submit(crons.cron_update_if_current, cron, promise=True)

    async def cron_delete(self, cron_id: str) -> bool:
        """Remove a cron; False if there is none."""
        return await self.writer.submit(crons.cron_delete, cron_id, promise=True)

    async def cron_fire_if_current(
        self, firing: Firing, *, claim: bool, early: Callable[[crons.FiredCron], None] | None = None
    ) -> crons.FiredCron:
        """
        Take one date of a cron; see `crons.cron_fire_if_current`. Raises `InsufficientStorage`.

        `early` as for `run_create`.
        """
        if firing.request is not None:
            await self._require_room()
        return await self._where_deleted(
            lambda: self.writer.submit(
                crons.cron_fire_if_current, firing, self.boot, claim, promise=True, early=early
            )
        )

    async def crons_due(self, now: int, limit: int, besides: Collection[str] = ()) -> list[Cron]:
        """Return up to `limit` crons that are due, the longest due first, none of `besides`."""
        rows = await self.readers.rows(crons.DUE, (now, wire.text(list(besides)), limit))
        return [crons.record(row) for row in rows]

    async def crons_next_date(self, now: int) -> int | None:
        """Return the first date after `now` at which a cron fires, None if there is none."""
        date: int | None = (await self.readers.rows(crons.NEXT, (now,)))[0][0]
        return date

    async def crons_search(self, wanted: crons.Search) -> list[Cron]:
        """Return up to `limit` + 1 crons (one more tells that there are more)."""
        return await self.scanner.read(crons.crons_search, wanted)

    async def crons_count(self, wanted: crons.Search) -> int:
        """Return how many crons a search finds, whatever its limits."""
        return await self.scanner.read(crons.crons_count, wanted)
