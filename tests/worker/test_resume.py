"""The small decisions of `worker.runs.resume`; tests/engine/test_prefix.py proves the rule as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.constants import TAG_HIDDEN
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Interrupt, Send

from gatewayd.checkpointing import rows
from gatewayd.worker.runs import resume
from gatewayd.worker.states import commands, questions

SERDE = JsonPlusSerializer()


@pytest.mark.parametrize(
    ("candidate", "namespace"),
    [
        ("ask:task", ""),
        ("ask:task|1", ""),  # the second graph that the node calls
        ("outer:0|ask:task", "outer:0"),
        ("outer:0|1|ask:task|2", "outer:0|1"),
        ("ask", ""),  # a subgraph with a memory of its own
        ("outer|ask", "outer:0"),
        ("outer|ask", "outer"),
        ("outer|ask", "outer:0|1"),
    ],
)
def test_namespaces_of_graphs_that_a_task_calls_are_below_it(candidate: str, namespace: str) -> None:
    assert questions.is_below(candidate, namespace, "task", "ask")


def test_a_task_without_a_name_has_not_the_root_below_it() -> None:
    assert not questions.is_below("", "", "task", "")


@pytest.mark.parametrize(
    ("candidate", "namespace"),
    [
        ("", ""),
        ("ask:other", ""),
        ("ask:task|deeper:0", ""),  # found below that of the task
        ("other", ""),
        ("ask:task", "outer:0"),
        ("outer:1|ask:task", "outer:0"),
        ("outer:0", "outer:0"),
        ("outer", "outer:0"),
    ],
)
def test_other_namespaces_are_not_below_it(candidate: str, namespace: str) -> None:
    assert not questions.is_below(candidate, namespace, "task", "ask")


def write(channel: str, stamp: int, *, run_id: str = "run", value: Any = None) -> rows.WriteRow:
    kind, packed = SERDE.dumps_typed(value)
    return rows.WriteRow("task", 0, run_id, stamp, "", channel, rows.WHOLE, kind, packed)


def test_a_question_is_open_until_a_newer_answer() -> None:
    asked = write(questions.INTERRUPT, 5, value=(Interrupt(value="?", id="q"),))
    assert questions.open_question([asked], "task") == asked
    assert (
        questions.open_question([asked, write(questions.RESUME, 5)], "task") == asked
    )  # the answer to the one before
    assert questions.open_question([asked, write(questions.RESUME, 6)], "task") is None
    assert list(questions.ids(asked, SERDE)) == ["q"]


def test_of_several_runs_questions_the_newest_counts() -> None:
    old, new = write(questions.INTERRUPT, 5, run_id="old"), write(questions.INTERRUPT, 7, run_id="new")
    assert questions.open_question([old, write(questions.RESUME, 6), new], "task") == new
    assert questions.asks([old, new], "task", "new")
    assert not questions.asks([old, new], "task", "old")


def test_a_task_with_a_result_asks_nothing() -> None:
    asked = write(questions.INTERRUPT, 5)
    assert questions.open_question([asked, write("path", 6)], "task") is None


def test_marks_of_failure_are_no_result() -> None:
    assert not questions.finished([write(questions.ERROR, 1), write(questions.INTERRUPT, 2)], "task")
    assert questions.finished([write("path", 1)], "task")


def test_the_wires_command_becomes_langgraphs() -> None:
    command = commands.command_of(
        {"update": [["path", ["a"]]], "resume": 1, "goto": ["b", {"node": "c", "input": {"word": "w"}}]}
    )
    assert command == Command(update=[("path", ["a"])], resume=1, goto=["b", Send("c", {"word": "w"})])
    assert commands.command_of({"goto": "b"}) == Command(goto="b")
    assert commands.command_of({"goto": {"node": "b"}}) == Command(goto=Send("b", None))


def test_the_latest_checkpoint_is_addressed_by_the_thread_alone() -> None:
    config: RunnableConfig = {
        "configurable": {
            "thread_id": "t",
            "checkpoint_id": "c",
            "checkpoint_ns": "n",
            "checkpoint_map": {},
            "model": "small",
        },
        "tags": ["tag"],
    }
    assert resume.latest(config) == {"configurable": {"thread_id": "t", "model": "small"}, "tags": ["tag"]}
    assert config["configurable"]["checkpoint_id"] == "c"


def test_all_nodes_means_those_that_are_shown() -> None:
    def node(state: dict[str, Any]) -> dict[str, Any]:
        return state

    builder = StateGraph(dict).add_node("shown", node).add_node("hidden", node).add_edge(START, "shown")
    graph = builder.add_edge("shown", "hidden").compile()
    graph.nodes["hidden"].tags = [TAG_HIDDEN]
    assert resume._among(graph, "shown", "*")
    assert not resume._among(graph, "hidden", "*")
    assert resume._among(graph, "hidden", ["hidden"])
    assert not resume._among(graph, "shown", ["hidden"])
    assert not resume._among(graph, "__interrupt__", "*")
