"""Graphs whose output schema leaves out what they keep to themselves."""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class Input(TypedDict):
    asked: str


class Output(TypedDict, total=False):
    answer: str


class State(Input, Output, total=False):
    notes: str


def think(state: State) -> State:
    return {"notes": f"about {state['asked']}"}  # type: ignore[typeddict-item]


def speak(state: State) -> State:
    return {"answer": f"{state['asked']}!", "notes": "said"}  # type: ignore[typeddict-item]


def ask(state: State) -> State:
    return {"answer": str(interrupt("which?"))}  # type: ignore[typeddict-item]


_graph = StateGraph(State, input_schema=Input, output_schema=Output)
discreet = (
    _graph.add_node("think", think)
    .add_node("speak", speak)
    .add_edge(START, "think")
    .add_edge("think", "speak")
    .compile()
)
asking = (
    StateGraph(State, input_schema=Input, output_schema=Output)
    .add_node("speak", speak)
    .add_node("ask", ask)
    .add_edge(START, "speak")
    .add_edge("speak", "ask")
    .compile()
)
