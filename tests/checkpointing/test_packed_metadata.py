"""
Metadata are found, copied and shown the same whether they stand packed in their row or, as older versions
have it, as text.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint

from gatewayd.blobs import codec

ABOUT: dict[str, Any] = {
    "source": "loop",
    "step": 1,
    "parents": {},
    "created_by": "system",
    "graph_id": "agent",
    "counters_since_delta_snapshot": {"log": [1, 2]},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def config(thread_id: str = "t") -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def as_text(connection: sqlite3.Connection) -> None:
    """Make the rows what an older version would have stored."""
    rows = connection.execute("SELECT rowid, metadata_packed FROM checkpoints").fetchall()
    connection.executemany(
        "UPDATE checkpoints SET metadata = ?, metadata_packed = NULL WHERE rowid = ?",
        [(codec.content(packed).decode(), rowid) for rowid, packed in rows],
    )


@pytest.fixture(params=["packed", "text"])
def stored(request: pytest.FixtureRequest, bench: Any) -> Any:
    """Give a bench with three checkpoints, and how their metadata are stored."""
    for step in range(3):
        made = {**empty_checkpoint(), "id": f"1f{step}"}
        told = {**ABOUT, "step": step, "mine": {"deep": step}, "thread_id": "t" if step else None}
        bench.saver(durability="sync").put(config(), made, told, {})
    if request.param == "text":
        bench.change(as_text)
    return bench


def steps(bench: Any, thread_id: str = "t", **wanted: Any) -> list[int]:
    return [found.metadata["step"] for found in bench.saver("reads").list(config(thread_id), **wanted)]


def test_they_are_filtered(stored: Any) -> None:
    assert steps(stored) == [2, 1, 0]
    assert steps(stored, filter={"step": 1}) == [1]
    assert steps(stored, filter={"source": "loop", "mine.deep": 2}) == [2]
    assert steps(stored, filter={"parents": {}}) == [2, 1, 0]
    assert steps(stored, filter={"thread_id": None}) == [0]
    assert steps(stored, filter={"source": "input"}) == []


def test_delta_channels_are_found_in_them(stored: Any) -> None:
    saver = stored.saver("prunes")
    assert list(saver.kept("t")) == [("", "1f2", [])]
    saver.prune(["t"])
    assert steps(stored) == [2]


def test_a_copy_names_its_own_thread(stored: Any) -> None:
    stored.saver("copies").copy_thread("t", "u")
    copied = [found.metadata for found in stored.saver("reads").list(config("u"))]
    assert [each["thread_id"] for each in copied] == ["u", "u", "u"]
    original = [found.metadata for found in stored.saver("reads").list(config())]
    assert [each["thread_id"] for each in original] == ["t", "t", None]
    assert [{**each, "thread_id": 0} for each in copied] == [{**each, "thread_id": 0} for each in original]


def test_a_put_of_the_same_checkpoint_takes_the_place_of_either(stored: Any) -> None:
    made = {**empty_checkpoint(), "id": "1f1"}
    stored.saver(durability="sync").put(config(), made, {**ABOUT, "step": 7}, {})
    assert steps(stored) == [2, 7, 0]


@pytest.mark.parametrize("form", ["packed", "text"])
def test_checkpoints_whose_metadata_name_a_run_are_deleted_with_it(bench: Any, form: str) -> None:
    for number, run_id in enumerate(["inner", "other", "inner"]):
        made = {**empty_checkpoint(), "id": f"1f{number}"}
        bench.saver("outer", "sync").put(config(), made, {**ABOUT, "step": number, "run_id": run_id}, {})
    if form == "text":
        bench.change(as_text)
    bench.saver("outer").delete_for_runs(["inner"])
    assert steps(bench) == [1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(about=st.dictionaries(st.text(max_size=40), JSON, max_size=5))
def test_packed_ones_are_shown_as_they_would_be_as_text(bench: Any, about: dict[str, Any]) -> None:
    saver = bench.saver(durability="sync")
    saver.put(config(), {**empty_checkpoint(), "id": "1f"}, about, {})
    packed = saver.get_tuple(config())
    bench.change(as_text)
    assert saver.get_tuple(config()).metadata == packed.metadata
