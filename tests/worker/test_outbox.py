"""
The outbox of a run: nothing overtakes what was emitted before it, and nothing more goes out than the window
allows.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import ormsgpack
import pytest

from gatewayd.channel import frames
from gatewayd.checkpointing import commands
from gatewayd.model.event import Item
from gatewayd.worker.runs import outbox
from gatewayd.worker.states import checkpoints

WINDOW, BACKLOG = 1000, 5000


class Wire:
    """Stands for the link: keeps what was sent, as (name, what is in it), and tells whoever waits."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.numbers: list[int] = []
        self._splitter = frames.Splitter()
        self._more = threading.Condition()

    def queue(self, packed: bytes) -> None:
        with self._more:
            for frame, _ in self._splitter.feed(packed):
                self.sent += self._shown(frame)
                self.numbers.append(frame[3])
            self._more.notify_all()

    def flush(self) -> None:
        pass

    def _shown(self, frame: list[Any]) -> list[tuple[str, Any]]:
        match frame:
            case ["events", _, _, _, _, packed]:
                return [("event", kind) for kind, *_ in ormsgpack.unpackb(packed)]
            case ["checkpoint", _, _, _, operation]:
                return [("operation", operation[1])]
            case _:
                return [("ended", frame[4])]

    def wait_for(self, what: tuple[str, Any]) -> int:
        """Wait, in a thread of its own, until this was sent; return the number of the last frame."""
        with self._more:
            assert self._more.wait_for(lambda: what in self.sent, timeout=5)
            return self.numbers[-1]


def event(name: str, size: int = 1) -> Item:
    return (name, "", 3, b"x" * size)


def operation(name: str) -> commands.Operation:
    return ["delete_thread", name]


def opened(**sizes: int) -> tuple[outbox.Outbox, Wire]:
    wire = Wire()
    out = outbox.Outbox(
        wire, "run", 1, window=sizes.get("window", WINDOW), backlog=sizes.get("backlog", BACKLOG)
    )
    out.consuming = True
    return out, wire


async def passes(count: int = 4 * outbox.HOLD_PASSES) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def later(hops: int, call: Callable[[], object]) -> None:
    """Call something after some passes of the loop."""
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: later(hops - 1, call) if hops else call())


# order


@pytest.mark.parametrize("hops", range(5))
async def test_an_operation_lets_the_events_pass_that_the_consumer_gets_after_it(hops: int) -> None:
    out, wire = opened()
    out.send(operation("step"))
    later(hops, lambda: out.emit(event("update")))
    await passes()
    assert wire.sent == [("event", "update"), ("operation", "step")]


async def test_operations_keep_their_order() -> None:
    out, wire = opened()
    for number in range(20):
        out.send(operation(str(number)))
        await passes(number % 5)
    await passes()
    assert wire.sent == [("operation", str(number)) for number in range(20)]


async def test_an_operation_is_held_as_long_as_the_consumer_does_not_wait_for_the_graph() -> None:
    out, wire = opened()
    out.consuming = False
    out.send(operation("step"))
    await passes()
    assert wire.sent == []
    out.emit(event("update"))
    out.consuming = True
    out.resume_releasing()
    await passes()
    assert wire.sent == [("event", "update"), ("operation", "step")]


async def test_an_operation_is_held_while_the_graph_leaves_its_loop() -> None:
    out, wire = opened()
    out.leaving = lambda: True
    out.send(operation("step"))
    await passes()
    assert wire.sent == []
    out.emit(event("last update"))
    await asyncio.wait_for(out.end({"outcome": "success"}), 5)
    assert wire.sent == [("event", "last update"), ("operation", "step"), ("ended", {"outcome": "success"})]


async def test_an_operation_from_a_nodes_thread_is_held_like_any_other() -> None:
    out, wire = opened()
    loop = asyncio.get_running_loop()

    def node() -> None:  # what it emits takes its way through the loop to the consumer
        loop.call_soon_threadsafe(later, 4, lambda: out.emit(event("update")))
        out.send(operation("step"))

    await asyncio.to_thread(node)
    await passes()
    assert wire.sent == [("event", "update"), ("operation", "step")]


async def test_events_are_not_held() -> None:
    out, wire = opened()
    out.emit(event("token"))
    await passes(1)
    assert wire.sent == [("event", "token")]


# waiting for commits


async def test_committed_returns_when_what_was_sent_is_acknowledged_and_not_before() -> None:
    out, wire = opened()
    out.send(operation("step"))
    waiting = asyncio.ensure_future(out.committed())
    await passes()
    assert wire.sent == [("operation", "step")]
    assert not waiting.done()
    out.acknowledged(wire.numbers[-1])
    await asyncio.wait_for(waiting, 5)


async def test_committed_does_not_wait_for_what_is_sent_later() -> None:
    out, wire = opened()
    out.send(operation("first"))
    waiting = asyncio.ensure_future(out.committed())
    await passes()
    out.send(operation("second"))
    await passes()
    out.acknowledged(wire.numbers[0])
    await asyncio.wait_for(waiting, 5)
    assert wire.sent == [("operation", "first"), ("operation", "second")]


async def test_who_waits_for_a_commit_gets_it_while_nobody_consumes_and_the_events_go_first() -> None:
    out, wire = opened()
    out.consuming = False
    out.drain = lambda: out.emit(event("lay ready"))
    out.send(operation("step"))
    waiting = asyncio.ensure_future(out.committed())
    await passes()
    assert wire.sent == [("event", "lay ready"), ("operation", "step")]
    out.acknowledged(wire.numbers[-1])
    await asyncio.wait_for(waiting, 5)


async def test_waiting_in_the_loops_own_thread_ends_when_another_thread_acknowledges() -> None:
    out, wire = opened()
    out.drain = lambda: out.emit(event("lay ready"))
    out.send(operation("step"))
    reader = threading.Thread(target=lambda: out.acknowledged(wire.wait_for(("operation", "step"))))
    reader.start()
    out.committed_blocking()  # the loop stands still meanwhile
    reader.join()
    assert wire.sent == [("event", "lay ready"), ("operation", "step")]


async def test_waiting_in_a_nodes_thread_ends_with_the_commit_and_the_events_go_first() -> None:
    out, wire = opened()
    out.consuming = False
    out.drain = lambda: out.emit(event("lay ready"))
    out.send(operation("step"))
    waiting = asyncio.ensure_future(asyncio.to_thread(out.committed_blocking))
    number = await asyncio.to_thread(wire.wait_for, ("operation", "step"))
    assert not waiting.done()
    out.acknowledged(number)
    await asyncio.wait_for(waiting, 5)
    assert wire.sent == [("event", "lay ready"), ("operation", "step")]


async def test_the_loops_own_thread_gets_through_a_full_window() -> None:
    out, wire = opened()
    for number in range(4):
        out.emit(event(f"large {number}", WINDOW))
    out.send(operation("step"))

    def acknowledge() -> None:
        for number in range(4):
            out.acknowledged(wire.wait_for(("event", f"large {number}")))
        out.acknowledged(wire.wait_for(("operation", "step")))

    reader = threading.Thread(target=acknowledge)
    reader.start()
    out.committed_blocking()
    reader.join()
    assert [name for name, _ in wire.sent] == ["event"] * 4 + ["operation"]


async def test_a_drain_that_fails_does_not_keep_the_operation() -> None:
    out, wire = opened(backlog=10)
    out.drain = lambda: out.emit(event("too large", 100))
    out.send(operation("step"))
    with pytest.raises(outbox.BacklogExceeded):
        await out.committed()
    await passes()
    assert wire.sent == [("event", "too large"), ("operation", "step")]


# window and backlog


async def test_beyond_the_window_nothing_goes_out_until_it_is_acknowledged() -> None:
    out, wire = opened()
    out.emit(event("fills it", WINDOW))
    await passes()
    out.emit(event("waits", WINDOW))
    out.send(operation("waits too"))
    await passes()
    assert wire.sent == [("event", "fills it")]
    out.acknowledged(wire.numbers[-1])
    await passes()
    assert wire.sent == [("event", "fills it"), ("event", "waits")]
    out.acknowledged(wire.numbers[-1])
    await passes()
    assert wire.sent[2:] == [("operation", "waits too")]


async def test_a_run_over_its_window_waits_for_room() -> None:
    out, wire = opened()
    out.emit(event("fills it", WINDOW))
    await passes()
    assert not out.congested
    await out.wait_for_window()
    out.emit(event("waits"))
    await passes()
    assert out.congested
    waiting = asyncio.ensure_future(out.wait_for_window())
    await passes()
    assert not waiting.done()
    out.acknowledged(wire.numbers[-1])
    await asyncio.wait_for(waiting, 5)
    assert wire.sent[-1] == ("event", "waits")


async def test_one_step_may_not_pile_up_more_than_the_backlog() -> None:
    out, _ = opened()
    size = 1000 + outbox.ITEM_OVERHEAD
    for _ in range(BACKLOG // size):
        out.emit(event("token", 1000))
    with pytest.raises(outbox.BacklogExceeded, match=str(BACKLOG)):
        out.emit(event("token", 1000))


async def test_what_has_gone_out_does_not_count_as_backlog() -> None:
    out, wire = opened()
    for _ in range(BACKLOG // 100):
        out.emit(event("token", 100))
        await passes(2)
        out.acknowledged(wire.numbers[-1])
    assert len(wire.sent) == BACKLOG // 100


async def test_the_last_frame_waits_for_what_is_before_it() -> None:
    out, wire = opened()
    out.emit(event("fills it", WINDOW))
    await passes()
    out.emit(event("waits", WINDOW))
    ending = asyncio.ensure_future(out.end({"outcome": "success"}))
    await passes()
    assert not ending.done()
    out.acknowledged(wire.numbers[-1])
    await asyncio.wait_for(ending, 5)  # the last frame itself needs no room
    assert [name for name, _ in wire.sent] == ["event", "event", "ended"]


async def test_frames_are_numbered_without_a_gap() -> None:
    out, wire = opened(window=1 << 20)
    for number in range(10):
        out.emit(event("token"))
        out.send(operation(str(number)))
        await passes()
    await out.end({"outcome": "success"})
    assert wire.numbers == [*range(1, 22)]


# refusal


async def test_after_a_refusal_the_next_operation_fails() -> None:
    out, _ = opened()
    out.send(operation("step"))
    await passes()
    out.refused("not yours")
    with pytest.raises(checkpoints.SinkFailed, match="not yours"):
        out.send(operation("next"))


async def test_a_refusal_reaches_those_who_wait() -> None:
    out, _ = opened()
    out.send(operation("step"))
    inside = asyncio.ensure_future(out.committed())
    beside = asyncio.ensure_future(asyncio.to_thread(out.committed_blocking))
    await passes()
    out.refused("not yours")
    for waiting in (inside, beside):
        with pytest.raises(checkpoints.SinkFailed, match="not yours"):
            await asyncio.wait_for(waiting, 5)


async def test_a_refused_run_ends_though_its_window_is_full() -> None:
    out, wire = opened()
    out.emit(event("fills it", WINDOW))
    await passes()
    out.emit(event("waits", WINDOW))
    room = asyncio.ensure_future(out.wait_for_window())
    await passes()
    out.refused("the run is not executed by this worker any more")
    await asyncio.wait_for(room, 5)
    await asyncio.wait_for(out.end({"outcome": "cancelled"}), 5)
    assert wire.sent[-1] == ("ended", {"outcome": "cancelled"})
