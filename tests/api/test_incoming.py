"""Connections as they come in: limits, heads and bodies that make no progress, clients that take nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gatewayd import descriptors, logs
from gatewayd.api.requests import parse
from gatewayd.api.sockets import addresses, incoming, listening

WAIT_S = 60
OK = b"GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"GET /ok HTTP/1.1\r\nHost: localhost\r\nX-More: "
POST = b"POST /threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Client:
    """A client by hand."""

    def __init__(self, server: Any, source: str = "127.0.0.1") -> None:
        self.server = server
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind((source, 0))
        self.socket.setblocking(False)

    async def connect(self) -> None:
        http = self.server.client
        await asyncio.get_running_loop().sock_connect(self.socket, (http.host, http.port))

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait until the server has them all."""
        before = 0 if (mine := self.incoming()) is None else mine._received
        await asyncio.get_running_loop().sock_sendall(self.socket, data)
        await until(lambda: (mine := self.incoming()) is not None and mine._received == before + len(data))

    def incoming(self) -> incoming.Incoming | None:
        """The server's end."""
        mine = self.socket.getsockname()
        for each in self.server.listener.open:
            if each._transport.get_extra_info("peername") == mine:
                return each
        return None

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Return the next response's status and JSON."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += await self._some()
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < int(length.split(b":")[1]):
            body += await self._some()
        return int(head.split()[1]), json.loads(body)

    async def _some(self) -> bytes:
        async with asyncio.timeout(WAIT_S):
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        assert data, "the connection has ended"
        return data

    async def ended(self) -> None:
        """Wait for the end of the connection, behind whatever is still to come."""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(WAIT_S):
                while await asyncio.get_running_loop().sock_recv(self.socket, 65536):
                    pass


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not happened():  # noqa: ASYNC110  it happens in objects that tell nobody
            await asyncio.sleep(0)


@asynccontextmanager
async def connected(server: Any, source: str = "127.0.0.1") -> AsyncIterator[Client]:
    client = Client(server, source)
    with contextlib.closing(client.socket):
        await client.connect()
        yield client


class Clock:
    def __init__(self, server: Any) -> None:
        self.listener = server.listener
        self.now = self.listener.clock()
        self.listener.clock = lambda: self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass, with a look each second."""
        for _ in range(int(seconds)):
            self.now += 1
            self.listener.check()


# progress


@pytest.mark.parametrize(
    "begun",
    [
        HEAD,
        b"G",
        b"GET /threads/x/stream/events HTTP/1.1\r\nUpgrade: websocket\r\n",
        POST + b'Content-Length: 100\r\n\r\n{"metadata":',
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}",
    ],
)
async def test_a_head_or_body_of_which_nothing_more_comes_is_ended_after_30_seconds(server, begun):
    clock = Clock(server)
    async with connected(server) as client:
        await client.send(begun)
        clock.pass_(29)
        assert client.incoming() is not None
        clock.pass_(2)
        assert await client.answer() == (408, {"detail": "The request came too slowly"})
        await client.ended()
    await until(lambda: not server.listener.owing)


async def test_a_connection_without_a_byte_is_closed_without_a_word(server):
    clock = Clock(server)
    async with connected(server) as client:
        await until(lambda: client.incoming() is not None)
        clock.pass_(29)
        assert client.incoming() is not None
        clock.pass_(2)
        assert client.incoming() is None or client.incoming()._transport.is_closing()
        await client.ended()


@pytest.mark.parametrize("begun", [HEAD, POST + b"Content-Length: 1000000\r\n\r\n"])
async def test_less_than_a_thousand_bytes_a_second_are_too_few(server, begun):
    clock = Clock(server)
    async with connected(server) as client:
        await client.send(begun)
        for _ in range(31):
            clock.pass_(1)
            if (mine := client.incoming()) is None or mine._transport.is_closing():
                break
            await client.send(b"x" * 100)
        assert clock.now - mine.since <= 32
        assert (await client.answer())[0] == 408


async def test_a_body_that_comes_fast_enough_may_take_its_time(serve):
    server = await serve(max_metadata_bytes=4_000_000)
    clock = Clock(server)
    body = b'{"unread":{"a":"' + b"x" * 150_000 + b'"}}'
    async with connected(server) as client:
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 1500):
            await client.send(body[at : at + 1500])
            clock.pass_(1)
        assert (await client.answer())[0] == 200


async def test_time_in_which_nothing_could_be_read_is_not_the_clients(server):
    clock = Clock(server)
    async with connected(server) as client:
        await client.send(HEAD)
        clock.pass_(10)
        clock.now += 100  # the loop stood
        server.listener.check()
        assert client.incoming() is not None
        clock.pass_(10)
        await client.send(b"x\r\n\r\n")
        assert (await client.answer())[0] == 200


async def test_a_body_that_the_handler_does_not_take_may_stand_still(serve, monkeypatch):
    server = await serve(max_metadata_bytes=4_000_000)
    clock = Clock(server)
    gate = asyncio.Event()

    async def late(request: Any) -> Any:
        await gate.wait()
        return await read(request)

    read = parse.json
    monkeypatch.setattr(parse, "json", late)
    body = b'{"unread":{"a":"' + b"x" * 2_000_000 + b'"}}'
    async with connected(server) as client:
        sending = asyncio.ensure_future(
            asyncio.get_running_loop().sock_sendall(
                client.socket, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
        )
        await until(lambda: (mine := client.incoming()) is not None and not mine._transport.is_reading())
        clock.pass_(100)
        gate.set()
        await sending
        assert (await client.answer())[0] == 200


async def test_an_idle_connection_is_kept_and_its_next_head_has_the_same_time(server):
    clock = Clock(server)
    async with connected(server) as client:
        for _ in range(2):
            await client.send(OK)
            assert (await client.answer())[0] == 200
            clock.pass_(100)
        assert not server.listener.owing
        await client.send(HEAD)
        clock.pass_(29)
        assert client.incoming() is not None
        clock.pass_(2)
        await client.ended()


async def test_streams_and_websockets_may_be_silent_for_ever(server):
    clock = Clock(server)
    path = f"/threads/{await server.thread()}/stream/events"
    async with (
        server.client.ws_connect(path) as socket,
        server.client.post(path, data=b'{"channels":["values"]}') as stream,
    ):
        clock.pass_(1000)
        assert stream.status == 200
        await socket.send_json({"id": 1, "method": "agent.getTree"})
        assert (await socket.receive_json())["id"] == 1
        assert len([each for each in server.listener.open if each._handling]) == 2


async def test_a_client_that_takes_nothing_of_a_plain_response_is_cut(serve):
    server = await serve(write_timeout_s=60)
    clock = Clock(server)
    async with connected(server) as client:
        await asyncio.get_running_loop().sock_sendall(
            client.socket, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
        )
        await until(
            lambda: (
                (mine := client.incoming()) is not None
                and mine._transport.get_write_buffer_size() > 0
                and mine._inner.writing_paused
            )  # type: ignore[union-attr]
        )
        clock.pass_(59)
        assert client.incoming() is not None
        clock.pass_(4)
        await until(lambda: client.incoming() is None)


# limits


async def test_connections_beyond_the_limit_get_503_until_one_has_left(serve):
    server = await serve(max_connections=2)
    async with connected(server) as first, connected(server) as second, connected(server) as third:
        await until(lambda: len(server.listener.open) == 2 and len(server.listener.refused) == 1)
        await asyncio.get_running_loop().sock_sendall(third.socket, OK)
        assert await third.answer() == (503, {"detail": "Too many connections; try again later"})
        await third.ended()
        await second.send(OK)
        assert (await second.answer())[0] == 200
        first.socket.close()
        await until(lambda: len(server.listener.open) == 1)
        async with connected(server) as fourth:
            await fourth.send(OK)
            assert (await fourth.answer())[0] == 200
    assert server.listener.refusals == 1


async def test_a_refused_connection_that_says_nothing_is_cut_and_so_are_too_many_of_them(serve, monkeypatch):
    monkeypatch.setattr(listening, "REFUSED", 1)
    server = await serve(max_connections=1)
    clock = Clock(server)
    async with connected(server) as first, connected(server) as silent, connected(server) as more:
        await until(lambda: server.listener.refusals == 2)
        await more.ended()
        assert len(server.listener.refused) == 1
        clock.pass_(6)
        await silent.ended()
        await until(lambda: not server.listener.refused)
        assert first.incoming() is not None


async def test_connections_of_one_address_are_limited_and_others_are_not_concerned(serve):
    server = await serve(max_per_address=2)
    server.listener.addresses.local = lambda _: False
    async with connected(server, "127.0.0.2") as first, connected(server, "127.0.0.2"):
        await until(lambda: len(server.listener.open) == 2)
        async with connected(server, "127.0.0.2") as third, connected(server, "127.0.0.3") as other:
            await asyncio.get_running_loop().sock_sendall(third.socket, OK)
            assert await third.answer() == (
                503,
                {"detail": "Too many connections from one address; try again later"},
            )
            await other.send(OK)
            assert (await other.answer())[0] == 200
        first.socket.close()
        await until(lambda: server.listener._counts["127.0.0.2"] == 1)
        async with connected(server, "127.0.0.2") as fourth:
            await fourth.send(OK)
            assert (await fourth.answer())[0] == 200
    await until(lambda: not server.listener._counts)


async def test_requests_that_a_proxy_passes_on_are_limited_by_the_address_that_it_tells(serve):
    proxies = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "127.0.0.0/8")))
    server = await serve(max_per_address=1, trusted_proxies=proxies)
    path = f"/threads/{await server.thread()}/stream/events"

    async def asked(client: str) -> Any:
        headers = {"X-Forwarded-For": f"192.0.2.99, {client}, 10.1.2.3"}
        return await server.client.post(path, data=b'{"channels":["values"]}', headers=headers)

    first, again = await asked("2001:db8::1"), await asked("2001:db8::2")
    assert (first.status, again.status) == (200, 503)
    assert again.headers["Retry-After"] == "1"
    other = await asked("2001:db8:0:1::1")
    assert other.status == 200
    first.close()
    await until(lambda: sum(server.listener._counts.values()) == 1)
    last = await asked("2001:db8::2")
    assert last.status == 200
    for each in (again, other, last):
        each.close()


async def test_when_it_gets_crowded_the_longest_idle_connections_are_closed(serve):
    server = await serve(max_connections=10)
    clock = Clock(server)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server)) for _ in range(9)]
        for client in clients:
            await client.send(OK)
            await client.answer()
            clock.pass_(1)
        clock.pass_(20)
        assert len(server.listener.open) == 9
        busy = await stack.enter_async_context(connected(server))
        await busy.send(HEAD)
        clock.pass_(1)
        await clients[0].ended()
        assert [each.incoming() is not None for each in clients] == [False] + [True] * 8
        assert busy.incoming() is not None


async def test_metrics_tell_of_connections(server):
    text = await (await server.client.get("/metrics")).text()
    assert "gatewayd_connections 1.0" in text
    assert "gatewayd_connections_refused_total 0.0" in text


# addresses


@pytest.mark.parametrize(
    ("peer", "told", "of_peer", "of_request"),
    [
        (("203.0.113.7", 1), [], "203.0.113.7", None),
        (("203.0.113.7", 1), ["198.51.100.1"], "203.0.113.7", None),
        (("127.0.0.1", 1), [], None, None),
        (("127.0.0.1", 1), ["198.51.100.1"], None, "198.51.100.1"),
        (("127.0.0.1", 1), ["198.51.100.1, 127.0.0.1"], None, "198.51.100.1"),
        (("127.0.0.1", 1), ["192.0.2.1", "198.51.100.1:4711, 10.0.0.9"], None, "198.51.100.1"),
        (("127.0.0.1", 1), ["192.0.2.1, unknown"], None, None),
        (("127.0.0.1", 1), ["127.0.0.1"], None, None),
        (("10.9.9.9", 1), ["[2001:db8:1:2:3::4]:80"], None, "2001:db8:1:2::/64"),
        (("10.9.9.9", 1), ["2001:db8:1:2::4"], None, "2001:db8:1:2::/64"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), [], "2001:db8:1:2::/64", None),
        (("::ffff:203.0.113.7", 1, 0, 0), [], "203.0.113.7", None),
        (("::1", 1, 0, 0), ["::ffff:203.0.113.7"], None, "203.0.113.7"),
        (("fe80::1%eth0", 1, 0, 2), [], "fe80::/64", None),
        ("", [], None, None),
    ],
)
def test_a_client_is_known_by_its_connection_or_by_what_a_trusted_proxy_says(peer, told, of_peer, of_request):
    known = addresses.Addresses((ipaddress.ip_network("10.0.0.0/8"),))
    assert known.of_peer(peer) == of_peer
    assert known.of_request(peer, told) == of_request


# descriptors


def test_what_happens_often_is_told_once_a_minute_with_its_number() -> None:
    now = 0.0
    seldom = logs.Seldom(clock=lambda: now)
    assert [seldom.times() for _ in range(1000)] == [1] + [None] * 999
    now = 60.0
    assert [seldom.times(), seldom.times()] == [1000, None]


def test_running_out_of_descriptors_is_one_line_and_other_errors_are_told_as_ever(
    monkeypatch, caplog
) -> None:
    monkeypatch.setattr(descriptors, "_failed", logs.Seldom())
    others: list[Any] = []
    loop: Any = type("Loop", (), {"default_exception_handler": others.append})
    for _ in range(1000):
        context = {"message": descriptors.ACCEPT_FAILED, "exception": OSError(24, "Too many open files")}
        descriptors.on_error(loop, context)
    assert [record.getMessage() for record in caplog.records] == [
        "can't accept connections (1 times): [Errno 24] Too many open files"
    ]
    assert caplog.records[0].exc_info is None
    assert others == []
    descriptors.on_error(loop, {"message": "else"})
    assert others == [{"message": "else"}]


def test_the_soft_limit_is_raised_to_the_hard_one_and_a_reserve_is_kept(monkeypatch, caplog) -> None:
    limits = [256, 4096]
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, wanted: limits.__setitem__(0, wanted[0]))
    assert descriptors.raise_limit() == limits[0] == 4096
    assert descriptors.connections(4096, 1000, workers=2) == 1000
    assert not caplog.records
    assert descriptors.connections(4096, 10_000, workers=2) == 4096 - descriptors.RESERVE - 16
    assert "LimitNOFILE" in caplog.text
    limits[:] = [1024, descriptors.resource.RLIM_INFINITY]
    assert descriptors.raise_limit() == descriptors.LARGEST
