"""
What is no HTTP, or no body as its head announces it: answered in our form, without an echo, and hardly
logged.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import http_exceptions, web

from gatewayd import api
from gatewayd.api.sockets import server as serving

NO_HTTP = {
    "a word": b"GARBAGE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret\r\n\r\n",
    "another version": b"GET /ok HTTP/9.9\r\n\r\n",
    "a header without a colon": b"GET /ok HTTP/1.1\r\nHost: localhost\r\nBad secret<script>\r\n\r\n",
    "a long line": b"GET /" + b"secret" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": b"GET /ok HTTP/1.1\r\nHost: localhost\r\nX: " + b"secret" * 2000 + b"\r\n\r\n",
    "many headers": b"GET /ok HTTP/1.1\r\n" + b"X: secret\r\n" * 300 + b"\r\n",
    "a length that is no number": b"POST /threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: secret\r\n\r\n",
    "a chunk without a size": b"POST /threads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
    "a broken URL": b"GET http://[::secret/ok HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@asynccontextmanager
async def listening(server) -> AsyncIterator[int]:
    runner = serving.Runner(api.build_app(server.services), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(port: int, data: bytes) -> tuple[str, str, object]:
    """Return the status line, the head and the JSON of the answer to some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode()
        line, _, rest = head.partition("\r\n")
        length = int(rest.lower().split("content-length: ")[1].split("\r\n")[0])
        return line, rest, json.loads(await asyncio.wait_for(reader.readexactly(length), 30))
    finally:
        writer.close()


def post(data: bytes, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = ["POST /threads HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *lines, "", ""]
    return "\r\n".join(head).encode() + data


@pytest.mark.parametrize("kind", NO_HTTP)
async def test_what_is_no_http_is_answered_in_our_json_without_an_echo_and_without_a_version(server, kind):
    async with listening(server) as port:
        line, head, said = await ask(port, NO_HTTP[kind])
    assert line.split()[1] == "400"
    assert said in (
        {"detail": "The request is not valid HTTP"},
        {"detail": "A line of the request's head is too long"},
    )
    assert "Server: gatewayd\r\n" in head
    assert "aiohttp" not in head
    assert "secret" not in head


async def test_many_malformed_requests_are_one_line_without_a_traceback(server, caplog):
    caplog.set_level(logging.INFO)
    async with listening(server) as port:
        for data in NO_HTTP.values():
            await ask(port, data)
        await ask(port, post(b"{}", Content_Encoding="gzip"))
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in told] == ["a malformed request from 127.0.0.1: BadHttpMethod"]
    assert told[0].exc_info is None


def test_what_was_not_told_is_counted_in_the_next_line(caplog):
    moments = [0.0, 1.0, 9.9, 10.0, 20.0]
    malformed = serving.Malformed(clock=iter(moments).__next__)
    error = http_exceptions.BadHttpMessage("secret")
    for _ in moments:
        malformed.tell("127.0.0.1", error)
    said = "a malformed request from 127.0.0.1: BadHttpMessage"
    assert caplog.messages == [said, f"{said}, and 2 more since the last such line", said]


@pytest.mark.parametrize("encoding", ["br", "zstd", "x-gzip", "foo", "gzip, gzip"])
async def test_an_encoding_that_is_not_known_is_415_with_those_that_are(server, encoding):
    async with listening(server) as port:
        line, head, said = await ask(port, post(b"{}", Content_Encoding=encoding))
    assert line.split()[1] == "415"
    assert said == {"detail": "Unsupported Content-Encoding (supported: gzip, deflate)"}
    assert "Accept-Encoding: gzip, deflate\r\n" in head
    assert "Server: gatewayd\r\n" in head


@pytest.mark.parametrize(("encoding", "data"), [("GZIP", gzip.compress(b"{}", mtime=0)), ("identity", b"{}")])
async def test_encodings_that_are_known_are_decoded(server, encoding, data):
    async with listening(server) as port:
        line, _, said = await ask(port, post(data, Content_Encoding=encoding))
    assert line.split()[1] == "200", said


async def test_a_body_that_is_not_encoded_as_its_head_says_is_400(server):
    async with listening(server) as port:
        line, _, said = await ask(port, post(b"no gzip", Content_Encoding="gzip"))
    assert (line.split()[1], said) == ("400", {"detail": "The request body could not be read"})


async def test_an_expectation_that_is_not_met_is_417_without_an_echo(server):
    async with listening(server) as port:
        line, _, said = await ask(port, post(b"{}", Expect="secret"))
    assert (line.split()[1], said) == ("417", {"detail": "Expectation Failed"})
