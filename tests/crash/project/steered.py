"""An agent that calls a tool again and again, each time after a look at a file that another process makes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph

ROUNDS = 6
"""Calls of the tool by the agent."""


def agent(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    while not Path(config["configurable"]["gate"]).exists():
        time.sleep(0.01)
    calls = sum(isinstance(message, ToolMessage) for message in state["messages"])
    if calls < ROUNDS:
        call = {"name": "look", "args": {}, "id": f"call-{calls}", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}
    asked = [str(message.content) for message in state["messages"] if isinstance(message, HumanMessage)]
    return {"messages": [AIMessage(f"to {' '.join(asked)}")]}


def tools(state: MessagesState) -> dict[str, Any]:
    (call,) = state["messages"][-1].tool_calls  # type: ignore[union-attr]  # the agent has just called it
    return {"messages": [ToolMessage("seen", tool_call_id=call["id"])]}


def on(state: MessagesState) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


def steered_graph() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", tools)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", on, ["tools", END])
    graph.add_edge("tools", "agent")
    return graph.compile()


steered = steered_graph()
