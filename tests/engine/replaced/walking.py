"""
A graph of many steps, which notes where each was executed, and graphs that raise what ends processes
elsewhere.
"""

from __future__ import annotations

import asyncio
import operator
import threading
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

EXECUTED: list[tuple[str, int, str]] = []
"""
Name of the walk, number of the step, name of the thread (that is, of the worker) in the order of execution.
"""
STEPPED = threading.Condition()
GATES: dict[str, threading.Event] = {}
"""By name of a walk: what its second step waits for."""


class State(TypedDict, total=False):
    name: str
    steps: int
    how: str
    done: Annotated[list[int], operator.add]


async def step(state: State) -> State:
    number = len(state["done"])
    with STEPPED:
        EXECUTED.append((state["name"], number, threading.current_thread().name))
        STEPPED.notify_all()
    if number == 1 and (gate := GATES.get(state["name"])) is not None:
        await asyncio.to_thread(gate.wait)
    return {"done": [number]}


def again(state: State) -> str:
    return "step" if len(state["done"]) < state["steps"] else END


_walk = StateGraph(State)
_walk.add_node("step", step)
_walk.add_edge(START, "step")
_walk.add_conditional_edges("step", again)
walk = _walk.compile()


def _raise(how: str) -> Any:
    if how == "MemoryError":
        return bytearray(1 << 62)
    return _raise(how)


async def fail(state: State) -> State:
    return _raise(state["how"])


def fail_sync(state: State) -> State:
    return _raise(state["how"])


def _one(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("fail", node)
    graph.add_edge(START, "fail")
    return graph.compile()


raising = _one(fail)
raising_sync = _one(fail_sync)
