"""
A state that can't be stored fails a run on a thread by name; a stateless run goes on, and would begin again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from gatewayd.storage.sqlite import runs
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "unstorable" / "langgraph.json"
PATH = ["begin", "hold", "use"]


async def stored(daemon: inprocess.Daemon, thread_id: str) -> int:
    """Return how many checkpoints and writes there are of a thread."""

    def counted(connection: Any) -> int:
        tables = ("checkpoints", "writes")
        sql = "SELECT count(*) FROM {} WHERE thread_id = ?"
        return sum(connection.execute(sql.format(table), (thread_id,)).fetchone()[0] for table in tables)

    return int(await daemon.writer.submit(counted))


@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
@pytest.mark.parametrize("graph", ["holding", "private"])
async def test_a_stateless_run_goes_on_with_what_can_not_be_stored_and_keeps_nothing(
    tmp_path: Path, graph: str, durability: str
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        request = inprocess.request(graph, thread_id=None, input={"path": []}, durability=durability)
        admitted = await daemon.create(request)
        assert admitted.ended is not None
        ended = await admitted.ended
        assert (ended.status, ended.error) == ("success", None)
        assert isinstance(ended.result, bytes)
        result = wire.loads(ended.result)
        assert result["path"] == PATH
        assert ("held" in result) is (graph == "holding")
        assert await stored(daemon, admitted.run.thread_id) == 0


@pytest.mark.parametrize("keep_thread", [False, True])
async def test_a_run_on_a_thread_fails_and_says_what_can_not_be_stored(
    tmp_path: Path, keep_thread: bool
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = None if keep_thread else ids.new_id()
        request = inprocess.request(
            "holding", thread_id=thread_id, keep_thread=keep_thread, input={"path": []}
        )
        admitted = await daemon.create(request)
        assert admitted.ended is not None
        ended = await admitted.ended
        assert ended.status == "error"
        assert ended.error is not None
        assert ended.error["error"] == "Unstorable"
        assert ended.error["message"].startswith("held.locks[0] is of type _thread.lock")
        thread = await daemon.services.storage.thread_get(INTERNAL, admitted.run.thread_id)
        assert isinstance(thread.values, bytes)
        assert wire.loads(thread.values)["path"] == ["begin"]


async def test_after_a_crash_it_begins_at_its_input_without_a_strike(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        daemon.writer.crash_when(lambda function, _: function is runs.run_finish_if_active)
        request = inprocess.request("holding", thread_id=None, input={"path": []})
        run = (await daemon.create(request)).run
        await daemon.writer.crashed.wait()
        daemon.abandon()
    async with inprocess.opened(tmp_path, PROJECT) as daemon, asyncio.timeout(60):
        ended = await daemon.services.runs.wait(INTERNAL, run.thread_id, run.run_id)
        assert ended.status == "success"
        assert isinstance(ended.result, bytes)
        assert wire.loads(ended.result)["path"] == PATH
        found = await daemon.services.storage.run_get(INTERNAL, run.thread_id, run.run_id)
        assert found is not None
        assert (found.attempt, found.strikes, found.suspicions) == (2, 0, 0)
        assert await stored(daemon, run.thread_id) == 0


async def test_a_question_that_could_not_be_answered_is_an_error_by_name(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        ended = await daemon.finish(inprocess.request("asking", thread_id=None, input={"path": []}))
        assert ended.status == "error"
        assert ended.error is not None
        assert ended.error["error"] == "NotResumable"
        assert "held.locks[0]" in ended.error["message"]
