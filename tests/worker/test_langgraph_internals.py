"""What the worker relies on of langgraph is there in this version, and relied on in one module only."""

from __future__ import annotations

import ast
import asyncio
import inspect
import typing
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel import Pregel
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime

import gatewayd
from gatewayd import errors
from gatewayd.worker import langgraph_internals as internals

PACKAGE = Path(gatewayd.__file__).parent


class State(TypedDict):
    seen: list[str]


def chain(*names: str, **nodes: Any) -> Any:
    graph = StateGraph(State)
    for before, name in zip((START, *names), names, strict=False):
        graph.add_node(name, nodes.get(name, lambda state, name=name: {"seen": [*state["seen"], name]}))
        graph.add_edge(before, name)
    graph.add_edge(names[-1], END)
    return graph


async def test_the_queue_of_a_graph_is_there_while_it_executes_and_has_what_is_not_handed_out_yet() -> None:
    chunks = chain("a", "b").compile().astream({"seen": []}, stream_mode="values")
    assert internals.queue_of(chunks) is None
    async for _ in chunks:
        assert isinstance(internals.queue_of_started(chunks), asyncio.Queue)
    assert internals.queue_of(chunks) is None


async def test_a_graph_whose_queue_is_elsewhere_fails_by_name() -> None:
    chunks = chain("a").compile().astream({"seen": []}, stream_mode="values")
    assert chunks.ag_code is Pregel.astream.__code__
    with pytest.raises(internals.Changed, match=r"Pregel\.astream"):
        internals.queue_of_started(chunks)  # it has not begun, so it has none
    await chunks.aclose()


async def test_a_stream_of_the_users_own_needs_no_queue() -> None:
    async def own() -> Any:
        yield {}

    chunks = own()
    async for _ in chunks:
        assert internals.queue_of_started(chunks) is None


async def test_a_graph_is_leaving_when_its_last_checkpoint_is_stored_at_the_end() -> None:
    leaving: list[bool] = []
    chunks: Any = None

    class Watched(InMemorySaver):
        async def aput(self, *args: Any, **options: Any) -> Any:
            leaving.append(internals.is_leaving(chunks))
            return await super().aput(*args, **options)

    graph = chain("a", "b").compile(checkpointer=Watched())
    where: RunnableConfig = {"configurable": {"thread_id": "t"}}
    chunks = graph.astream({"seen": []}, where, stream_mode="values", durability="exit")
    async for _ in chunks:
        assert not internals.is_leaving(chunks)
    assert leaving[-1]


async def test_a_node_sees_its_task_under_langgraphs_key() -> None:
    seen: list[Any] = []

    def looks(state: State, config: RunnableConfig) -> State:
        seen.append(config["configurable"].get(internals.TASK_ID))
        return state

    await chain("a", a=looks).compile().ainvoke({"seen": []})
    assert seen == [seen[0]]
    assert isinstance(seen[0], str)
    assert internals.is_own(internals.TASK_ID)


async def test_answers_to_no_open_question_are_refused_under_the_key_for_that() -> None:
    from langgraph.errors import UnknownInterruptError
    from langgraph.types import Command

    graph = chain("a", a=lambda state: {"seen": [interrupt("?")]}).compile(checkpointer=InMemorySaver())
    where: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"seen": []}, where)
    strict: RunnableConfig = {"configurable": {"thread_id": "t", internals.STRICT_RESUME: True}}
    with pytest.raises(UnknownInterruptError):
        await graph.ainvoke(Command(resume={"0" * 32: "answer"}), strict)


def test_keys_that_are_given_to_langgraph_are_among_its_own_names() -> None:
    from langgraph._internal import _constants

    known = {name for name in vars(_constants).values() if isinstance(name, str)}
    own = {
        internals.TASK_ID,
        internals.STREAM_MESSAGES_V2,
        internals.STRICT_RESUME,
        internals.RUNTIME,
        internals.CHECKPOINTER,
        internals.RESUMING,
    }
    assert own <= known


async def test_the_maker_of_events_calls_what_is_overridden_with_each_event() -> None:
    made: list[str] = []

    class Noting(internals.EventsHandler):
        def _send(self, event: Any, event_type: str) -> None:
            made.append(event["event"])

    await RunnableLambda(lambda value: value).ainvoke(1, {"callbacks": [Noting()]})
    assert made == ["on_chain_start", "on_chain_end"]


def test_a_mux_of_transformers_is_told_what_they_push() -> None:
    assert "factories" in inspect.signature(internals.StreamMux.__init__).parameters
    assert list(internals.StreamMux(factories=[], is_async=False)._transformers) == []
    assert list(inspect.signature(internals.StreamMux._forward).parameters) == ["self", "method", "item"]


@pytest.mark.parametrize("kind", [internals.ExecutionRuntime, internals.ReadRuntime])
def test_the_runtimes_of_factories_are_the_members_of_the_public_union(kind: type) -> None:
    members = typing.get_args(getattr(ServerRuntime, "__value__", ServerRuntime))
    assert kind in {typing.get_origin(member) or member for member in members}


def test_what_would_be_missed_in_silence_is_there() -> None:
    internals.require()


@pytest.mark.parametrize(
    ("name", "value", "lacking"),
    [
        ("_QUEUE", "gone", r"the variable `gone` of Pregel\.astream"),
        ("_EXIT", "gone", r"the coroutine AsyncPregelLoop\.gone"),
    ],
)
def test_a_langgraph_without_it_is_refused_by_version_and_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, lacking: str
) -> None:
    monkeypatch.setattr(internals, name, value)
    with pytest.raises(errors.BadConfiguration, match=rf"langgraph [0-9.]+ .* lacks {lacking}"):
        internals.require()


def imported_roots(tree: ast.AST) -> set[str]:
    """Return the names under which a module knows langgraph, langchain and their modules."""
    return {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.startswith(("langgraph", "langchain"))
    }


def private_names(tree: ast.AST) -> list[str]:
    roots, found = imported_roots(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(("langgraph", "langchain")):
                    found += [name for name in alias.name.split(".") if name.startswith("_")]
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in roots:
                found.append(node.attr)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("langgraph", "langchain")):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [name for name in names if name.startswith("_")]
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("__pregel_")
        ):
            found.append(node.value)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import langgraph._internal",
        "import langgraph._internal as inner",
        "import langgraph.pregel\nlanggraph.pregel._loop.AsyncPregelLoop",
        "from langgraph import _internal",
        "from langgraph._internal import _constants",
        "from langchain_core.tracers.event_stream import _AstreamEventsCallbackHandler",
        "key = '__pregel_task_id'",
        "key = f'__pregel_{name}'",
    ],
)
def test_a_reliance_on_internals_is_seen_however_it_is_written(source: str) -> None:
    assert private_names(ast.parse(source)) != []


def test_no_other_module_relies_on_internals() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in PACKAGE.rglob("*.py")
        if (names := private_names(ast.parse(path.read_text("utf-8"))))
    }
    assert found.pop("model/run.py") == [internals.RESUMING]  # which clients send: the daemon reads it, too
    assert set(found) == {"worker/langgraph_internals.py"}
