"""
What is said of graphs of all kinds: their drawings, and the schemas of their inputs, outputs, states and
contexts.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from gatewayd.errors import NotFound, Rejected
from gatewayd.worker.project import factories, graphs
from gatewayd.worker.service import descriptions


class Handle:
    """What no JSON describes."""


class Asked(TypedDict):
    question: str


class Answered(TypedDict):
    answer: str


class Whole(Asked, Answered):
    seen: Annotated[list[str], operator.add]
    lock: Handle


@dataclass
class Depth:
    depth: int = 3


class Who(BaseModel):
    """Who asks."""

    name: str = Field(description="as on the door")


class Locked(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    lock: Handle


def nothing(_: Any) -> dict[str, Any]:
    return {}


def built(context: Any = None, state: Any = Whole, **given: Any) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(state, context_schema=context, **given)
    return graph.add_node("step", nothing).add_edge(START, "step")


@entrypoint()
async def functional(given: dict[str, int]) -> list[int]:
    return list(given.values())


def made(config: dict[str, Any]) -> Any:
    size = config["configurable"].get("size", 1)
    if size > 2:
        raise ValueError(f"{size} steps are too many")
    graph = built()
    for number in range(1, size):
        graph.add_node(f"step {number}", nothing)
    return graph


def returns_nothing() -> Any:
    return None


INNER = built(Who).compile()
OUTER = built().add_node("inner", INNER).add_edge("step", "inner").compile()
KINDS = {
    "parted": built(input_schema=Asked, output_schema=Answered).compile(),
    "deep": built(Depth).compile(),
    "known": INNER,
    "locked": built(Locked, Asked).compile(),
    "outer": StateGraph(Whole).add_node("outer", OUTER).add_edge(START, "outer").compile(),
    "functional": functional,
    "made": factories.read("made", made),
    "returns_nothing": factories.read("returns_nothing", returns_nothing),
}


@pytest.fixture
def described() -> descriptions.Descriptions:
    loaded = {name: graphs.Loaded(description=None, target=kind) for name, kind in KINDS.items()}
    return descriptions.Descriptions(graphs.Graphs(loaded), None)


async def schemas(described: descriptions.Descriptions, graph_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await described.schemas(graph_id, {"configurable": {}}))
    return found


async def test_a_state_is_what_its_channels_take_and_none_of_it_is_required(described):
    found = await schemas(described, "parted")
    assert found["graph_id"] == "parted"
    assert (found["input_schema"]["required"], found["output_schema"]["required"]) == (
        ["question"],
        ["answer"],
    )
    assert found["state_schema"] == {
        "type": "object",
        "title": "parted_state",
        "properties": {
            "question": {"default": None, "title": "Question", "type": "string"},
            "answer": {"default": None, "title": "Answer", "type": "string"},
            "seen": {"default": None, "title": "Seen", "type": "array", "items": {"type": "string"}},
            "lock": {"default": None, "title": "Lock"},  # no JSON says what that is
        },
    }
    assert (found["config_schema"], found["context_schema"]) == ({}, None)


async def test_a_context_is_told_as_config_too(described):
    for graph_id, title, required in (("deep", "Depth", None), ("known", "Who", ["name"])):
        found = await schemas(described, graph_id)
        assert found["config_schema"] == found["context_schema"]
        assert found["context_schema"]["title"] == title
        assert found["context_schema"].get("required") == required


async def test_what_no_json_describes_is_null_and_the_rest_is_there(described):
    found = await schemas(described, "locked")
    assert (found["config_schema"], found["context_schema"]) == ({}, None)
    assert found["input_schema"]["properties"].keys() == {"question"}
    whole = await schemas(described, "deep")
    assert whole["input_schema"] is None  # it has a lock in it


async def test_a_functional_graph_has_its_result_for_a_state(described):
    found = await schemas(described, "functional")
    assert found["input_schema"]["additionalProperties"] == {"type": "integer"}
    result = {"default": None, "title": "End  ", "type": "array", "items": {"type": "integer"}}
    assert found["state_schema"]["properties"] == {"__end__": result}


async def test_a_drawing_shows_as_many_levels_of_graphs_as_asked_for(described):
    async def nodes(xray: bool | int) -> set[str]:
        drawing = json.loads(await described.graph("outer", {"configurable": {}}, xray))
        assert all("id" not in node.get("data", {}) for node in drawing["nodes"])
        return {node["id"] for node in drawing["nodes"]} - {"__start__", "__end__"}

    assert await nodes(False) == {"outer"}
    assert {name for name in await nodes(1) if "__" not in name} == {"outer:step", "outer:inner"}
    assert await nodes(2) == await nodes(True)
    assert "outer:inner:step" in await nodes(True)


async def test_graphs_inside_are_named_by_their_place(described):
    async def inside(namespace: str | None, recurse: bool) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            await described.subgraphs("outer", {"configurable": {}}, namespace, recurse)
        )
        return found

    assert (await inside(None, False)).keys() == {"outer"}
    deep = await inside(None, True)
    assert deep.keys() == {"outer", "outer|inner"}
    assert deep["outer|inner"]["context_schema"]["title"] == "Who"
    assert (await inside("outer|inner", True)).keys() == {"outer|inner"}
    assert await inside("nowhere", True) == {}


async def test_a_factory_makes_the_graph_of_the_assistants_config(described):
    drawing = json.loads(await described.graph("made", {"configurable": {"size": 2}}, False))
    assert "step 1" in {node["id"] for node in drawing["nodes"]}


async def test_what_a_factory_refuses_is_told(described):
    with pytest.raises(Rejected, match="3 steps are too many"):
        await described.schemas("made", {"configurable": {"size": 3}})
    with pytest.raises(graphs.InvalidGraph):
        await described.schemas("returns_nothing", {"configurable": {}})
    with pytest.raises(NotFound, match="Graph 'nowhere' not found"):
        await described.schemas("nowhere", {"configurable": {}})
