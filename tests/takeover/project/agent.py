"""A graph without a model: it takes steps, asks, fails or waits, as its input says."""

from __future__ import annotations

import asyncio
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    path: Annotated[list[int], operator.add]
    steps: int
    ask_at: int
    fail_at: int
    wait_at: int


def _wait() -> None:
    while not Path(os.environ["GO"]).exists():
        time.sleep(0.01)


async def step(state: State) -> dict[str, Any]:
    """Take the next step; at `wait_at` wait until the file that $GO names is there."""
    number = len(state.get("path", [])) + 1
    if number == state.get("wait_at"):
        await asyncio.to_thread(_wait)
    if number == state.get("fail_at"):
        raise ValueError(f"step {number} fails")
    text = f"step {number}. " * 200
    if number == state.get("ask_at"):
        text = f"answered {interrupt({'question': f'go on at {number}?'})}"
    return {"path": [number], "messages": [AIMessage(text, id=f"message-{number}")]}


def more(state: State) -> str:
    return "step" if len(state.get("path", [])) < state.get("steps", 1) else END


graph = (
    StateGraph(State)
    .add_node("step", step)
    .add_edge(START, "step")
    .add_conditional_edges("step", more, ["step", END])
    .compile()
)
