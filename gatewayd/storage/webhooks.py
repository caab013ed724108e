"""The operations on the outbox of webhooks and its log."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from gatewayd.model.caller import Caller
from gatewayd.model.run import Run
from gatewayd.model.webhook import Attempt, Delivery


class Webhooks(Protocol):
    """Operations on webhooks."""

    async def webhooks_due(self, now: int, limit: int, except_hosts: Collection[str] = ()) -> list[Delivery]:
        """
        Return what is owed and due, the longest due first, but for some hosts (as in URLs); without their
        logs.
        """

    async def webhooks_next_due(self, now: int) -> int | None:
        """Return when the next webhook is due that is not yet."""

    async def webhook_values(self, run: Run) -> bytes | None:
        """
        Return the JSON of what a run has left: its result, or its thread's values; None if neither can be
        read.
        """

    async def webhooks_given_up(self, since: int) -> int:
        """Return how many of the latest webhooks of runs that ended after `since` could not be delivered."""

    async def webhook_attempt_end(
        self, delivery_id: str, made: Attempt, due_at: int | None, *, delivered: bool
    ) -> bool:
        """Note how an attempt has ended; see `webhooks.webhook_attempt_end`."""

    async def webhook_owe_again(self, whose: Caller, delivery_id: str, now: int) -> None:
        """Make a webhook owed again. Raises `NotFound`, `Conflict`."""

    async def webhook_get(self, whose: Caller, delivery_id: str) -> Delivery:
        """Return a webhook with its log. Raises `NotFound`."""

    async def webhooks_of_run(self, whose: Caller, thread_id: str, run_id: str) -> list[Delivery]:
        """Return a run's webhooks with their logs; a run that is gone may have some."""

    async def webhooks_sweep_step(self, before: int, rows: int) -> int:
        """Forget some webhooks that are not owed any more; return how many."""
