"""What a graph's output schema leaves out is neither streamed nor a result; states show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from gatewayd.runs import waiters
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "discreet" / "langgraph.json"
WHOLE = {"asked": "tea", "answer": "tea!", "notes": "said"}


def result_of(ended: waiters.Ended) -> Any:
    assert isinstance(ended.result, bytes)
    return wire.loads(ended.result)


async def streamed(daemon: inprocess.Daemon, thread_id: str, kind: str) -> list[Any]:
    return [wire.loads(record.data) for record in await daemon.log(thread_id) if record.kind == kind]


async def values_of(daemon: inprocess.Daemon, thread_id: str) -> Any:
    thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
    assert isinstance(thread.values, bytes)
    return wire.loads(thread.values)


async def test_streams_and_results_are_the_output_and_states_are_whole(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        ended = await daemon.finish(
            inprocess.request("discreet", thread_id=thread_id, input={"asked": "tea"})
        )
        assert result_of(ended) == {"answer": "tea!"}
        assert await streamed(daemon, thread_id, "values") == [{"answer": "tea!"}]
        updates = await streamed(daemon, thread_id, "updates")
        assert updates == [{"think": None}, {"speak": {"answer": "tea!"}}]
        assert await values_of(daemon, thread_id) == WHOLE
        assert wire.loads(await daemon.services.threads.state(INTERNAL, thread_id))["values"] == WHOLE


async def test_a_result_does_not_depend_on_what_was_streamed(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        quiet = inprocess.request(
            "discreet", thread_id=ids.new_id(), input={"asked": "tea"}, stream_mode=("custom",)
        )
        assert result_of(await daemon.finish(quiet)) == {"answer": "tea!"}


async def test_beside_events_states_are_whole_and_the_result_is_the_output(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        request = inprocess.request(
            "discreet", thread_id=thread_id, input={"asked": "tea"}, stream_mode=("events", "values")
        )
        assert result_of(await daemon.finish(request)) == {"answer": "tea!"}
        assert (await streamed(daemon, thread_id, "values"))[-1] == WHOLE


async def test_a_question_stands_beside_the_output(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        ended = await daemon.finish(inprocess.request("asking", thread_id=thread_id, input={"asked": "tea"}))
        result = result_of(ended)
        assert [each["value"] for each in result.pop("__interrupt__")] == ["which?"]
        assert result == {"answer": "tea!"}
        assert await values_of(daemon, thread_id) == WHOLE
