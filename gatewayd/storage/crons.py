"""The operations on crons."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from attrs import frozen

from gatewayd.model.caller import Caller
from gatewayd.model.cron import Cron, Firing
from gatewayd.storage.runs import CreatedRun


@frozen(kw_only=True)
class CronSearch:
    """What `crons_search` looks for; None means any."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: dict[str, Any]
    limit: int = 10
    offset: int = 0
    sort_by: str = "created_at"
    descending: bool = True


@frozen(kw_only=True)
class FiredCron:
    """What `cron_fire_if_current` did."""

    current: bool
    """False: the cron had changed since it was read; nothing was done."""
    created: CreatedRun | None = None
    refusal: str | None = None
    """Why the run could not be created."""
    deleted: bool = False
    """The cron was deleted, because its assistant or thread no longer exists."""


class Crons(Protocol):
    """Operations on crons."""

    async def cron_create(self, whose: Caller, cron: Cron) -> Cron:
        """Store a cron, with its assistant resolved. Raises `NotFound` (assistant or thread)."""

    async def cron_find(self, whose: Caller, cron_id: str) -> Cron | None:
        """Return the cron, or None."""

    async def cron_update_if_current(self, whose: Caller, cron: Cron) -> bool:
        """
        Store what has changed of the cron as it was at its revision; False if it has moved on or is gone.
        """

    async def cron_delete(self, whose: Caller, cron_id: str) -> bool:
        """Remove a cron; False if there is none."""

    async def cron_fire_if_current(
        self, firing: Firing, *, claim: bool, on_commit: Callable[[FiredCron], None] | None = None
    ) -> FiredCron:
        """
        Take one date of a cron; see `crons.cron_fire_if_current`. Raises `InsufficientStorage`.

        `on_commit` as for `run_create`.
        """

    async def crons_due(self, now: int, limit: int, except_crons: Collection[str] = ()) -> list[Cron]:
        """Return up to `limit` crons that are due, the longest due first, none of `except_crons`."""

    async def crons_next_date(self, now: int) -> int | None:
        """Return the first date after `now` at which a cron fires, None if there is none."""

    async def crons_search(self, whose: Caller, wanted: CronSearch) -> list[Cron]:
        """Return up to `limit` + 1 crons (one more tells that there are more)."""

    async def crons_count(self, whose: Caller, wanted: CronSearch) -> int:
        """Return how many crons a search finds without its limits."""
