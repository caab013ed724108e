"""Graphs that make something else of their cancellation. Each says that it waits by calling `WAITS`."""

import asyncio
import time
from collections.abc import Callable
from operator import add
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

WAITS: list[Callable[[], None]] = []


class State(TypedDict, total=False):
    path: Annotated[list[str], add]


async def wait() -> None:
    for each in WAITS:
        each()
    await asyncio.Event().wait()


def begin(state: State) -> State:
    return {"path": ["begin"]}


async def raise_another(state: State) -> State:
    try:
        await wait()
    except asyncio.CancelledError as error:
        raise ValueError("wrapped") from error
    return {"path": ["never"]}


async def fail_in_a_group(state: State) -> State:
    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the connection was cut")

    async with asyncio.TaskGroup() as group:
        group.create_task(failing())
        group.create_task(wait())
    return {"path": ["never"]}


async def swallow(state: State) -> State:
    try:
        await wait()
    except asyncio.CancelledError:
        pass
    return {"path": ["swallowed"]}


def sit(state: State) -> State:
    for each in WAITS:
        each()
    try:
        while True:
            time.sleep(0.01)
    except BaseException as error:
        raise RuntimeError("wrapped") from error


def after(state: State) -> State:
    return {"path": ["after"]}


def of(*nodes: Any) -> Any:
    return StateGraph(State).add_sequence(nodes).add_edge(START, nodes[0].__name__).compile()


raising = of(begin, raise_another)
grouping = of(begin, fail_in_a_group)
swallowing = of(begin, swallow)
swallowing_early = of(begin, swallow, after)
threaded = of(begin, sit)
nested = (
    StateGraph(State)
    .add_node("begin", begin)
    .add_node("inner", of(raise_another))
    .add_edge(START, "begin")
    .add_edge("begin", "inner")
    .compile()
)


async def opening(config: RunnableConfig) -> Any:
    """A factory of which the opening is cancelled, and which raises something else."""
    if config["configurable"].get("__is_for_execution__"):
        try:
            await wait()
        except asyncio.CancelledError as error:
            raise ConnectionError("the tools' server has hung up") from error
    return of(begin)


async def opening_anyhow(config: RunnableConfig) -> Any:
    """A factory of which the opening is cancelled, and which makes its graph all the same."""
    if config["configurable"].get("__is_for_execution__"):
        try:
            await wait()
        except asyncio.CancelledError:
            pass
    return of(begin)
