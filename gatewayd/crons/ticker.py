"""The loop that fires due crons. The package's docstring says what happens on each failure."""

from __future__ import annotations

import asyncio
import logging

import attrs
from attrs import define, field, frozen

from gatewayd import logs, loops, tasks
from gatewayd.crons import registry, requests
from gatewayd.crons import schedule as schedules
from gatewayd.errors import GatewaydError, RequestError
from gatewayd.model.cron import Cron, Firing
from gatewayd.runs import manager
from gatewayd.storage import store

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""Even without a hint the table is read this often, to notice a clock that was put forward."""
AFTER_ERROR_S = 1.0
"""Pause before a failed firing is tried again; it doubles with every further failure."""
LONGEST_AFTER_ERROR_S = 60.0
FORGOTTEN_AFTER_S = 3600.0
"""Failures of a cron that is no longer due are forgotten after this time."""
PAGE = 100
"""The most crons that are read and fired together."""
GRACE_S = 5.0
"""If the server is late for a date, it fires up to this time after the end time."""


@frozen
class _Failure:
    """A firing that failed through no fault of its cron, and is tried again."""

    again: int
    """When it is tried again, in µs."""
    times: int
    """Failures in a row."""


@define(eq=False)
class Ticker:
    """Fires what is due."""

    crons: registry.Crons
    runs: manager.RunManager
    _failed: dict[str, _Failure] = field(factory=dict, init=False)
    """By cron."""

    async def run(self, turned: loops.Turned = lambda: None) -> None:
        """Fire until cancelled or until the server stops. It may be called again after an error."""
        wait_s = 0.0
        while not self.runs.stopping:
            await self.crons.changed.wait(wait_s)
            wait_s = await self.tick()
            turned()

    async def tick(self) -> float:
        """Fire all due crons; return the seconds until the next one may be due."""
        storage = self.crons.storage
        now, full = self.crons.now(), True
        while full and not self.runs.stopping:
            now = self.crons.now()
            due = await storage.crons_due(now, PAGE, self._resting(now))
            await asyncio.gather(*(self._fire(cron, now) for cron in due))
            full = len(due) == PAGE
        # Dates after the last read: crons that became due while others fired are due now.
        dates = [failure.again for failure in self._failed.values() if failure.again > now]
        if (date := await storage.crons_next_date(now)) is not None:
            dates.append(date)
        return tasks.seconds_until(min(dates, default=None), self.crons.now(), LONGEST_WAIT_S)

    def _resting(self, now: int) -> list[str]:
        """Return the crons whose firing failed and whose pause is not over."""
        forgotten = now - int(FORGOTTEN_AFTER_S * 1e6)
        self._failed = {cron: failure for cron, failure in self._failed.items() if failure.again > forgotten}
        return [cron_id for cron_id, failure in self._failed.items() if failure.again > now]

    async def _fire(self, cron: Cron, now: int) -> None:
        """Fire one cron. Errors are handled, so that other crons fire."""
        try:
            firing = _firing(cron, now)
        except Exception as error:
            firing = _without_run(cron, now)
            self.crons.counts.dates_passed += 1
            log.error(
                "the run of cron %s can't be made, it passes this date: %s: %s",
                cron.cron_id,
                type(error).__name__,
                error,
                exc_info=error,
                extra=logs.fields(cron_id=cron.cron_id),
            )
        try:
            fired = await self._fired(cron, firing)
        except Exception as error:
            self._failed_again(cron, error)
            return
        self._failed.pop(cron.cron_id, None)
        self._tell(cron, firing, fired)

    async def _fired(self, cron: Cron, firing: Firing) -> store.FiredCron:
        """
        Take a cron's date; if its run is refused, which a retry would not change, take the date without it.
        """
        try:
            return await self.runs.fire(firing)
        except RequestError as error:
            self.crons.counts.dates_passed += 1
            log.warning(
                "cron %s passes this date: %s",
                cron.cron_id,
                error.detail,
                extra=logs.fields(cron_id=cron.cron_id),
            )
            return await self.runs.fire(attrs.evolve(firing, request=None))

    def _failed_again(self, cron: Cron, error: Exception) -> None:
        """Record that a firing failed through no fault of its cron: the date stays, and is tried again."""
        if self.runs.stopping:  # it is due at the next start
            return
        before = self._failed.get(cron.cron_id)
        times = 1 if before is None else before.times + 1
        self.crons.counts.firings_failed += 1
        pause_s = min(LONGEST_AFTER_ERROR_S, AFTER_ERROR_S * 2 ** min(times - 1, 10))
        self._failed[cron.cron_id] = _Failure(self.crons.now() + int(pause_s * 1e6), times)
        ours = isinstance(error, GatewaydError)
        log.error(
            "cron %s could not be fired, it is tried again in %g s: %s",
            cron.cron_id,
            pause_s,
            error.detail if isinstance(error, GatewaydError) else f"{type(error).__name__}: {error}",
            exc_info=None if ours or times > 1 else error,
            extra=logs.fields(cron_id=cron.cron_id),
        )

    def _tell(self, cron: Cron, firing: Firing, fired: store.FiredCron) -> None:
        fields = logs.fields(cron_id=cron.cron_id)
        if not fired.current:
            self.crons.changed.give()  # a client has changed it: read the table again
            return
        if firing.next_run_date is None and not fired.deleted:
            log.info("cron %s has no further date and is disabled", cron.cron_id, extra=fields)
        if fired.deleted:
            log.warning(
                "cron %s is deleted, its thread or assistant is gone: %s",
                cron.cron_id,
                fired.refusal,
                extra=fields,
            )
        elif fired.refusal is not None:
            self.crons.counts.dates_passed += 1
            log.warning("cron %s passes this date: %s", cron.cron_id, fired.refusal, extra=fields)
        elif fired.created is not None:
            run = fired.created.run
            log.info(
                "cron %s fired: run %s",
                cron.cron_id,
                run.run_id,
                extra=logs.fields(cron_id=cron.cron_id, run_id=run.run_id, thread_id=run.thread_id),
            )


def _firing(cron: Cron, now: int) -> Firing:
    """Return what is to happen at the cron's date."""
    firing = _without_run(cron, now)
    if cron.end_time is not None and (firing.due > cron.end_time or now > cron.end_time + int(GRACE_S * 1e6)):
        return firing
    return attrs.evolve(firing, request=requests.run_request(cron, now))


def _without_run(cron: Cron, now: int) -> Firing:
    assert cron.next_run_date is not None
    return Firing(
        cron_id=cron.cron_id,
        revision=cron.revision,
        due=cron.next_run_date,
        now=now,
        request=None,
        next_run_date=_date_after(cron, now),
    )


def _date_after(cron: Cron, now: int) -> int | None:
    """Return the first date after the present one and after now; None if there is none before the end."""
    assert cron.next_run_date is not None
    try:
        date = schedules.next_date(cron.schedule, cron.timezone, max(now, cron.next_run_date))
    except RequestError as error:  # its years are over, or the time zone is no longer known
        log.warning("cron %s has no further date: %s", cron.cron_id, error.detail)
        return None
    except Exception:
        log.exception("the next date of cron %s can't be found", cron.cron_id)
        return None
    return date if cron.end_time is None or date <= cron.end_time else None
