"""Cancels that come at a bad moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids
from gatewayd.worker import core
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


async def test_a_run_cancelled_in_the_moment_of_its_start_says_that_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interleaving: the cancel arrives before the task that is to execute the run has had its first turn."""
    handle = core.Core._handle
    seen_attempts = []

    def at_once(self: core.Core, frame: list[Any]) -> None:
        handle(self, frame)
        if frame[0] == "start" and frame[1]["attempt"] == 1:
            seen_attempts.append(1)
            handle(self, ["cancel", frame[1]["run_id"], 1])

    monkeypatch.setattr(core.Core, "_handle", at_once)
    async with inprocess.opened(tmp_path, PROJECT) as daemon, asyncio.timeout(20):
        request = inprocess.request("steps", thread_id=ids.new_id(), input={"word": "w", "path": []})
        ended = await daemon.finish(
            request
        )  # nobody asked for its cancel, so it is handed back and starts again
        assert (ended.status, seen_attempts) == ("success", [1])
