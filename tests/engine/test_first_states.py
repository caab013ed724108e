"""
Threads that are made with states are like threads on which the same was done step by step; or they are not
made.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import StateUpdate

from gatewayd import ids, wire
from gatewayd.errors import Conflict, NotFound, Rejected
from gatewayd.model.caller import INTERNAL
from gatewayd.model.retention import NewTtl
from tests.engine import inprocess
from tests.engine.project import kinds_of_runs

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
STEPS = {"graph_id": "steps"}
BEGUN = [
    {"updates": [{"values": {"path": ["x"]}, "command": None, "as_node": "__start__"}]},
    {"updates": [{"values": {"path": ["y"]}, "command": None, "as_node": "a"}]},
]


async def rows_of(daemon: inprocess.Daemon, table: str, thread_id: str) -> int:
    found = await daemon.services.storage.readers.rows(
        f"SELECT count(*) FROM {table} WHERE thread_id = ?", (thread_id,)
    )
    return int(found[0][0])


async def test_a_thread_begins_where_its_supersteps_lead(tmp_path: Path) -> None:
    stock = kinds_of_runs.steps.copy()
    stock.checkpointer = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "stock"}}
    steps = [[StateUpdate(one["values"], one["as_node"]) for one in step["updates"]] for step in BEGUN]
    await stock.abulk_update_state(config, steps)
    expected = await stock.aget_state(config)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        threads = daemon.services.threads
        made = await threads.create(INTERNAL, None, STEPS, do_nothing=False, supersteps=BEGUN)
        assert (made.status, wire.loads(made.values or b"")) == ("interrupted", expected.values)
        state = await daemon.state(made.thread_id, "steps")
        assert (state["values"], tuple(state["next"])) == (expected.values, expected.next)
        history = wire.loads(await threads.history(INTERNAL, made.thread_id, limit=10))
        assert len(history) == len([one async for one in stock.aget_state_history(config)])
        await daemon.finish(inprocess.request("steps", thread_id=made.thread_id))
        after = await stock.ainvoke(None, config)
        assert (await daemon.state(made.thread_id, "steps"))["values"] == after
        taken = await threads.storage_of(INTERNAL, made.thread_id)
        assert taken["checkpoints"]["count"] == await rows_of(daemon, "checkpoints", made.thread_id)
        assert taken["total_bytes"] == taken["checkpoints"]["bytes"] + taken["pending_writes"]["bytes"]
        assert taken["channel_values"]["by_channel"]["path"]["versions"] > 1


async def test_states_that_cannot_be_made_leave_no_thread(tmp_path: Path) -> None:
    nobody = [*BEGUN, {"updates": [{"values": {}, "as_node": "nobody"}]}]
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        for metadata, steps, error in (
            (STEPS, nobody, Rejected),
            (STEPS, [{"updates": []}], Rejected),
            ({}, BEGUN, Rejected),
            ({"graph_id": "gone"}, BEGUN, NotFound),
        ):
            thread_id = ids.new_id()
            with pytest.raises(error):
                await daemon.services.threads.create(
                    INTERNAL, thread_id, metadata, do_nothing=False, supersteps=steps
                )
            for table in ("threads", "checkpoints", "writes"):
                assert await rows_of(daemon, table, thread_id) == 0


async def test_of_two_that_make_one_thread_only_the_first_leaves_states(tmp_path: Path) -> None:
    thread_id = ids.new_id()
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        create = daemon.services.threads.create
        both = [create(INTERNAL, thread_id, STEPS, do_nothing=False, supersteps=BEGUN) for _ in range(2)]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "Thread"]
        assert await rows_of(daemon, "checkpoints", thread_id) == len(BEGUN)
        again = await create(INTERNAL, thread_id, STEPS, do_nothing=True, supersteps=BEGUN)
        assert again in outcomes
        with pytest.raises(Conflict):
            await create(INTERNAL, thread_id, STEPS, do_nothing=False, supersteps=BEGUN)
        assert await rows_of(daemon, "checkpoints", thread_id) == len(BEGUN)


async def test_a_time_to_live_is_stored_with_the_thread_or_neither_is(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        threads, storage = daemon.services.threads, daemon.services.storage
        ttl = NewTtl(strategy="keep_latest", ttl_minutes=90)
        made = await threads.create(INTERNAL, None, STEPS, do_nothing=False, ttl=ttl, supersteps=BEGUN)
        kept = await storage.thread_ttl_get(INTERNAL, made.thread_id)
        assert kept is not None
        assert (kept.strategy, kept.ttl_minutes) == ("keep_latest", 90)
        assert kept.expires_at == made.updated_at + 90 * 60_000_000
        changed = await threads.patch(
            INTERNAL, made.thread_id, {}, ttl=NewTtl(strategy="delete", ttl_minutes=1)
        )
        kept = await storage.thread_ttl_get(INTERNAL, made.thread_id)
        assert kept is not None
        assert (kept.strategy, kept.expires_at) == ("delete", changed.updated_at + 60_000_000)
