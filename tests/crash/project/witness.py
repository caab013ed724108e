"""Graphs that bear witness of each execution in a file that no daemon knows.

A node appends ``run node pid start time`` to the file `witness` and ``… end …`` when it is done, and holds a
lock on a file of its run in between, which the kernel takes away with the process: whoever finds it locked
was executed twice at once and says so in the witness file. `path` counts the steps: it ends as 1, 2, 3 …
whatever happened on the way.
"""

from __future__ import annotations

import asyncio
import fcntl
import operator
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    witness: str
    steps: int
    pause: float
    gate: str
    goal: int
    path: Annotated[list[int], operator.add]
    arms: Annotated[list[int], operator.add]
    answer: str


@contextmanager
def witnessed(witness: str, config: RunnableConfig, node: str) -> Iterator[None]:
    run_id = config["configurable"]["run_id"]
    with Path(f"{witness}.{run_id}.{node}").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(witness, run_id, node, "OVERLAP")
        say(witness, run_id, node, "start")
        yield
        say(witness, run_id, node, "end")


def say(witness: str, run_id: str, node: str, what: str) -> None:
    with Path(witness).open("a") as file:
        file.write(f"{run_id} {node} {os.getpid()} {what} {time.monotonic_ns()}\n")


def begin(state: State) -> State:
    while state.get("gate") and not Path(state["gate"]).exists():  # it is another process that opens the gate
        time.sleep(0.01)
    return {"goal": len(state.get("path") or []) + state["steps"]}


async def step(state: State, config: RunnableConfig) -> State:
    with witnessed(state["witness"], config, "step"):
        number = len(state["path"]) + 1
        get_stream_writer()({"step": number})
        await asyncio.sleep(state["pause"])
        return {"path": [number]}


def step_in_thread(state: State, config: RunnableConfig) -> State:
    with witnessed(state["witness"], config, "step"):
        time.sleep(state["pause"])
        return {"path": [len(state["path"]) + 1]}


async def step_that_blocks(state: State, config: RunnableConfig) -> State:
    with witnessed(state["witness"], config, "step"):
        time.sleep(state["pause"])  # noqa: ASYNC251 - its purpose
        return {"path": [len(state["path"]) + 1]}


def on(state: State) -> str:
    return END if len(state["path"]) >= state["goal"] else "step"


def walk(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("begin", begin)
    graph.add_node("step", node)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "step")
    graph.add_conditional_edges("step", on, ["step", END])
    return graph.compile()


class Arm(TypedDict):
    witness: str
    pause: float
    number: int


async def arm(state: Arm, config: RunnableConfig) -> State:
    with witnessed(state["witness"], config, f"arm{state['number']}"):
        await asyncio.sleep(state["pause"] * (1 + state["number"]))
        return {"arms": [state["number"]]}


def spread(state: State) -> list[Send]:
    given = {"witness": state["witness"], "pause": state["pause"]}
    return [Send("arm", {**given, "number": number}) for number in range(3)]


def fan_graph() -> Any:
    """A walk in a subgraph, then three arms at once."""
    graph = StateGraph(State)
    graph.add_node("within", walk(step))
    graph.add_node("arm", arm)
    graph.add_edge(START, "within")
    graph.add_conditional_edges("within", spread, ["arm"])
    graph.add_edge("arm", END)
    return graph.compile()


async def ask(state: State, config: RunnableConfig) -> State:
    answer = interrupt({"asks": len(state["path"])})
    with witnessed(state["witness"], config, "ask"):
        await asyncio.sleep(state["pause"])
        return {"answer": answer}


def question_graph() -> Any:
    """A walk, then a question."""
    graph = StateGraph(State)
    graph.add_node("begin", begin)
    graph.add_node("step", step)
    graph.add_node("ask", ask)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "step")
    graph.add_conditional_edges("step", lambda state: "ask" if on(state) == END else "step", ["step", "ask"])
    graph.add_edge("ask", END)
    return graph.compile()


steps = walk(step)
threads = walk(step_in_thread)
blocking = walk(step_that_blocks)
fan = fan_graph()
question = question_graph()
