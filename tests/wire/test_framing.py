"""The bytes of an event stream, as clients with small parsers need them."""

from __future__ import annotations

import json
import re

import aiohttp
import pytest

FRAME = re.compile(rb"event: ([^\r\n]+)\r\ndata: ([^\r\n]+)\r\nid: (\d{13}-\d+)\r\n\r\n")


pytestmark = pytest.mark.xdist_group("clients")


async def test_a_frame_is_event_data_and_id_on_lines_of_their_own(served: str) -> None:
    body = {"assistant_id": "odd", "input": {}, "stream_mode": ["values", "updates"]}
    async with aiohttp.ClientSession() as http, http.post(f"{served}/runs/stream", json=body) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "Content-Encoding" not in response.headers
        data = await response.read()
    frames = FRAME.findall(data)
    assert b"".join(b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % frame for frame in frames) == data
    assert [name for name, _, _ in frames] == [b"metadata", b"updates", b"values"]


async def test_text_is_not_escaped(served: str) -> None:
    body = {"assistant_id": "countdown", "input": {"left": 0, "seen": ["ü\U0001f40d\u2028"]}}
    async with aiohttp.ClientSession() as http, http.post(f"{served}/runs/stream", json=body) as response:
        assert "ü\U0001f40d\u2028" in (await response.read()).decode()


async def test_an_answer_that_is_waited_for_is_json_after_nothing_but_space(served: str) -> None:
    body = {"assistant_id": "countdown", "input": {"left": 0, "seen": []}}
    async with aiohttp.ClientSession() as http, http.post(f"{served}/runs/wait", json=body) as response:
        assert (await response.read()).lstrip(b"\n").startswith(b"{")


async def test_tools_tell_of_their_calls_in_the_words_of_the_sdks(served: str) -> None:
    asked = {"messages": [{"type": "human", "content": "six times seven"}]}
    body = {"assistant_id": "reckoner", "input": asked, "stream_mode": ["tools"]}
    async with aiohttp.ClientSession() as http, http.post(f"{served}/runs/stream", json=body) as response:
        frames = FRAME.findall(await response.read())
    begun, done = (json.loads(data) for name, data, _ in frames if name == b"tools")
    about = {"toolCallId": "call-1", "name": "multiply"}
    assert begun == {"event": "on_tool_start", **about, "input": {"left": 6, "right": 7}}
    assert done.pop("output")["content"] == "42"
    assert done == {"event": "on_tool_end", **about}
