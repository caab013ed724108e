"""A run that a blocked worker is to give back is begun there, or elsewhere, and never in both places."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.model.caller import INTERNAL
from gatewayd.worker import core
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.mark.parametrize(("moment", "attempts"), [("before", 2), ("after", 1)])
async def test_a_run_that_is_withdrawn_in_the_moment_of_its_start_is_executed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, attempts: int
) -> None:
    handle = core.Core._handle

    def withdrawing(self: core.Core, frame: list[Any]) -> None:
        first = frame[0] == "start" and frame[1]["attempt"] == 1
        if first and moment == "before":
            self.on_control(["withdraw", frame[1]["run_id"], 1])
        handle(self, frame)
        if first and moment == "after":
            self.on_control(["withdraw", frame[1]["run_id"], 1])

    monkeypatch.setattr(core.Core, "_handle", withdrawing)
    async with inprocess.opened(tmp_path, PROJECT) as daemon, asyncio.timeout(60):
        thread_id = ids.new_id()
        request = inprocess.request("steps", thread_id=thread_id, input={"word": "w", "path": []})
        admission = await daemon.create(request)
        assert admission.ended is not None
        assert (await admission.ended).status == "success"
        found = await daemon.services.storage.run_get(INTERNAL, thread_id, admission.run.run_id)
        assert (found.attempt, found.strikes) == (attempts, 0)
        state = await daemon.state(thread_id, "steps")
        assert state["values"]["path"] == ["a:w", "b:w", "c:w"]
