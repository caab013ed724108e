"""A graph whose second node meets an error of which clients are not to see the text."""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    done: str


def step(state: State) -> State:
    return {"done": "step"}


def fail(state: State) -> State:
    raise OSError("/home/secret is not there")


failing = (
    StateGraph(State)
    .add_node("step", step)
    .add_node("fail", fail)
    .add_edge(START, "step")
    .add_edge("step", "fail")
    .compile()
)
