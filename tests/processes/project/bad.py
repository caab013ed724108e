# ruff: noqa: ASYNC220, ASYNC251  blocking is what they are here for
"""Graphs that misbehave, each in its own way, and `steps`, which is what they are neighbours of.

Every node leaves its marks in a file (`witness` in the input): ``<key> start <pid> <time>`` and ``… end …``,
by which a test sees what was executed how often, where and when, whatever became of the run.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict


def add(left: list[str] | None, right: list[str] | None) -> list[str]:
    return [*(left or []), *(right or [])]


class State(TypedDict, total=False):
    witness: str
    seconds: float
    steps: int
    how: str
    size: int
    done: Annotated[list[str], add]
    blob: str


@contextmanager
def witnessed(state: State, config: RunnableConfig, node: str) -> Iterator[None]:
    run_id = config["configurable"]["run_id"]
    mark(state, f"{run_id} {node} start")
    yield
    mark(state, f"{run_id} {node} end")


def mark(state: State, words: str) -> None:
    if path := state.get("witness"):
        with Path(path).open("a") as file:
            file.write(f"{words} {os.getpid()} {time.monotonic():.6f}\n")


def one_node(name: str, node: Any) -> Any:
    """
    A graph of two nodes: `before`, so that there is a checkpoint to go on from, and the one that misbehaves.
    """
    graph = StateGraph(State)
    graph.add_node("before", before)
    graph.add_node(name, node)
    graph.add_edge(START, "before")
    graph.add_edge("before", name)
    graph.add_edge(name, END)
    return graph.compile(name=name)


async def before(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "before"):
        return {"done": ["before"]}


# a well-behaved one


async def step(state: State, config: RunnableConfig) -> State:
    number = len(state.get("done") or [])
    with witnessed(state, config, f"step{number}"):
        await asyncio.sleep(state.get("seconds", 0.05))
        if size := state.get("size"):
            get_stream_writer()({"text": "x" * size})
        return {"done": [f"step{number}"]}


def again(state: State) -> str:
    """Go on for `steps` steps, and as long as there is a file named `how`."""
    more = len(state["done"]) < state.get("steps", 10) or Path(state.get("how") or "/nowhere").exists()
    return "step" if more else END


_steps = StateGraph(State)
_steps.add_node("step", step)
_steps.add_edge(START, "step")
_steps.add_conditional_edges("step", again)
steps = _steps.compile(name="steps")

# those that misbehave


async def block(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "block"):
        time.sleep(state.get("seconds", 4))  # the culprit: blocks the event loop
    return {"done": ["block"]}


blocker = one_node("block", block)


def sleep(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "sleep"):
        time.sleep(state.get("seconds", 4))
    return {"done": ["sleep"]}


sleeper = one_node("sleep", sleep)


def tick(state: State, config: RunnableConfig) -> State:
    """Leave a mark every 10 ms, in a thread, until there is a file named `how`."""
    run_id = config["configurable"]["run_id"]
    while not Path(state["how"]).exists():
        mark(state, f"{run_id} tick")
        time.sleep(0.01)
    return {"done": ["tick"]}


ticker = one_node("tick", tick)


async def die(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "die"):
        await asyncio.sleep(state.get("seconds", 0.3))
        os._exit(1)


killer = one_node("die", die)


def strike(state: State, config: RunnableConfig) -> State:
    """Kill the daemon, which is the parent of the worker, once there is a file named `how`."""
    while not Path(state["how"]).exists():
        time.sleep(0.02)
    with witnessed(state, config, "strike"):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return {"done": ["strike"]}


patricide = one_node("strike", strike)


async def leave(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "leave"):
        how = state.get("how", "sys.exit")
        if how == "sys.exit":
            sys.exit(3)
        if how == "in a thread":
            await asyncio.to_thread(sys.exit, 3)
        if how == "in a task":
            await asyncio.gather(asyncio.create_task(_leave_later()), asyncio.sleep(0.05))
        raise KeyboardInterrupt if how == "KeyboardInterrupt" else SystemExit("enough")


def leave_sync(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "leave"):
        if state.get("how") == "KeyboardInterrupt":
            raise KeyboardInterrupt
        sys.exit(5)


quitter_sync = one_node("leave", leave_sync)


async def _leave_later() -> None:
    await asyncio.sleep(0.01)
    sys.exit(4)


quitter = one_node("leave", leave)


async def cling(state: State, config: RunnableConfig) -> State:
    """Swallow cancellations for `seconds`."""
    with witnessed(state, config, "cling"):
        end = time.monotonic() + state.get("seconds", 2)
        mark(state, "cling waits")
        while (left := end - time.monotonic()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                mark(state, "cling swallowed")
    return {"done": ["cling"]}


stubborn = one_node("cling", cling)


async def spin_off(state: State, config: RunnableConfig) -> State:
    """Leave threads behind that go on for `seconds`."""
    with witnessed(state, config, "spin_off"):
        for _ in range(4):
            threading.Thread(target=time.sleep, args=(state.get("seconds", 30),)).start()
    return {"done": ["spin_off"]}


threads = one_node("spin_off", spin_off)


async def beget(state: State, config: RunnableConfig) -> State:
    """Start a process (`how`: "spawn" or "fork"), then block in time.sleep for `seconds`."""
    with witnessed(state, config, "beget"):
        if state.get("how") == "fork":
            if (child := os.fork()) == 0:
                time.sleep(state.get("seconds", 30))
                os._exit(0)
        else:
            child = subprocess.Popen(["sleep", str(state.get("seconds", 30))]).pid
        mark(state, f"child {child}")
        time.sleep(state.get("seconds", 30))
    return {"done": ["beget"]}


parent = one_node("beget", beget)


async def gorge(state: State, config: RunnableConfig) -> State:
    """Hold `size` bytes of memory for `seconds`."""
    with witnessed(state, config, "gorge"):
        held = b"x" * state["size"]
        await asyncio.sleep(state.get("seconds", 60))
        del held
    return {"done": ["gorge"]}


hog = one_node("gorge", gorge)


async def recall(state: State, config: RunnableConfig, *, store: BaseStore) -> State:
    """Wait for the long-term store, again and again, until somebody cancels it."""
    with witnessed(state, config, "recall"):
        while True:
            await store.aget(("notes",), "none")


async def fail(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "fail"):
        await asyncio.sleep(state.get("seconds", 0.2))
        if state.get("how") == "raise":
            raise ValueError("beside a store call")
    return {"done": ["fail"]}


_recaller = StateGraph(State)
_recaller.add_node("recall", recall)
_recaller.add_node("fail", fail)
_recaller.add_edge(START, "recall")
_recaller.add_edge(START, "fail")
recaller = _recaller.compile(name="recaller")


async def crash(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "crash"):
        await asyncio.sleep(state.get("seconds", 0.1))
        ctypes.string_at(0)
    return {"done": ["crash"]}


segfault = one_node("crash", crash)


async def swell(state: State, config: RunnableConfig) -> State:
    with witnessed(state, config, "swell"):
        return {"done": ["swell"], "blob": "x" * state.get("size", 20_000_000)}


huge = one_node("swell", swell)


async def pour(state: State, config: RunnableConfig) -> State:
    """Emit `size` bytes of custom events in one step, without a pause."""
    with witnessed(state, config, "pour"):
        write = get_stream_writer()
        for _ in range(state.get("size", 10_000_000) // 10_000):
            write({"text": "x" * 10_000})
            if state.get("how") == "pausing":
                await asyncio.sleep(0)
    return {"done": ["pour"]}


flood = one_node("pour", pour)


def pour_sync(state: State, config: RunnableConfig) -> State:
    """The same in a thread."""
    with witnessed(state, config, "pour"):
        write = get_stream_writer()
        for number in range(state.get("size", 10_000_000) // 10_000):
            write({"n": number, "text": "x" * 10_000})
    return {"done": ["pour"]}


flood_sync = one_node("pour", pour_sync)


async def backtrack(state: State, config: RunnableConfig) -> State:
    """Hold the interpreter's lock in C code, for longer than anybody will wait."""
    with witnessed(state, config, "backtrack"):
        re.match(r"(a+)+$", "a" * 60 + "b")
    return {"done": ["backtrack"]}


regex = one_node("backtrack", backtrack)


def slow_factory(config: RunnableConfig) -> Any:
    """Block whoever opens the graph for as long as a file is there."""
    while Path(os.environ.get("FACTORY_BLOCKS_WHILE", "/nowhere")).exists():
        time.sleep(0.05)
    return _steps
