"""The store that graphs get: one owner, the service worker, reached by run workers through the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "remembering" / "langgraph.json"
FACT = {"kind": "fact", "text": "grün", "n": 1.5, "deep": {"list": [1, None, True]}}


async def use(daemon: inprocess.Daemon, graph: str, value: dict[str, Any]) -> dict[str, Any]:
    asked = inprocess.request(graph, thread_id=ids.new_id(), input={"key": "k", "value": value})
    ended = await daemon.finish(asked)
    assert ended.status == "success", ended
    assert ended.result is not None
    result: dict[str, Any] = wire.loads(ended.result)
    return result


async def test_every_operation_reaches_the_store_from_an_async_node(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        result = await use(daemon, "async", FACT)
    assert result["before"] is None
    assert result["found"] == ["k"]
    assert result["namespaces"] == [["notes", "a"]]
    assert result["missing"] is None


@pytest.mark.parametrize("graph", ["async", "sync"])
async def test_what_one_run_has_put_the_next_run_finds_also_after_a_restart(
    tmp_path: Path, graph: str
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        await use(daemon, graph, FACT)
        assert (await use(daemon, graph, {"kind": "fact"}))["before"] == FACT
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        assert (await use(daemon, graph, FACT))["before"] == {"kind": "fact"}


async def test_a_value_the_store_can_not_keep_fails_the_run_and_nothing_else(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        asked = inprocess.request("sync", thread_id=ids.new_id(), input={"key": "k", "value": "no object"})
        ended = await daemon.finish(asked)
        assert ended.status == "error"
        assert (await use(daemon, "sync", FACT))["found"] == ["k"]


async def test_what_the_store_raises_reaches_the_node_with_its_own_class(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        result = await use(daemon, "refused", FACT)
    assert result["found"] == ["ValueError", "ValueError"]
    assert "$near" in result["missing"]
