"""
Crons of a real daemon that is killed: each date has one run, and what was missed is caught up with once.
"""

from __future__ import annotations

import signal
import sqlite3
import time

import pytest

from gatewayd import wire
from tests.processes import conftest, daemon, story

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(300)]

SECOND = 1_000_000


def firings(served: daemon.Daemon) -> list[tuple[int, int, str]]:
    """Return (due, fired_at, run_id) of all that has fired."""
    database = sqlite3.connect(f"file:{served.data_dir / 'gatewayd.sqlite'}?mode=ro", uri=True)
    try:
        return database.execute("SELECT due, fired_at, run_id FROM firings ORDER BY fired_at, due").fetchall()
    finally:
        database.close()


async def test_a_cron_of_every_second_has_one_run_for_each_date_over_a_kill_and_catches_up_once(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    served = await serve()
    told = tell(served)
    client, thread_id = told.client, await told.thread()
    given = {"witness": str(told.witness), "steps": 1}
    cron = await client.crons.create_for_thread(thread_id, "steps", schedule="* * * * * *", input=given)
    await daemon.until(lambda: len(firings(served)) >= 2, "it fires", 60, served)

    served.kill()
    assert await served.wait() == -signal.SIGKILL
    before = firings(served)
    missed = before[-1][0] + SECOND
    await daemon.until(lambda: time.time_ns() // 1000 > missed + 2 * SECOND, "three dates have passed")
    restarted_at = time.time_ns() // 1000
    await served.start()
    await daemon.until(lambda: len(firings(served)) >= len(before) + 2, "it goes on", 60, served)
    await client.crons.delete(cron["cron_id"])
    runs = await client.runs.list(thread_id, limit=1000)

    created = sorted(run["created_at"] for run in runs)
    assert len({stamp[:19] for stamp in created}) == len(created), "two runs of one second"
    again = [wire.parse_iso(stamp) for stamp in created[len(before) :]]
    assert again[0] >= restarted_at, "a run of a date at which nobody was there"
    assert again[1] // SECOND > again[0] // SECOND, "more than one run to catch up with"
    assert [run["run_id"] for run in runs[::-1]][: len(before)] == [run_id for _, _, run_id in before]
    for run in runs:
        assert (await told.ended(story.Stood(thread_id, run["run_id"])))["status"] == "success"
