"""What readers of v1 streams see of events that are not kept any more, or not replayed unasked."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import attrs
import pytest

from gatewayd.api import connections
from tests.api.test_streams import frames


async def forget(server: Any) -> None:
    """Have all events of runs that have ended removed."""
    await asyncio.sleep(0.002)  # past the millisecond of the last one
    await server.services.sweeper.prune(0.0)


async def read(server: Any, path: str, last_id: str, until: bytes) -> list[Any]:
    """Read a stream that does not end until something has come."""
    seen = b""
    async with server.client.get(path, headers={"Last-Event-ID": last_id}) as answer:
        assert answer.status == 200
        while until not in seen:
            seen += await answer.content.readany()
    return [(name, data) for name, data, _ in frames(seen)]


async def test_a_joiner_whose_id_is_too_old_is_told_of_the_gap_first(server):
    thread_id = await server.thread()
    first = await server.completed(thread_id)
    await server.completed(thread_id)
    await forget(server)
    path = f"/threads/{thread_id}/runs/{first}/stream"
    for last_id, after in (("1-1", 1), ("-1", 0)):
        async with server.client.get(path, headers={"Last-Event-ID": last_id}) as answer:
            ((name, data, event_id),) = frames(await answer.read())
        assert (name, event_id) == ("metadata", None)
        assert data == {"run_id": first, "attempt": 1, "gap": {"after": after, "resumes_at": 6}}
    for headers in ({}, {"Last-Event-ID": "1-5"}):
        async with server.client.get(path, headers=headers) as answer:
            assert await answer.read() == b""


async def test_a_gap_passes_every_filter(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    await server.completed(thread_id)
    await forget(server)
    path = f"/threads/{thread_id}/runs/{run_id}/stream?stream_mode=custom"
    async with server.client.get(path, headers={"Last-Event-ID": "-1"}) as answer:
        ((_, data, _),) = frames(await answer.read())
    assert "gap" in data


async def test_a_run_that_is_under_way_has_no_gap_though_others_before_it_are_forgotten(server):
    thread_id = await server.thread()
    await server.completed(thread_id)
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    n = server.worker.emit(run_id, "values", 1)
    await server.worker.committed(run_id, n)
    await forget(server)
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    assert [name for name, _ in await read(server, path, "-1", b"values")] == ["metadata", "values"]


async def test_a_reader_of_a_thread_whose_id_is_too_old_is_told_of_the_gap_first(server):
    thread_id = await server.thread()
    await server.completed(thread_id)
    await server.completed(thread_id)
    await forget(server)
    third = await server.completed(thread_id)
    seen = await read(server, f"/threads/{thread_id}/stream", "1-2", b"values")
    assert seen[0] == ("metadata", {"gap": {"after": 2, "resumes_at": 9}})
    assert seen[1][1]["status"] == "run_done"  # the newest that there was
    assert seen[2] == ("metadata", {"run_id": third, "attempt": 1})
    unbroken = await read(server, f"/threads/{thread_id}/stream", "1-10", b"values")
    assert unbroken[0] == ("metadata", {"run_id": third, "attempt": 1})


async def test_a_reader_of_v2_whose_number_is_too_old_gets_the_state_in_place_of_what_is_gone(server):
    thread_id = await server.thread()
    await server.completed(thread_id)
    await server.completed(thread_id)
    await forget(server)
    asked = {"channels": ["values", "lifecycle"], "since": 2}
    async with server.client.post(f"/threads/{thread_id}/stream/events", json=asked) as answer:
        seen = b""
        while b"lifecycle" not in seen:
            seen += await answer.content.readany()
    (name, state, _), (_, end, _) = frames(seen)
    assert (name, state["seq"], state["params"]["data"]) == ("values", 8, {"done": True})
    assert (end["seq"], end["params"]["data"]["event"]) == (9, "completed")


async def test_a_thread_is_replayed_from_its_beginning_only_as_far_as_its_latest_runs_go(serve):
    server = await serve(replay_window_s=0.0)
    thread_id = await server.thread()
    old = await server.completed(thread_id)
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    n = server.worker.emit(run_id, "values", 1)
    await server.worker.committed(run_id, n)
    path = f"/threads/{thread_id}/stream"
    for beginning in ("0", "-"):
        seen = await read(server, path, beginning, b"values")
        assert seen == [("metadata", {"run_id": run_id, "attempt": 1}), ("values", 1)]
    with_id = await read(server, path, "1-1", b"data: 1\r\n")
    assert with_id[0][0] == "values"  # an id reaches further
    async with server.client.get(
        f"/threads/{thread_id}/runs/{old}/stream", headers={"Last-Event-ID": "-1"}
    ) as answer:
        assert [name for name, _, _ in frames(await answer.read())] == ["metadata", "values"]


async def test_a_thread_without_a_latest_run_is_read_from_now_on(serve):
    server = await serve(replay_window_s=0.0)
    thread_id = await server.thread()
    await server.completed(thread_id)
    await asyncio.sleep(0.002)
    async with server.client.get(f"/threads/{thread_id}/stream", headers={"Last-Event-ID": "0"}) as answer:
        run_id = await server.completed(thread_id)
        seen = b""
        while b"run_done" not in seen:
            seen += await answer.content.readany()
    assert [data.get("run_id") for name, data, _ in frames(seen) if name == "metadata"] == [run_id, run_id]


async def prune_later(server: Any, seconds: float) -> None:
    """Remove events that are older than 100 s at a later moment."""
    now = time.time_ns() // 1000 + int(seconds * 1e6)
    await attrs.evolve(server.services.sweeper, now=lambda: now).prune(100)


async def test_events_under_the_eyes_of_a_reader_are_kept_as_long_again(server):
    thread_id = await server.thread()
    await server.completed(thread_id)
    await server.completed(thread_id)
    async with server.client.get(f"/threads/{thread_id}/stream"):
        await prune_later(server, 150)
        assert await server.services.storage.events_gap(thread_id, 0) is None
        await prune_later(server, 250)
        assert await server.services.storage.events_gap(thread_id, 0) == 8


class Held:
    """Holds back what the server sends, as a client does that reads slowly."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.arrived, self.go = asyncio.Event(), asyncio.Event()
        send = connections.StreamingResponse.send

        async def held(out: connections.StreamingResponse, data: bytes) -> None:
            self.arrived.set()
            await self.go.wait()
            await send(out, data)

        monkeypatch.setattr(connections.StreamingResponse, "send", held)


async def age(server: Any) -> None:
    """Let so much time go by that events go under the eyes of their readers."""
    await prune_later(server, 1000)


async def test_a_reader_of_a_thread_that_is_too_slow_is_told_of_what_went_meanwhile(server, monkeypatch):
    server.services.hub.budget = 0  # what is not read at once has to come from storage
    held = Held(monkeypatch)
    thread_id = await server.thread()
    async with server.client.get(f"/threads/{thread_id}/stream") as answer:
        await server.completed(thread_id)
        await held.arrived.wait()  # it takes the first frame, and nothing behind it
        await server.completed(thread_id)
        await age(server)
        gone_to = await server.services.storage.events_gap(thread_id, 0)
        held.go.set()
        run_id = await server.completed(thread_id)
        seen = b""
        while run_id not in seen.decode() or not seen.endswith(b"\r\n\r\n") or b"run_done" not in seen:
            seen += await answer.content.readany()
    told = frames(seen)
    (at,) = [n for n, (_, data, _) in enumerate(told) if isinstance(data, dict) and "gap" in data]
    before = int(told[at - 1][2].partition("-")[2])
    gap = told[at][1]["gap"]
    assert gap["after"] in {
        before,
        before + 1,
    }  # behind a start there is one more event, which v2 alone shows
    assert gap["resumes_at"] == gone_to + 1
    assert int(told[at + 1][2].partition("-")[2]) > gone_to


async def test_a_reader_of_a_run_that_is_too_slow_is_told_before_its_stream_ends(server, monkeypatch):
    server.services.hub.budget = 0
    held = Held(monkeypatch)
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    async with server.client.get(path, headers={"Last-Event-ID": "-1"}) as answer:
        await held.arrived.wait()
        for n in range(3):
            server.worker.emit(run_id, "values", n)
        server.worker.end(run_id, result=b"{}", values=b"{}", next=[], interrupts={})
        await server.finished(thread_id, run_id)
        await server.completed(thread_id)
        await age(server)
        held.go.set()
        told = frames(await answer.read())
    assert told[0][:2] == ("metadata", {"run_id": run_id, "attempt": 1})
    _, log_to = await server.services.storage.run_log_end(thread_id, run_id)
    gap = {"after": 2, "resumes_at": log_to + 1}
    assert [data for _, data, _ in told[1:]] == [{"run_id": run_id, "attempt": 1, "gap": gap}]


async def test_a_reader_of_v2_that_is_too_slow_gets_the_state_in_place_of_what_went(server, monkeypatch):
    server.services.hub.budget = 0
    held = Held(monkeypatch)
    thread_id = await server.thread()
    asked = {"channels": ["values", "lifecycle"]}
    async with server.client.post(f"/threads/{thread_id}/stream/events", json=asked) as answer:
        await server.completed(thread_id, result=b'{"n":1}')
        await held.arrived.wait()  # it takes the first frame, and nothing behind it
        await server.completed(thread_id, result=b'{"n":2}')
        await age(server)
        gone_to = await server.services.storage.events_gap(thread_id, 0)
        held.go.set()
        seen = b""
        while b'"completed"' not in seen.partition(b'"n":2')[2]:
            seen += await answer.content.readany()
    told = [data for _, data, _ in frames(seen)]
    (at,) = [n for n, event in enumerate(told) if event["seq"] == gone_to]
    assert (told[at]["method"], told[at]["params"]["data"]) == ("values", {"n": 2})
    assert told[at - 1]["seq"] < gone_to - 1
    assert told[at + 1]["params"]["data"]["event"] == "completed"
