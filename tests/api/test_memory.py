"""What readers that take nothing cost: 256 KiB each, whatever there is to read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from gatewayd.model import event

READERS = 20
EVENTS, SIZE = 400, 20_000
EACH = 256 * 1024
"""Bytes that a reader may hold."""


def head(path: str, *lines: str, body: bytes = b"", method: str = "GET") -> bytes:
    length = (f"Content-Length: {len(body)}",) if body else ()
    return (
        "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, *length, "", ""]).encode() + body
    )


def run_stream(thread_id: str, run_id: str) -> bytes:
    return head(f"/threads/{thread_id}/runs/{run_id}/stream", "Last-Event-ID: 0")


def thread_stream(thread_id: str, run_id: str) -> bytes:
    return head(f"/threads/{thread_id}/stream", "Last-Event-ID: 0")


def events(thread_id: str, run_id: str) -> bytes:
    body = b'{"channels":["custom"]}'
    return head(f"/threads/{thread_id}/stream/events", body=body, method="POST")


def websocket(thread_id: str, run_id: str) -> bytes:
    command = json.dumps(
        {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["custom"]}}
    ).encode()
    lines = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Extensions: permessage-deflate",
    )
    frame = bytes([0x81, 0x80 | len(command)]) + b"\0\0\0\0" + command
    return head(f"/threads/{thread_id}/stream/events", *lines) + frame


async def stalled(server: Any, count: int) -> None:
    """Wait until so many clients have more to take than they do."""
    async with asyncio.timeout(60):
        while (  # noqa: ASYNC110  it happens in objects that tell nobody
            sum(
                each._transport.get_write_buffer_size() > 0 and each._inner.writing_paused
                for each in server.listener.open
                if each._inner is not None
            )
            < count
        ):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("asked", [run_stream, thread_stream, events, websocket])
async def test_a_reader_that_takes_nothing_costs_no_more_than_256_kib(
    serve: Any, asked: Callable[[str, str], bytes]
) -> None:
    server = await serve(write_timeout_s=300, ping_s=300)
    thread_id = await server.thread()
    run_id = str(await server.worker.started(await server.run(thread_id)))
    for n in range(EVENTS):
        data = {"data": {"n": n, "large": "x" * SIZE}}
        sent = server.worker.emit(run_id, "v2/custom", data, mask=event.V1 | event.V2 | event.THREAD)
    await server.worker.committed(run_id, sent)
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:

        async def connect() -> None:
            made = stack.enter_context(socket.socket())
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            await loop.sock_connect(made, (server.client.host, server.client.port))
            await loop.sock_sendall(made, asked(thread_id, run_id))

        await connect()
        await stalled(server, 1)  # what the first one needs for all of them is there
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(READERS):
                await connect()
            await stalled(server, READERS + 1)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held < READERS * EACH, f"{held // READERS} bytes each"
    server.worker.end(run_id)
    await server.finished(thread_id, run_id)
