"""
Threads from elsewhere: shown when they are whole, passed over when they are there, taken up again when cut
short.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base.id import uuid6

from gatewayd.checkpointing import commands
from gatewayd.checkpointing.sqlite import convert
from gatewayd.commands import importing
from gatewayd.errors import NotFound, Rejected
from gatewayd.model.run import RunOutcome
from gatewayd.storage.sqlite import imports, langgraph_file, threads

PROJECTION = RunOutcome(status="success", values=b'{"a":1}', interrupts={}, next=[])


def begin(desk: Any, thread_id: str = "thread", operation_id: str = "operation") -> bool:
    return imports.thread_import_begin(
        desk.connection, thread_id, {"graph_id": "chat"}, operation_id, desk.boot, desk.tick()
    )


def put(desk: Any, checkpoint_id: str, thread_id: str = "thread", operation_id: str = "operation") -> None:
    change = commands.put(thread_id, "", checkpoint_id, None, "msgpack", b"state", "{}")
    imports.thread_import_step(desk.connection, thread_id, operation_id, [change])


def test_its_states_are_on_the_list_of_what_is_converted_and_what_was_there_before_is_not(desk: Any) -> None:
    begin(desk)
    put(desk, "0001")
    assert desk.connection.execute(
        "SELECT name, done_to, last_row FROM conversions ORDER BY name"
    ).fetchall() == [
        ("checkpoints", 0, 1),
        ("writes", 0, 0),
    ]
    while convert.next_row(desk.connection) is not None:
        pass
    begin(desk, "second")
    put(desk, "0001", "second")
    put(desk, "0002", "second")
    assert desk.connection.execute("SELECT done_to, last_row FROM conversions ORDER BY name").fetchall() == [
        (1, 3),
        (0, 0),
    ]


def test_one_that_was_cut_short_is_begun_anew_or_swept(desk: Any) -> None:
    begin(desk)
    put(desk, "0001")
    put(desk, "0002")
    assert begin(desk, operation_id="again")
    put(desk, "0001", operation_id="again")
    with pytest.raises(NotFound):
        put(desk, "0002")
    assert desk.rows_of("thread")["checkpoints"] == 1
    assert threads.sweep_candidates(desk.connection, 0, 10) == []
    desk.restart()
    assert threads.sweep_candidates(desk.connection, 0, 10) == ["thread"]
    with pytest.raises(NotFound):
        imports.thread_import_end(desk.connection, "thread", "again", PROJECTION, 1, 2)


# the stock saver's file


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """Return a function that makes a saver's file with one checkpoint, changed by the given columns."""
    path = tmp_path / "stock.sqlite"

    def make(**changes: Any) -> langgraph_file.LanggraphFile:
        row = {
            "thread_id": "t",
            "checkpoint_ns": "",
            "checkpoint_id": "1f1e93b0-49d3-66bd-847b-7828fcb3b809",
            "parent_checkpoint_id": None,
            "type": "msgpack",
            "checkpoint": b"state",
            "metadata": b'{"step": -1}',
            **changes,
        }
        connection = sqlite3.connect(path)
        connection.execute(f"CREATE TABLE checkpoints ({', '.join(row)})")
        connection.execute(f"INSERT INTO checkpoints VALUES ({', '.join('?' * len(row))})", [*row.values()])
        connection.execute(
            "CREATE TABLE writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value)"
        )
        writes = [("t", "", row["checkpoint_id"], "a", idx, "c", "msgpack", b"v") for idx in (-1, 0)]
        connection.executemany("INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", writes)
        connection.commit()
        connection.close()
        return langgraph_file.LanggraphFile.open(path)

    return make


def test_checkpoints_and_writes_are_taken_as_they_are(source: Any) -> None:
    opened = source()
    checkpoint_id = "1f1e93b0-49d3-66bd-847b-7828fcb3b809"
    assert opened.threads() == ["t"]
    assert opened.span("t") == (checkpoint_id, checkpoint_id)
    assert list(opened.steps("t", "target")) == [
        [
            commands.put("target", "", checkpoint_id, None, "msgpack", b"state", '{"step":-1}'),
            commands.writes(
                "target",
                "",
                checkpoint_id,
                "a",
                "",
                [(-1, "c", 1, "msgpack", b"v"), (0, "c", 1, "msgpack", b"v")],
            ),
        ]
    ]
    opened.close()


@pytest.mark.parametrize(
    "changes", [{"metadata": b"{"}, {"metadata": b"[]"}, {"type": None}, {"checkpoint": None}]
)
def test_a_row_that_can_not_be_what_it_should_be_is_named(source: Any, changes: dict[str, Any]) -> None:
    opened = source(**changes)
    with pytest.raises(Rejected, match="1f1e93b0-49d3-66bd-847b-7828fcb3b809"):
        list(opened.steps("t", "t"))
    opened.close()


def test_ids_that_are_uuids_stay_and_others_always_become_the_same_one() -> None:
    own = "0b9f3a56-6a52-4e9b-8a39-3f1b5f4a1c22"
    assert importing.address(own) == own
    assert (
        importing.address("user-42") == importing.address("user-42") == "9ef5824a-cd2a-5340-8e78-1b228fe617ef"
    )
    assert importing.address("user-43") != importing.address("user-42")


def test_the_moment_of_a_checkpoint_is_that_of_its_id() -> None:
    before = time.time_ns() // 1000
    made = importing.made_at(str(uuid6()))
    assert before - 1 <= made <= time.time_ns() // 1000 + 1000  # ids made in one tick count on
    assert importing.made_at("1") >= made
