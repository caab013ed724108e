"""Stream modes between the wire's words and langgraph's, and langchain's events of a graph."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.graph import START, StateGraph

from gatewayd import ids, wire
from gatewayd.errors import GatewaydError
from gatewayd.worker.runs import callbacks, modes

CHECKPOINT = {
    "type": "checkpoint",
    "step": 0,
    "payload": {
        "config": {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c", "own": 1}},
        "parent_config": None,
        "tasks": [{"id": "1", "state": None}, {"id": "2", "state": {"configurable": {"thread_id": "t"}}}],
    },
}


def wanted(*names: str, temporary: bool = False) -> modes.Modes:
    return modes.Modes(frozenset(names), temporary=temporary)


def test_langgraph_is_asked_in_its_own_words_and_always_for_what_the_result_is_read_from() -> None:
    assert wanted("messages-tuple").of_langgraph() == ["messages", "values", "updates"]
    assert wanted("messages").of_langgraph() == ["messages", "values", "updates"]
    assert wanted("values").of_langgraph() == ["values", "updates"]
    assert wanted("events", "tools").of_langgraph() == ["tools", "values", "updates"]
    assert wanted("events").events
    assert not wanted("tools").events


def test_modes_that_need_no_other_shape_have_none() -> None:
    assert not wanted("values", "updates", "messages-tuple", "custom", "tasks").shapes
    assert not wanted("messages", "messages-tuple").shapes


def test_messages_are_told_once_then_grow() -> None:
    shape = wanted("messages").shapes["messages"]
    about = {"langgraph_node": "speak"}
    told: list[Any] = []
    for text in ("He", "llo", ""):
        told += shape((AIMessageChunk(text, id="one"), about))
    told += shape((AIMessage("whole", id="two"), about))
    assert [name for name, _ in told] == [
        "messages/metadata",
        *["messages/partial"] * 3,
        "messages/metadata",
        "messages/complete",
    ]
    assert told[0][1] == {"one": {"metadata": about}}
    assert [payload[0].content for name, payload in told if name == "messages/partial"] == [
        "He",
        "Hello",
        "Hello",
    ]
    assert type(told[3][1][0]) is AIMessage
    assert told[5][1] == [AIMessage("whole", id="two")]


def test_calls_of_tools_are_told_with_their_names_to_the_end() -> None:
    shape = wanted("tools").shapes["tools"]
    seen = [
        {"event": "tool-started", "tool_call_id": "1", "tool_name": "add", "input": {"n": 2}},
        {"event": "tool-started", "tool_call_id": "2", "tool_name": "find"},
        {"event": "tool-output-delta", "tool_call_id": "1", "delta": "half"},
        {"event": "tool-error", "tool_call_id": "2", "message": "not there"},
        {"event": "tool-finished", "tool_call_id": "1", "output": 4},
        {"event": "something-new", "tool_call_id": "1"},
    ]
    add, find = ({"toolCallId": "1", "name": "add"}, {"toolCallId": "2", "name": "find"})
    assert [told for payload in seen for told in shape(payload)] == [
        ("tools", {"event": "on_tool_start", **add, "input": {"n": 2}}),
        ("tools", {"event": "on_tool_start", **find, "input": None}),
        ("tools", {"event": "on_tool_event", **add, "data": "half"}),
        ("tools", {"event": "on_tool_error", **find, "error": "not there"}),
        ("tools", {"event": "on_tool_end", **add, "output": 4}),
    ]


def test_debug_shows_where_a_checkpoint_is() -> None:
    ((name, shown),) = wanted("debug").shapes["debug"](CHECKPOINT)
    assert name == "debug"
    assert shown["payload"]["checkpoint"] == {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}
    assert shown["payload"]["parent_checkpoint"] is None
    assert shown["payload"]["tasks"] == [
        {"id": "1", "state": None},
        {"id": "2", "checkpoint": {"thread_id": "t"}},
    ]
    assert "checkpoint" not in CHECKPOINT["payload"]  # it is also shown as it was


def test_a_temporary_thread_shows_no_checkpoints() -> None:
    chosen = wanted("debug", "checkpoints", "tasks", temporary=True)
    assert chosen.asked == {"debug", "tasks"}
    assert list(chosen.shapes["debug"](CHECKPOINT)) == []
    task = {"type": "task", "payload": {"id": "1"}}
    assert list(chosen.shapes["debug"](task)) == [("debug", task)]


# events


class Count(TypedDict):
    n: int


def add(state: Count) -> Count:
    """Run in a thread."""
    return {"n": state["n"] + 1}


async def add_async(state: Count) -> Count:
    await asyncio.sleep(0)
    return {"n": state["n"] + 1}


graph = StateGraph(Count).add_sequence([add, add_async]).add_edge(START, "add").compile()


async def played(events: callbacks.Events, run_id: str) -> dict[str, Any]:
    config: Any = {"callbacks": [events], "run_id": run_id}
    result: dict[str, Any] = await graph.ainvoke({"n": 1}, config)
    return result


async def test_events_of_threads_and_of_the_loop_come_in_their_order() -> None:
    run_id, seen = ids.new_id(), []
    events = callbacks.Events(lambda data: seen.append(wire.loads(data)), run_id, {"given": 1}, full=False)
    assert await played(events, run_id) == {"n": 3}
    told = [(each["event"], each["name"]) for each in seen if each["event"] != "on_chain_stream"]
    assert told == [
        ("on_chain_start", "LangGraph"),
        ("on_chain_start", "add"),
        ("on_chain_end", "add"),
        ("on_chain_start", "add_async"),
        ("on_chain_end", "add_async"),
        ("on_chain_end", "LangGraph"),
    ]
    assert seen[0]["data"] == {"input": {"given": 1}}
    assert seen[-1]["data"] == {"output": {"n": 3}}


async def test_a_failure_to_emit_does_not_reach_the_graph_and_is_kept() -> None:
    run_id, seen = ids.new_id(), []

    def emit(data: bytes) -> None:
        seen.append(data)
        if len(seen) == 2:
            raise GatewaydError("too much")

    events = callbacks.Events(emit, run_id, {}, full=False)
    assert await played(events, run_id) == {"n": 3}
    assert isinstance(events.failure, GatewaydError)
    assert len(seen) == 2


async def test_after_the_last_event_of_a_run_nothing_is_emitted() -> None:
    seen: list[bytes] = []
    events = callbacks.Events(seen.append, "run", {}, full=False)
    events.close()
    await played(events, ids.new_id())
    assert seen == []
