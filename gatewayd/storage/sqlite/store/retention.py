"""Operations of the sweepers."""

from __future__ import annotations

from gatewayd.blobs.sweeping import Sweep
from gatewayd.checkpointing.sqlite import convert
from gatewayd.model.retention import ThreadTtl
from gatewayd.storage.retention import Expired
from gatewayd.storage.sqlite import blobs, retention
from gatewayd.storage.sqlite.engine import space
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, written


class Retention(base.Base):
    """Operations of the sweepers."""

    __slots__ = ()

    vacuum_step = written(space.vacuum_step)

    thread_ttl_set = written(retention.thread_ttl_set)

    @for_caller
    async def thread_ttl_get(self, thread_id: str) -> ThreadTtl | None:
        rows = await self.readers.rows(retention.TTL, (thread_id,))
        return retention.record(rows[0]) if rows else None

    default_ttl_set = written(retention.default_ttl_set)

    async def threads_expired(self, now: int, behind: Expired | None, limit: int) -> list[Expired]:
        place = (0, "") if behind is None else (behind.expired_at, behind.thread_id)
        rows = await self.readers.rows(retention.EXPIRED, (now, *place, limit))
        return [Expired(*row) for row in rows]

    thread_delete_if_expired = written(retention.thread_delete_if_expired)

    thread_keep_latest_done = written(retention.thread_keep_latest_done)

    blobs_sweep_begin = written(blobs.blobs_sweep_begin)

    async def blobs_sweep_step(self, begun: Sweep) -> bool:
        over = await self.writer.submit(blobs.blobs_sweep_step, begun)
        begun.unsettled = False
        return over

    conversion_next = written(convert.next_row)

    conversion_store = written(convert.store_some)

    conversion_finish = written(convert.finish)
