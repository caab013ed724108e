"""Records as a client or the clock asks for them, complete, with what a test says about them in place."""

from __future__ import annotations

from typing import Any

from gatewayd import ids
from gatewayd.model.cron import Cron
from gatewayd.model.event import Draft, draft
from gatewayd.model.run import RunRequest

START = 1_700_000_000_000_000
"""A moment, in µs."""


def run_request(**changes: Any) -> RunRequest:
    """Return the request of a run of the graph `chat`; without a `thread_id` it is stateless."""
    fields: dict[str, Any] = {
        "assistant": "chat",
        "thread_id": None,
        "kwargs": {"input": {}, "command": None},
        "config": {},
        "context": {},
        "metadata": {},
        "multitask_strategy": "enqueue",
        "if_not_exists": "create",
        "after_s": 0.0,
        "keep_thread": False,
        "request_id": "request",
        "received_at": START,
    }
    return RunRequest(**(fields | changes))


def cron(**changes: Any) -> Cron:
    """Return a cron of the assistant `chat` that is due a minute after its creation, every minute."""
    created_at = changes.get("created_at", START)
    fields: dict[str, Any] = {
        "cron_id": ids.new_id(created_at // 1000),
        "assistant_id": "chat",
        "thread_id": None,
        "user_id": "",
        "schedule": "* * * * *",
        "timezone": None,
        "end_time": None,
        "on_run_completed": None if changes.get("thread_id") else "delete",
        "enabled": True,
        "next_run_date": created_at + 60_000_000,
        "payload": {"assistant_id": "chat", "schedule": "* * * * *"},
        "metadata": {},
        "revision": 1,
        "created_at": created_at,
        "updated_at": created_at,
    }
    return Cron(**(fields | changes))


def end(thread_id: str, run_id: str, now: int = START) -> Draft:
    """Return the last event of a run's stream."""
    return draft(thread_id, run_id, now // 1000, [("end", "", 2, b"{}")])
