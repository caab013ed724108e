"""
Graphs that use the long-term store in all ways: every kind of operation, from async and from sync nodes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, TypedDict

from langgraph.config import get_store
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    key: str
    value: dict[str, Any]
    before: Any
    found: list[str]
    namespaces: list[list[str]]
    missing: Any


async def _async(state: State) -> State:
    store = get_store()
    before = await store.aget(("notes", "a"), state["key"])
    await store.aput(("notes", "a"), state["key"], state["value"])
    found = await store.asearch(("notes",), filter={"kind": "fact"})
    namespaces = await store.alist_namespaces(prefix=("notes",))
    await store.aput(("other",), "gone", {"x": 1})
    await store.adelete(("other",), "gone")
    missing = await store.aget(("other",), "gone")
    return {
        "before": before.value if before else None,
        "found": [item.key for item in found],
        "namespaces": [list(each) for each in namespaces],
        "missing": missing,
    }


def _sync(state: State) -> State:
    store = get_store()
    before = store.get(("notes", "a"), state["key"])
    store.put(("notes", "a"), state["key"], state["value"])
    found = store.search(("notes",), filter={"kind": "fact"})
    return {"before": before.value if before else None, "found": [item.key for item in found]}


async def _refused(state: State) -> State:
    """
    Ask what the store refuses, both ways; `found` are the classes of what it raises, and `missing` its text.
    """
    store = get_store()
    wrong: dict[str, Any] = {"n": {"$near": 1}}
    await store.aput(("notes", "a"), "k", {"n": 1})
    raised = []
    for ask in (store.asearch, partial(asyncio.to_thread, store.search)):
        try:
            await ask(("notes",), filter=wrong)
        except Exception as error:
            raised.append(error)
    return {"found": [type(error).__name__ for error in raised], "missing": str(raised[0])}


with_refusals = StateGraph(State).add_node("use", _refused).add_edge(START, "use").compile()
with_async_calls = StateGraph(State).add_node("use", _async).add_edge(START, "use").compile()
with_sync_calls = StateGraph(State).add_node("use", _sync).add_edge(START, "use").compile()
