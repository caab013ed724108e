"""A graph whose state holds an object of a class of its own, and that tells as what it comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


@dataclass
class Thing:
    """What no serialiser knows by itself."""

    words: str


class State(TypedDict, total=False):
    """`said` makes a thing; `seen` is the name of the class of the one from the run before."""

    said: str
    thing: Any
    seen: str


def keep(state: State) -> State:
    """Look at the thing, then make one."""
    return {"seen": type(state.get("thing")).__name__, "thing": Thing(state["said"])}


_builder = StateGraph(State)
_builder.add_node("keep", keep)
_builder.add_edge(START, "keep")
graph = _builder.compile()
