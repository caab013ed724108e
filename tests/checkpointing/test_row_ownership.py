"""A run's rows stand beside those of other runs, and deleting them gives the older ones back."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from gatewayd.checkpointing import rows
from gatewayd.checkpointing.sqlite import changes
from gatewayd.errors import Rejected
from gatewayd.worker.states import checkpoints

pytestmark = pytest.mark.usefixtures("cutting")

THREAD: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def checkpoint(number: int, **values: Any) -> Any:
    return {**empty_checkpoint(), "id": f"{number:08d}", "channel_values": values}


def values(saver: checkpoints.Saver, config: Any = THREAD) -> list[tuple[str, str, Any]]:
    found = saver.get_tuple(config)
    assert found is not None
    return list(found.pending_writes or [])


def test_writes_on_another_runs_checkpoint_count_until_they_are_rolled_back(bench: Any) -> None:
    first, second = bench.saver("run-a"), bench.saver("run-b")
    place = first.put(THREAD, checkpoint(1), {}, {})
    first.put_writes(place, [("x", "old"), ("y", "old")], "task")
    first.put_writes(place, [("__interrupt__", "question")], "other")
    before = values(first), bench.dump("checkpoints"), bench.dump("writes")

    second.put_writes(place, [("x", "new"), ("y", "new")], "task")
    second.put_writes(place, [("__resume__", "answer")], "other")
    second.put(place, checkpoint(2), {}, {})
    assert values(second, place) == [
        ("other", "__resume__", "answer"),
        ("other", "__interrupt__", "question"),
        ("task", "x", "new"),
        ("task", "y", "new"),
    ]

    bench.change(changes.run_delete, "run-b")
    assert (values(first), bench.dump("checkpoints"), bench.dump("writes")) == before


def test_a_task_executed_anew_by_another_run_is_not_mixed_with_its_older_writes(bench: Any) -> None:
    first, second = bench.saver("run-a"), bench.saver("run-b")
    place = first.put(THREAD, checkpoint(1), {}, {})
    first.put_writes(place, [("x", 1), ("y", 1)], "task")
    values(first)
    second.put_writes(place, [("x", 2)], "task")
    assert values(second) == [("task", "x", 2)]


def test_within_a_run_regular_writes_stay_and_special_ones_are_replaced(bench: Any) -> None:
    saver = bench.saver()
    place = saver.put(THREAD, checkpoint(1), {}, {})
    saver.put_writes(place, [("x", 1), ("__resume__", ["a"])], "task")
    saver.put_writes(place, [("x", 2), ("__resume__", ["a", "b"])], "task")
    assert values(saver) == [("task", "__resume__", ["a", "b"]), ("task", "x", 1)]


def test_the_newest_run_wins_even_if_the_clock_was_set_back(bench: Any, monkeypatch: Any) -> None:
    place = bench.saver("run-a").put(THREAD, checkpoint(1), {}, {})
    for run_id, now in (("run-a", 2_000), ("run-b", 1_000)):
        monkeypatch.setattr(changes.time, "time_ns", lambda now=now: now)
        saver = bench.saver(run_id)
        saver.put_writes(place, [("x", run_id)], "task")
        seen = values(saver)
    assert seen == [("task", "x", "run-b")]


async def test_a_checkpoint_of_another_run_is_not_replaced_and_the_attempt_fails_the_run(bench: Any) -> None:
    first, second = bench.saver("run-a"), bench.saver("run-b")
    await first.aput(THREAD, checkpoint(1, x="first"), {}, {})
    await first.aget_tuple(THREAD)
    await second.aput(THREAD, checkpoint(1, x="second"), {}, {})
    with pytest.raises(checkpoints.SinkFailed, match="made by another run"):
        await second.aget_tuple(THREAD)
    with pytest.raises(checkpoints.SinkFailed):
        second.put_writes({"configurable": {**THREAD["configurable"], "checkpoint_id": "1"}}, [("x", 1)], "t")
    with pytest.raises(checkpoints.SinkFailed):
        second.get_tuple(THREAD)
    found = await first.aget_tuple(THREAD)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"x": "first"}


def test_a_run_may_replace_its_own_checkpoint(bench: Any) -> None:
    saver = bench.saver()
    saver.put(THREAD, checkpoint(1, x=1), {"step": 1}, {})
    saver.put(THREAD, checkpoint(1, x=2), {"step": 2}, {})
    found = saver.get_tuple(THREAD)
    assert found is not None
    assert (found.checkpoint["channel_values"], found.metadata["step"]) == ({"x": 2}, 2)


def test_a_run_has_begun_when_any_namespace_holds_something_of_it(bench: Any) -> None:
    begun: list[bool] = []
    nested: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "child:1", "checkpoint_id": "1"}}
    begun.append(bench.reader.run_has_begun("run-a"))
    saver = bench.saver("run-a")
    saver.put_writes(nested, [("x", 1)], "task")
    saver.get_tuple(nested)
    begun += map(bench.reader.run_has_begun, ("run-a", "run-b"))
    assert begun == [False, True, False]


def test_writes_whose_checkpoint_never_came_are_swept_and_others_stay(bench: Any) -> None:
    saver = bench.saver("run-a")
    place = saver.put(THREAD, checkpoint(1), {}, {})
    saver.put_writes(place, [("x", "kept")], "task")
    lost: Any = {"configurable": {**THREAD["configurable"], "checkpoint_id": "never"}}
    saver.put_writes(lost, [("x", "lost")], "task")
    assert values(saver) == [("task", "x", "kept")]
    bench.change(changes.run_delete_orphans, "run-a")
    assert [row[2] for row in bench.dump("writes")] == [place["configurable"]["checkpoint_id"]]


def test_a_copy_has_the_same_answers_and_survives_the_deletion_of_its_runs(bench: Any) -> None:
    first, second = bench.saver("run-a"), bench.saver("run-b")
    place = first.put({**THREAD, "metadata": {"who": "a"}}, checkpoint(1, x=1), {}, {})
    first.put_writes(place, [("x", 1), ("y", 1)], "task")
    values(first)
    second.put_writes(place, [("x", 2)], "task")
    second.copy_thread("t", "u")
    second.copy_thread("u", "v")
    bench.change(changes.run_delete, "run-a")
    bench.change(changes.run_delete, "run-b")
    assert second.get_tuple(THREAD) is None
    for thread_id in "uv":
        copied = second.get_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
        assert copied is not None
        assert copied.metadata["who"] == "a"
        assert copied.pending_writes == [("task", "x", 2)]


def test_a_copy_onto_a_thread_that_has_checkpoints_is_refused(bench: Any) -> None:
    saver = bench.saver()
    saver.put(THREAD, checkpoint(1), {}, {})
    with pytest.raises(checkpoints.SinkFailed, match="has checkpoints already"):
        saver.copy_thread("t", "t")


def test_unknown_operations_are_refused_by_name(bench: Any) -> None:
    with pytest.raises(Rejected, match="vacuum"):
        bench.change(changes.apply, ["vacuum"], "run-a")


def test_what_a_child_has_consumed_is_told_from_what_a_later_run_left() -> None:
    def row(task: str, idx: int, run: str, stamp: int) -> rows.WriteRow:
        return rows.WriteRow(task, idx, run, stamp, "", "x", 1, "null", b"")

    asked = [row("1", 0, "a", 1), row("2", -3, "a", 2)]
    answered = [row("2", -4, "b", 3), row("2", 0, "b", 4)]
    forked = [row("1", 0, "d", 5), row("2", 0, "d", 6), row("3", 0, "d", 7)]
    everything = asked + answered + forked
    assert rows.consumed(everything, "b") == asked + answered
    assert rows.consumed(everything, "d") == [asked[1], answered[0], *forked]
    assert rows.consumed(asked, "b") == asked


async def test_rollback_of_an_answer_gives_the_question_back(bench: Any) -> None:
    def ask(state: dict[str, Any]) -> dict[str, Any]:
        return {"answer": interrupt("well?")}

    builder = StateGraph(dict[str, Any])
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    config: Any = {"configurable": {"thread_id": "t"}}
    asking = builder.compile(checkpointer=bench.saver("run-a"))
    await asking.ainvoke({}, config)  # the reads that follow wait for its commits
    question = await asking.aget_state(config)
    before = bench.dump("checkpoints"), bench.dump("writes")

    answering = builder.compile(checkpointer=bench.saver("run-b"))
    assert await answering.ainvoke(Command(resume="yes"), config) == {"answer": "yes"}
    assert (await answering.aget_state(config)).values == {"answer": "yes"}
    bench.change(changes.run_delete, "run-b")
    assert (bench.dump("checkpoints"), bench.dump("writes")) == before
    assert await asking.aget_state(config) == question

    again = builder.compile(checkpointer=bench.saver("run-c"))
    assert await again.ainvoke(Command(resume="no"), config) == {"answer": "no"}
