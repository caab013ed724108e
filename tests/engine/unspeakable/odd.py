"""
Graphs whose values can be stored and have no form in JSON, whose errors can't be sent, or who contradict
themselves.
"""

from __future__ import annotations

import datetime as dt
from functools import reduce
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

VALUES: dict[str, Any] = {
    "pair as key": {(1, 2): {"x": 1}},
    "time with a zone": [dt.time(1, 2, 3, tzinfo=dt.UTC)],
    "deep": reduce(lambda inner, _: [inner], range(253), "bottom"),
}


class State(TypedDict, total=False):
    kind: str
    kept: Any


def keep(state: State) -> State:
    return {"kept": VALUES[state["kind"]]}


def ask(state: State) -> State:
    return {"kept": interrupt(VALUES[state["kind"]])}


def fail(state: State) -> State:
    raise ValueError("a half \ud800 and a nothing \0")


def shout(_: State) -> State:
    raise ValueError("x" * 1_000_000)


def quarrel_with_oneself(_: State) -> list[Command[str]]:
    return [Command(update={"kept": 1}), Command(update={"kept": 2})]


def refusing(config: RunnableConfig) -> Any:
    raise ValueError("not with this config")


def nothing(config: RunnableConfig) -> Any:
    return None


values = StateGraph(State).add_node("keep", keep).add_edge(START, "keep").compile()
questions = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
failing = StateGraph(State).add_node("fail", fail).add_edge(START, "fail").compile()
shouting = StateGraph(State).add_node("shout", shout).add_edge(START, "shout").compile()
quarrel = StateGraph(State).add_node("quarrel", quarrel_with_oneself).add_edge(START, "quarrel").compile()
