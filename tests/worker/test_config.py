"""Config and context of a run."""

import dataclasses
import uuid
from importlib import metadata
from typing import Any, TypedDict

import pytest
from attrs import evolve
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel

import gatewayd
from gatewayd.channel import orders
from gatewayd.model.run import CONTEXT_GIVEN
from gatewayd.worker.runs import config

SERVER = {
    "langgraph_auth_user": None,
    "langgraph_auth_user_id": "",
    "langgraph_request_id": "q",
    "__after_seconds__": 0,
    "run_id": "01a2027b-0000-7000-8000-000000000001",
    "thread_id": "t",
    "graph_id": "g",
    "assistant_id": "a",
    "user_id": "",
}
ORDER = orders.RunOrder(
    run_id="01a2027b-0000-7000-8000-000000000001",
    thread_id="t",
    assistant_id="a",
    graph_id="g",
    attempt=2,
    kwargs={"input": {}, "config": {"configurable": SERVER, "metadata": {"m": 1}}, "context": {}},
    metadata={"m": 1},
)


class State(TypedDict, total=False):
    seen: Any


@dataclasses.dataclass
class Data:
    a: int = 7


class Model(BaseModel):
    a: int


class Typed(TypedDict, total=False):
    a: int


def graph(schema: Any = None) -> Any:
    """A graph that returns what its node finds."""

    def look(_state: State, config: RunnableConfig, runtime: Runtime) -> State:
        return {"seen": {"configurable": dict(config["configurable"]), "context": runtime.context, **config}}

    return StateGraph(State, context_schema=schema).add_node("look", look).add_edge(START, "look").compile()


def order(given: dict[str, Any], **more: Any) -> orders.RunOrder:
    base = ORDER.kwargs["config"]
    own = given.pop("config", {})
    merged = {**base, **own, "configurable": {**own.get("configurable", {}), **SERVER}}
    return evolve(ORDER, kwargs={**ORDER.kwargs, "config": merged, **given}, **more)


def mine(configurable: dict[str, Any]) -> dict[str, Any]:
    """The part of a configurable that is not the server's or langgraph's."""
    own = {"checkpoint_ns", "checkpoint_id", "checkpoint_map"} | set(SERVER)
    return {
        key: value for key, value in configurable.items() if key not in own and not key.startswith("__pregel")
    }


def test_the_metadata_tells_attempt_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_API_URL", "http://127.0.0.1:2024")
    built, _ = config.build(ORDER, graph())
    assert built["metadata"] == {
        "m": 1,
        "run_id": ORDER.run_id,
        "run_attempt": 2,
        "langgraph_version": metadata.version("langgraph"),
        "langgraph_api_version": gatewayd.__version__,
        "langgraph_plan": "self-hosted",
        "langgraph_host": "self-hosted",
        "langgraph_api_url": "http://127.0.0.1:2024",
    }
    assert ORDER.kwargs["config"]["metadata"] == {"m": 1}


def test_the_trace_has_the_runs_id_whatever_the_request_says() -> None:
    built, _ = config.build(
        order({"config": {"run_id": "mine", "callbacks": ["text"], "run_name": "walk"}}), graph()
    )
    assert built["run_id"] == uuid.UUID(ORDER.run_id)
    assert built["run_name"] == "walk"
    assert "callbacks" not in built


def test_tags_limit_and_concurrency_pass_and_are_absent_when_not_given() -> None:
    built, _ = config.build(
        order({"config": {"tags": ["x"], "recursion_limit": 9, "max_concurrency": 3}}), graph()
    )
    assert (built["tags"], built["recursion_limit"], built["max_concurrency"]) == (["x"], 9, 3)
    assert set(config.build(ORDER, graph())[0]) == {"metadata", "configurable", "run_id"}


def test_a_limit_of_nothing_is_a_limit() -> None:
    built, _ = config.build(order({"config": {"recursion_limit": 0}}), graph())
    assert built["recursion_limit"] == 0


def test_keys_that_steer_langgraph_are_not_taken_from_a_request() -> None:
    built, _ = config.build(
        order({"config": {"configurable": {"__pregel_checkpointer": 1, "k": 2}}}), graph()
    )
    assert built["configurable"] == {"k": 2, **SERVER}


@pytest.mark.parametrize("value", [True, False, 1, "yes", None])
def test_a_remote_graph_may_say_that_the_graph_around_it_goes_on(value: object) -> None:
    built, _ = config.build(order({"config": {"configurable": {"__pregel_resuming": value}}}), graph())
    said = {"__pregel_resuming": True} if value is True else {}
    assert built["configurable"] == {**said, **SERVER}


@pytest.mark.parametrize(
    ("schema", "configurable", "context", "given", "seen_configurable", "seen_context"),
    [
        # no schema: everything is passed, either way
        (None, {}, {"a": 3, "zz": 1}, True, {"a": 3, "zz": 1}, {"a": 3, "zz": 1}),
        (None, {"a": 3, "zz": 1}, {"a": 3, "zz": 1}, False, {"a": 3, "zz": 1}, {"a": 3, "zz": 1}),
        (None, {}, {}, False, {}, None),
        # a context is restricted to the schema, and so is its mirror in configurable
        (Data, {}, {"a": 3, "zz": 1}, True, {"a": 3}, Data(a=3)),
        (Typed, {"old": 1}, {"a": 3, "zz": 1}, True, {"a": 3}, {"a": 3}),
        # a configurable stays as it is; its mirror in the context is restricted
        (Data, {"a": 3, "zz": 1}, {"a": 3, "zz": 1}, False, {"a": 3, "zz": 1}, Data(a=3)),
        (Typed, {"zz": 1}, {"zz": 1}, False, {"zz": 1}, None),
        # nothing known is given: an instance of defaults, or nothing
        (Data, {}, {}, False, {}, Data(a=7)),
        (Data, {}, {"zz": 1}, True, {}, Data(a=7)),
        (Typed, {}, {}, False, {}, None),
        (Model, {}, {"a": "5"}, True, {"a": "5"}, Model(a=5)),
    ],
)
async def test_context_and_configurable_mirror_each_other(
    schema: Any,
    configurable: dict[str, Any],
    context: dict[str, Any],
    given: bool,
    seen_configurable: dict[str, Any],
    seen_context: Any,
) -> None:
    pregel = graph(schema)
    run = order({"config": {"configurable": configurable}, "context": context}, context_given=given)
    built, made = config.build(run, pregel)
    seen = (await pregel.ainvoke({}, built, context=made))["seen"]
    assert mine(seen["configurable"]) == seen_configurable
    assert seen["context"] == seen_context
    assert {key: seen["configurable"][key] for key in SERVER} == SERVER


def test_what_a_factory_changes_in_the_prepared_config_stays_when_it_is_built() -> None:
    run = order({"config": {"tags": ["mine"]}, "context": {"a": 3}}, context_given=True)
    prepared = config.prepare(run)
    prepared["tags"] = ["changed"]
    prepared["metadata"]["made"] = True
    built, _ = config.build(run, graph(Typed), prepared)
    assert built["tags"] == ["changed"]
    assert built["metadata"]["made"] is True
    assert built["configurable"] == {"a": 3, **SERVER}


@pytest.mark.parametrize("given", [True, False])
def test_the_servers_note_of_a_context_is_not_shown_to_the_graph(given: bool) -> None:
    run = order({"config": {"configurable": {CONTEXT_GIVEN: True}}}, context_given=given)
    assert CONTEXT_GIVEN not in config.build(run, graph())[0]["configurable"]


async def test_a_context_that_the_schema_refuses_is_an_error_of_the_run() -> None:
    pregel = graph(Model)
    built, made = config.build(order({"context": {"a": "x"}}, context_given=True), pregel)
    with pytest.raises(ValueError, match="1 validation error for Model"):
        await pregel.ainvoke({}, built, context=made)


def test_an_order_survives_the_way_over_the_channel() -> None:
    run = evolve(ORDER, answers={"i": 1}, context_given=True)
    assert orders.parse(orders.plain(run)) == run
    with pytest.raises(TypeError):
        orders.parse({"run_id": "r"})
