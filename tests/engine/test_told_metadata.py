"""What clients write into metadata does not decide what is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd import ids, wire
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.mark.parametrize("where", ["metadata", "config"])
async def test_a_run_whose_metadata_name_the_run_before_it_executes_its_input(
    tmp_path: Path, where: str
) -> None:
    told = {"run_id": "one of mine"}
    given = {"metadata": told} if where == "metadata" else {"config": {"metadata": told}}
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        first, second = (
            inprocess.request("steps", thread_id=thread_id, input={"word": word, "path": [word]}, **given)
            for word in ("first", "second")
        )
        await daemon.finish(first)
        ended = await daemon.finish(second)
        assert isinstance(ended.result, bytes)
        assert wire.loads(ended.result)["path"][4:] == ["second", "a:second", "b:second", "c:second"]
