"""Graphs that find memories by meaning, and the embedding that the tests hold up."""

from __future__ import annotations

import threading
from typing import TypedDict

from langgraph.config import get_store
from langgraph.graph import START, StateGraph

GATE = threading.Event()
"""Opened when the text "wait" may be embedded."""


def embed(texts: list[str]) -> list[list[float]]:
    if "wait" in texts:
        GATE.wait(30)
    return [[float(text.count("a")), float(text.count("b"))] for text in texts]


class State(TypedDict, total=False):
    query: str
    found: list[str]


async def _recall(state: State) -> State:
    store = get_store()
    await store.aput(("memories",), "from the graph", {"text": "ab"})
    found = await store.asearch(("memories",), query=state["query"])
    return {"found": [item.key for item in found]}


def _recall_blocking(state: State) -> State:
    found = get_store().search(("memories",), query=state["query"])
    return {"found": [item.key for item in found]}


recall = StateGraph(State).add_node("recall", _recall).add_edge(START, "recall").compile()
recall_blocking = StateGraph(State).add_node("recall", _recall_blocking).add_edge(START, "recall").compile()
