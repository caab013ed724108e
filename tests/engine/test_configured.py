"""What a client or an assistant configures is what its graphs, its threads and their checkpoints have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.errors import Conflict
from gatewayd.model.assistant import AssistantChange
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "configured" / "langgraph.json"


async def assistant(daemon: inprocess.Daemon, graph_id: str, **configurable: Any) -> str:
    wanted = AssistantChange(graph_id=graph_id, config={"configurable": configurable})
    made = await daemon.services.assistants.create(INTERNAL, None, wanted, do_nothing=False)
    return str(made.assistant_id)


async def state(daemon: inprocess.Daemon, thread_id: str, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = wire.loads(await daemon.services.threads.state(INTERNAL, thread_id, **asked))
    return found


@pytest.mark.parametrize("keep_thread", [False, True])
async def test_a_thread_that_a_run_makes_has_the_metadata_of_the_run(
    tmp_path: Path, keep_thread: bool
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        request = inprocess.request(
            "seer",
            thread_id=None if keep_thread else ids.new_id(),
            keep_thread=keep_thread,
            input={},
            config={"metadata": {"a": "config", "b": "config", "run_id": "mine"}},
            metadata={"b": "metadata", "graph_id": "another"},
        )
        run = (await daemon.create(request)).run
        thread = await daemon.services.storage.thread_get(INTERNAL, run.thread_id)
        assert thread.metadata == {
            "a": "config",
            "b": "metadata",
            "graph_id": "seer",
            "assistant_id": run.assistant_id,
        }
        later = inprocess.request("seer", thread_id=run.thread_id, input={}, metadata={"b": "later"})
        await daemon.finish(later)
        thread = await daemon.services.storage.thread_get(INTERNAL, run.thread_id)
        assert thread.metadata["b"] == "metadata"


@pytest.mark.parametrize("by", ["nobody", "client", "assistant", "context"])
async def test_the_user_whom_a_client_or_an_assistant_names_is_the_one_that_tools_find(
    tmp_path: Path, by: str
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        graph = await assistant(daemon, "seer", user_id="ann") if by == "assistant" else "seer"
        given: dict[str, Any] = {
            "client": {"config": {"configurable": {"user_id": "ann"}}},
            "context": {"context": {"user_id": "ann"}},
        }.get(by, {})
        request = inprocess.request(graph, thread_id=ids.new_id(), input={}, **given)
        ended = await daemon.finish(request)
        assert isinstance(ended.result, bytes)
        assert wire.loads(ended.result)["seen"] == ("" if by == "nobody" else "ann")


async def test_a_thread_is_read_and_updated_with_the_graph_that_its_assistants_configuration_makes(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        graph = await assistant(daemon, "made", second="special", checkpoint_id="never an address")
        thread_id = ids.new_id()
        request = inprocess.request(graph, thread_id=thread_id, input={}, interrupt_after=["first"])
        await daemon.finish(request)
        assert (await state(daemon, thread_id))["next"] == ["special"]
        history = wire.loads(await daemon.services.threads.history(INTERNAL, thread_id, limit=10))
        assert [one["next"] for one in history] == [["special"], ["first"], ["__start__"]]
        update = daemon.services.changes.update_state
        await update(INTERNAL, thread_id, values={"path": ["updated"]}, as_node="first", place={})
        found = await state(daemon, thread_id)
        assert (found["next"], found["metadata"]["second"]) == (["special"], "special")
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "interrupted"


async def test_an_update_beside_a_pending_run_is_refused(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(inprocess.request("seer", thread_id=thread_id, input={}))
        waiting = await daemon.create(inprocess.request("seer", thread_id=thread_id, input={}, after_s=600.0))
        update = daemon.services.changes.update_state
        with pytest.raises(Conflict, match=waiting.run.run_id):
            await update(INTERNAL, thread_id, values={"path": ["no"]}, as_node=None, place={})
        await daemon.services.runs.cancel(INTERNAL, thread_id, waiting.run.run_id, "interrupt")
        await daemon.services.runs.over(INTERNAL, thread_id, waiting.run.run_id)
        await update(INTERNAL, thread_id, values={"path": ["yes"]}, as_node=None, place={})
        assert (await state(daemon, thread_id))["values"]["path"] == ["look", "yes"]


async def test_the_metadata_of_a_checkpoint_name_its_thread_and_the_node_that_has_called_it(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(inprocess.request("outer", thread_id=thread_id, input={}))
        copy = await daemon.services.changes.copy(INTERNAL, thread_id)
        for each in (thread_id, copy.thread_id):
            root = (await state(daemon, each))["metadata"]
            assert root["thread_id"] == each
            assert "langgraph_node" not in root
            inside = (await state(daemon, each, checkpoint_ns="inner"))["metadata"]
            assert inside["thread_id"] == each
            assert (inside["langgraph_node"], inside["langgraph_step"]) == ("inner", 1)
            assert inside["langgraph_path"] == ["__pregel_pull", "inner"]
            assert inside["langgraph_triggers"] == ["branch:to:inner"]
            assert inside["checkpoint_ns"] == inside["langgraph_checkpoint_ns"]
            assert inside["checkpoint_ns"].startswith("inner:")
            assert list(inside["checkpoint_map"]) == [""]
        threads = daemon.services.threads
        for named, count in ((copy.thread_id, 3), (thread_id, 0)):
            found = await threads.history(INTERNAL, copy.thread_id, limit=10, metadata={"thread_id": named})
            assert len(wire.loads(found)) == count
