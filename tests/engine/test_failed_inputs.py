"""A thread whose run failed at its input shows what was stored of it, as the reference does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess
from tests.engine.test_limits import PROJECT

GIVEN = {"word": "w", "path": []}


@pytest.mark.parametrize("wrong", [{"word": "w", "path": 5}, 5])
@pytest.mark.parametrize("before", [False, True])
async def test_a_thread_shows_the_state_that_an_input_failed_on(
    tmp_path: Path, wrong: object, before: bool
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        storage = daemon.services.storage
        earlier: object = {"path": []}
        if before:
            assert (
                await daemon.finish(inprocess.request("steps", thread_id=thread_id, input=GIVEN))
            ).status == "success"
            earlier = wire.loads((await storage.thread_get(INTERNAL, thread_id)).values or b"")
        ended = await daemon.finish(inprocess.request("steps", thread_id=thread_id, input=wrong))
        assert ended.status == "error"
        thread = await storage.thread_get(INTERNAL, thread_id)
        assert (thread.status, wire.loads(thread.values or b"null")) == ("error", earlier)
        # The next run is none the worse for it.
        assert (
            await daemon.finish(inprocess.request("steps", thread_id=thread_id, input=GIVEN))
        ).status == "success"
