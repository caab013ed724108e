"""
An answer answers the question for which it was given, and no other (design §4, "answers are bound to
questions").
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


async def open_questions(daemon: inprocess.Daemon, thread_id: str) -> dict[str, str]:
    """Return the thread's open questions and the ids of their interrupts."""
    thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
    return {
        one["value"]["question"]: one["id"] for each in (thread.interrupts or {}).values() for one in each
    }


async def begun(daemon: inprocess.Daemon, graph: str = "two_questions") -> str:
    """Return a thread on which the graph has asked."""
    thread_id = ids.new_id()
    ended = await daemon.finish(
        inprocess.request(graph, thread_id=thread_id, input={"word": "w", "path": []})
    )
    assert ended.status == "success"
    return thread_id


def answer(thread_id: str, value: Any, graph: str = "two_questions") -> Any:
    return inprocess.request(graph, thread_id=thread_id, command={"resume": value})


async def clicks(daemon: inprocess.Daemon, *requests: Any) -> list[Any]:
    """Create runs so close together that all are on their way before the first can have been executed."""
    return await asyncio.gather(*map(daemon.create, requests))


async def test_the_second_click_ends_unexecuted_and_answers_nothing(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon)
        first, second = await clicks(daemon, *[answer(thread_id, "yes")] * 2)
        assert [(await each.ended).status for each in (first, second)] == ["success", "success"]
        assert [*await open_questions(daemon, thread_id)] == ["second"]
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "interrupted"
        assert wire.loads(thread.values)["path"] == ["before:w"]
        records = await daemon.log(thread_id, second.run.run_id)
        assert "updates" not in {record.kind for record in records}
        assert records[-1].kind == "end"


async def test_the_second_click_says_how_the_thread_stands(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon)
        first, second = await clicks(daemon, *[answer(thread_id, "yes")] * 2)
        results = [wire.loads((await each.ended).result) for each in (first, second)]
        assert results[0] == results[1]
        assert [one["value"] for one in results[1]["__interrupt__"]] == [
            {"question": "second", "after": "yes"}
        ]


async def test_the_second_click_on_a_last_question_ends_unexecuted(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon)
        await daemon.finish(answer(thread_id, "one"))
        first, second = await clicks(daemon, *[answer(thread_id, "two")] * 2)
        assert [(await each.ended).status for each in (first, second)] == ["success", "success"]
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "idle"
        assert wire.loads(thread.values)["path"] == ["before:w", "answers one two", "after:w"]


async def test_an_answer_that_waits_in_the_queue_is_not_given_to_a_question_asked_meanwhile(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon)
        late = await daemon.create(
            inprocess.request("two_questions", thread_id=thread_id, command={"resume": "late"}, after_s=0.2)
        )
        await daemon.finish(answer(thread_id, "one"))
        assert (await late.ended).status == "success"
        assert [*await open_questions(daemon, thread_id)] == ["second"]


async def test_a_plain_answer_is_stored_under_the_id_of_the_question_that_was_open(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon)
        open_now = await open_questions(daemon, thread_id)
        admission = await daemon.create(answer(thread_id, "yes"))
        assert admission.run.answers == {open_now["first"]: "yes"}
        await admission.ended


async def test_of_a_map_only_the_answers_to_open_questions_are_given(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon, "parallel_questions")
        open_now = await open_questions(daemon, thread_id)
        answers = {open_now["once"]: "yes", open_now["first"]: "one"}
        first, both = await clicks(
            daemon,
            answer(thread_id, {open_now["once"]: "yes"}, "parallel_questions"),
            answer(thread_id, answers, "parallel_questions"),
        )
        assert [(await each.ended).status for each in (first, both)] == ["success", "success"]
        assert [*await open_questions(daemon, thread_id)] == ["second"]
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert sorted(wire.loads(thread.values)["path"]) == ["once yes", "plain:w"]


async def test_the_second_click_in_a_subgraph_answers_nothing(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon, "inner_questions")
        first, second = await clicks(daemon, *[answer(thread_id, "yes", "inner_questions")] * 2)
        assert [(await each.ended).status for each in (first, second)] == ["success", "success"]
        assert [*await open_questions(daemon, thread_id)] == ["second"]


async def test_a_node_that_asks_before_and_after_it_calls_a_graph_that_asks_gets_every_answer(
    tmp_path: Path,
) -> None:
    graph = "asking_around_a_call"
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon, graph)
        seen = []
        for value in ("own", "one", "two", "last"):
            seen += await open_questions(daemon, thread_id)
            await daemon.finish(answer(thread_id, value, graph))
        assert seen == ["before the call", "first", "second", "after the call"]
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "idle"
        assert wire.loads(thread.values)["path"][-2:] == ["last", "after:w"]


async def test_a_subgraph_with_a_memory_of_its_own_gets_every_answer(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon, "remembering")
        first, again = await clicks(daemon, *[answer(thread_id, "one", "remembering")] * 2)
        assert [(await each.ended).status for each in (first, again)] == ["success", "success"]
        assert [*await open_questions(daemon, thread_id)] == ["second"]
        await daemon.finish(answer(thread_id, "two", "remembering"))
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "idle"
        assert "answers one two" in wire.loads(thread.values)["path"]


async def test_the_second_click_with_an_update_updates_and_answers_nothing(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await begun(daemon)
        command = {"resume": "yes", "update": {"path": ["updated"]}}
        first, second = await clicks(
            daemon,
            answer(thread_id, "yes"),
            inprocess.request("two_questions", thread_id=thread_id, command=command),
        )
        assert [(await each.ended).status for each in (first, second)] == ["success", "success"]
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert wire.loads(thread.values)["path"] == ["before:w", "updated"]
        assert [*await open_questions(daemon, thread_id)] == ["second"]


async def test_a_second_click_that_a_restart_finds_in_the_queue_answers_nothing(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        thread_id = await begun(daemon)
        daemon.writer.crash_after(2)
        _, second = await clicks(daemon, *[answer(thread_id, "yes")] * 2)
        await daemon.writer.crashed.wait()
        daemon.abandon()
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        assert (await daemon.services.runs.wait(INTERNAL, thread_id, second.run.run_id)).status == "success"
        assert [*await open_questions(daemon, thread_id)] == ["second"]
