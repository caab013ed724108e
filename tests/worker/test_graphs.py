"""Loading and opening every kind of graph object."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

import pytest
from attrs import define
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import _ExecutionRuntime, _ReadRuntime
from pydantic import BaseModel, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from gatewayd.errors import NotFound
from gatewayd.worker.project import graphs, usercode

PROJECT = Path(__file__).parent / "projects" / "kinds"
FILE = "./src/agent/kinds.py"


@pytest.fixture
def kinds() -> Iterator[ModuleType]:
    """The project's module of all kinds, executed afresh."""
    usercode.load(f"{FILE}:State", PROJECT)
    yield sys.modules["__src__agent__kinds"]
    del sys.modules["__src__agent__kinds"]


def load(*attributes: str) -> graphs.Graphs:
    return graphs.Graphs.load({name: (f"{FILE}:{name}", None) for name in attributes}, PROJECT)


def opened(loaded: graphs.Graphs, graph_id: str, **given: Any) -> Any:
    return loaded.open(graph_id, **{"config": {}, "access_context": "threads.create_run", **given})


GRAPHS = ["compiled", "named", "uncompiled", "own_saver", "kept_off", "functional"]
FACTORIES = [
    "nothing",
    "bare",
    "bare_named_runtime",
    "defaulted",
    "keyword_only",
    "swapped",
    "textual",
    "annotated",
    "with_model",
    "bound",
    "instance",
    "coroutine",
    "async_manager",
    "manager",
    "saver_within",
]


@pytest.mark.parametrize("name", [*GRAPHS, *FACTORIES])
async def test_every_kind_of_graph_runs_with_the_saver_and_store_it_is_opened_with(
    kinds: ModuleType, name: str
) -> None:
    saver, store = InMemorySaver(), InMemoryStore()
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    async with opened(load(name), name, saver=saver, store=store, config=config) as pregel:
        assert isinstance(pregel, Pregel)
        assert pregel.checkpointer is saver
        assert pregel.store is store
        result = await pregel.ainvoke({}, config)
    word = {"own_saver": "own saver", "kept_off": "kept off", "named": "own name", "bound": "with_model"}
    assert result["out"] == {**word, "named": "named"}.get(name, name)
    assert await saver.aget_tuple(config) is not None


async def test_the_users_own_graph_object_is_never_changed(kinds: ModuleType) -> None:
    before = dict(kinds.own_saver.__dict__)
    async with opened(load("own_saver"), "own_saver", saver=InMemorySaver()) as pregel:
        assert pregel is not kinds.own_saver
    assert kinds.own_saver.__dict__ == before


async def test_a_copy_keeps_what_langgraph_puts_on_a_compiled_graph(kinds: ModuleType) -> None:
    kinds.compiled._serde_allowlist = {("kept",)}
    kinds.compiled._state_mapper = mapper = object()
    async with opened(load("compiled"), "compiled") as pregel:
        assert pregel._serde_allowlist == {("kept",)}
        assert pregel._state_mapper is mapper


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("compiled", "g-1"),
        ("uncompiled", "g-1"),
        ("bare", "g-1"),
        ("named", "own name"),
        ("manager", "managed"),
        ("functional", "g-1"),
    ],
)
async def test_a_graph_is_called_as_it_was_compiled_or_else_by_its_id(
    kinds: ModuleType, attribute: str, name: str
) -> None:
    loaded = graphs.Graphs.load({"g-1": (f"{FILE}:{attribute}", "what for")}, PROJECT)
    async with opened(loaded, "g-1") as pregel:
        assert pregel.name == name
    assert loaded.ids == ["g-1"]
    assert loaded.description("g-1") == "what for"


async def test_a_graph_of_a_package_may_import_relatively(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PROJECT)
    loaded = graphs.Graphs.load({"greeter": ("package.greeter:graph", None)}, PROJECT)
    async with opened(loaded, "greeter") as pregel:
        assert await pregel.ainvoke({}) == {"out": "hello"}


async def test_an_unknown_graph_is_not_found_and_the_others_are_named(kinds: ModuleType) -> None:
    with pytest.raises(
        NotFound, match=r"^Graph 'absent' not found\. Expected one of: \['bare', 'compiled'\]$"
    ):
        async with opened(load("compiled", "bare"), "absent"):
            pass


# -- what factories are given


@pytest.mark.parametrize("name", ["keyword_only", "swapped", "textual", "instance"])
async def test_config_and_runtime_are_given_by_annotation(kinds: ModuleType, name: str) -> None:
    store, user = InMemoryStore(), object()
    async with opened(load(name), name, store=store, user=user, context={"language": "de"}):
        pass
    runtime = kinds.GIVEN["runtime"]
    assert isinstance(runtime, _ExecutionRuntime)
    assert runtime.execution_runtime is runtime
    assert (runtime.access_context, runtime.store, runtime.user) == ("threads.create_run", store, user)
    assert runtime.context == {"language": "de"}
    assert kinds.GIVEN["config"]["configurable"]["__is_for_execution__"] is True


@pytest.mark.parametrize("access_context", ["threads.read", "threads.update", "assistants.read"])
async def test_a_factory_can_tell_a_look_from_a_run(kinds: ModuleType, access_context: str) -> None:
    async with opened(load("keyword_only"), "keyword_only", access_context=access_context, context={"a": 1}):
        pass
    runtime = kinds.GIVEN["runtime"]
    assert isinstance(runtime, _ReadRuntime)
    assert runtime.execution_runtime is None
    assert runtime.access_context == access_context
    assert kinds.GIVEN["config"]["configurable"]["__is_for_execution__"] is False


async def test_a_parameter_without_annotation_gets_the_config_even_if_it_is_called_runtime(
    kinds: ModuleType,
) -> None:
    async with opened(load("bare_named_runtime"), "bare_named_runtime", config={"configurable": {"k": 1}}):
        assert kinds.GIVEN["runtime"]["configurable"]["k"] == 1


@pytest.mark.parametrize(("name", "model"), [("with_model", "small"), ("bound", "large")])
async def test_a_parameter_with_a_value_of_its_own_keeps_it(kinds: ModuleType, name: str, model: str) -> None:
    async with opened(load(name), name):
        assert kinds.GIVEN["model"] == model


async def test_a_factory_sees_a_config_with_every_key_filled_in(kinds: ModuleType) -> None:
    saver = InMemorySaver()
    given: RunnableConfig = {"configurable": {"k": 1}, "metadata": {"m": 1}}
    async with opened(load("defaulted"), "defaulted", config=given, saver=saver):
        pass
    seen = kinds.GIVEN["config"]
    assert {**seen, "configurable": None} == {
        "tags": [],
        "metadata": {"m": 1},
        "callbacks": None,
        "recursion_limit": 10007,
        "configurable": None,
    }
    assert seen["configurable"]["k"] == 1
    assert seen["configurable"]["__pregel_checkpointer"] is saver
    assert isinstance(seen["configurable"]["__pregel_runtime"], _ExecutionRuntime)
    # A config that is not changed by its factory stays as it was: filled-in defaults would win over the
    # graph's own.
    assert given == {"configurable": {"k": 1}, "metadata": {"m": 1}}


async def test_what_a_factory_changes_reaches_the_run_except_in_configurable(kinds: ModuleType) -> None:
    config: dict[str, Any] = {"configurable": {"k": 1}, "tags": ["mine"], "metadata": {"m": 1}}
    async with opened(load("changing"), "changing", config=config) as pregel:
        assert config == {
            "configurable": {"k": 1},
            "tags": ["mine", "made"],
            "metadata": {"m": 1, "made": True},
            "callbacks": ["handler"],
        }
        assert pregel.config["recursion_limit"] == 33


async def test_factories_are_called_at_each_use_and_never_at_load(kinds: ModuleType) -> None:
    loaded = load("async_manager", "failing")
    assert kinds.LOG == []
    for _ in range(2):
        async with opened(loaded, "async_manager"):
            pass
    assert kinds.LOG == ["enter", "exit", "enter", "exit"]


# -- the ends of a use


@pytest.mark.parametrize("name", ["async_manager", "manager"])
async def test_a_context_manager_is_left_only_when_the_use_is_over(kinds: ModuleType, name: str) -> None:
    async with opened(load(name), name):
        assert kinds.LOG == ["enter"]
    assert kinds.LOG == ["enter", "exit"]


async def test_a_context_manager_is_shown_the_error_of_the_run(kinds: ModuleType) -> None:
    with pytest.raises(KeyError):
        async with opened(load("async_manager"), "async_manager"):
            raise KeyError("boom")
    assert kinds.LOG == ["enter", "KeyError", "exit"]


async def test_a_context_manager_can_not_swallow_the_error_of_the_run(kinds: ModuleType) -> None:
    with pytest.raises(KeyError):
        async with opened(load("swallowing"), "swallowing"):
            raise KeyError("boom")


@pytest.mark.parametrize(
    ("name", "result"),
    [("generator", "<async_generator object"), ("none", "None"), ("manager_of_none", "None")],
)
async def test_a_factory_that_makes_no_graph_is_told_in_the_references_words(
    kinds: ModuleType, name: str, result: str
) -> None:
    with pytest.raises(graphs.InvalidGraph) as caught:
        async with opened(load(name), name):
            pass
    assert str(caught.value).startswith(
        f"424: Graph '{name}' is not valid. Review graph registration. {result}"
    )
    assert (["left"] if name == "manager_of_none" else []) == kinds.LOG


async def test_the_exception_of_a_factory_is_the_exception_of_the_use(kinds: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError, match="no graph today"):
        async with opened(load("failing"), "failing"):
            pass


# -- what is refused or warned of at load


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("three", "a graph factory takes a config, a runtime or both, not (config, runtime, more)"),
        ("number", "neither a graph nor a function that makes one, but a builtins.int"),
        ("absent", f"no attribute 'absent' in {FILE}"),
    ],
)
def test_what_is_no_graph_stops_the_load_naming_graph_path_and_cause(
    kinds: ModuleType, name: str, cause: str
) -> None:
    with pytest.raises(usercode.LoadError) as caught:
        load("compiled", name)
    assert caught.value.detail == f"graph '{name}' ({FILE}:{name}): {cause}"
    assert caught.value.graph == name


def test_a_graph_that_can_not_be_compiled_stops_the_load(kinds: ModuleType) -> None:
    with pytest.raises(
        usercode.LoadError, match=r"^graph 'broken' .*: can't be compiled: ValueError: Graph must have"
    ):
        load("broken")


def test_a_saver_and_a_store_of_the_users_are_warned_of_at_load(
    kinds: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load("own_saver", "compiled", "kept_off")
    assert [record.getMessage() for record in caplog.records] == [
        "graph 'own_saver' is compiled with a checkpointer of its own; the server's is used instead",
        "graph 'own_saver' is compiled with a store of its own; the server's is used instead",
    ]


async def test_a_saver_from_a_factory_is_warned_of_once(
    kinds: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load("saver_within")
    for _ in range(3):
        async with opened(loaded, "saver_within"):
            pass
    assert len(caplog.records) == 1


# -- the context schema


class Typed(TypedDict):
    a: int


class TypedMore(Typed, total=False):
    b: int


class Model(BaseModel):
    c: int = 0
    d: int = Field(0, alias="dee")


@define
class Strange:
    e: int = 0


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        (None, None),
        (TypedMore, {"a", "b"}),
        (Model, {"c", "d", "dee"}),
        (pydantic_dataclass(type("P", (), {"__annotations__": {"f": int}})), {"f"}),
        (Strange, None),
    ],
)
def test_the_keys_of_a_context_schema_are_its_fields(schema: Any, keys: set[str] | None) -> None:
    graph = (
        StateGraph(Typed, context_schema=schema)
        .add_node("n", lambda state: state)
        .add_edge(START, "n")
        .compile()
    )
    assert graphs.context_keys(graph) == keys


def test_the_keys_of_a_dataclass_are_those_it_can_be_made_with(kinds: ModuleType) -> None:
    graph = (
        StateGraph(Typed, context_schema=kinds.Ctx).add_node("n", lambda s: s).add_edge(START, "n").compile()
    )
    assert graphs.context_keys(graph) == {"language"}
