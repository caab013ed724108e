"""Event streams over real sockets: heads, frames, heartbeats, joins, ends and cuts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time

import aiohttp
import pytest
from langgraph.checkpoint.base.id import uuid6

from gatewayd.checkpointing import commands
from gatewayd.model import event
from gatewayd.storage.sqlite.engine import writing

NOBODY = "00000000-0000-0000-0000-000000007777"
NOT_FOUND = b'event: error\r\ndata: {"error":"HTTPException","message":"404: Run not found"}\r\n\r\n'


def frames(data: bytes) -> list[tuple[str, object, str | None]]:
    """Return name, data and id of each frame."""
    found = []
    for text in data.decode().split("\r\n\r\n"):
        fields = dict(line.split(": ", 1) for line in text.split("\r\n") if line and not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def names(data: bytes) -> list[str]:
    return [name for name, _, _ in frames(data)]


def stream(server, thread_id, **body):
    return server.client.post(f"/threads/{thread_id}/runs/stream", json={"assistant_id": "chat", **body})


async def test_a_stream_has_the_references_head_at_once_and_its_framing(server):
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        path = f"/threads/{thread_id}/runs/{run_id}"
        head = {
            name.lower(): value
            for name, value in answer.headers.items()
            if name.lower() not in ("date", "server")
        }
        assert head == {
            "location": f"{path}/stream",
            "content-location": path,
            "cache-control": "no-store",
            "connection": "keep-alive",
            "x-accel-buffering": "no",
            "content-type": "text/event-stream; charset=utf-8",
            "vary": "Origin",
            "transfer-encoding": "chunked",
        }
        server.worker.emit(run_id, "values", {"v": "ü"}, namespace="inner:1")
        server.worker.emit(run_id, "lifecycle", {}, mask=event.V2)
        server.worker.end(run_id)
        body = await answer.read()
    pattern = (
        rb'event: metadata\r\ndata: {"run_id":"%b","attempt":1}\r\nid: \d+-1\r\n\r\n'
        rb'event: values\|inner:1\r\ndata: {"v":"\\u00fc"}\r\nid: \d+-3\r\n\r\n'
    )
    assert re.fullmatch(pattern % run_id.encode(), body)


async def test_a_stateless_stream_is_named_without_its_thread_and_can_be_joined_there(server):
    async with server.client.post("/runs/stream", json={"assistant_id": "chat"}) as answer:
        run_id = await server.worker.started()
        assert answer.headers["Location"] == f"/runs/{run_id}/stream"
        assert answer.headers["Content-Location"] == f"/runs/{run_id}"
        server.worker.end(run_id)
        seen = await answer.read()
    async with server.client.get(f"/runs/{run_id}/stream", headers={"Last-Event-ID": "-1"}) as again:
        assert again.headers["Content-Location"] == f"/runs/{run_id}"
        assert await again.read() == seen


async def test_an_error_event_is_the_last_frame(server):
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        error = {"error": "ValueError", "message": "boom"}
        server.worker.emit(run_id, "error", error)
        server.worker.end(run_id, "error", error=error)
        assert frames(await answer.read())[-1][:2] == ("error", error)


async def test_a_status_is_stored_before_its_stream_ends(server):
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        server.worker.end(run_id)
        await answer.read()
    assert (await server.json("GET", f"/threads/{thread_id}/runs/{run_id}"))["status"] == "success"


@pytest.mark.parametrize("resumable", [True, False])
async def test_ids_can_be_limited_to_resumable_runs_as_in_the_reference(serve, resumable):
    server = await serve(ids="resumable")
    thread_id = await server.thread()
    async with stream(server, thread_id, stream_resumable=resumable) as answer:
        run_id = await server.worker.started()
        server.worker.end(run_id)
        ((_, _, event_id),) = frames(await answer.read())
    assert (event_id is not None) == resumable
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    async with server.client.get(path, headers={"Last-Event-ID": "-1"}) as again:
        assert bool(await again.read()) == resumable


# heartbeats


async def test_heartbeats_come_by_the_clock_while_a_run_is_queued_and_silent(serve):
    server = await serve(heartbeat_s=0.02)
    thread_id = await server.thread()
    first = await server.run(thread_id)
    await server.worker.started(first)
    async with stream(server, thread_id) as answer:
        beat = b": heartbeat\r\n\r\n"
        assert await answer.content.readexactly(3 * len(beat)) == 3 * beat
        server.worker.end(first)
        second = answer.headers["Content-Location"].rpartition("/")[2]
        await server.worker.started(second)
        assert b"event: metadata" in await answer.content.readuntil(b"}\r\n")
        server.worker.end(second)
        await answer.read()


async def test_heartbeats_come_while_data_flows(serve):
    server = await serve(heartbeat_s=0.05)
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        seen, n = b"", 0
        async with asyncio.timeout(10):
            while seen.count(b": heartbeat") < 3:
                await server.worker.committed(run_id, server.worker.emit(run_id, "custom", n))
                seen += await answer.content.readany()
                n += 1
        assert n > 20
        server.worker.end(run_id)


# joining


async def filled(server, thread_id: str) -> str:
    """Return a running run with four events."""
    run_id = await server.run(thread_id, stream_mode=["values", "updates", "messages-tuple", "custom"])
    await server.worker.started(run_id)
    server.worker.emit(run_id, "values", 1)
    server.worker.emit(run_id, "updates", 2)
    await server.worker.committed(run_id, server.worker.emit(run_id, "messages", 3))
    return run_id


async def test_a_joiner_without_an_id_gets_only_what_comes(server):
    thread_id = await server.thread()
    run_id = await filled(server, thread_id)
    async with server.client.get(f"/threads/{thread_id}/runs/{run_id}/stream") as answer:
        server.worker.emit(run_id, "custom", 4)
        server.worker.end(run_id)
        assert names(await answer.read()) == ["custom"]


async def test_a_joiner_has_its_place_before_its_head(server, monkeypatch):
    """Interleaving: the newest number is asked for, the run goes on, only then comes the answer."""
    thread_id = await server.thread()
    run_id = await filled(server, thread_id)
    kind, asked, gate = type(server.services.storage), asyncio.Event(), asyncio.Event()
    read = kind.events_last

    async def slow(storage, thread_id: str) -> tuple[int, int]:
        found = await read(storage, thread_id)
        asked.set()
        await gate.wait()
        return found

    monkeypatch.setattr(kind, "events_last", slow)
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    joining = asyncio.ensure_future(server.client.get(path))
    await asked.wait()
    await server.worker.committed(run_id, server.worker.emit(run_id, "custom", 4))
    assert not joining.done()
    gate.set()
    async with await joining as answer:
        server.worker.emit(run_id, "custom", 5)
        server.worker.end(run_id)
        assert [data for _, data, _ in frames(await answer.read())] == [4, 5]


@pytest.mark.parametrize(
    ("last_id", "expected"),
    [
        ("-1", ["metadata", "values", "updates", "messages", "custom"]),
        ("0", ["metadata", "values", "updates", "messages", "custom"]),
        ("-", ["metadata", "values", "updates", "messages", "custom"]),
        ("123-3", ["updates", "messages", "custom"]),
        ("99999999999999-4", ["messages", "custom"]),
        ("123-999999", ["custom"]),
        ("garbage", ["custom"]),
        ("1" * 5000, ["custom"]),
        ("1-" + "9" * 5000, ["custom"]),
    ],
)
async def test_a_joiner_with_an_id_gets_everything_behind_it_then_what_comes(server, last_id, expected):
    thread_id = await server.thread()
    run_id = await filled(server, thread_id)
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    async with server.client.get(path, headers={"Last-Event-ID": last_id}) as answer:
        server.worker.emit(run_id, "custom", 4)
        server.worker.end(run_id)
        assert names(await answer.read()) == expected


async def put_checkpoint(server, thread_id: str, run_id: str, checkpoint_id: str) -> None:
    """Store a checkpoint as a run does."""
    stored = asyncio.get_running_loop().create_future()
    operation = commands.put(thread_id, "", checkpoint_id, None, "msgpack", b"state", "{}")
    storage = server.services.storage
    storage.checkpoint_apply(operation, run_id, 100, stored.set_result, writing.Chain())
    assert await stored is None


def new_checkpoint_id() -> str:
    """Return an id made at a millisecond that is later than all events so far."""
    before = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= before:
        pass
    return str(uuid6(clock_seq=-2))


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    ("last_id", "checkpoint_id", "expected"),
    [
        ("-1", "first", ["updates", "messages", "custom"]),
        ("-1", "second", ["custom"]),
        (None, "first", ["updates", "messages", "custom"]),
        (None, "second", ["custom"]),
        ("1-4", "first", ["messages", "custom"]),
        ("1-4", "second", ["custom"]),
        ("-1", "unknown", ["metadata", "values", "updates", "messages", "custom"]),
        ("-1", "", ["metadata", "values", "updates", "messages", "custom"]),
        ("-1", "elsewhere", ["metadata", "values", "updates", "messages", "custom"]),
    ],
)
async def test_a_joiner_behind_a_checkpoint_gets_only_what_came_after_it(
    server, ended, last_id, checkpoint_id, expected
):
    thread_id, other = await server.thread(), await server.thread()
    run_id = await server.run(thread_id, stream_mode=["values", "updates", "messages-tuple", "custom"])
    elsewhere = await server.run(other)
    worker = server.worker
    await worker.started(run_id)
    await worker.started(elsewhere)
    await worker.committed(run_id, worker.emit(run_id, "values", 1))
    made = {"unknown": new_checkpoint_id(), "first": new_checkpoint_id(), "": ""}
    worker.emit(run_id, "updates", 2)  # a step begins before the checkpoint in front of it is stored
    await put_checkpoint(server, thread_id, run_id, made["first"])
    await worker.committed(run_id, worker.emit(run_id, "messages", 3))
    made["second"], made["elsewhere"] = new_checkpoint_id(), new_checkpoint_id()
    await put_checkpoint(server, thread_id, run_id, made["second"])
    await put_checkpoint(server, other, elsewhere, made["elsewhere"])
    await worker.committed(run_id, worker.emit(run_id, "custom", 4))
    if ended:
        worker.end(run_id)
        await server.finished(thread_id, run_id)
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    for path in (f"/threads/{thread_id}/runs/{run_id}/stream", f"/runs/{run_id}/stream"):
        async with server.client.get(
            f"{path}?checkpoint_id={made[checkpoint_id]}", headers=headers
        ) as answer:
            if not ended:
                worker.end(run_id)
            assert names(await answer.read()) == expected


async def test_an_ended_run_is_replayed_behind_an_id_and_empty_without(server):
    thread_id = await server.thread()
    run_id = await filled(server, thread_id)
    error = {"error": "ValueError", "message": "boom"}
    server.worker.end(run_id, "error", error=error)  # its event is written with the end
    await server.finished(thread_id, run_id)
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    async with server.client.get(path) as answer:
        assert await answer.read() == b""
    async with server.client.get(path, headers={"Last-Event-ID": "1-4"}) as answer:
        assert names(await answer.read()) == ["messages", "error"]
    async with server.client.get(path, headers={"Last-Event-ID": "1-999"}) as answer:
        assert await answer.read() == b""


async def test_a_replay_shows_the_joined_run_only(server):
    thread_id = await server.thread()
    await server.completed(thread_id)
    second = await server.completed(thread_id)
    await server.completed(thread_id)
    path = f"/threads/{thread_id}/runs/{second}/stream"
    async with server.client.get(path, headers={"Last-Event-ID": "-1"}) as answer:
        metadata, values = frames(await answer.read())
    assert metadata[1]["run_id"] == second
    assert values[0] == "values"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("stream_mode=values&stream_mode=updates", ["metadata", "values", "updates"]),
        ('stream_mode=["values","updates"]', ["metadata", "values", "updates"]),
        ("stream_mode=values,updates", ["metadata", "values", "updates"]),
        ("stream_mode=messages-tuple", ["metadata", "messages"]),
        ("stream_mode=messages", ["metadata", "messages"]),
        ("stream_mode=messages&stream_mode=messages-tuple", ["metadata", "messages"]),
        ("stream_mode=zz", ["metadata"]),
        ("namespace=x&checkpoint_id=y", ["metadata", "values", "updates", "messages"]),
    ],
)
async def test_a_joiner_can_filter_by_modes_in_all_spellings(server, query, expected):
    thread_id = await server.thread()
    run_id = await filled(server, thread_id)
    server.worker.end(run_id)
    path = f"/threads/{thread_id}/runs/{run_id}/stream?{query}"
    async with server.client.get(path, headers={"Last-Event-ID": "0"}) as answer:
        assert names(await answer.read()) == expected


@pytest.mark.parametrize("path", ["/threads/{t}/runs/{r}/stream", "/runs/{r}/stream"])
async def test_a_joiner_of_an_unknown_run_gets_an_error_event(server, path):
    thread_id = await server.thread()
    async with server.client.get(path.format(t=thread_id, r=NOBODY)) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Location"].endswith(f"/runs/{NOBODY}")
        assert await answer.read() == NOT_FOUND


@pytest.mark.parametrize("what", ["run", "thread"])
async def test_readers_are_told_when_their_run_is_deleted(server, what):
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        path = f"/threads/{thread_id}/runs/{run_id}" if what == "run" else f"/threads/{thread_id}"
        await server.json("DELETE", path, status=204)
        assert (await answer.read()).endswith(NOT_FOUND)


async def test_a_deletion_whose_wake_up_was_lost_is_noticed_at_the_next_beat(serve, monkeypatch):
    server = await serve(heartbeat_s=0.05)
    monkeypatch.setattr(type(server.services.hub), "wake_readers", lambda *_: None)
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        await server.json("DELETE", f"/threads/{thread_id}/runs/{run_id}", status=204)
        async with asyncio.timeout(2):
            assert (await answer.read()).endswith(NOT_FOUND)


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_cancelled_run_ends_its_stream_without_an_event(server, action):
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        await server.json("POST", f"/threads/{thread_id}/runs/{run_id}/cancel?action={action}", status=202)
        assert names(await answer.read()) == ["metadata"]


async def test_a_pending_run_that_is_cancelled_ends_its_stream_empty(server):
    thread_id = await server.thread()
    await server.run(thread_id)
    async with stream(server, thread_id) as answer:
        path = answer.headers["Content-Location"]
        await server.json("POST", f"{path}/cancel", status=202)
        assert await answer.read() == b""


async def test_the_join_that_reads_the_row_before_the_end_is_committed_still_sees_the_end(
    server, monkeypatch
):
    """The run ends between the joiner's look at its position and its look at the run's row, or just after."""
    storage = server.services.storage
    for moment in ("events_last", "run_log_end"):
        thread_id = await server.thread()
        run_id = await filled(server, thread_id)
        look = getattr(storage, moment)

        async def ending(*args, look=look, run_id=run_id, thread_id=thread_id):
            found = await look(*args)
            monkeypatch.undo()
            server.worker.end(run_id)
            await server.finished(thread_id, run_id)
            return found

        monkeypatch.setattr(type(storage), moment, lambda _, *args, ending=ending: ending(*args))
        async with (
            asyncio.timeout(3),
            server.client.get(f"/threads/{thread_id}/runs/{run_id}/stream") as answer,
        ):
            assert await answer.read() == b""


# the thread's stream


async def test_a_thread_stream_shows_every_run_and_its_end(server):
    thread_id = await server.thread()
    async with server.client.get(f"/threads/{thread_id}/stream") as answer:
        assert "Location" not in answer.headers
        first = await server.completed(thread_id)
        second = await server.completed(thread_id)
        seen = b""
        while seen.count(b"run_done") < 2:
            seen += await answer.content.readany()
    shown = frames(seen)
    assert [name for name, _, _ in shown] == ["metadata", "values", "metadata"] * 2
    assert shown[2][1] == {"status": "run_done", "run_id": first}
    assert shown[5][1] == {"status": "run_done", "run_id": second}
    numbers = [int(event_id.rpartition("-")[2]) for _, _, event_id in shown]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("parameter", ["stream_mode", "stream_modes"])
async def test_a_thread_stream_of_lifecycles_is_replayed_from_the_beginning(server, parameter):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    path = f"/threads/{thread_id}/stream?{parameter}=lifecycle"
    async with server.client.get(path, headers={"Last-Event-ID": "0"}) as answer:
        seen = b""
        while b"run_done" not in seen:
            seen += await answer.content.readany()
    assert [data for _, data, _ in frames(seen)] == [
        {"run_id": run_id, "attempt": 1},
        {"status": "run_done", "run_id": run_id},
    ]


async def test_a_thread_stream_refuses_an_id_that_is_none(server):
    thread_id = await server.thread()
    answer = await server.json(
        "GET", f"/threads/{thread_id}/stream", status=422, headers={"Last-Event-ID": "garbage"}
    )
    assert answer == {"detail": "Invalid last-event-id: must be a valid Redis stream ID"}


async def test_an_empty_id_is_none_at_all(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    for path in (f"/threads/{thread_id}/stream", f"/threads/{thread_id}/runs/{run_id}/stream"):
        async with server.client.get(path, headers={"Last-Event-ID": ""}) as answer:
            assert answer.status == 200


async def test_a_thread_stream_of_an_unknown_thread_is_silent_until_it_exists(serve):
    server = await serve(heartbeat_s=0.02)
    async with server.client.get(f"/threads/{NOBODY}/stream") as answer:
        assert await answer.content.readuntil(b"\r\n\r\n") == b": heartbeat\r\n\r\n"
        await server.thread(thread_id=NOBODY)
        await server.completed(NOBODY)
        seen = b""
        while b"run_done" not in seen:
            seen += await answer.content.readany()


# readers that do not read


async def _stalled(server, thread_id: str) -> socket.socket:
    """Return a raw connection that has asked for a stream and takes nothing of it."""
    body = json.dumps({"assistant_id": "chat"}).encode()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (server.client.host, server.client.port))
    head = f"POST /threads/{thread_id}/runs/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    await loop.sock_sendall(raw, head.encode() + body)
    return raw


async def test_a_reader_that_takes_nothing_is_cut_off_and_the_run_goes_on(serve):
    server = await serve(write_timeout_s=0.1)
    thread_id = await server.thread()
    raw = await _stalled(server, thread_id)
    run_id = await server.worker.started()
    opened = server.services.hub
    n = 0
    for _ in range(200):
        n = server.worker.emit(run_id, "custom", "x" * 60_000)
        await server.worker.committed(run_id, n)
    async with asyncio.timeout(5):
        while opened.has_readers(thread_id):
            await server.json("GET", "/ok")
    assert opened.held == 0
    server.worker.end(run_id)
    assert (await server.finished(thread_id, run_id)).status == "success"
    raw.close()


async def test_a_slow_reader_that_takes_something_is_not_cut_off(serve):
    server = await serve(write_timeout_s=2)
    thread_id = await server.thread()
    raw = await _stalled(server, thread_id)
    loop = asyncio.get_running_loop()
    run_id = await server.worker.started()
    for _ in range(150):
        await server.worker.committed(run_id, server.worker.emit(run_id, "custom", "x" * 60_000))
    server.worker.end(run_id)
    seen, tail = 0, b""
    with contextlib.closing(raw):
        async with asyncio.timeout(60):
            while not tail.endswith(b"0\r\n\r\n"):
                data = await loop.sock_recv(raw, 65536)
                assert data, "the connection was cut"
                seen, tail = seen + len(data), (tail + data)[-16:]
    assert seen > 150 * 60_000


async def test_a_stream_that_fails_behind_its_head_is_cut_without_a_second_head(server, monkeypatch):
    thread_id = await server.thread()
    async with stream(server, thread_id) as answer:
        run_id = await server.worker.started()
        monkeypatch.setattr("gatewayd.streams.v1.run_frames", lambda *_, **__: 1 / 0)
        server.worker.emit(run_id, "values", 1)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert await server.json("GET", "/ok")


async def test_a_stream_opened_while_the_server_stops_is_cut(server):
    thread_id = await server.thread()
    run_id = await filled(server, thread_id)
    server.services.shutdown.set()
    await server.json("GET", "/ok")
    with pytest.raises(aiohttp.ClientError):
        async with server.client.get(f"/threads/{thread_id}/runs/{run_id}/stream") as answer:
            await answer.read()
