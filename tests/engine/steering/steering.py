"""Graphs that call tools, and wait in every node until a test lets them go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

ARRIVED: list[Callable[[str], None]] = []
"""Called with the name of each node that has begun."""
PASSES = threading.Semaphore(1000)
"""One is taken by each node, in its order. Nobody waits until a test has taken them."""
ROUNDS = 2
"""Calls of the tool by the agent."""


async def _gate(node: str) -> None:
    for tell in ARRIVED:
        tell(node)
    await asyncio.to_thread(PASSES.acquire, timeout=120)


def _answered(messages: list[AnyMessage]) -> str:
    return " ".join(str(message.content) for message in messages if isinstance(message, HumanMessage))


async def agent(state: MessagesState) -> dict[str, Any]:
    await _gate("agent")
    calls = sum(isinstance(message, ToolMessage) for message in state["messages"])
    if calls < ROUNDS:
        call = {"name": "look", "args": {}, "id": f"call-{calls}", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}
    return {"messages": [AIMessage(f"to {_answered(state['messages'])}")]}


async def tools(state: MessagesState) -> dict[str, Any]:
    await _gate("tools")
    (call,) = state["messages"][-1].tool_calls  # type: ignore[union-attr]  # the agent has just called it
    return {"messages": [ToolMessage("seen", tool_call_id=call["id"])]}


def _next(state: MessagesState) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


def _tooled() -> StateGraph[Any]:
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", tools)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", _next, ["tools", END])
    graph.add_edge("tools", "agent")
    return graph


async def answer(state: MessagesState) -> dict[str, Any]:
    await _gate("answer")
    return {"messages": [AIMessage(f"to {_answered(state['messages'])}")]}


tooled = _tooled().compile()
plain = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
nested = (
    StateGraph(MessagesState)
    .add_node("inner", _tooled().compile())
    .add_node("answer", answer)
    .add_edge(START, "inner")
    .add_edge("inner", "answer")
    .compile()
)
