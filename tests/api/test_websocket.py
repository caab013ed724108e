"""WebSockets of protocol v2 whose clients take nothing, say nothing, or leave in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gatewayd import errors
from gatewayd.api import connections
from gatewayd.api.streaming import commands, websocket
from gatewayd.model import event

LARGE = "x" * 60_000
FRAMES = 200
"""So many large events are more than what both sockets' buffers hold."""


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame; the mask is zero."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload


class Raw:
    """A WebSocket by hand: it takes nothing and says nothing but what the test wants."""

    def __init__(self, server: Any, thread_id: str) -> None:
        self.server = server
        self.thread_id = thread_id
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, (self.server.client.host, self.server.client.port))
        head = (
            f"GET /threads/{self.thread_id}/stream/events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await loop.sock_sendall(self.socket, head.encode())
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            got += await loop.sock_recv(self.socket, 1)
        assert got.startswith(b"HTTP/1.1 101 ")

    async def say(self, opcode: int, payload: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, masked(opcode, payload))

    async def subscribe(self, *channels: str) -> None:
        """Subscribe, and take the answer."""
        command = {"id": 1, "method": "subscription.subscribe", "params": {"channels": channels}}
        await self.say(1, json.dumps(command).encode())
        got = b""
        while b"applied_through_seq" not in got:
            got += await asyncio.get_running_loop().sock_recv(self.socket, 4096)

    def stands(self) -> bool:
        """Whether the server still has the connection."""
        mine = self.socket.getsockname()
        peers = [each.transport for each in self.server.client.server.handler.connections]
        return mine in [each.get_extra_info("peername") for each in peers if each is not None]

    async def cut(self) -> None:
        """Wait until the server has dropped the connection, of which nothing was taken meanwhile."""
        async with asyncio.timeout(10):
            while self.stands():
                await self.server.json("GET", "/ok")


@asynccontextmanager
async def raw(server: Any, thread_id: str) -> AsyncIterator[Raw]:
    found = Raw(server, thread_id)
    with contextlib.closing(found.socket):
        await found.open()
        yield found


async def emit_much(server: Any, run_id: str) -> None:
    for n in range(FRAMES):
        data = {"data": {"n": n, "large": LARGE}}
        await server.worker.committed(run_id, server.worker.emit(run_id, "v2/custom", data, mask=event.V2))


async def started(server: Any, thread_id: str) -> str:
    return str(await server.worker.started(await server.run(thread_id)))


async def test_a_client_that_takes_nothing_is_cut_and_the_others_get_everything(serve):
    server = await serve(write_timeout_s=0.1, ping_s=300)
    thread_id = await server.thread()
    run_id = await started(server, thread_id)
    path = f"/threads/{thread_id}/stream/events"
    async with raw(server, thread_id) as stalled, server.client.ws_connect(path) as reader:
        await stalled.subscribe("custom")
        await reader.send_json(
            {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["custom"]}}
        )
        assert (await reader.receive_json())["type"] == "success"

        async def read() -> list[int]:
            return [(await reader.receive_json())["params"]["data"]["n"] for _ in range(FRAMES)]

        async with asyncio.timeout(30):
            _, seen = await asyncio.gather(emit_much(server, run_id), read())
        assert seen == list(range(FRAMES))
        await stalled.cut()
        assert server.services.hub.readers == 1
    server.worker.end(run_id)
    assert (await server.finished(thread_id, run_id)).status == "success"


@pytest.mark.parametrize("full", [False, True])
async def test_a_client_that_answers_no_ping_is_cut_whatever_it_has_not_taken(serve, full):
    server = await serve(write_timeout_s=300, ping_s=0.1 if not full else 1)
    thread_id = await server.thread()
    run_id = await started(server, thread_id)
    async with raw(server, thread_id) as silent:
        if full:
            await silent.subscribe("custom")
            await emit_much(server, run_id)
        await silent.cut()
        assert server.services.hub.readers == 0


async def test_a_client_that_closes_without_taking_what_is_unsent_is_cut(serve):
    server = await serve(write_timeout_s=0.1, ping_s=300)
    thread_id = await server.thread()
    run_id = await started(server, thread_id)
    async with raw(server, thread_id) as leaving:
        await leaving.subscribe("custom")
        await emit_much(server, run_id)
        await leaving.say(8, (1000).to_bytes(2, "big"))
        await leaving.cut()
        assert server.services.hub.readers == 0


async def test_a_client_that_sends_bytes_and_takes_nothing_is_cut(serve):
    server = await serve(write_timeout_s=0.1, ping_s=300)
    thread_id = await server.thread()
    run_id = await started(server, thread_id)
    async with raw(server, thread_id) as odd:
        await odd.subscribe("custom")
        await emit_much(server, run_id)
        await odd.say(2, b"bytes")
        await odd.cut()


async def test_a_log_that_cant_be_read_is_told_and_one_who_does_not_listen_is_cut(serve, monkeypatch):
    server = await serve(write_timeout_s=0.1, ping_s=300)
    thread_id = await server.thread()
    run_id = await started(server, thread_id)
    path = f"/threads/{thread_id}/stream/events"
    async with raw(server, thread_id) as stalled:
        await stalled.subscribe("lifecycle")
        async with server.client.ws_connect(path) as reader:
            await reader.send_json(
                {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["lifecycle"]}}
            )
            told = [await reader.receive_json() for _ in range(2)]
            assert sorted(each["type"] for each in told) == ["event", "success"]
            monkeypatch.setattr("gatewayd.streams.v2.views", lambda *_: 1 / 0)
            server.worker.emit(run_id, "v2/custom", {"data": 1}, mask=event.V2)
            told = await reader.receive_json()
            assert (told["type"], told["id"], told["error"]) == ("error", None, "unknown_error")
            assert (await reader.receive()).data == 1011
        monkeypatch.setattr("gatewayd.api.streaming.websocket.CLOSE_S", 0.1)
        await stalled.cut()


class Transport:
    """One whose client takes some bytes at each look."""

    def __init__(self, *left: int) -> None:
        self.left = list(left)

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


class Waiting:
    """Request and response of a client that never takes enough."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.drains = 0

    async def write(self) -> None:
        await asyncio.Event().wait()

    async def drain(self) -> None:
        self.drains += 1
        await asyncio.Event().wait()


@pytest.mark.parametrize(("left", "drains"), [((0, 100), 0), ((0, 90, 80, 70, 70), 3), ((0, 90, 90), 1)])
async def test_who_takes_something_is_waited_for_and_who_does_not_is_not(left, drains):
    slow: Any = Waiting(Transport(*left))
    with pytest.raises(connections.ClientGone):
        await connections.taken(slow, slow, slow.write, 100, 0.01)
    assert slow.drains == drains


# commands


async def asked(socket: Any, command_id: Any, method: str, **params: Any) -> dict[str, Any]:
    await socket.send_json({"id": command_id, "method": method, "params": params})
    return dict(await socket.receive_json())


def nested(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize("method", ["run.start", "input.respond", "subscription.subscribe", "nonsense"])
async def test_a_command_of_300_levels_is_an_error_and_the_session_lives(server, method):
    async with server.client.ws_connect(f"/threads/{await server.thread()}/stream/events") as socket:
        answer = await asked(
            socket,
            1,
            method,
            assistant_id="chat",
            input=nested(300),
            channels=["values"],
            namespaces=nested(300),
        )
        assert (answer["type"], answer["id"], answer["error"]) == ("error", 1, "invalid_argument")
        assert answer["message"] == "The command is nested more than 200 levels deep"
        assert (await asked(socket, 2, "agent.getTree"))["error"] == "no_such_run"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.Unavailable("not now"), "unknown_error", "503: not now"),
        (errors.InsufficientStorage("no room"), "unknown_error", "507: no room"),
        (errors.Unanswered("it hangs"), "unknown_error", "504: it hangs"),
        (errors.Conflict("busy"), "unknown_error", "409: busy"),
        (errors.NotFound("gone"), "unknown_error", "404: gone"),
        (errors.Rejected("no"), "invalid_argument", "no"),
        (RuntimeError("secret"), "unknown_error", "500: Internal Server Error"),
        (RecursionError(), "unknown_error", "500: Internal Server Error"),
        (TimeoutError(), "unknown_error", "500: Internal Server Error"),
        (ConnectionResetError(), "unknown_error", "500: Internal Server Error"),
        (sqlite3.OperationalError("database is locked"), "unknown_error", "500: Internal Server Error"),
        (asyncio.CancelledError(), "unknown_error", "500: Internal Server Error"),
    ],
)
async def test_nothing_that_a_command_raises_ends_the_session(server, monkeypatch, error, code, message):
    async def create(*_: Any, **__: Any) -> None:
        raise error

    path = f"/threads/{await server.thread()}/stream/events"
    async with server.client.ws_connect(path) as socket:
        with monkeypatch.context() as patched:
            patched.setattr("gatewayd.runs.manager.RunManager.create", create)
            answer = await asked(socket, 1, "run.start", assistant_id="chat")
            assert (answer["id"], answer["error"], answer["message"]) == (1, code, message)
        with monkeypatch.context() as patched:
            patched.setattr("gatewayd.streams.positions.Positions.begin", create)
            answer = await asked(socket, 2, "subscription.subscribe", channels=["values"])
            assert (answer["id"], answer["error"], answer["message"]) == (2, code, message)
        assert (await asked(socket, 3, "run.start", assistant_id="chat"))["type"] == "success"


async def test_the_subscriptions_of_a_connection_are_limited_and_an_ended_one_makes_room(server, monkeypatch):
    monkeypatch.setattr("gatewayd.streams.subscriptions.MOST", 2)
    async with server.client.ws_connect(f"/threads/{await server.thread()}/stream/events") as socket:
        made = [
            await asked(socket, n, "subscription.subscribe", channels=["values"], depth=n) for n in range(2)
        ]
        answer = await asked(socket, 2, "subscription.subscribe", channels=["values"])
        assert answer["error"] == "invalid_argument"
        assert answer["message"] == "a connection may have at most 2 subscriptions"
        ended = made[0]["result"]["subscription_id"]
        assert (await asked(socket, 3, "subscription.unsubscribe", subscription_id=ended))[
            "type"
        ] == "success"
        again = await asked(socket, 4, "subscription.unsubscribe", subscription_id=ended)
        assert again["error"] == "no_such_subscription"
        answer = await asked(socket, 5, "subscription.subscribe", channels=["values"])
        assert answer["type"] == "success"


async def test_what_an_error_repeats_of_a_command_is_cut(server):
    async with server.client.ws_connect(f"/threads/{await server.thread()}/stream/events") as socket:
        long = "x" * 100_000
        for n, (method, params) in enumerate(
            [(long, {}), ("subscription.unsubscribe", {"subscription_id": long})]
        ):
            answer = await asked(socket, n, method, **params)
            assert answer["id"] == n
            assert len(answer["message"]) < 300
        answer = await asked(socket, long, "agent.getTree")
        assert (answer["id"], answer["error"]) == (None, "invalid_argument")


def test_after_a_burst_each_command_waits_for_its_turn() -> None:
    pace = websocket.Pace(per_s=10, burst=3)
    assert [round(pace.wait_s(100.0), 6) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]
    assert round(pace.wait_s(100.2), 6) == 0.1
    assert [round(pace.wait_s(200.0), 6) for _ in range(4)] == [0, 0, 0, 0.1]


async def test_commands_beyond_the_rate_are_not_carried_out_at_once(server, monkeypatch):
    monkeypatch.setattr(websocket, "COMMANDS_BURST", 2)
    monkeypatch.setattr(websocket, "COMMANDS_PER_S", 1 / 3600)
    done = []
    carry_out = commands.carry_out

    async def watched(request: Any, thread_id: str, given: commands.Command, *more: Any) -> commands.Done:
        done.append(given.command_id)
        return await carry_out(request, thread_id, given, *more)

    monkeypatch.setattr(commands, "carry_out", watched)
    async with raw(server, await server.thread()) as client:
        for n in range(4):
            await client.say(1, json.dumps({"id": n, "method": "agent.getTree"}).encode())
        got = b""
        async with asyncio.timeout(30):
            while got.count(b"no_such_run") < 2:
                got += await asyncio.get_running_loop().sock_recv(client.socket, 4096)
        client.socket.shutdown(socket.SHUT_WR)
        await client.cut()
    assert done == [0, 1]


async def test_frames_are_not_compressed_even_for_a_client_that_offers_it(server):
    path = f"/threads/{await server.thread()}/stream/events"
    async with server.client.ws_connect(path, compress=15) as socket:
        assert not socket.compress
        assert (await asked(socket, 1, "agent.getTree"))["error"] == "no_such_run"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13"},
        {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Upgrade": "websocket", "Connection": "keep-alive"},
    ],
)
async def test_a_websocket_whose_upgrade_a_proxy_has_dropped_is_told_so(server, headers):
    path = f"/threads/{await server.thread()}/stream/events"
    async with server.client.get(path, headers=headers) as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
        assert "proxy" in (await answer.json())["detail"]
    async with server.client.get(path) as answer:
        assert answer.status == 405
