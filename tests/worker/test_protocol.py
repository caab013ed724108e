"""What langgraph's chunks become in a run of protocol v2."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.prebuilt import ToolCallTransformer
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.types import Interrupt

from gatewayd import wire
from gatewayd.model import event
from gatewayd.model.state import Cut
from gatewayd.worker.runs.protocol import Protocol
from gatewayd.worker.runs.transformers import Transformers

PLACE = {"configurable": {"checkpoint_id": "c1", "checkpoint_ns": ""}}


def shapes(made: Protocol, *chunks: tuple[tuple[str, ...], str, Any]) -> list[tuple[str, str, Any]]:
    items = [item for chunk in chunks for item in made.shape(*chunk)] + [*made.release()]
    return [(kind.removeprefix("v2/"), namespace, wire.loads(data)) for kind, namespace, _, data in items]


def test_parts_of_a_message_carry_its_id_its_model_call_and_its_node() -> None:
    about = {"run_id": "r1", "langgraph_node": "model"}
    other = {"run_id": "r2", "langgraph_node": "other"}
    found = shapes(
        Protocol(False, False, False),
        ((), "messages", ({"event": "message-start", "role": "ai", "id": "m1"}, about)),
        ((), "messages", ({"event": "message-start", "role": "ai", "message_id": "m2"}, other)),
        ((), "messages", ({"event": "content-block-start", "index": 0}, about)),
        ((), "messages", ({"event": "content-block-start", "index": 0}, other)),
        ((), "messages", (AIMessage("whole"), about)),
    )
    assert [(params["data"]["id"], params["data"]["run_id"], params["node"]) for _, _, params in found] == [
        ("m1", "r1", "model"),
        ("m2", "r2", "other"),
        ("m1", "r1", "model"),
        ("m2", "r2", "other"),
    ]


def test_a_state_waits_for_its_checkpoint_and_for_nothing_else() -> None:
    made = Protocol(False, False, False)
    checkpoint = {"config": PLACE, "parent_config": None, "metadata": {"step": 1, "source": "loop"}}
    found = shapes(made, ((), "values", {"n": 1, "__interrupt__": ()}), ((), "checkpoints", checkpoint))
    assert found == [
        ("checkpoints", "", {"data": {"id": "c1", "step": 1, "source": "loop"}}),
        ("values", "", {"data": {"n": 1}}),
    ]
    assert [kind for kind, _, _ in shapes(made, ((), "values", {}), ((), "custom", 1))] == [
        "values",
        "custom",
    ]


@pytest.mark.parametrize(
    ("told", "place"),
    [
        (True, {"id": "c1", "parent_id": "c0", "step": 1, "source": "loop"}),
        (False, {"id": "c1", "source": "loop"}),
    ],
)
def test_a_checkpoint_has_its_parent_and_its_step_only_for_clients_that_read_them_right(
    told: bool, place: dict[str, Any]
) -> None:
    parent = {"configurable": {"checkpoint_id": "c0"}}
    checkpoint = {"config": PLACE, "parent_config": parent, "metadata": {"step": 1, "source": "loop"}}
    found = shapes(Protocol(False, False, False, with_places=told), ((), "checkpoints", checkpoint))
    assert found == [("checkpoints", "", {"data": place})]


@pytest.mark.parametrize("told", [True, False])
def test_the_result_of_a_tool_is_a_message_too_where_the_graph_wants_it(told: bool) -> None:
    output = ToolMessage("42", tool_call_id="c", id="t")
    finished = {"event": "tool-finished", "tool_call_id": "c", "output": output}
    kinds = [
        (kind, where)
        for kind, where, _ in shapes(Protocol(False, told, False), (("a:1",), "tools", finished))
    ]
    assert kinds == [("tools", "a:1"), *[("messages", "a:1|tools:c")] * (5 if told else 0)]


def test_a_subgraph_begins_with_its_first_task_and_ends_with_the_task_it_is_part_of() -> None:
    call = {"tool_call": {"id": "call-1"}}
    inner = ("tools:t1",)
    found = shapes(
        Protocol(False, False, False),
        ((), "tasks", {"id": "t1", "name": "tools", "input": call}),
        (inner, "tasks", {"id": "t2", "name": "x", "input": {}, "metadata": {"lc_agent_name": "helper"}}),
        (inner, "tasks", {"id": "t2", "result": {}, "error": None, "interrupts": []}),
        ((), "tasks", {"id": "t1", "result": {}, "error": "boom", "interrupts": []}),
    )
    assert found == [
        (
            "lifecycle",
            "tools:t1",
            {
                "data": {
                    "event": "started",
                    "namespace": ["tools:t1"],
                    "graph_name": "helper",
                    "trigger_call_id": "t1",
                    "cause": {"type": "toolCall", "tool_call_id": "call-1"},
                }
            },
        ),
        (
            "lifecycle=failed",
            "tools:t1",
            {"data": {"event": "failed", "graph_name": "helper", "error": "boom"}},
        ),
    ]


def test_a_question_is_remembered_with_the_innermost_namespace_and_told_to_v1_alone() -> None:
    made = Protocol(False, False, False)
    update = {"__interrupt__": (Interrupt(value="?", id="i1"),)}
    items = [*made.shape(("inner:1",), "updates", update), *made.shape((), "updates", update)]
    assert made.asked == {"i1": "inner:1"}
    assert {(kind, mask) for kind, _, mask, _ in items} == {("updates", event.V1 | event.THREAD)}


class Counting(StreamTransformer):
    """Counts states on a channel of its own, and hides custom events."""

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self.channel: StreamChannel[Any] = StreamChannel("progress")
        self.count = 0

    def init(self) -> dict[str, Any]:
        return {"progress": self.channel}

    def process(self, event: Any) -> bool:
        self.count += event["method"] == "values"
        if event["method"] == "values":
            self.channel.push({"states": self.count})
        return event["method"] != "custom"

    def finalize(self) -> None:
        self.channel.push("over")


def test_a_graphs_own_transformers_push_to_channels_and_suppress_what_they_want() -> None:
    made = Protocol(False, False, False, transformers=Transformers((Counting, ToolCallTransformer)))
    found = shapes(made, ((), "values", {"n": 1}), ((), "custom", "secret"))
    assert found == [
        ("custom", "", {"data": {"name": "progress", "payload": {"states": 1}}}),
        ("values", "", {"data": {"n": 1}}),
    ]
    (last,) = made.close("completed")
    assert wire.loads(last[3]) == {"data": {"name": "progress", "payload": "over"}}


def test_a_whole_state_leaves_as_it_is_cut() -> None:
    cut = Cut(b"manifest", 9000, [])
    made = Protocol(False, False, False, lambda params: cut if params == {"data": {"n": 1}} else b"?")
    items = [*made.shape((), "values", {"n": 1, "__interrupt__": ()}), *made.release()]
    assert [(kind, data) for kind, _, _, data in items] == [("v2/values", cut)]
