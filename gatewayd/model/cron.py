"""Crons (schedules that create runs), as stored, and their firings."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

from gatewayd.model.run import RunRequest

OnRunCompleted = Literal["delete", "keep"]


@frozen(kw_only=True)
class LastRun:
    """The latest run of a cron."""

    run_id: str
    thread_id: str
    fired_at: int
    """In µs."""
    status: str | None
    """None: the run was deleted before it ended."""
    error: dict[str, str] | None


@frozen(kw_only=True)
class Cron:
    """One row of `crons`."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    """None: every run gets a thread of its own."""
    user_id: str
    schedule: str
    timezone: str | None
    """IANA name; None means UTC."""
    end_time: int | None
    """µs; the cron does not fire for dates after it."""
    on_run_completed: OnRunCompleted | None
    """What happens to a run's own thread; None for a cron on a thread."""
    enabled: bool
    next_run_date: int | None
    """µs; None: no date is left. A disabled cron keeps the date that it had."""
    payload: dict[str, Any]
    """The client's body, checked. Each run is made from it."""
    metadata: dict[str, Any]
    revision: int
    """Rises with every change and every firing."""
    created_at: int
    updated_at: int
    last_run: LastRun | None = None
    """None: it has not fired yet."""
    failures: int = 0
    """Runs that have failed since the last success."""


@frozen(kw_only=True)
class Firing:
    """What is to happen at one date of a cron, as decided on its row at `revision`."""

    cron_id: str
    revision: int
    due: int
    """The date, in µs."""
    now: int
    request: RunRequest | None
    """The run to create; None: the date passes without one."""
    next_run_date: int | None
    """The date after this one; None: there is none, and the cron gets disabled."""
