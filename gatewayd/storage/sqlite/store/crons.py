"""Operations on crons."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gatewayd import wire
from gatewayd.model.cron import Cron, Firing
from gatewayd.storage.crons import FiredCron
from gatewayd.storage.sqlite import crons
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, scanned, written


class Crons(base.Base):
    """Operations on crons."""

    __slots__ = ()

    cron_create = for_caller(written(crons.cron_create, promise=True))

    @for_caller
    async def cron_find(self, cron_id: str) -> Cron | None:
        rows = await self.readers.rows(crons.FIND, (cron_id,))
        return crons.record(rows[0]) if rows else None

    cron_update_if_current = for_caller(written(crons.cron_update_if_current, promise=True))

    cron_delete = for_caller(written(crons.cron_delete, promise=True))

    async def cron_fire_if_current(
        self, firing: Firing, *, claim: bool, on_commit: Callable[[FiredCron], None] | None = None
    ) -> FiredCron:
        if firing.request is not None:
            await self._require_room()
        return await self._where_deleted(
            lambda: self.writer.submit(
                crons.cron_fire_if_current, firing, self.boot, claim, promise=True, on_commit=on_commit
            )
        )

    async def crons_due(self, now: int, limit: int, except_crons: Collection[str] = ()) -> list[Cron]:
        rows = await self.readers.rows(crons.DUE, (now, wire.text(list(except_crons)), limit))
        return [crons.record(row) for row in rows]

    async def crons_next_date(self, now: int) -> int | None:
        date: int | None = (await self.readers.rows(crons.NEXT, (now,)))[0][0]
        return date

    crons_search = for_caller(scanned(crons.crons_search))

    crons_count = for_caller(scanned(crons.crons_count))
