"""A graph in a package: relative imports work here."""

from typing import TypedDict

from langgraph.graph import START, StateGraph

from .words import GREETING


class State(TypedDict, total=False):
    out: str


def greet(_state: State) -> State:
    return {"out": GREETING}


graph = StateGraph(State).add_node("greet", greet).add_edge(START, "greet").compile()
