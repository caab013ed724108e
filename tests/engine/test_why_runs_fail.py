"""What is kept of a run's failure: for clients, for operators, and for those who look after a cron."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.api.responses import reply
from gatewayd.crons import registry
from gatewayd.model.caller import INTERNAL
from gatewayd.model.cron import Firing
from gatewayd.runs import manager
from gatewayd.storage import store
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "failing" / "langgraph.json"


@pytest.mark.parametrize(
    ("detail", "message"), [("masked", "An internal error occurred"), ("full", "/home/secret is not there")]
)
async def test_clients_see_what_they_may_and_operators_find_the_whole_traceback(
    tmp_path: Path, detail: Any, message: str
) -> None:
    async with inprocess.opened(tmp_path / "data", PROJECT, error_detail=detail) as daemon:
        thread_id = ids.new_id()
        ended = await daemon.finish(inprocess.request("failing", thread_id=thread_id, input={}))
        assert ended.error == {"error": "OSError", "message": message}
        (run,) = await daemon.services.storage.runs_search(INTERNAL, store.RunSearch(status="error"))
        assert run.error == ended.error
        assert run.trace is not None
        assert 'failing.py", line 19, in fail' in run.trace
        assert "OSError: /home/secret is not there" in run.trace
        shown = reply.run(run, "http://here")["error"]
        assert shown == ended.error
        assert reply.run(run, "http://here", full=True)["error"] == {**ended.error, "traceback": run.trace}
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.error == ended.error


async def test_a_crons_failed_run_can_be_looked_into_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire, fired = manager.RunManager.fire, asyncio.get_running_loop().create_future()

    async def noted(runs: manager.RunManager, firing: Firing) -> store.Fired:
        found = await fire(runs, firing)
        if not fired.done():
            fired.set_result(found)
        return found

    monkeypatch.setattr(manager.RunManager, "fire", noted)
    async with inprocess.opened(tmp_path / "data", PROJECT) as daemon:
        services = daemon.services
        wanted = registry.CronFields(metadata={"nightly": True}, payload={"input": {}})
        made = await services.crons.create(INTERNAL, "failing", "* * * * * *", None, wanted)
        run = (await asyncio.wait_for(fired, 60)).created.run
        await asyncio.wait_for(services.runs.over(INTERNAL, run.thread_id, run.run_id), 60)
        cron = await services.crons.get(INTERNAL, made.cron_id)
        await services.crons.delete(INTERNAL, made.cron_id)
        assert cron.last_run is not None
        assert cron.failures >= 1
        assert await services.storage.threads_count(INTERNAL, store.ThreadSearch()) == 0
        assert (await services.storage.thread_get(INTERNAL, run.thread_id)).values == b'{"done":"step"}'
        assert b'"done":"step"' in await services.threads.state(INTERNAL, run.thread_id)
        assert b'"done":"step"' in await services.threads.history(INTERNAL, run.thread_id, limit=10)
