"""The operations of clients on crons. Every change that may bring a date nearer wakes the ticker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
from attrs import define, field, frozen

from gatewayd import assistants, ids, tasks
from gatewayd.crons import schedule as schedules
from gatewayd.errors import Invalid, NotFound, Rejected
from gatewayd.model.caller import Caller
from gatewayd.model.cron import Cron, OnRunCompleted
from gatewayd.storage import store


@frozen(kw_only=True)
class CronFields:
    """The fields of a client's request about a cron; None: not given."""

    schedule: str | None = None
    timezone: str | None = None
    end_time: int | None = None
    """µs."""
    endless: bool = False
    """Remove the end time that was set before."""
    on_run_completed: OnRunCompleted | None = None
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None
    payload: dict[str, Any]
    """The whole body as it was sent."""


@define(eq=False)
class Counts:
    """Failures of the ticker since the start of the server."""

    firings_failed: int = 0
    """Firings that failed and are tried again; each try counts."""
    dates_passed: int = 0
    """Dates that passed without a run, because it was refused."""


@frozen(kw_only=True)
class Crons:
    """The crons, as clients use them."""

    storage: store.Storage
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    counts: Counts = field(factory=Counts)
    changed: tasks.Hint = field(factory=tasks.Hint)
    """Given when the next date of a cron may be earlier than before; the ticker waits for it."""

    async def create(
        self, whose: Caller, assistant: str, schedule: str, thread_id: str | None, wanted: CronFields
    ) -> Cron:
        """
        Store a cron for an assistant, by its id or its graph's.

        Raises `NotFound` (assistant, thread), `Invalid` (schedule, timezone, end_time), `Rejected` (no date
        is left).
        """
        now = self.now()
        cron_id = ids.new_id(now // 1000)
        cron = Cron(
            cron_id=cron_id,
            assistant_id=ids.parse_uuid(assistant) or assistant,
            thread_id=thread_id,
            user_id="",
            schedule=schedule,
            timezone=wanted.timezone,
            end_time=wanted.end_time,
            on_run_completed=None if thread_id else wanted.on_run_completed or "delete",
            enabled=wanted.enabled is not False,
            next_run_date=_first_date(schedule, wanted.timezone, wanted.end_time, now),
            payload=_payload({}, wanted.payload, cron_id),
            metadata=wanted.metadata or {},
            revision=1,
            created_at=now,
            updated_at=now,
        )
        if cron.next_run_date is None:
            raise Invalid(_too_early(wanted.payload))
        stored = await self.storage.cron_create(whose, cron)
        self.changed.give()
        return stored

    async def get(self, whose: Caller, cron_id: str) -> Cron:
        """Return a cron. Raises `NotFound`."""
        cron = await self.storage.cron_find(whose, cron_id)
        if cron is None:
            raise NotFound("Not Found")
        return cron

    async def search(self, whose: Caller, search: store.CronSearch) -> list[Cron]:
        """Return up to `limit` + 1 crons (one more tells that there are more)."""
        return await self.storage.crons_search(whose, search)

    async def count(self, whose: Caller, search: store.CronSearch) -> int:
        """Return how many crons a search finds without its limits."""
        return await self.storage.crons_count(whose, search)

    async def update(self, whose: Caller, cron_id: str, wanted: CronFields) -> Cron:
        """
        Change the given fields; metadata are merged, all others are replaced.

        The next date is computed again if schedule, timezone or end_time change, or the cron is enabled.
        Raises like `create`.
        """
        while True:  # again if the cron was changed or fired between reading and writing
            cron = await self.storage.cron_find(whose, cron_id)
            if cron is None:
                raise NotFound(f"Cron '{cron_id}' not found")
            changed = _changed(cron, wanted, self.now())
            if await self.storage.cron_update_if_current(whose, changed):
                self.changed.give()
                return attrs.evolve(changed, revision=cron.revision + 1)

    async def delete(self, whose: Caller, cron_id: str) -> None:
        """Remove a cron; its runs stay. Raises `NotFound`."""
        if not await self.storage.cron_delete(whose, cron_id):
            raise NotFound("Not Found")


def _changed(cron: Cron, wanted: CronFields, now: int) -> Cron:
    payload = _payload(cron.payload, wanted.payload, cron.cron_id)
    metadata = {**cron.metadata, **(wanted.metadata or {})}
    if wanted.metadata is not None:
        payload["metadata"] = metadata
    end_time = None if wanted.endless else cron.end_time if wanted.end_time is None else wanted.end_time
    changed = attrs.evolve(
        cron,
        schedule=cron.schedule if wanted.schedule is None else wanted.schedule,
        timezone=cron.timezone if wanted.timezone is None else wanted.timezone,
        end_time=end_time,
        on_run_completed=None if cron.thread_id else wanted.on_run_completed or cron.on_run_completed,
        enabled=cron.enabled if wanted.enabled is None else wanted.enabled,
        payload=payload,
        metadata=metadata,
        updated_at=now,
    )
    if _dates(changed) == _dates(cron) and not (changed.enabled and not cron.enabled):
        return changed
    date = _first_date(changed.schedule, changed.timezone, changed.end_time, now)
    if date is None and wanted.enabled:
        raise Invalid(_too_early(payload))
    return attrs.evolve(changed, next_run_date=date, enabled=changed.enabled and date is not None)


def _dates(cron: Cron) -> tuple[str, str | None, int | None]:
    """Return the fields that decide the dates of a cron."""
    return cron.schedule, cron.timezone, cron.end_time


def _first_date(schedule: str, timezone: str | None, end_time: int | None, now: int) -> int | None:
    """Return the first date after now, None if it is after the end."""
    date = schedules.next_date(schedule, timezone, now)
    return date if end_time is None or date <= end_time else None


def _too_early(payload: dict[str, Any]) -> str:
    return f"Invalid end_time: {payload.get('end_time')!r}. The schedule has no date from now until then."


def _payload(old: dict[str, Any], new: dict[str, Any], cron_id: str) -> dict[str, Any]:
    """
    Return the body from which runs are made: the old fields, replaced by the new ones, and the cron's id.
    """
    given = {name: value for name, value in new.items() if value is not None or name == "end_time"}
    if old:
        given.pop("assistant_id", None)
    payload = old | given
    config = payload.get("config") or {}
    configurable = {**(config.get("configurable") or {}), "cron_id": cron_id}
    if payload.get("context") and configurable.keys() - {"cron_id"}:
        raise Rejected(assistants.BOTH)
    return payload | {"config": {**config, "configurable": configurable}}
