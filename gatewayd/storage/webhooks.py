"""The operations on the outbox of webhooks and its log."""

from __future__ import annotations

import logging
from collections.abc import Collection

from attrs import evolve

from gatewayd import wire
from gatewayd.errors import NotFound
from gatewayd.model.run import Run
from gatewayd.model.webhook import Attempt, Delivery
from gatewayd.storage import desk
from gatewayd.storage.sqlite import webhooks

log = logging.getLogger(__name__)


class Webhooks(desk.Desk):
    """Operations on webhooks."""

    __slots__ = ()

    async def webhooks_due(self, now: int, limit: int, besides: Collection[str] = ()) -> list[Delivery]:
        """
        Return what is owed and due, the longest due first, but for some hosts (as in URLs); without their
        logs.
        """
        parameters = (now, wire.text(list(besides)), limit)
        return [webhooks.record(row) for row in await self.readers.rows(webhooks.DUE, parameters)]

    async def webhooks_next_due(self, now: int) -> int | None:
        """Return when the next webhook is due that is not yet."""
        return (await self.readers.rows(webhooks.NEXT_DUE, (now,)))[0][0]  # type: ignore[no-any-return]

    async def webhook_values(self, run: Run) -> bytes | None:
        """
        Return the JSON of what a run has left: its result, or its thread's values; None if neither can be
        read.
        """
        return await self._snapshots.read(webhooks.webhook_values, run)

    async def webhooks_given_up(self, since: int) -> int:
        """Return how many of the latest webhooks of runs that ended after `since` could not be delivered."""
        rows = await self.readers.rows(webhooks.GIVEN_UP, (since,))
        return int(rows[0][0])

    async def webhook_attempt_end(
        self, delivery_id: str, made: Attempt, due_at: int | None, *, delivered: bool
    ) -> bool:
        """Note how an attempt has ended; see `webhooks.webhook_attempt_end`."""
        return await self.writer.submit(webhooks.webhook_attempt_end, delivery_id, made, due_at, delivered)

    async def webhook_owe_again(self, delivery_id: str, now: int) -> None:
        """Make a webhook owed again. Raises `NotFound`, `Conflict`."""
        await self.writer.submit(webhooks.webhook_owe_again, delivery_id, now, promise=True)

    async def webhook_get(self, delivery_id: str) -> Delivery:
        """Return a webhook with its log. Raises `NotFound`."""
        rows = await self.readers.rows(webhooks.ONE, (delivery_id,))
        if not rows:
            raise NotFound(f"Webhook {delivery_id} not found")
        return await self._with_log(webhooks.record(rows[0]))

    async def webhooks_of_run(self, thread_id: str, run_id: str) -> list[Delivery]:
        """Return a run's webhooks with their logs; a run that is gone may have some."""
        rows = await self.readers.rows(webhooks.OF_RUN, (run_id, thread_id))
        return [await self._with_log(webhooks.record(row)) for row in rows]

    async def _with_log(self, delivery: Delivery) -> Delivery:
        rows = await self.readers.rows(webhooks.LOG, (delivery.delivery_id,))
        return evolve(delivery, log=tuple(webhooks.attempt(row) for row in rows))

    async def webhooks_sweep_step(self, before: int, rows: int) -> int:
        """Forget some webhooks that are not owed any more; return how many."""
        return await self.writer.submit(webhooks.webhooks_sweep_step, before, rows)
