"""Graphs that keep in their state what can't be stored."""

import threading
from operator import add
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    path: Annotated[list[str], add]
    held: Any


class Shown(TypedDict, total=False):
    path: Annotated[list[str], add]


def begin(state: State) -> State:
    return {"path": ["begin"]}


def hold(state: State) -> State:
    return {"path": ["hold"], "held": {"locks": [threading.Lock()]}}


def use(state: State) -> State:
    with state["held"]["locks"][0]:
        return {"path": ["use"]}


def ask(state: State) -> State:
    return {"path": [interrupt("go on?")]}


holding = StateGraph(State).add_sequence([begin, hold, use]).add_edge(START, "begin").compile()
asking = StateGraph(State).add_sequence([begin, hold, ask]).add_edge(START, "begin").compile()
private = (
    StateGraph(State, output_schema=Shown).add_sequence([begin, hold, use]).add_edge(START, "begin").compile()
)
