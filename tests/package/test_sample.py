"""The sample's graphs, run by langgraph alone: what the README says of them holds without any server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from gatewayd import sample
from gatewayd.sample import agent, approval, scripted, walk

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}
QUESTION = "What is 12 * 34, and how is the weather in Oslo?"
ANSWER = "12 * 34 = 408. In Oslo it is 4 degrees with light rain."


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


@pytest.fixture
def scripted_agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(agent, "model", scripted.ScriptedModel(pause=0).bind_tools(agent.TOOLS))
    return agent.builder.compile(checkpointer=InMemorySaver())


async def test_the_agent_streams_calls_its_tools_and_answers_from_their_results(scripted_agent: Any) -> None:
    parts = [part async for part, _ in scripted_agent.astream(said(QUESTION), THREAD, stream_mode="messages")]
    words = [part.content for part in parts if isinstance(part, AIMessageChunk) and part.content]
    results = [part.content for part in parts if isinstance(part, ToolMessage)]

    assert len(words) > 10
    assert results == ["12 * 34 = 408", "In Oslo it is 4 degrees with light rain"]
    assert "".join(words).endswith(ANSWER)


async def test_the_agent_says_the_same_each_time(scripted_agent: Any) -> None:
    answers = [
        (await scripted_agent.ainvoke(said(QUESTION), THREAD))["messages"][-1].content for _ in range(2)
    ]

    assert answers == [ANSWER, ANSWER]


async def test_tool_calls_of_one_thread_have_different_ids(scripted_agent: Any) -> None:
    await scripted_agent.ainvoke(said(QUESTION), THREAD)
    state = await scripted_agent.ainvoke(said("And 2 + 2?"), THREAD)
    ids = [call["id"] for message in state["messages"] for call in getattr(message, "tool_calls", [])]

    assert len(ids) == len(set(ids)) == 3


async def test_without_a_task_the_agent_tells_what_it_can_do(scripted_agent: Any) -> None:
    state = await scripted_agent.ainvoke(said("Good morning"), THREAD)

    assert len(state["messages"]) == 2
    assert "calculate" in state["messages"][-1].content


def test_the_model_can_be_streamed_without_an_event_loop() -> None:
    words = [chunk.content for chunk in scripted.ScriptedModel(pause=0).stream("hello")]

    assert len(words) > 10


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3 * 4", "2 + 3 * 4 = 14"),
        ("(2 + 3) * -4 / 8", "(2 + 3) * -4 / 8 = -2.5"),
        ("7 // 2 % 2", "7 // 2 % 2 = 1"),
        ("1 / 0", "1 / 0 can't be calculated: division by zero"),
        ("9 ** 9", "9 ** 9 can't be calculated: only numbers and + - * / // % are understood"),
        ("open('x')", "open('x') can't be calculated: only numbers and + - * / // % are understood"),
    ],
)
def test_calculate_does_arithmetic_and_nothing_else(expression: str, result: str) -> None:
    assert agent.calculate.invoke({"expression": expression}) == result


@pytest.mark.parametrize("wanted", [{"SAMPLE_MODEL": "scripted", "OPENAI_API_KEY": "key"}, {}])
def test_the_script_answers_unless_a_real_model_is_asked_for(
    wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("SAMPLE_MODEL", *agent.MODEL_BY_KEY):
        monkeypatch.delenv(name, raising=False)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)

    assert isinstance(agent.choose_model(), scripted.ScriptedModel)
    assert not caplog.records


def test_a_real_model_that_can_not_be_had_is_named_and_the_script_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SAMPLE_MODEL", "nobody:nothing-1")

    assert isinstance(agent.choose_model(), scripted.ScriptedModel)
    assert "nobody:nothing-1" in caplog.text


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (True, "done: send it"),
        ({"approved": True}, "done: send it"),
        (False, "left: send it"),
        ({"approved": False, "note": "not yet"}, "left: send it (not yet)"),
        ("whatever", "left: send it"),
    ],
)
async def test_approval_waits_for_the_answer_and_follows_it(answer: Any, outcome: str) -> None:
    graph = approval.builder.compile(checkpointer=InMemorySaver())
    waiting = await graph.ainvoke({"action": "send it"}, THREAD)
    (question,) = waiting["__interrupt__"]

    assert question.value == {"question": "Shall I send it?", "action": "send it"}
    assert "outcome" not in waiting
    assert (await graph.ainvoke(Command(resume=answer), THREAD))["outcome"] == outcome


async def test_walk_announces_each_step_and_goes_on_where_the_thread_stands() -> None:
    graph = walk.builder.compile(checkpointer=InMemorySaver())
    announced = [part async for part in graph.astream({"steps": 3, "pause": 0}, THREAD, stream_mode="custom")]
    state = await graph.ainvoke({"steps": 2, "pause": 0}, THREAD)

    assert announced == [{"step": step, "of": 3} for step in (1, 2, 3)]
    assert state["path"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("spell", [lambda path: path, lambda path: path.parent / ".." / "sample" / path.name])
def test_next_steps_are_told_for_the_sample_only(spell: Callable[[Path], Path], tmp_path: Path) -> None:
    told = sample.next_steps(spell(sample.CONFIG), "http://127.0.0.1:1")

    assert told is not None
    assert "http://127.0.0.1:1/runs/stream" in told
    assert "$" not in told
    assert sample.next_steps(tmp_path / "langgraph.json", "http://127.0.0.1:1") is None
