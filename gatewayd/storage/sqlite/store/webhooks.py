"""Operations on webhooks."""

from __future__ import annotations

import logging
from collections.abc import Collection

from attrs import evolve

from gatewayd import wire
from gatewayd.errors import NotFound
from gatewayd.model.webhook import Delivery
from gatewayd.storage.sqlite import webhooks
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, snapshot, written

log = logging.getLogger(__name__)


class Webhooks(base.Base):
    """Operations on webhooks."""

    __slots__ = ()

    async def webhooks_due(self, now: int, limit: int, except_hosts: Collection[str] = ()) -> list[Delivery]:
        parameters = (now, wire.text(list(except_hosts)), limit)
        return [webhooks.record(row) for row in await self.readers.rows(webhooks.DUE, parameters)]

    async def webhooks_next_due(self, now: int) -> int | None:
        return (await self.readers.rows(webhooks.NEXT_DUE, (now,)))[0][0]  # type: ignore[no-any-return]

    webhook_values = snapshot(webhooks.webhook_values)

    async def webhooks_given_up(self, since: int) -> int:
        rows = await self.readers.rows(webhooks.GIVEN_UP, (since,))
        return int(rows[0][0])

    webhook_attempt_end = written(webhooks.webhook_attempt_end)

    webhook_owe_again = for_caller(written(webhooks.webhook_owe_again, promise=True))

    @for_caller
    async def webhook_get(self, delivery_id: str) -> Delivery:
        rows = await self.readers.rows(webhooks.ONE, (delivery_id,))
        if not rows:
            raise NotFound(f"Webhook {delivery_id} not found")
        return await self._with_log(webhooks.record(rows[0]))

    @for_caller
    async def webhooks_of_run(self, thread_id: str, run_id: str) -> list[Delivery]:
        rows = await self.readers.rows(webhooks.OF_RUN, (run_id, thread_id))
        return [await self._with_log(webhooks.record(row)) for row in rows]

    async def _with_log(self, delivery: Delivery) -> Delivery:
        rows = await self.readers.rows(webhooks.LOG, (delivery.delivery_id,))
        return evolve(delivery, log=tuple(webhooks.attempt(row) for row in rows))

    webhooks_sweep_step = written(webhooks.webhooks_sweep_step)
