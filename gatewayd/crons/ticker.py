"""The loop that fires crons when they are due. See the package for what can happen to a firing."""

from __future__ import annotations

import asyncio
import logging

import attrs
from attrs import define, field

from gatewayd import logs
from gatewayd.crons import registry, requests
from gatewayd.crons import schedule as schedules
from gatewayd.errors import GatewaydError, RequestError
from gatewayd.model.cron import Cron, Firing
from gatewayd.runs import manager
from gatewayd.storage import store

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""Even without a hint the table is looked at this often: a clock that was put forward is noticed then."""
AFTER_ERROR_S = 1.0
PAGE = 100
"""Crons that are read and fired together."""
GRACE_S = 5.0
"""A date fires this much after the end time at most, if the server was late for it."""


@define(eq=False)
class Ticker:
    """Fires what is due."""

    crons: registry.Crons
    runs: manager.RunManager
    _failed: dict[str, int] = field(factory=dict, init=False)
    """Crons whose firing has failed, and when they are tried again (µs)."""

    async def run(self) -> None:
        """Fire until cancelled or until the server stops."""
        wait_s = 0.0
        while not self.runs.stopping:
            try:
                async with asyncio.timeout(wait_s):
                    await self.crons.changed.wait()
            except TimeoutError:
                pass
            self.crons.changed.clear()
            wait_s = await self._tick_safely()

    async def _tick_safely(self) -> float:
        try:
            return await self.tick()
        except GatewaydError as error:
            if not self.runs.stopping:
                log.error("crons could not be fired: %s", error.detail)
        except Exception:
            log.exception("crons could not be fired")
        return AFTER_ERROR_S

    async def tick(self) -> float:
        """Fire all that is due; return how long nothing more will be, in seconds."""
        storage = self.crons.storage
        full = True
        while full and not self.runs.stopping:
            now = self.crons.now()
            self._failed = {cron_id: again for cron_id, again in self._failed.items() if again > now}
            due = await storage.crons_due(now, PAGE, self._failed)
            await asyncio.gather(*(self._fire(cron, now) for cron in due))
            full = len(due) == PAGE
        now = self.crons.now()
        dates = [*self._failed.values()]
        if (date := await storage.crons_next_date(now)) is not None:
            dates.append(date)
        return min(LONGEST_WAIT_S, max(0.0, (min(dates, default=now + 10**12) - now) / 1e6))

    async def _fire(self, cron: Cron, now: int) -> None:
        """Fire one cron. Whatever goes wrong, others are not concerned."""
        fields = logs.fields(cron_id=cron.cron_id)
        try:
            firing = _firing(cron, now)
            fired = await self.runs.fire(firing)
        except GatewaydError as error:
            if not self.runs.stopping:  # else it is due at the next start
                self._again(cron, now)
                log.error("cron %s could not be fired: %s", cron.cron_id, error.detail, extra=fields)
            return
        except Exception:
            self._again(cron, now)  # unless the date can be passed
            log.exception("cron %s could not be fired, it passes this date", cron.cron_id, extra=fields)
            await self._pass(cron, now)
            return
        self._tell(cron, firing, fired)

    def _again(self, cron: Cron, now: int) -> None:
        self._failed[cron.cron_id] = now + int(AFTER_ERROR_S * 1e6)

    async def _pass(self, cron: Cron, now: int) -> None:
        """Have a date pass without a run."""
        try:
            await self.runs.fire(_without_run(cron, now))
            self._failed.pop(cron.cron_id, None)
        except Exception:
            log.exception("cron %s stays at its date", cron.cron_id, extra=logs.fields(cron_id=cron.cron_id))

    def _tell(self, cron: Cron, firing: Firing, fired: store.Fired) -> None:
        fields = logs.fields(cron_id=cron.cron_id)
        if not fired.current:
            self.crons.changed.set()  # somebody has changed it meanwhile: what is due now says the table
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
    """Decide what happens at the cron's date."""
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
    """Return the date after the present one, from now on; None if there is none, or it is after the end."""
    assert cron.next_run_date is not None
    try:
        date = schedules.next_date(cron.schedule, cron.timezone, max(now, cron.next_run_date))
    except RequestError as error:  # its years are over, or the time zone is not known any more
        log.warning("cron %s has no further date: %s", cron.cron_id, error.detail)
        return None
    except Exception:
        log.exception("the next date of cron %s can't be found", cron.cron_id)
        return None
    return date if cron.end_time is None or date <= cron.end_time else None
