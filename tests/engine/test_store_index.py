"""The index by meaning, seen from graphs and from requests: one store, one embedding."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gatewayd import datadir, ids, wire
from gatewayd.errors import Unanswered
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "meaning" / "langgraph.json"


async def put(
    daemon: inprocess.Daemon, key: str, text: str, ttl: float | None = None, for_ever: bool = False
) -> None:
    await daemon.services.items.put(["memories"], key, {"text": text}, index=None, ttl=ttl, for_ever=for_ever)


async def search(daemon: inprocess.Daemon, query: str) -> list[str]:
    found = await daemon.services.items.search(
        ["memories"], terms=None, limit=10, offset=0, query=query, refresh=None
    )
    return [item["key"] for item in found]


async def recalled(daemon: inprocess.Daemon, graph: str, query: str) -> list[str]:
    ended = await daemon.finish(inprocess.request(graph, thread_id=ids.new_id(), input={"query": query}))
    assert ended.status == "success", ended
    assert ended.result is not None
    result: dict[str, Any] = wire.loads(ended.result)
    return list(result["found"])


async def test_graphs_and_requests_find_each_others_items_by_meaning(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        await put(daemon, "only a", "aaa")
        assert await recalled(daemon, "recall", "b") == ["from the graph", "only a"]
        assert await recalled(daemon, "recall", "a") == ["only a", "from the graph"]
        assert await recalled(daemon, "recall_blocking", "b") == ["from the graph", "only a"]
        assert await search(daemon, "b") == ["from the graph", "only a"]


async def test_a_hanging_embedding_is_named_and_nothing_else_waits_for_it(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, call_deadline_s=1.0) as daemon:
        await put(daemon, "k", "a")
        hanging = asyncio.create_task(put(daemon, "hanging", "wait"))
        for _ in range(3):
            assert await search(daemon, "a") == ["k"]
            assert await recalled(daemon, "recall_blocking", "a") == ["k"]
        with pytest.raises(
            Unanswered, match=r"the embedding ./recall\.py:embed did not answer within 0\.9 s"
        ):
            await hanging
        from __recall import GATE  # the project's module, as it was loaded

        GATE.set()
        assert await search(daemon, "a") == ["k"]


async def test_the_default_life_counts_for_graphs_and_requests_alike(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        await put(daemon, "default", "a")
        await put(daemon, "own", "a", ttl=5)
        await put(daemon, "for ever", "a", for_ever=True)
        await recalled(daemon, "recall", "a")
    rows = sqlite3.connect(tmp_path / datadir.STORE)
    found = dict(rows.execute("SELECT key, ttl_minutes FROM store"))
    rows.close()
    assert found == {"default": 60.0, "own": 5.0, "for ever": None, "from the graph": 60.0}
