"""`RemoteGraph` of langgraph, unmodified: a served graph used as if it were a local one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client
from typing_extensions import TypedDict

pytestmark = pytest.mark.xdist_group("clients")

COUNT: dict[str, Any] = {"left": 2, "seen": []}
COUNTED = {"left": 0, "seen": ["tick 2", "tick 1"]}


class Clients:
    """Makes remote graphs that share two clients."""

    def __init__(self, url: str) -> None:
        self.client = get_client(url=url)
        self.sync_client = get_sync_client(url=url)

    def graph(self, name: str) -> RemoteGraph:
        return RemoteGraph(name, client=self.client, sync_client=self.sync_client)

    def on_a_thread(self) -> Any:
        return {"configurable": {"thread_id": self.sync_client.threads.create()["thread_id"]}}


@pytest.fixture
def clients(served: str) -> Iterator[Clients]:
    made = Clients(served)
    with made.sync_client:
        yield made


@pytest.fixture
async def async_clients(served: str) -> AsyncIterator[Clients]:
    made = Clients(served)
    with made.sync_client:
        async with made.client:
            yield made


def test_it_can_be_invoked(clients: Clients) -> None:
    assert clients.graph("countdown").invoke(COUNT) == COUNTED
    config = clients.on_a_thread()
    assert clients.graph("countdown").invoke(COUNT, config) == COUNTED
    with pytest.raises(RemoteException, match="bad value"):
        clients.graph("failing").invoke({"how": "value", "left": 0})


async def test_it_can_be_invoked_asynchronously(async_clients: Clients) -> None:
    assert await async_clients.graph("countdown").ainvoke(COUNT) == COUNTED


def test_it_streams(clients: Clients) -> None:
    countdown = clients.graph("countdown")
    assert list(countdown.stream(COUNT)) == [
        {"tick": {"left": 1, "seen": ["tick 2"]}},
        {"tick": {"left": 0, "seen": ["tick 1"]}},
    ]
    assert list(countdown.stream(COUNT, stream_mode="values"))[-1] == COUNTED
    parts = countdown.stream({"left": 1, "seen": []}, stream_mode=["custom", "updates"])
    assert [(part[0], part[1]) for part in parts] == [
        ("custom", {"left": 1}),
        ("updates", {"tick": {"left": 0, "seen": ["tick 1"]}}),
    ]


async def test_it_streams_asynchronously_with_subgraphs(async_clients: Clients) -> None:
    nested = async_clients.graph("nested")
    found = [
        part async for part in nested.astream({"left": 1, "seen": []}, stream_mode="updates", subgraphs=True)
    ]
    assert [(namespace and namespace[0].partition(":")[0], payload) for namespace, payload in found] == [
        ("inner", {"tick": {"left": 0, "seen": ["tick 1"]}}),
        ((), {"inner": {"left": 0, "seen": ["tick 1"]}}),
    ]
    said = {"messages": [{"role": "user", "content": "hello"}]}
    chunks = [part async for part in async_clients.graph("parrot").astream(said, stream_mode="messages")]
    assert "".join(chunk["content"] for chunk, _ in chunks) == "You said hello"


def test_its_state_and_history_can_be_read(clients: Clients) -> None:
    countdown, config = clients.graph("countdown"), clients.on_a_thread()
    countdown.invoke(COUNT, config)
    state = countdown.get_state(config)
    assert (state.values, state.next) == (COUNTED, ())
    history = list(countdown.get_state_history(config, limit=10))
    assert [snapshot.metadata["step"] for snapshot in history] == [2, 1, 0, -1]
    older = list(countdown.get_state_history(config, limit=10, before=history[1].config))
    assert [snapshot.metadata["step"] for snapshot in older] == [0, -1]
    early: Any = {
        "configurable": {
            **config["configurable"],
            "checkpoint_id": history[2].config["configurable"]["checkpoint_id"],
        }
    }
    assert countdown.get_state(early).values == COUNT


async def test_its_state_can_be_read_asynchronously(async_clients: Clients) -> None:
    ask, config = async_clients.graph("nested_ask"), async_clients.on_a_thread()
    await ask.ainvoke({"topic": "tea"}, config)
    state = await ask.aget_state(config, subgraphs=True)
    (task,) = state.tasks
    assert [one.value for one in task.interrupts] == [{"about": "tea"}]
    nested: Any = task.state
    assert nested.next == ("question",)
    assert [found.next async for found in ask.aget_state_history(config, limit=1)] == [("inner",)]


def test_a_question_is_asked_and_answered(clients: Clients) -> None:
    ask, config = clients.graph("ask"), clients.on_a_thread()
    asked = ask.invoke({"topic": "tea"}, config)
    assert [one["value"] for one in asked["__interrupt__"]] == [{"about": "tea"}]
    answered = ask.invoke(Command(resume="green"), config)
    assert answered == {"topic": "tea", "reply": "green", "closed": True}


async def test_questions_are_streamed_and_answered_by_their_ids(async_clients: Clients) -> None:
    both, config = async_clients.graph("both"), async_clients.on_a_thread()
    given: Any = {"replies": []}
    parts = [part async for part in both.astream(given, config, stream_mode=["values", "updates"])]
    ids = {
        one["id"]: one["value"]["who"]
        for mode, data in ((part[0], part[1]) for part in parts)
        if mode == "values"
        for one in data.get("__interrupt__", [])
    }
    assert sorted(ids.values()) == ["first", "second"]
    answered = await both.ainvoke(Command(resume=ids), config)
    assert sorted(answered["replies"]) == ["first first", "second second"]


def test_it_stops_at_breakpoints_and_goes_on(clients: Clients) -> None:
    countdown, config = clients.graph("countdown"), clients.on_a_thread()
    assert countdown.invoke(COUNT, config, interrupt_before=["tick"]) == COUNT
    assert countdown.get_state(config).next == ("tick",)
    assert countdown.invoke(None, config) == COUNTED


def test_its_state_can_be_updated(clients: Clients) -> None:
    ask, config = clients.graph("ask"), clients.on_a_thread()
    ask.invoke({"topic": "tea"}, config)
    place = ask.update_state(config, {"reply": "black"}, as_node="question")
    state = ask.get_state(config)
    assert (state.values, state.next) == ({"topic": "tea", "reply": "black"}, ("close",))
    assert state.config["configurable"]["checkpoint_id"] == place["configurable"]["checkpoint_id"]
    assert ask.invoke(None, config) == {"topic": "tea", "reply": "black", "closed": True}


def test_its_config_reaches_the_nodes(clients: Clients) -> None:
    told = clients.graph("told").with_config(
        {"tags": ["a"], "metadata": {"note": 1}, "recursion_limit": 7, "configurable": {"colour": "red"}}
    )
    found = told.invoke({"told": {}})["told"]
    assert (found["tags"], found["recursion_limit"], found["metadata"]["note"]) == (["a"], 7, 1)
    assert found["configurable"]["colour"] == "red"


class Outer(TypedDict):
    left: int
    seen: list[str]


async def test_it_is_a_node_of_another_graph(async_clients: Clients) -> None:
    local = (
        StateGraph(Outer)
        .add_node("before", lambda state: {"left": state["left"] + 1})
        .add_node("remote", async_clients.graph("countdown"))
        .add_edge(START, "before")
        .add_edge("before", "remote")
        .add_edge("remote", END)
        .compile()
    )
    assert await local.ainvoke({"left": 1, "seen": []}) == COUNTED
    parts = [
        part async for part in local.astream({"left": 0, "seen": []}, stream_mode="updates", subgraphs=True)
    ]
    assert [(len(namespace), list(update)) for namespace, update in parts] == [
        (0, ["before"]),
        (1, ["tick"]),
        (0, ["remote"]),
    ]


class OuterAsk(TypedDict, total=False):
    topic: str
    reply: Any
    closed: bool


async def test_its_question_interrupts_the_graph_around_it(async_clients: Clients) -> None:
    local = (
        StateGraph(OuterAsk)
        .add_node("remote", async_clients.graph("ask"))
        .add_edge(START, "remote")
        .compile(checkpointer=InMemorySaver())
    )
    config = async_clients.on_a_thread()
    asked = await local.ainvoke({"topic": "tea"}, config)
    assert [one.value for one in asked["__interrupt__"]] == [{"about": "tea"}]
    assert (await local.aget_state(config)).next == ("remote",)
    asked_again = await local.ainvoke(Command(resume="an answer that the client does not pass on"), config)
    assert asked_again["__interrupt__"] == asked["__interrupt__"]
    answered = await async_clients.graph("ask").ainvoke(Command(resume="green"), config)
    assert answered == {"topic": "tea", "reply": "green", "closed": True}
    assert await local.ainvoke(Command(resume="whatever"), config) == answered
    assert (await local.aget_state(config)).next == ()
    steps = await async_clients.client.threads.get_history(config["configurable"]["thread_id"], limit=20)
    assert [state["next"] for state in steps] == [[], ["close"], ["question"], ["__start__"]]
