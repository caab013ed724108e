"""
A conversation with a server, written down: what was asked, and status, headers and body of each answer.

A scenario talks through `Conversation`, to the reference when it is recorded and to gatewayd when it is
compared. What it needs only to get there is asked with `record=False`. What differs from one time to the next
(ids, times, versions) is replaced when the conversation is written down; an id that comes twice in an answer
gets the same name twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import yarl

SHOWN_HEADERS: Final = (
    "allow",
    "cache-control",
    "content-location",
    "content-type",
    "location",
    "x-accel-buffering",
    "x-pagination-next",
    "x-pagination-total",
)
VERSIONS: Final = frozenset(
    {
        "__request_start_time_ms__",
        "langgraph_api_url",
        "langgraph_api_version",
        "langgraph_host",
        "langgraph_plan",
        "langgraph_py_version",
        "langgraph_request_id",
        "langgraph_version",
        "lc_versions",
    }
)
"""Keys whose values are a server's own business."""
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HEX: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
EVENT_ID: Final = re.compile(r"\d{13}-\d+")
FIXED: Final = ("11111111-", "0a0a0a0a-", "01234567", "00000000-")
"""How the ids begin that scenarios and graphs choose themselves."""
PROJECT: Final = Path(__file__).with_name("project")
SYSTEM: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
KEPT: Final = frozenset(
    str(uuid.uuid5(SYSTEM, graph)) for graph in json.loads((PROJECT / "langgraph.json").read_text())["graphs"]
)
"""Ids of the project's own assistants: they are the same on every server."""
LATEST_S: Final = 30.0
"""How long a condition may take to come true."""


class Conversation:
    """One client's exchanges with one server, in the order in which they were begun."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.steps: list[dict[str, Any]] = []
        self._named: dict[str, str] = {}

    def name(self, kind: str, identifier: str) -> str:
        """Show an id by a name from now on: <thread 1>, <run 2>; returns the id."""
        if identifier not in self._named and not identifier.startswith(FIXED):
            taken = sum(1 for name in self._named.values() if name.startswith(f"<{kind} "))
            self._named[identifier] = f"<{kind} {taken + 1}>"
        return identifier

    async def thread(self, **body: Any) -> str:
        """Create a thread and return its id."""
        created = await self.post("/threads", body, record=False)
        return self.name("thread", created["thread_id"])

    async def run(self, thread: str, record: bool = False, **body: Any) -> str:
        """Create a run in the background and return its id."""
        created = await self.post(f"/threads/{thread}/runs", body, record=record)
        return self.name("run", created["run_id"])

    async def get(self, path: str, **options: Any) -> Any:
        """Ask, and return the answer's JSON, or its text."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = ..., **options: Any) -> Any:
        """Send a body and return the answer's JSON, or its text."""
        return await self.ask("POST", path, body, **options)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = ...,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        show: tuple[str, ...] = (),
        record: bool = True,
    ) -> Any:
        """
        Exchange one request; `raw` is sent as it stands, `show` names further headers of the answer to write
        down.

        Ids of threads and runs that an answer locates get names.
        """
        step = self._begin(method, path, body, raw, record)
        sent = self._send(method, path, body, raw, headers)
        async with sent as response:
            data = await response.read()
        self._locate(response)
        answer = _loaded(data)
        step |= self._head(response, show) | {"answer": answer}
        return answer

    async def until(self, path: str, holds: Callable[[Any], object]) -> Any:
        """Ask again and again until the answer is as it should be, and write that one down."""
        deadline = time.monotonic() + LATEST_S
        while True:
            answer = await self.get(path, record=False)
            if holds(answer):
                return await self.get(path)
            assert time.monotonic() < deadline, f"{path} is still {answer}"
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        path: str,
        body: Any = ...,
        *,
        headers: dict[str, str] | None = None,
        record: bool = True,
    ) -> AsyncIterator[Stream]:
        """Open an event stream (POST with a body, else GET); leaving the block before its end cuts it."""
        method = "GET" if body is ... else "POST"
        step = self._begin(method, path, body, None, record)
        async with self._send(method, path, body, None, headers) as response:
            self._locate(response)
            stream = Stream(response)
            step |= self._head(response, ()) | {"answer": {"events": stream.shown, "ids": "none"}}
            try:
                yield stream
            finally:
                step["answer"]["ids"] = stream.has_ids()
                if not stream.over:
                    response.close()

    async def events(self, path: str, body: Any = ..., **options: Any) -> list[tuple[str, Any]]:
        """Read an event stream to its end."""
        async with self.stream(path, body, **options) as stream:
            return [event async for event in stream]

    def _begin(self, method: str, path: str, body: Any, raw: bytes | None, record: bool) -> dict[str, Any]:
        step: dict[str, Any] = {"ask": f"{method} {path}"}
        if body is not ...:
            step["body"] = body
        if raw is not None:
            step["body"] = repr(raw)[2:-1]
        if record:
            self.steps.append(step)
        return step

    def _send(
        self, method: str, path: str, body: Any, raw: bytes | None, headers: dict[str, str] | None
    ) -> Any:
        data = raw if body is ... else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        address = yarl.URL(self.url + path, encoded=True)
        return self.http.request(method, address, data=data, headers=given, allow_redirects=False)

    def _locate(self, response: aiohttp.ClientResponse) -> None:
        for header in ("Content-Location", "Location"):
            if found := re.search(r"/threads/([^/]+)", response.headers.get(header, "")):
                self.name("thread", found[1])
            if found := re.search(r"/runs/([^/]+)", response.headers.get(header, "")):
                self.name("run", found[1])

    def _head(self, response: aiohttp.ClientResponse, show: tuple[str, ...]) -> dict[str, Any]:
        headers = {
            name: response.headers[name] for name in (*SHOWN_HEADERS, *show) if name in response.headers
        }
        return {"status": response.status, "headers": headers}

    def written(self) -> list[dict[str, Any]]:
        """Return the conversation with all that changes from one time to the next replaced."""
        return [_Names(self._named, self.url).step(step) for step in self.steps]


class Stream:
    """An event stream being read: iterating yields (name, data) of each event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.status = response.status
        self.shown: list[list[Any]] = []
        """What was read so far: [name, data] each."""
        self.ids: list[str | None] = []
        self.over = False

    def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        return self._read()

    async def next(self, name: str | None = None) -> Any:
        """Read to the next event, or to the next of a name, and return its data."""
        async for found, data in self:
            if name in (None, found):
                return data
        raise AssertionError(f"the stream ended before {name or 'another event'}: {self.shown}")

    def has_ids(self) -> str:
        """Say which of the events had an id."""
        if not any(self.ids):
            return "none"
        well_formed = all(text is not None and EVENT_ID.fullmatch(text) for text in self.ids)
        return "all" if well_formed else "some"

    async def _read(self) -> AsyncIterator[tuple[str, Any]]:
        fields: dict[str, str] = {}
        async for line in self.response.content:
            text = line.decode().removesuffix("\r\n")
            if text.startswith(":"):
                continue
            if text:
                name, _, value = text.partition(":")
                fields[name] = value.removeprefix(" ")
            elif fields:
                self.ids.append(fields.get("id"))
                self.shown.append([fields.get("event"), _loaded(fields.get("data", "").encode())])
                fields = {}
                yield self.shown[-1][0], self.shown[-1][1]
        self.over = True


def _loaded(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode(errors="replace")


def _sortable(key: str) -> str:
    """
    Return what a key is sorted by, which decides how ids are numbered.

    Keys that are ids stay in the order in which they came; metadata come last, they repeat what others say
    first.
    """
    return "~" if key == "metadata" else HEX.sub("", UUID.sub("", key))


class _Names:
    """Replaces what changes in one step. Ids without a name are numbered in the order in which they come."""

    def __init__(self, named: dict[str, str], url: str) -> None:
        self.named = named
        self.url = url
        self.seen: dict[str, str] = {}

    def step(self, step: dict[str, Any]) -> dict[str, Any]:
        parts = ("ask", "body", "status", "headers", "answer")
        return {part: self.value(step[part]) for part in parts if part in step}

    def value(self, value: Any, key: str = "") -> Any:
        if key in VERSIONS:
            return f"<{key}>"
        if isinstance(value, dict):
            return {self.text(name): self.value(value[name], name) for name in sorted(value, key=_sortable)}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        if TIME.fullmatch(text):
            away = abs(dt.datetime.fromisoformat(text) - dt.datetime.now(dt.UTC))
            return "<time>" if away < dt.timedelta(days=1) else text
        if EVENT_ID.fullmatch(text):
            return "<event id>"
        text = text.replace(self.url, "<url>")
        for pattern, kind in ((UUID, "id"), (HEX, "hex")):
            text = pattern.sub(lambda found, kind=kind: self._called(found[0], kind), text)
        return text

    def _called(self, identifier: str, kind: str) -> str:
        if identifier in self.named:
            return self.named[identifier]
        if identifier in KEPT or identifier.startswith(FIXED):
            return identifier
        if identifier not in self.seen:
            taken = sum(1 for name in self.seen.values() if name.startswith(f"<{kind} "))
            self.seen[identifier] = f"<{kind} {taken + 1}>"
        return self.seen[identifier]


class Connection:
    """An HTTP client session that gives out conversations with one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Conversation:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        return Conversation(self._http, self.url)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
