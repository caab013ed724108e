"""When a cron fires: the grammar of schedules, time zones, and the first date after a moment.

A schedule has five fields: minute, hour, day of month, month, day of week. A sixth field is seconds, a
seventh years. Names (``mon``, ``jan``), ranges, lists, steps, ``L`` and the forms ``@hourly``, ``@daily``,
``@weekly``, ``@monthly``, ``@yearly`` are known. If day of month and day of week are both given, one match is
enough. The schedule is evaluated in a time zone (UTC by default).

When daylight saving time begins or ends
    A time does not exist (the clock is put forward over it): the schedule fires once, at the first moment
    after the gap, even if several of its times are in the gap.
    A time exists twice (the clock is put back): a schedule that names hours fires at the first of the two
    only.
    A schedule for every hour (the hour is ``*``) fires in both hours.

``H`` and ``R`` (a random time) are refused: R would be another time for every date.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Final

import croniter as library

from gatewayd.errors import Invalid, Rejected

LONGEST: Final = 200
"""Characters of a schedule."""
DRAWN: Final = re.compile(r"(^|[\s,])[hr](?![a-z])", re.IGNORECASE)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
SECOND: Final = timedelta(seconds=1)
MICROSECOND: Final = timedelta(microseconds=1)

HINT: Final = (
    "Invalid cron schedule. Ensure the schedule uses the standard cron format (minute hour day_of_month month "
    "day_of_week). Example: '*/5 * * * *' for every 5 minutes."
)
NO_DATE: Final = "failed to find next date"


def zone(timezone: str | None) -> zoneinfo.ZoneInfo:
    """Return the time zone of an IANA name, UTC for None. Raises `Invalid`."""
    try:
        return zoneinfo.ZoneInfo("UTC" if timezone is None else timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            f"Invalid timezone: {(timezone or '')[:LONGEST]!r}. Use IANA timezone format (e.g. 'America/New_York')."
        ) from None


def next_date(schedule: str, timezone: str | None, after: int) -> int:
    """
    Return the first date of the schedule that is later than `after` (both in µs).

    Raises `Invalid` for an invalid schedule or time zone, `Rejected` when no date is left.
    """
    local = zone(timezone)
    start = (EPOCH + after * MICROSECOND).astimezone(local)
    dates = _parsed(schedule, start)
    try:
        date: datetime = dates.get_next(datetime)
        if date.fold and dates.expanded[1] != ["*"]:  # the second of two equal times; it fired at the first
            date = _parsed(schedule, _last_twice(date)).get_next(datetime)
    except library.CroniterBadDateError:
        raise Rejected(NO_DATE) from None
    return (date - EPOCH) // MICROSECOND


def _parsed(schedule: str, start: datetime) -> library.croniter:
    try:
        if len(schedule) > LONGEST or DRAWN.search(schedule):
            raise ValueError(schedule)
        return library.croniter(schedule, start)
    except ValueError:  # the library's own errors, and int()'s
        raise Invalid(f"Invalid cron schedule: {schedule[:LONGEST]!r}. Reason: {HINT}") from None


def _last_twice(date: datetime) -> datetime:
    """Return the last second of the period that exists twice, in which `date` is."""
    moment = date.astimezone(UTC).replace(second=0)
    while (moment + MINUTE).astimezone(date.tzinfo).fold:
        moment += MINUTE
    return (moment + MINUTE - SECOND).astimezone(date.tzinfo)
