"""When crons fire: the grammar, time zones, and what happens when the clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayd import wire
from gatewayd.crons import schedule
from gatewayd.errors import Invalid, Rejected

BERLIN = "Europe/Berlin"
SPRING = "2026-03-29"
"""Berlin's clock goes from 02:00+01:00 to 03:00+02:00, at 01:00 UTC."""
AUTUMN = "2026-10-25"
"""Berlin's clock goes from 03:00+02:00 to 02:00+01:00, at 01:00 UTC."""


def dates(expression: str, after: str, count: int = 1, timezone: str | None = None) -> list[str]:
    """Return the next dates in UTC, without what is the same in all of them."""
    moment, found = wire.parse_iso(after), []
    for _ in range(count):
        moment = schedule.next_date(expression, timezone, moment)
        found.append(wire.iso(moment).removesuffix("+00:00").replace("T", " "))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", "2026-02-19 10:31:00"),
        ("*/5 * * * *", "2026-02-19 10:35:00"),
        ("0 9 * * mon-fri", "2026-02-20 09:00:00"),
        ("0 9 * JAN SUN", "2027-01-03 09:00:00"),
        ("0 0 L * *", "2026-02-28 00:00:00"),
        ("0 0 * * L5", "2026-02-27 00:00:00"),
        ("0 0 13 * 5", "2026-02-20 00:00:00"),
        ("0 22-2 * * *", "2026-02-19 22:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("@hourly", "2026-02-19 11:00:00"),
        ("@daily", "2026-02-20 00:00:00"),
        ("@weekly", "2026-02-22 00:00:00"),
        ("@monthly", "2026-03-01 00:00:00"),
        ("@yearly", "2027-01-01 00:00:00"),
        ("  0   0 1  1 * ", "2027-01-01 00:00:00"),
        ("0 0 1 1 * 0 2030", "2030-01-01 00:00:00"),
    ],
)
def test_the_next_date_is_the_first_that_matches(expression: str, expected: str) -> None:
    assert dates(expression, "2026-02-19T10:30:30") == [expected]


def test_a_sixth_field_is_the_seconds() -> None:
    assert dates("* * * * * */20", "2026-02-19T10:30:30", 3) == [
        "2026-02-19 10:30:40",
        "2026-02-19 10:31:00",
        "2026-02-19 10:31:20",
    ]


@pytest.mark.parametrize("after", ["2026-02-19T10:30:00", "2026-02-19T10:30:00.999999"])
def test_the_next_date_is_later_than_the_moment_also_within_a_second(after: str) -> None:
    assert dates("* * * * * *", after) == ["2026-02-19 10:30:01"]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "bad",
        "* * * *",
        "* * * * * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 32 * *",
        "*/0 * * * *",
        "@reboot",
        "H * * * *",
        "R 3 * * *",
        "0 r(1-5) * * *",
        "1" * 5000 + " * * * *",
        "*" + ",1" * 100 + " * * * *",
        "\x00 * * * *",
        "٣ * * * *",
    ],
)
def test_what_is_no_schedule_is_refused_as_a_wrong_field(expression: str) -> None:
    with pytest.raises(Invalid, match=r"^Invalid cron schedule: .* Reason: Invalid cron schedule\. Ensure"):
        schedule.next_date(expression, None, 0)


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 1 1 * 0 2001"])
def test_a_schedule_without_any_date_is_rejected(expression: str) -> None:
    with pytest.raises(Rejected, match=r"^failed to find next date$"):
        dates(expression, "2026-02-19T10:30:30")


@pytest.mark.parametrize(
    "timezone",
    ["Nope/Zone", "+02:00", "", "/etc/passwd", "../UTC", "Europe", "a" * 5000, "Europe/Berl\x00in", "\ud800"],
)
def test_what_is_no_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(Invalid, match=r"^Invalid timezone: "):
        schedule.next_date("* * * * *", timezone, 0)


def test_a_schedule_follows_the_clock_of_its_zone_and_utc_without_one() -> None:
    assert dates("0 3 * * *", "2026-02-19T10:00:00") == ["2026-02-20 03:00:00"]
    assert dates("0 3 * * *", "2026-02-19T10:00:00", timezone="Asia/Tokyo") == ["2026-02-19 18:00:00"]
    winter, summer = "2026-01-10T12:00:00", "2026-07-10T12:00:00"
    assert dates("0 3 * * *", winter, timezone=BERLIN) == ["2026-01-11 02:00:00"]
    assert dates("0 3 * * *", summer, timezone=BERLIN) == ["2026-07-11 01:00:00"]


# the clock is put forward


def test_a_time_that_does_not_exist_fires_at_the_first_moment_after_the_gap() -> None:
    assert dates("30 2 * * *", "2026-03-28T00:00:00", 3, BERLIN) == [
        "2026-03-28 01:30:00",
        f"{SPRING} 01:00:00",
        "2026-03-30 00:30:00",
    ]


def test_several_times_that_do_not_exist_fire_once() -> None:
    assert dates("*/10 2 * * *", f"{SPRING}T00:00:00", 2, BERLIN) == [
        f"{SPRING} 01:00:00",
        "2026-03-30 00:00:00",
    ]


def test_every_half_hour_goes_on_over_the_gap_without_a_pause_or_a_double() -> None:
    assert dates("*/30 * * * *", f"{SPRING}T00:10:00", 4, BERLIN) == [
        f"{SPRING} 00:30:00",
        f"{SPRING} 01:00:00",
        f"{SPRING} 01:30:00",
        f"{SPRING} 02:00:00",
    ]


def test_every_second_goes_on_over_the_gap() -> None:
    assert dates("* * * * * *", f"{SPRING}T00:59:58", 3, BERLIN) == [
        f"{SPRING} 00:59:59",
        f"{SPRING} 01:00:00",
        f"{SPRING} 01:00:01",
    ]


# the clock is put back


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["2026-10-24 00:30:00", f"{AUTUMN} 00:30:00", "2026-10-26 01:30:00"]),
        (
            "0 2,3 * * *",
            ["2026-10-24 00:00:00", "2026-10-24 01:00:00", f"{AUTUMN} 00:00:00", f"{AUTUMN} 02:00:00"],
        ),
        ("30 */2 25 10 *", ["2026-10-24 22:30:00", f"{AUTUMN} 00:30:00", f"{AUTUMN} 03:30:00"]),
    ],
)
def test_a_time_that_exists_twice_fires_at_the_first_of_the_two_only(
    expression: str, expected: list[str]
) -> None:
    assert dates(expression, "2026-10-23T22:00:00", len(expected), BERLIN) == expected


def test_it_does_not_fire_at_the_second_even_if_asked_between_the_two() -> None:
    for after in ("00:40:00", "01:00:00", "01:29:59", "01:30:00", "01:59:59"):
        assert dates("30 2 * * *", f"{AUTUMN}T{after}", 1, BERLIN) == ["2026-10-26 01:30:00"]


def test_a_schedule_for_every_hour_fires_in_both_of_the_equal_hours() -> None:
    assert dates("15 * * * *", "2026-10-24T23:50:00", 4, BERLIN) == [
        f"{AUTUMN} 00:15:00",
        f"{AUTUMN} 01:15:00",
        f"{AUTUMN} 02:15:00",
        f"{AUTUMN} 03:15:00",
    ]


def test_a_zone_that_shifts_by_half_an_hour_follows_the_same_rules() -> None:
    lord_howe = (
        "Australia/Lord_Howe"  # 2026-04-05: 02:00+11:00 becomes 01:30+10:30, at 15:00 UTC the day before
    )
    assert dates("45 1 * * *", "2026-04-04T00:00:00", 2, lord_howe) == [
        "2026-04-04 14:45:00",
        "2026-04-05 15:15:00",
    ]
    assert dates("15 2 * * *", "2026-10-02T10:00:00", 2, lord_howe) == [  # 2026-10-04: no 02:00 to 02:29
        "2026-10-02 15:45:00",
        "2026-10-03 15:30:00",
    ]


@settings(deadline=None)  # the first look at a zone reads a file
@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31)),  # noqa: DTZ001  made aware below
)
def test_a_daily_schedule_fires_once_on_every_day_whatever_its_clock_does(
    minute: int, hour: int, zone: str, start: datetime
) -> None:
    moment = int(start.replace(tzinfo=UTC).timestamp()) * 1_000_000
    days = []
    for _ in range(3):
        moment = schedule.next_date(f"{minute} {hour} * * *", zone, moment)
        days.append(datetime.fromtimestamp(moment // 1_000_000, ZoneInfo(zone)).date())
    assert [day - days[0] for day in days] == [timedelta(0), timedelta(1), timedelta(2)]
