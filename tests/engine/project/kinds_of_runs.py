"""Small graphs, one for each way in which a run can stand when its process dies. All are deterministic."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt


class State(TypedDict, total=False):
    word: str
    path: Annotated[list[str], operator.add]


def going(name: str):
    """Return an asynchronous node that notes that it ran."""

    async def node(state: State) -> State:
        await asyncio.sleep(0)
        return {"path": [f"{name}:{state.get('word', '')}"]}

    return node


def going_sync(name: str):
    """Return a synchronous node that notes that it ran."""

    def node(state: State) -> State:
        return {"path": [f"{name}:{state.get('word', '')}"]}

    return node


steps = (
    StateGraph(State)
    .add_node("a", going("a"))
    .add_node("b", going_sync("b"))
    .add_node("c", going("c"))
    .add_edge(START, "a")
    .add_edge("a", "b")
    .add_edge("b", "c")
    .compile()
)

paused = steps.builder.compile(interrupt_before=["b"], interrupt_after=["b"])
"""With breakpoints of its own, before and after the same node."""


# Nodes beside each other, of different length, that tell of themselves.


def telling(name: str, passes: int):
    """Return a node that sends custom events and takes some passes of the loop."""

    async def node(state: State) -> State:
        write = get_stream_writer()
        for number in range(passes):
            write({"who": name, "number": number})
            await asyncio.sleep(0)
        return {"path": [name]}

    return node


parallel = (
    StateGraph(State)
    .add_node("quick", telling("quick", 1))
    .add_node("slow", telling("slow", 40))
    .add_node("sync", going_sync("sync"))
    .add_node("join", going("join"))
    .add_edge(START, "quick")
    .add_edge(START, "slow")
    .add_edge(START, "sync")
    .add_edge(["quick", "slow", "sync"], "join")
    .compile()
)


async def worker_of_one(state: State) -> State:
    return {"path": [f"did {state['word']}"]}


scattering = (
    StateGraph(State)
    .add_node("spread", going("spread"))
    .add_node("one", worker_of_one)
    .add_node("join", going_sync("join"))
    .add_edge(START, "spread")
    .add_conditional_edges("spread", lambda state: [Send("one", {"word": each}) for each in "xyz"], ["one"])
    .add_edge("one", "join")
    .compile()
)


# Questions.


async def asking_twice(state: State) -> State:
    first = interrupt({"question": "first"})
    second = interrupt({"question": "second", "after": first})
    return {"path": [f"answers {first} {second}"]}


two_questions = (
    StateGraph(State)
    .add_node("before", going("before"))
    .add_node("ask", asking_twice)
    .add_node("after", going_sync("after"))
    .add_edge(START, "before")
    .add_edge("before", "ask")
    .add_edge("ask", "after")
    .compile()
)


def asking_once(state: State) -> State:
    return {"path": [f"once {interrupt({'question': 'once'})}"]}


parallel_questions = (
    StateGraph(State)
    .add_node("once", asking_once)
    .add_node("twice", asking_twice)
    .add_node("plain", going("plain"))
    .add_node("join", going("join"))
    .add_edge(START, "once")
    .add_edge(START, "twice")
    .add_edge(START, "plain")
    .add_edge(["once", "twice", "plain"], "join")
    .compile()
)


async def telling_first(state: State) -> State:
    get_stream_writer()({"who": "inner"})
    return {"path": ["inner first"]}


inner = (
    StateGraph(State)
    .add_node("first", telling_first)
    .add_node("ask", asking_twice)
    .add_node("last", going_sync("last"))
    .add_edge(START, "first")
    .add_edge("first", "ask")
    .add_edge("ask", "last")
)


def around(subgraph: Any):
    return (
        StateGraph(State)
        .add_node("before", going("before"))
        .add_node("inner", subgraph)
        .add_node("beside", going("beside"))
        .add_node("after", going("after"))
        .add_edge(START, "before")
        .add_edge("before", "inner")
        .add_edge("before", "beside")
        .add_edge(["inner", "beside"], "after")
        .compile()
    )


inner_questions = around(inner.compile())
remembering = around(inner.compile(checkpointer=True))
"""The subgraph has a memory of its own, kept from run to run."""

deep_questions = around(around(inner.compile()))


# A graph that a node calls by itself.

called = (
    StateGraph(State)
    .add_node("first", telling_first)
    .add_node("second", going_sync("second"))
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)

called_sync = (
    StateGraph(State)
    .add_node("first", going_sync("first"))
    .add_node("second", going_sync("second"))
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)


def call_from_sync(state: State) -> State:
    inside = called_sync.invoke({"word": state["word"], "path": []})
    return {"path": [f"called {inside['path']}"]}


async def call_from_async(state: State) -> State:
    inside = await called.ainvoke({"word": state["word"], "path": []})
    return {"path": [f"called {inside['path']}"]}


async def call_blocking(state: State) -> State:
    inside = called_sync.invoke({"word": state["word"], "path": []})  # in the loop's own thread
    return {"path": [f"called {inside['path']}"]}


def calls(node: Any):
    return (
        StateGraph(State)
        .add_node("before", going("before"))
        .add_node("call", node)
        .add_node("after", going("after"))
        .add_edge(START, "before")
        .add_edge("before", "call")
        .add_edge("call", "after")
        .compile()
    )


calling = calls(call_from_sync)


async def call_both(state: State) -> State:
    first, second = await call_from_async(state), await call_blocking(state)
    return {"path": [*first["path"], *second["path"]]}


calling_async = calls(call_both)

asked_within = inner.compile()


async def call_questions(state: State) -> State:
    inside = await asked_within.ainvoke({"word": state["word"], "path": []})
    return {"path": [f"called {inside['path']}"]}


calling_questions = calls(call_questions)


async def ask_call_ask(state: State) -> State:
    own = interrupt({"question": "before the call"})
    inside = await asked_within.ainvoke({"word": own, "path": []})
    last = interrupt({"question": "after the call"})
    return {"path": [f"called {inside['path']}", last]}


asking_around_a_call = calls(ask_call_ask)


# Messages, token by token, and a node that says where to go.


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    path: Annotated[list[str], operator.add]


async def speak(state: Talk) -> Talk:
    count = len(state["messages"])
    model = GenericFakeChatModel(messages=iter([AIMessage(f"this is answer {count}")]))
    said = await model.ainvoke(state["messages"])
    get_stream_writer()({"said": count})
    return {"messages": [AIMessage(said.content, id=f"answer-{count}")]}


async def route(state: Talk) -> Command[Any]:
    return Command(update={"path": ["route"]}, goto="speak" if len(state["messages"]) < 4 else END)


talking = (
    StateGraph(Talk)
    .add_node("speak", speak)
    .add_node("route", route, destinations=("speak", END))
    .add_edge(START, "speak")
    .add_edge("speak", "route")
    .compile()
)


# One that never ends by itself.


async def wait_for_ever(state: State) -> State:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


waiting = StateGraph(State).add_node("wait", wait_for_ever).add_edge(START, "wait").compile()
