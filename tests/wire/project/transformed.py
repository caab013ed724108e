"""Graphs that say themselves what protocol v2 shows of them: stream transformers are compiled into them."""

from __future__ import annotations

from typing import Any

from graphs import Count, Talk, calls, multiply, think
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolCallTransformer, ToolNode
from langgraph.stream.transformers import CustomTransformer, UpdatesTransformer

calculator: Any = (
    StateGraph(Talk)
    .add_node("think", think)
    .add_node("tools", ToolNode([multiply], handle_tool_errors=False))
    .add_edge(START, "think")
    .add_conditional_edges("think", calls)
    .add_edge("tools", "think")
    .compile(transformers=[ToolCallTransformer])
)


def cry(_: Count) -> dict[str, Any]:
    write = get_stream_writer()
    write({"name": "progress", "payload": {"share": 0.5}})
    write({"name": "other", "payload": 1})
    write({"name": "progress", "payload": {"share": 1.0}})
    return {"seen": ["cried"]}


crier: Any = (
    StateGraph(Count)
    .add_node("cry", cry)
    .add_edge(START, "cry")
    .compile(transformers=[CustomTransformer, UpdatesTransformer])
)
