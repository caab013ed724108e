"""The ids of tools' messages: as they are told, and as they are in the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from gatewayd import wire
from gatewayd.worker.runs import toolmessages
from gatewayd.worker.runs.protocol import Protocol

CallId = Annotated[str, InjectedToolCallId]


@tool
def plain(call: CallId) -> str:
    """Say it."""
    return "said"


@tool(response_format="content_and_artifact")
def artful(call: CallId) -> Any:
    """Say it, and keep something."""
    return "said", {"kept": 1}


@tool
def named(call: CallId) -> ToolMessage:
    """Say it under an id of its own."""
    return ToolMessage("said", tool_call_id=call, id="its-own")


@tool
def directing(call: CallId) -> Command[Any]:
    """Say it by an update of the state."""
    return Command(update={"messages": [ToolMessage("said", tool_call_id=call)]})


@tool
def directing_in_json(call: CallId) -> Command[Any]:
    """Say it by an update of the state that is no object."""
    return Command(update={"messages": [{"role": "tool", "content": "said", "tool_call_id": call}]})


@tool
def several(call: CallId) -> Any:
    """Say it beside something else."""
    aside: Command[Any] = Command(update={"messages": [HumanMessage("aside")]})
    return [aside, ToolMessage("said", tool_call_id=call)]


@tool
def leaving(call: CallId) -> Command[Any]:
    """Say nothing."""
    return Command(update=[], graph=Command.PARENT, goto="elsewhere")


TOOLS = [plain, artful, named, directing, directing_in_json, several]


def rebuilt(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
    """Put messages of its own in place of the tools'."""
    got = execute(request)
    return ToolMessage("said", tool_call_id=got.tool_call_id) if isinstance(got, ToolMessage) else got


def graph_of(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools").compile()


def asking(*names: str) -> dict[str, Any]:
    calls = [
        {"name": name, "args": {}, "id": f"call-{n}", "type": "tool_call"} for n, name in enumerate(names)
    ]
    return {"messages": [AIMessage("", tool_calls=calls)]}


async def told_and_kept(graph: Any, given: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return what a run tells of its tools' messages, and what the state has of them: call, id and text."""
    shaped, told, state = Protocol(False, True, False), [], {}
    config = {"callbacks": [toolmessages.Ids()]}
    async for mode, payload in graph.astream(given, config, stream_mode=["tools", "values", "updates"]):
        state = payload if mode == "values" else state
        for kind, _, _, data in shaped.shape((), mode, payload):
            part = wire.loads(data)["data"] if kind == "v2/messages" else {}
            if part.get("event") == "content-block-finish":
                told.append((part["tool_call_id"], part["id"], part["content"]["text"]))
    kept = [(each.tool_call_id, each.id, each.text) for each in state["messages"] if each.type == "tool"]
    return told, kept


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", [each.name for each in TOOLS])
async def test_a_tools_message_is_told_by_the_id_that_it_has_in_the_state(name: str, wrapped: bool) -> None:
    node = ToolNode(TOOLS, wrap_tool_call=rebuilt if wrapped and name != "named" else None)
    told, kept = await told_and_kept(graph_of(node), asking(name))
    assert told == kept
    assert [(call, text) for call, _, text in kept] == [("call-0", "said")]
    assert (kept[0][1] == "its-own") == (name == "named")


async def test_tools_called_at_the_same_time_have_an_id_each() -> None:
    told, kept = await told_and_kept(graph_of(ToolNode(TOOLS)), asking("plain", "directing", "plain"))
    assert sorted(told) == sorted(kept)
    assert len({message_id for _, message_id, _ in kept}) == 3


async def test_two_calls_of_one_id_do_not_become_one_message() -> None:
    given = asking("plain", "artful")
    given["messages"][0].tool_calls[1]["id"] = "call-0"
    for node in (ToolNode(TOOLS), ToolNode(TOOLS, wrap_tool_call=rebuilt)):
        _, kept = await told_and_kept(graph_of(node), given)
        assert len({message_id for _, message_id, _ in kept}) == 2


async def test_a_node_that_calls_a_tool_by_itself_may_hand_on_its_message() -> None:
    async def node(state: MessagesState) -> dict[str, Any]:
        (call,) = state["messages"][-1].tool_calls  # type: ignore[union-attr]
        return {"messages": [await plain.ainvoke({**call, "args": {"call": "x"}})]}

    told, kept = await told_and_kept(graph_of(node), asking("plain"))
    assert told == kept
    assert len(kept) == 1


async def test_a_tool_that_only_directs_the_graph_is_not_told_as_a_message() -> None:
    async def node(_: MessagesState) -> dict[str, Any]:
        call = {"name": "leaving", "args": {}, "id": "call-0", "type": "tool_call"}
        await leaving.ainvoke({**call, "args": {"call": "call-0"}})
        return {}

    assert await told_and_kept(graph_of(node), asking("leaving")) == ([], [])


async def test_a_failed_call_or_node_leaves_nothing_behind() -> None:
    @tool
    def failing(call: CallId) -> str:
        """Fail."""
        raise ValueError(call)

    ids = toolmessages.Ids()
    graph = graph_of(ToolNode([failing, plain], handle_tool_errors=False))
    with pytest.raises(ValueError, match="call-0"):
        await graph.ainvoke(asking("failing"), {"callbacks": [ids]})
    await graph.ainvoke(asking("plain"), {"callbacks": [ids]})
    assert not ids._told
    assert not ids._tasks
