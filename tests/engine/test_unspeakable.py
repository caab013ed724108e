"""What a graph leaves that can't be said in JSON, or not be sent, hides nothing else and holds up nobody."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.errors import GatewaydError, Rejected, Unusable
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "unspeakable" / "langgraph.json"
SHOWN: dict[str, Any] = {"pair as key": {"(1, 2)": {"x": 1}}, "time with a zone": ["01:02:03+00:00"]}


def bottom(value: Any) -> tuple[Any, int]:
    """Return what is inside of nested lists, and how many there are."""
    depth = 0
    while isinstance(value, list):
        (value,) = value
        depth += 1
    return value, depth


@pytest.mark.parametrize("kind", SHOWN)
async def test_a_stored_value_without_a_json_form_is_shown_as_its_text(tmp_path: Path, kind: str) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id, threads = ids.new_id(), daemon.services.threads
        run = inprocess.request("values", thread_id=thread_id, input={"kind": kind})
        assert (await daemon.finish(run)).status == "error"  # what is streamed has to have a form
        state = wire.loads(await threads.state(INTERNAL, thread_id))
        assert state["values"] == {"kind": kind, "kept": SHOWN[kind]}
        history = wire.loads(await threads.history(INTERNAL, thread_id, limit=10))
        assert history[0]["values"] == state["values"]
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert isinstance(thread.values, bytes)
        assert wire.loads(thread.values) == state["values"]
        update = daemon.services.changes.update_state
        await update(INTERNAL, thread_id, values={"kind": "told"}, as_node="keep", place={})
        state = wire.loads(await threads.state(INTERNAL, thread_id))
        assert state["values"] == {"kind": "told", "kept": SHOWN[kind]}


async def test_what_is_nested_too_deeply_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        run = inprocess.request(
            "values", thread_id=thread_id, input={"kind": "deep"}, stream_mode=("custom",)
        )
        assert (await daemon.finish(run)).status == "success"  # a state has a level more around its values
        values = wire.loads(await daemon.services.threads.state(INTERNAL, thread_id))["values"]
        assert values["kind"] == "deep"
        inside, depth = bottom(values["kept"])
        assert inside is None
        assert depth > 150


@pytest.mark.parametrize("kind", SHOWN)
async def test_a_question_without_a_json_form_is_asked(tmp_path: Path, kind: str) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        run = inprocess.request(
            "questions", thread_id=thread_id, input={"kind": kind}, stream_mode=("custom",)
        )
        assert (await daemon.finish(run)).status == "success"
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "interrupted"
        ((asked,),) = (thread.interrupts or {}).values()
        assert asked["value"] == SHOWN[kind]
        state = wire.loads(await daemon.services.threads.state(INTERNAL, thread_id))
        assert state["tasks"][0]["interrupts"] == [asked]


async def test_a_run_whose_error_has_no_valid_text_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "gatewayd.worker.runs.execute")  # xdist can't send such a text either
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        ended = await daemon.finish(inprocess.request("failing", thread_id=thread_id, input={"kind": "x"}))
        assert ended.status == "error"
        assert ended.error == {"error": "ValueError", "message": "a half ? and a nothing \ufffd"}


async def test_a_step_that_contradicts_itself_leaves_the_state_before_it_and_says_so(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        ended = await daemon.finish(inprocess.request("quarrel", thread_id=thread_id, input={"kind": "x"}))
        assert ended.error is not None
        assert ended.error["error"] == "InvalidUpdateError"
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.status == "error"
        assert isinstance(thread.values, bytes)
        assert wire.loads(thread.values) == {"kind": "x"}
        with pytest.raises(Rejected, match="Can receive only one value per step"):
            await daemon.services.threads.state(INTERNAL, thread_id)


@pytest.mark.parametrize(
    ("graph", "kind", "why"),
    [
        ("refusing", Rejected, "not with this config"),
        ("nothing", Unusable, "Graph 'nothing' is not valid. Review graph registration. None"),
    ],
)
async def test_a_factory_that_makes_no_graph_is_told_to_who_asks_for_its_states(
    tmp_path: Path, graph: str, kind: type[GatewaydError], why: str
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        assert (
            await daemon.finish(inprocess.request(graph, thread_id=thread_id, input={}))
        ).status == "error"
        threads, operations = daemon.services.threads, daemon.services.changes
        for asked in (
            threads.state(INTERNAL, thread_id),
            threads.history(INTERNAL, thread_id, limit=1),
            operations.update_state(INTERNAL, thread_id, values={}, as_node=None, place={}),
        ):
            with pytest.raises(kind) as caught:
                await asked
            assert caught.value.detail == why


async def test_a_long_text_of_an_exception_is_cut_in_events_and_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "gatewayd.worker.runs.execute")
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        modes = ("values", "updates", "tasks", "debug")
        ended = await daemon.finish(
            inprocess.request(
                "shouting", thread_id=thread_id, input={"kind": "x"}, stream_mode=modes, subgraphs=True
            )
        )
        assert ended.error is not None
        assert_cut(ended.error["message"])
        told = [wire.loads(record.data) for record in await daemon.log(thread_id) if b"xxxx" in record.data]
        assert len(told) >= 3  # the error event, the task's of two modes
        assert all(len(wire.dumps(each)) < 66_000 for each in told)
        state = wire.loads(await daemon.services.threads.state(INTERNAL, thread_id))
        assert_cut(state["tasks"][0]["error"])
        rows = await daemon.services.storage.readers.rows("SELECT max(length(value)) FROM writes", ())
        blobs = await daemon.services.storage.readers.rows("SELECT total(length(body)) FROM blobs", ())
        assert rows[0][0] + blobs[0][0] < 70_000


def assert_cut(text: str) -> None:
    assert 63_000 < len(text.encode()) <= 64_000
    assert text.endswith(" characters in all]")
