"""
Threads from elsewhere: shown when they are whole, passed over when they are there, taken up again when cut
short.
"""

from __future__ import annotations

from typing import Any

from gatewayd.checkpointing import commands
from gatewayd.model.run import RunOutcome

PROJECTION = RunOutcome(status="success", values=b'{"a":1}', interrupts={}, next=[])


def begin(desk: Any, thread_id: str = "thread", operation_id: str = "operation") -> bool:
    return bool(desk.ask.thread_import_begin(thread_id, {"graph_id": "chat"}, operation_id, desk.tick()))


def put(desk: Any, checkpoint_id: str, thread_id: str = "thread", operation_id: str = "operation") -> None:
    change = commands.put(thread_id, "", checkpoint_id, None, "msgpack", b"state", "{}")
    desk.ask.thread_import_step(thread_id, operation_id, [change])


def test_a_thread_is_seen_when_it_is_whole_with_its_own_times_and_without_a_time_to_live(desk: Any) -> None:
    desk.ask.default_ttl_set("delete", 1)
    assert begin(desk)
    put(desk, "0001")
    assert not desk.exists("thread")
    desk.ask.thread_import_end("thread", "operation", PROJECTION, 1000, 2000)
    found = desk.look("thread")
    assert (found.created_at, found.updated_at, found.state_updated_at) == (1000, 2000, 2000)
    assert (found.values, found.status) == (b'{"a":1}', "idle")
    assert desk.ask.thread_ttl_get("thread") is None
    assert desk.holder("thread") is None
    assert not begin(desk)
    assert desk.look("thread") == found


# the stock saver's file
