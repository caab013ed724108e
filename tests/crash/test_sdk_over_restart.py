"""
The unmodified Python SDK over a daemon that ends and is started again: its loops go on and miss nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.crash import script as scripts
from tests.crash import served as subject
from tests.crash import storm
from tests.processes import daemon

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]

Make = Callable[..., subject.Served]

PAUSE = 0.15


def walk(
    name: str, client: str, call: str, thread_id: str | None, steps: int, *, graph: str = "walk", **more: Any
) -> dict[str, Any]:
    kwargs = {"input": {"steps": steps, "pause": PAUSE}, **more}
    if call == "stream":
        kwargs["stream_mode"] = ["updates"]
    return {"name": name, "client": client, "call": call, "args": [thread_id, graph], "kwargs": kwargs}


def all_at(calls: list[scripts.Call], step: int) -> bool:
    return all(len(call.walked) >= step for call in calls)


@pytest.mark.parametrize("signals", [("SIGKILL", "SIGKILL"), ("SIGTERM",), ("SIGINT",)], ids="-".join)
async def test_every_kind_of_call_ends_as_if_the_daemon_had_not(make: Make, signals: tuple[str, ...]) -> None:
    """Streams, waits and joins, with and without a thread, running, queued and delayed, sync and async."""
    steps = 40  # those who are quick must not be at the end before the slow ones have begun
    served = make(jobs_per_worker=20, drain_s=2)
    await served.start()
    named = ("async", "sync", "wait", "wait sync", "first", "delayed", "joined")
    threads = dict(zip(named, await asyncio.gather(*(served.thread() for _ in named)), strict=True))
    walking = {"steps": steps, "pause": PAUSE}
    background = await served.post(
        f"/threads/{threads['joined']}/runs", {"assistant_id": "walk", "input": walking}
    )
    first = await served.post(
        f"/threads/{threads['first']}/runs",
        {"assistant_id": "walk", "input": {"steps": steps, "pause": PAUSE}},
    )
    orders = [
        walk("async", "async", "stream", threads["async"], steps),
        walk("sync", "sync", "stream", threads["sync"], steps),
        walk("wait", "async", "wait", threads["wait"], steps),
        walk("wait sync", "sync", "wait", threads["wait sync"], steps),
        walk("stateless", "async", "stream", None, steps),
        walk("stateless sync", "sync", "stream", None, steps),
        walk("stateless wait", "async", "wait", None, steps),
        walk("queued", "async", "stream", threads["first"], 3, multitask_strategy="enqueue"),
        walk("delayed", "sync", "stream", threads["delayed"], 3, after_seconds=4),
        {
            "name": "join",
            "client": "async",
            "call": "join",
            "args": [threads["joined"], background["run_id"]],
        },
        {
            "name": "join sync",
            "client": "sync",
            "call": "join",
            "args": [threads["joined"], background["run_id"]],
        },
    ]
    async with scripts.Script(served.url, orders) as script:
        calls = script.calls
        streams = [calls[name] for name in ("async", "sync", "stateless", "stateless sync")]
        made = [order["name"] for order in orders if order["call"] != "join"]
        # Before its answer begins a call has nothing to go on from. The joins have begun with the others.
        await script.until(lambda: all(calls[name].created for name in made), "all are accepted")
        done = 0
        for name in signals:
            done += 4
            await script.until(partial(all_at, streams, done), f"step {done}")
            served.signal(getattr(signal, name))
            assert await served.wait() == (-9 if name == "SIGKILL" else 0), served.log("last")
            await served.start("started")
        await script.end()

    for call in streams:
        call.walk_is_whole(steps)
        assert call.attempts == list(range(1, len(signals) + 2)), "each start is told once"
    for name in ("wait", "wait sync", "stateless wait", "join", "join sync"):
        assert calls[name].failure is None, f"{name}: {calls[name].failure}"
        assert calls[name].result["path"] == list(range(1, steps + 1)), name
    calls["queued"].walk_is_whole(3, first=steps + 1)
    calls["delayed"].walk_is_whole(3)
    await served.walk_is_done(threads["first"], calls["queued"].run_id, steps + 3)
    assert (await served.get(f"/threads/{threads['first']}/runs/{first['run_id']}"))["status"] == "success"
    for name in ("async", "sync", "wait", "wait sync"):
        await served.walk_is_done(threads[name], calls[name].run_id, steps)
    await served.walk_is_done(threads["joined"], background["run_id"], steps)
    await served.walk_is_done(threads["delayed"], calls["delayed"].run_id, 3)
    assert served.rows("SELECT * FROM thread_locks") == []
    assert served.rows("SELECT run_id FROM runs WHERE attempt > 3") == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("client", ["async", pytest.param("sync", marks=pytest.mark.storm)])
async def test_a_stream_survives_a_kill_right_after_its_run_was_accepted(
    make: Make, tmp_path: Path, client: str, when: str
) -> None:
    """The client has the head of its answer; the run's first events are just being stored."""
    served = make()
    gate = tmp_path / "head"
    os.mkfifo(gate)
    await served.start(crash_at=f"append:{when}:1", crash_when=gate)
    thread_id = await served.thread()
    async with scripts.Script(served.url, [walk("it", client, "stream", thread_id, 5)]) as script:
        # A run begins before its record is on the disk: without the gate its first events may be there before
        # the head.
        await script.until(lambda: script.calls["it"].created, "the head of the answer")
        (await asyncio.to_thread(gate.open, "wb")).close()
        await served.crashed()
        await served.start("started")
        await script.end()
        call = script.calls["it"]
    call.walk_is_whole(5)
    assert call.attempts[-1] == 2
    await served.walk_is_done(thread_id, call.run_id, 5)


@pytest.mark.parametrize("path", ["/threads/{}/runs/stream", "/runs/stream"])
async def test_a_client_that_was_cut_before_its_first_event_misses_nothing(make: Make, path: str) -> None:
    """
    Its run was delayed, and has ended when it comes back: with the Location and the id that it was given.
    """
    served = make()
    await served.start()
    body = {
        "assistant_id": "walk",
        "input": {"steps": 3, "pause": 0.01},
        "stream_mode": ["updates"],
        "after_seconds": 1,
    }
    async with served.http.post(path.format(await served.thread()), json=body) as response:
        location = response.headers["Location"]
        run_id = response.headers["Content-Location"].rpartition("/")[2]
        served.kill()
        told = b""
        try:
            while True:
                told += await response.content.readany()
        except aiohttp.ClientPayloadError:  # the end without the last chunk
            pass
    assert b"event:" not in told
    await served.wait()
    await served.start()
    await served.get(f"/runs/{run_id}/join")
    ids = re.findall(rb"(?m)^id: *([0-9-]+)", told)
    headers = {"Last-Event-ID": ids[-1].decode()} if ids else {}  # as both SDKs do
    async with served.http.get(location, headers=headers) as response:
        text = await response.text()
    assert re.findall(r'"path":\[(\d+)\]', text) == ["1", "2", "3"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("first", ["streams", "waits"])
async def test_clients_get_their_end_when_the_daemon_is_killed_at_a_finish(
    make: Make, first: str, when: str, tmp_path: Path
) -> None:
    """Twice, while the last transaction of a run is about to be committed or has just been."""
    served = make(storm.PROJECT, jobs_per_worker=20)
    await served.start(crash_at=f"run_finish_if_active:{when}:1")
    threads = {name: await served.thread() for name in ("async", "sync", "wait")}
    short, long = (6, 20) if first == "streams" else (20, 6)
    gate = tmp_path / "all have been accepted"
    orders = [
        walk(name, client, call, threads.get(name), steps, graph="steps")
        for name, client, call, steps in (
            ("async", "async", "stream", short),
            ("sync", "sync", "stream", short),
            ("stateless", "async", "stream", short),
            ("wait", "sync", "wait", long),
            ("stateless wait", "async", "wait", long),
        )
    ]
    for order in orders:
        order["kwargs"]["input"] |= {"gate": str(gate), "witness": str(tmp_path / "witness")}
    async with scripts.Script(served.url, orders) as script:
        calls = script.calls
        await daemon.until(lambda: all(calls[order["name"]].created for order in orders), "all are accepted")
        gate.touch()
        await served.crashed()
        await served.start("started", crash_at=f"run_finish_if_active:{when}:{2 if when == 'before' else 1}")
        await served.crashed()
        await served.start("started")
        await script.end()
    for name in ("async", "sync", "stateless"):
        calls[name].walk_is_whole(short)
    for name in ("wait", "stateless wait"):
        assert calls[name].failure is None, calls[name].failure
        assert calls[name].result["path"] == list(range(1, long + 1))
    for name in ("async", "sync"):
        await served.walk_is_done(threads[name], calls[name].run_id, short)
    await served.walk_is_done(threads["wait"], calls["wait"].run_id, long)
    assert served.rows("SELECT * FROM thread_locks") == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_run_is_there_after_a_kill_if_and_only_if_it_was_committed(make: Make, when: str) -> None:
    """The client gets no answer in either case; what was committed is executed, once, to its end."""
    served = make()
    await served.start(crash_at=f"run_create:{when}:1")
    thread_id = await served.thread()
    async with scripts.Script(served.url, [walk("it", "sync", "stream", thread_id, 3)]) as script:
        await served.crashed()
        await script.end()
        assert script.calls["it"].failure is not None
        assert script.calls["it"].created == []
    await served.start()
    found = await served.get(f"/threads/{thread_id}/runs")
    if when == "before":
        assert found == []
        assert (await served.get(f"/threads/{thread_id}"))["status"] == "idle"
    else:
        (run,) = found
        await served.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
        await served.walk_is_done(thread_id, run["run_id"], 3)
