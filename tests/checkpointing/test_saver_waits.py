"""When the saver waits for a commit, and from which threads it may be asked."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

THREAD: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class State(TypedDict, total=False):
    text: str
    inner: str


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_puts_return_before_the_commit_and_a_read_waits_for_it(bench: Any, durability: str) -> None:
    saver = bench.saver(durability=durability)
    bench.writer.open_gate.clear()
    place = await saver.aput(THREAD, empty_checkpoint(), {}, {})
    await saver.aput_writes(place, [("x", 1)], "task")
    assert bench.dump("checkpoints") == []
    reading = asyncio.create_task(saver.aget_tuple(THREAD))
    await asyncio.sleep(0)
    assert not reading.done()
    bench.writer.open_gate.set()
    found = await reading
    assert found is not None
    assert found.pending_writes == [("task", "x", 1)]


async def test_a_sync_put_returns_after_the_commit(bench: Any) -> None:
    saver = bench.saver(durability="sync")
    await saver.aput(THREAD, empty_checkpoint(), {}, {})
    assert len(bench.dump("checkpoints")) == 1
    saver.put(THREAD, empty_checkpoint(), {}, {})
    assert len(bench.dump("checkpoints")) == 2


async def test_a_read_of_a_run_that_sent_nothing_since_does_not_ask_the_sink(bench: Any) -> None:
    saver = bench.saver()
    await saver.aput(THREAD, empty_checkpoint(), {}, {})
    await saver.aget_tuple(THREAD)
    saver._sink = None
    assert await saver.aget_tuple(THREAD) == saver.get_tuple(THREAD)
    assert [found async for found in saver.alist(THREAD)] == list(saver.list(THREAD))


async def test_the_clone_with_another_allowlist_counts_with_the_original(bench: Any) -> None:
    strict = JsonPlusSerializer(allowed_msgpack_modules=[("collections", "deque")])
    saver = bench.saver(thread_id="t", serde=strict)
    clone = saver.with_allowlist([("collections", "OrderedDict")])
    assert clone is not saver
    put = empty_checkpoint()
    clone.put(THREAD, put, {}, {})
    nested = {"configurable": {**THREAD["configurable"], "checkpoint_ns": "child:1"}}
    elsewhere = {"configurable": {**THREAD["configurable"], "thread_id": "u"}}
    clone.put(nested, empty_checkpoint(), {}, {})
    clone.put(elsewhere, empty_checkpoint(), {}, {})
    assert (saver.sent, saver.last_root_checkpoint_id) == (3, put["id"])
    assert saver.get_tuple(THREAD) is not None


def graphs(saver: Any, *, own: bool | None) -> Any:
    """
    A parent that calls its subgraph by `invoke()` in an async and in a sync node; each records its thread.
    """
    threads: list[threading.Thread] = []

    def inside(state: State) -> State:
        threads.append(threading.current_thread())
        return {"inner": state.get("inner", "") + "i"}

    inner_builder = StateGraph(State)
    inner_builder.add_node("inside", inside)
    inner_builder.add_edge(START, "inside")
    inner = inner_builder.compile(checkpointer=own)

    async def in_async(state: State) -> State:
        threads.append(threading.current_thread())
        return {"text": "a" + inner.invoke({"inner": ""})["inner"]}

    def in_sync(state: State) -> State:
        threads.append(threading.current_thread())
        return {"text": state["text"] + "s" + inner.invoke({"inner": ""})["inner"]}

    builder = StateGraph(State)
    builder.add_node("in_async", in_async)
    builder.add_node("in_sync", in_sync)
    builder.add_edge(START, "in_async")
    builder.add_edge("in_async", "in_sync")
    return builder.compile(checkpointer=saver), threads


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("own", [None, True], ids=["inherited", "checkpointer=True"])
async def test_a_subgraph_invoked_in_async_and_sync_nodes_ends(
    bench: Any, durability: str, own: bool | None
) -> None:
    saver = bench.saver(durability=durability, thread_id="t")
    graph, threads = graphs(saver, own=own)
    config: Any = {"configurable": {"thread_id": "t"}}
    result = await asyncio.wait_for(graph.ainvoke({"text": ""}, config, durability=durability), 30)
    assert result == {"text": "aisi"}
    assert threads[0] is threading.current_thread()
    assert threads[2] is not threading.current_thread()
    state = await graph.aget_state(config)
    namespaces = {row[1] for row in bench.dump("checkpoints")}
    if durability != "exit":
        assert {ns.partition(":")[0] for ns in namespaces} == {"", "in_async", "in_sync"}
    assert state.values == {"text": "aisi"}
    assert saver.last_root_checkpoint_id == state.config["configurable"]["checkpoint_id"]


def test_a_graph_without_any_event_loop_works(bench: Any) -> None:
    class Counter(TypedDict):
        count: int

    builder = StateGraph(Counter)
    builder.add_node("add", lambda state: {"count": state["count"] + 1})
    builder.add_edge(START, "add")
    graph = builder.compile(checkpointer=bench.saver(durability="sync"))
    config: Any = {"configurable": {"thread_id": "t"}}
    assert graph.invoke({"count": 1}, config) == {"count": 2}
    assert graph.get_state(config).values == {"count": 2}
