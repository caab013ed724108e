"""Scenarios: crons, and the runs that they create."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

DAILY = {**COUNT, "schedule": "30 4 * * *"}
"""Its next date is never more than a day away."""


async def cleared(c: Conversation, marker: str) -> dict[str, str]:
    """Return metadata for a scenario's own crons, after deleting those that an earlier one has left."""
    metadata = {"wire": marker}
    found = await c.post("/runs/crons/search", {"metadata": metadata, "limit": 1000}, record=False)
    for row in found:
        await c.ask("DELETE", f"/runs/crons/{row['cron_id']}", record=False)
    return metadata


@scenario
async def crons(c: Conversation) -> None:
    metadata = await cleared(c, "crons")
    thread = await c.thread()
    first = await c.post(
        "/runs/crons",
        {
            **DAILY,
            "metadata": {**metadata, "deep": {"a": 1}},
            "config": {"tags": ["t"], "configurable": {"foo": 1}},
            "stream_mode": "updates",
            "timezone": "Europe/Berlin",
            "unknown": 5,
        },
    )
    one = c.name("cron", first["cron_id"])
    second = await c.post(
        f"/threads/{thread}/runs/crons",
        {
            **DAILY,
            "metadata": metadata,
            "enabled": False,
            "on_run_completed": "keep",
            "multitask_strategy": "reject",
            "context": {"foo": 1},
        },
    )
    two = c.name("cron", second["cron_id"])
    await c.get(f"/runs/crons/{one}")
    await c.post("/runs/crons/search", {"metadata": metadata})
    for terms in (
        {"enabled": False},
        {"thread_id": thread},
        {"assistant_id": first["assistant_id"]},
        {"metadata": {**metadata, "deep": {"a": 1}}},
        {"limit": 1, "sort_by": "created_at", "sort_order": "asc"},
        {"offset": 5},
    ):
        await c.post("/runs/crons/search", {"metadata": metadata, "select": ["cron_id", "enabled"], **terms})
    await c.post("/runs/crons/count", {"metadata": metadata})
    await c.post("/runs/crons/count", {"metadata": metadata, "thread_id": thread})
    changes: tuple[dict[str, Any], ...] = (
        {"schedule": "0 5 * * *", "timezone": "Asia/Tokyo", "assistant_id": "nested"},
        {"config": {"tags": ["u"]}, "unknown": 6, "on_run_completed": "keep"},
        {"enabled": False, "input": {"left": 1, "seen": []}, "durability": "exit"},
        {"end_time": None},
        {},
        {"schedule": "bad"},
        {"timezone": "bad"},
        {"enabled": 5},
    )
    for change in changes:
        await c.ask("PATCH", f"/runs/crons/{one}", change)
    await c.get(f"/runs/crons/{one}")
    await c.ask("DELETE", f"/runs/crons/{one}")
    await c.get(f"/runs/crons/{one}")
    await c.ask("DELETE", f"/runs/crons/{one}")
    await c.ask("DELETE", f"/threads/{thread}")
    await c.get(f"/runs/crons/{two}")
    await c.post("/runs/crons/count", {"metadata": metadata})


@scenario
async def crons_that_are_refused(c: Conversation) -> None:
    metadata = await cleared(c, "crons_that_are_refused")
    for change in (
        {"schedule": "bad"},
        {"schedule": "60 * * * *"},
        {"schedule": "@reboot"},
        {"schedule": "H * * * *"},
        {"schedule": "0 0 31 2 *"},
        {"schedule": 5},
        {"timezone": "Nope/Zone"},
        {"timezone": "+02:00"},
        {"timezone": 5},
        {"enabled": "yes"},
        {"on_run_completed": "burn"},
        {"input": 5},
        {"metadata": []},
        {"end_time": 5},
        {"assistant_id": "nope"},
        {"assistant_id": UNKNOWN},
    ):
        await c.post("/runs/crons", {**DAILY, "metadata": metadata, **change})
    await c.post(f"/threads/{UNKNOWN}/runs/crons", DAILY)
    await c.post("/threads/zz/runs/crons", DAILY)
    for method, body in (("GET", ...), ("PATCH", {"enabled": False}), ("DELETE", ...)):
        await c.ask(method, f"/runs/crons/{UNKNOWN}", body)
        await c.ask(method, "/runs/crons/zz", body)
    for terms in (
        {"assistant_id": "nope"},
        {"thread_id": "zz"},
        {"limit": 0},
        {"select": ["now"]},
        {"sort_by": "x"},
    ):
        await c.post("/runs/crons/search", terms)
    await c.post("/runs/crons/count", {"assistant_id": "nope"})
    await c.post("/runs/crons/count", {"metadata": metadata})


async def found(c: Conversation, path: str, body: Any = ...) -> dict[str, Any]:
    """Ask until there is something, and return the first of it."""
    while True:
        rows = await c.ask("GET" if body is ... else "POST", path, body, record=False)
        if rows:
            return dict(rows[0])
        await asyncio.sleep(0.05)


@scenario
async def runs_of_crons(c: Conversation) -> None:
    metadata = await cleared(c, "runs_of_crons")
    thread = await c.thread(metadata={"of": "the thread"})
    for path, more in (
        (f"/threads/{thread}/runs/crons", {"config": {"tags": ["t"], "configurable": {"foo": 1}}}),
        ("/runs/crons", {"context": {"foo": 1}, "stream_mode": "updates", "on_run_completed": "keep"}),
    ):
        marked = {**metadata, "at": path[:5]}
        cron = await c.post(
            path, {**COUNT, "schedule": "* * * * * *", "metadata": marked, **more}, record=False
        )
        c.name("cron", cron["cron_id"])
        if path == "/runs/crons":
            made = await found(c, "/threads/search", {"metadata": marked})
            thread = c.name("thread", made["thread_id"])
        last = await found(c, f"/threads/{thread}/runs")
        await c.ask("DELETE", f"/runs/crons/{cron['cron_id']}", record=False)
        run = c.name("run", last["run_id"])
        await c.until(f"/threads/{thread}/runs/{run}", lambda row: row["status"] == "success")
    await c.until(f"/threads/{thread}", lambda row: row["status"] == "idle")
    await c.ask("DELETE", f"/threads/{thread}", record=False)
