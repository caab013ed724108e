"""Graphs that look at, or are made of, what is configurable."""

from operator import add
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    seen: Any
    path: Annotated[list[str], add]


def look(state: State, config: RunnableConfig) -> State:
    return {"seen": config["configurable"].get("user_id"), "path": ["look"]}


def step(state: State) -> State:
    return {"path": ["step"]}


seer = StateGraph(State).add_node("look", look).add_edge(START, "look").compile()
inner = StateGraph(State).add_node("look", look).add_edge(START, "look").compile(checkpointer=True)
outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile()


async def make(config: RunnableConfig) -> Any:
    """Return a graph whose second node has the name that the configuration says."""
    name = config["configurable"].get("second", "plain")
    graph = StateGraph(State).add_node("first", step).add_node(name, step)
    return graph.add_edge(START, "first").add_edge("first", name).compile()
