"""Large bodies: parsed in processes of their own, passed on as bytes, and never holding the loop."""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gatewayd import api, ids, parsing, wire
from gatewayd.api.requests import parsers
from gatewayd.api.sockets import server
from gatewayd.checkpointing import reader
from gatewayd.checkpointing.sqlite.reader import SqliteReader
from gatewayd.errors import Invalid, Unavailable
from gatewayd.limits import Limits
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
MIB = 1 << 20
LIMITS = Limits(part_values=10_000, metadata_bytes=65_536, ids=1000, batch=1000)


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[inprocess.Daemon, web.Application, int]]:
    """Yield a daemon, its application and its port."""
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        application = api.build_app(daemon.services)
        runner = server.Runner(application, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield daemon, application, runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def ask(port: int, method: str, path: str, data: bytes = b"", **headers: str) -> tuple[int, Any]:
    """Ask from another thread, which is not measured."""

    def blocking() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
        connection.request(
            method, path, data or None, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    return await asyncio.to_thread(blocking)


async def new_thread(port: int) -> str:
    return str((await ask(port, "POST", "/threads", b"{}"))[1]["thread_id"])


def numbers(count: int) -> list[float]:
    draw = random.Random(1)
    return [draw.random() for _ in range(count)]


@contextmanager
def measured() -> Iterator[list[float]]:
    """Measure how long each call on this thread's loop takes, in seconds of its own CPU time."""
    taken: list[float] = []
    mine, run = threading.get_ident(), asyncio.Handle._run

    def measuring(handle: asyncio.Handle) -> None:
        if threading.get_ident() != mine:
            run(handle)
            return
        begun = time.thread_time()
        run(handle)
        taken.append(time.thread_time() - begun)

    asyncio.Handle._run = measuring  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()  # what other tests have left in this process is not to be collected within a call
    try:
        yield taken
    finally:
        gc.unfreeze()
        asyncio.Handle._run = run  # type: ignore[method-assign]


def slowness() -> float:
    """Return how many times longer this machine takes than a usual one for the copy of 32 MiB, at least 1."""
    taken = []
    for _ in range(10):
        begun = time.thread_time()
        bytes(bytearray(32 * MIB))
        taken.append(time.thread_time() - begun)
    return max(1.0, min(taken) / 0.040)


# what arrives


async def test_a_large_input_reaches_the_graph_and_is_shown_as_it_was(tmp_path: Path) -> None:
    word = 'say "a\\\\b" [{,\0é' * 100_000
    body = json.dumps({"assistant_id": "steps", "input": {"word": word, "path": []}}).encode()
    shown = word.replace("\0", "\ufffd")
    async with serving(tmp_path) as (daemon, _, port):
        thread_id = await new_thread(port)
        status, run = await ask(port, "POST", f"/threads/{thread_id}/runs", body)
        assert status == 200
        assert run["kwargs"]["input"] == {"word": shown, "path": []}
        status, joined = await ask(port, "GET", f"/threads/{thread_id}/runs/{run['run_id']}/join")
        assert status == 200
        assert joined["word"] == shown
        status, found = await ask(port, "GET", f"/threads/{thread_id}/runs/{run['run_id']}")
        assert found["kwargs"]["input"] == {"word": shown, "path": []}
        assert list(found["kwargs"])[:3] == ["input", "command", "config"]
        _, (listed,) = await ask(port, "GET", f"/threads/{thread_id}/runs")
        assert listed == found
        assert daemon.services.storage is not None


async def test_large_answers_reach_the_questions_that_they_are_bound_to(tmp_path: Path) -> None:
    large = "an answer" * 200_000
    async with serving(tmp_path) as (daemon, _, port):
        for spelt in ("plain", "map"):
            thread_id = ids.new_id()
            asked = inprocess.request("two_questions", thread_id=thread_id, input={"word": "w", "path": []})
            await daemon.finish(asked)
            thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
            (((one,)),) = (thread.interrupts or {}).values()
            resume = large if spelt == "plain" else {one["id"]: large}
            body = {"assistant_id": "two_questions", "command": {"resume": resume}}
            status, made = await ask(port, "POST", f"/threads/{thread_id}/runs", json.dumps(body).encode())
            assert (status, made["kwargs"]["command"]) == (200, {"resume": resume})
            await daemon.services.runs.wait(INTERNAL, thread_id, made["run_id"])
            last = inprocess.request(
                "two_questions", thread_id=thread_id, input=None, command={"resume": "the last"}
            )
            await daemon.finish(last)
            state = await daemon.state(thread_id, "two_questions")
            assert large in json.dumps(state["values"])
            run = await daemon.services.storage.run_get(INTERNAL, thread_id, made["run_id"])
            assert run is not None
            assert wire.opened(run.answers) == {one["id"]: large}


async def test_large_values_and_items_are_stored(tmp_path: Path) -> None:
    values = {"word": "w" * 2 * MIB}
    async with serving(tmp_path) as (daemon, _, port):
        thread_id = ids.new_id()
        await daemon.finish(inprocess.request("steps", thread_id=thread_id, input={"word": "w", "path": []}))
        update = json.dumps({"values": values, "as_node": "a"}).encode()
        assert (await ask(port, "POST", f"/threads/{thread_id}/state", update))[0] == 200
        assert (await daemon.state(thread_id, "steps"))["values"]["word"] == values["word"]
        steps = [{"updates": [{"values": values | {"path": []}, "as_node": "__start__"}]}]
        first = json.dumps({"metadata": {"graph_id": "steps"}, "supersteps": steps}).encode()
        status, made = await ask(port, "POST", "/threads", first)
        assert (status, made["values"]["word"]) == (200, values["word"])
        item = json.dumps({"namespace": ["n"], "key": "k", "value": values}).encode()
        assert (await ask(port, "PUT", "/store/items", item))[0] == 204
        _, found = await ask(port, "GET", "/store/items?namespace=n&key=k")
        assert found["value"] == values


async def test_a_repeat_of_a_large_request_makes_nothing_and_is_answered_alike(tmp_path: Path) -> None:
    body = json.dumps(
        {"assistant_id": "steps", "after_seconds": 3600, "input": {"x": numbers(60_000)}}
    ).encode()
    async with serving(tmp_path) as (_, _, port):
        thread_id = await new_thread(port)
        first, again = [
            await ask(port, "POST", f"/threads/{thread_id}/runs", body, Idempotency_Key="k") for _ in range(2)
        ]
        assert first[0] == 200
        assert again == first
        other = await ask(port, "POST", f"/threads/{thread_id}/runs", body + b" ", Idempotency_Key="k")
        assert other[0] == 422


async def test_a_run_whose_arguments_can_not_be_read_ends_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise reader.Failed("disk I/O error", sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ")

    monkeypatch.setattr(SqliteReader, "run_arguments", failing)
    body = json.dumps({"assistant_id": "steps", "input": {"word": "w" * 2 * MIB, "path": []}}).encode()
    async with serving(tmp_path) as (daemon, _, port):
        thread_id = await new_thread(port)
        _, run = await ask(port, "POST", f"/threads/{thread_id}/runs", body)
        async with asyncio.timeout(60):
            ended = await daemon.services.runs.wait(INTERNAL, thread_id, run["run_id"])
        assert ended.status == "error"
        assert (ended.error or {})["error"] == "Failed"


# the loop


def ugly() -> dict[str, tuple[str, bytes, dict[str, str], int]]:
    """Return path, body, headers and expected status of bodies that are large in every way."""
    lists = b"[" + b"[]," * 450_000 + b"[]]"
    run = b'{"assistant_id":"steps","after_seconds":3600,"input":%b}'
    floats = json.dumps(numbers(500_000)).encode()
    strings = json.dumps(["s"] * 900_000, separators=(",", ":")).encode()
    objects = json.dumps([{"a": n} for n in range(300_000)]).encode()
    escapes = b'"' + b'\\\\\\"' * (4 * MIB) + b'"'
    base64 = b'"' + b"QUJD" * (24 * MIB) + b'"'
    deep = b"[" * 100_000 + b"]" * 100_000
    zipped = {"Content_Encoding": "gzip"}
    here, there = "/threads/{thread}/runs", "/threads/{idle}/state"
    return {
        "lists": (here, run % lists, {}, 200),
        "floats": (here, run % floats, {}, 200),
        "strings": (here, run % strings, {}, 200),
        "objects": (here, run % objects, {}, 200),
        "escapes": (here, run % escapes, {}, 200),
        "base64": (here, run % base64, {}, 200),
        "nested": (here, run % deep, {}, 422),
        "nested without an end": (here, run % (b"[" * 900_000), {}, 422),
        "too many": (here, run % (b"[" + b"0," * (20 * MIB) + b"0]"), {}, 422),
        "a bomb": (here, gzip.compress(run % (b'"' + b"x" * (90 * MIB) + b'"')), zipped, 413),
        "a bomb of lists": (here, gzip.compress(run % (b"[" + b"[]," * (30 * MIB) + b"0]")), zipped, 413),
        "config": (here, b'{"assistant_id":"steps","config":{"configurable":{"a":%b}}}' % strings, {}, 422),
        "a text in config": (
            here,
            b'{"assistant_id":"steps","config":{"configurable":{"a":%b}}}' % escapes,
            {},
            422,
        ),
        "unknown fields": (here, b'{"assistant_id":"steps","zz":%b}' % lists, {}, 422),
        "metadata": ("/threads", b'{"metadata":{"a":%b}}' % lists, {}, 422),
        "filter": ("/threads/search", b'{"values":{"a":%b}}' % lists, {}, 422),
        "ids": ("/threads/search", json.dumps({"ids": [ids.new_id()] * 100_000}).encode(), {}, 422),
        "batch": ("/runs/batch", b"[" + b"{}," * 300_000 + b"{}]", {}, 422),
        "garbage": (here, b'{"assistant_id":' + b"\xff\\" * (5 * MIB), {}, 422),
        "values": (there, b'{"as_node":"a","values":{"word":"w","path":%b}}' % floats, {}, 200),
        "responses": (
            "/threads/{thread}/commands",
            b'{"id":1,"method":"input.respond","params":{"interrupt_id":"i","response":%b}}' % lists,
            {},
            200,
        ),
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_body_holds_the_loop_for_more_than_50_ms(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, _, port):
        thread_id = await new_thread(port)
        _, idle = await ask(port, "POST", "/threads", b'{"metadata":{"graph_id":"steps"}}')
        named = {"thread": thread_id, "idle": idle["thread_id"]}
        longest = {}
        for name, (path, body, headers, expected) in ugly().items():
            with measured() as taken:
                status, said = await ask(port, "POST", path.format_map(named), body, **headers)
            assert status == expected, (name, str(said)[:300])
            longest[name] = round(max(taken) * 1000)
        with measured() as taken:
            await ask(port, "GET", f"/threads/{thread_id}/runs")
        longest["reading them"] = round(max(taken) * 1000)
        most = 50 * slowness()
        assert not {name: ms for name, ms in longest.items() if ms > most}, (longest, most)


async def test_a_large_command_over_a_websocket_is_parsed_like_a_body_and_the_session_lives(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (_, _, port), aiohttp.ClientSession() as session:
        path = f"http://127.0.0.1:{port}/threads/{await new_thread(port)}/stream/events"
        params: dict[str, Any] = {"assistant_id": "steps", "input": {"path": [], "word": ""}}
        commands = {
            "text": {**params, "input": {"path": [], "word": "w" * 10 * MIB}},
            "lists": {**params, "input": [[]] * 450_000},
            "too many": {**params, "input": [0] * 2_000_000},
            "metadata": {**params, "metadata": {"a": [[]] * 20_000}},
        }
        texts = {
            name: json.dumps({"id": 7, "method": "run.start", "params": each})
            for name, each in commands.items()
        }
        async with session.ws_connect(path, max_msg_size=0) as socket:
            kinds = {}
            for name, text in texts.items():
                await socket.send_str(text)
                answer = await socket.receive_json(timeout=60)
                kinds[name] = answer["type"], answer.get("message", "").partition(" has ")[2]
        assert kinds == {
            "text": ("success", ""),
            "lists": ("success", ""),
            "too many": ("error", "more than 1000000 values"),
            "metadata": ("error", "more than 10000 values"),
        }


# the pool


async def taken(pool: parsers.Parsers) -> None:
    """Wait until the pool's idle parser has been given something."""
    for _ in range(1000):
        if not pool._idle:
            return
        await asyncio.sleep(0)
    raise AssertionError("nothing is asked")


async def test_a_parser_that_dies_costs_its_request_a_503_and_no_other(tmp_path: Path) -> None:
    pool = parsers.Parsers(LIMITS)
    body = b'{"input":"' + b"x" * (2 * MIB) + b'"}'
    try:
        await pool.parsed([body], len(body))
        (idle,) = pool._idle
        os.kill(idle.process.pid, signal.SIGSTOP)  # it is at the body when it dies
        asked = asyncio.ensure_future(pool.parsed([body], len(body)))
        await taken(pool)
        os.kill(idle.process.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="could not be parsed"):
            await asked
        found = await pool.parsed([body], len(body))
        assert wire.opened(found) == json.loads(body)
    finally:
        await pool.stop()


async def test_a_parser_is_killed_when_nobody_waits_for_it_any_more() -> None:
    pool = parsers.Parsers(LIMITS)
    body = b'{"input":1}'
    try:
        await pool.parsed([body], len(body))
        (idle,) = pool._idle
        os.kill(idle.process.pid, signal.SIGSTOP)
        asked = asyncio.ensure_future(pool.parsed([body], len(body)))
        await taken(pool)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await asyncio.wait_for(idle.process.wait(), 60) == -signal.SIGKILL
        assert pool._idle == []
    finally:
        await pool.stop()


async def test_a_parser_ends_after_a_large_body_and_gives_its_memory_back() -> None:
    pool = parsers.Parsers(LIMITS)
    body = b'{"input":"' + b"x" * parsing.LARGE + b'"}'
    try:
        await pool.parsed([body], len(body))
        assert pool._idle == []
    finally:
        await pool.stop()


async def test_more_bodies_than_may_wait_are_503() -> None:
    begun = asyncio.Event()

    async def never(_: Limits) -> Any:
        begun.set()
        await asyncio.Event().wait()

    pool = parsers.Parsers(LIMITS, start=never)
    waiting = [asyncio.ensure_future(pool.parsed([b"{}"], 2)) for _ in range(parsers.MOST_WAITING)]
    await begun.wait()
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too many large requests"):
        await pool.parsed([b"{}"], 2)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("body", "error", "why"),
    [
        (b'{"input":', parsers.NotJson, "Invalid JSON"),
        (b"[" * 250 + b"]" * 250, Invalid, "nested more than 200 levels"),
        (b'{"metadata":{"a":"' + b"x" * 70_000 + b'"}}', Invalid, "`metadata` is larger than 65536 bytes"),
        (b'{"a":"' + b"x" * (5 * MIB) + b'"}', Invalid, "Beside `input`"),
        (b'{"a":[' + b"0," * 60_000 + b"0]}", Invalid, "Beside `input`"),
    ],
    ids=["no JSON", "nested", "metadata", "bytes", "values"],
)
async def test_a_parser_refuses_what_the_daemon_would(body: bytes, error: type[Exception], why: str) -> None:
    pool = parsers.Parsers(LIMITS)
    try:
        with pytest.raises(error) as caught:
            await pool.parsed([body], len(body))
        assert why in str(caught.value)
    finally:
        await pool.stop()
