"""The graph `walk`: many slow steps, each stored, so that a restart in the middle can be watched.

Input `{"steps": 50, "pause": 0.5}`; `path` grows by one number a step. Asked again on the same thread it
walks on from where it stands. In stream mode `custom` each step announces itself before its pause.
"""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, NotRequired, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

STEPS = 10
PAUSE = 0.5


class Walk(TypedDict):
    """How far to go, how fast, and what is behind."""

    steps: NotRequired[int]  # of this walk
    pause: NotRequired[float]  # seconds a step
    goal: NotRequired[int]  # the number at which this walk ends
    path: Annotated[list[int], operator.add]


async def start(state: Walk) -> dict[str, Any]:
    """Fix the goal, counted from where the thread stands."""
    return {"goal": len(state["path"]) + state.get("steps", STEPS)}


async def step(state: Walk) -> dict[str, Any]:
    """One step: announce it, take its time, add it to the path."""
    number = len(state["path"]) + 1
    get_stream_writer()({"step": number, "of": state["goal"]})
    await asyncio.sleep(state.get("pause", PAUSE))
    return {"path": [number]}


def arrived(state: Walk) -> str:
    return END if len(state["path"]) >= state["goal"] else "step"


builder = StateGraph(Walk)
builder.add_node("start", start)
builder.add_node("step", step)
builder.add_edge(START, "start")
builder.add_conditional_edges("start", arrived, ["step", END])
builder.add_conditional_edges("step", arrived, ["step", END])
graph = builder.compile()
