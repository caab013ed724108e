"""Twelve clients, and a daemon that is killed again and again at random moments: what must hold all the same.

A client tells stories, one after another: a thread, a run or two on it, followed as both SDKs follow (by
`Location` and the last id seen) until they have ended. `Storm.rage` kills meanwhile; `Storm.judge` looks at
everything afterwards.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

from gatewayd.storage.sqlite import invariants
from tests.crash import script
from tests.crash import served as subject

PROJECT = Path(__file__).with_name("project")

CUT = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
"""What a client sees of a daemon that has been killed."""
RETRY_S = 0.1
SILENCE_S = 30.0
"""A stream without even a heartbeat for this long hangs."""

KILLS = (
    "daemon",
    "daemon",
    "daemon and workers",
    "run worker",
    "run workers",
    "all workers",
    "service worker",
)


@define(eq=False)
class Followed:
    """A run that was acknowledged."""

    kind: str
    thread_id: str | None
    run_id: str
    location: str
    first: int
    """The number of its first step."""
    steps: int
    call: script.Call = field(factory=script.Call, kw_only=True)
    cuts: int = field(default=0, kw_only=True)
    result: Any = field(default=None, kw_only=True)


@define(eq=False)
class Storm:
    """The clients, and what they were told. Everything random comes from `seed`."""

    served: subject.Served
    witness: Path
    seed: int
    clients: int = 12
    followed: list[Followed] = field(factory=list)
    faults: list[str] = field(factory=list)
    """Answers that nobody may get."""
    killed: list[str] = field(factory=list)
    _over: bool = False

    async def rage(self, kills: int, shortest_s: float, longest_s: float, calm_s: float) -> None:
        """Kill so many times while the clients are at work; they have `calm_s` then to come to an end."""
        dice = random.Random(self.seed)
        clients = [
            asyncio.create_task(
                self._client(random.Random(self.seed * 1000 + number)), name=f"client {number}"
            )
            for number in range(self.clients)
        ]
        try:
            for _ in range(kills):
                await asyncio.sleep(dice.uniform(shortest_s, longest_s))
                await self._kill(dice.choice(KILLS), dice)
            self._over = True
            _, late = await asyncio.wait(clients, timeout=calm_s)
            assert not late, f"stuck: {self._unfinished()}\n{self.served.log('last')[-4000:]}"
            await asyncio.gather(*clients)
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    def _unfinished(self) -> list[str]:
        return [
            f"{each.kind} {each.run_id} {each.call.walked}" for each in self.followed if not each.call.over
        ]

    async def _kill(self, what: str, dice: random.Random) -> None:
        assert self.served.alive, f"the daemon has ended by itself\n{self.served.log('last')[-4000:]}"
        self.killed.append(what)
        match what:
            case "daemon":
                self.served.kill()
            case "daemon and workers":
                self.served.kill_all()
            case "run worker":
                found = self.served.workers("run-")
                if found:
                    subject.kill(dice.choice(found))
                return
            case "run workers":
                self.served.kill_workers("run-")
                return
            case "service worker":
                self.served.kill_workers("service")
                return
            case _:
                self.served.kill_workers()
                return
        await self.served.crashed()
        await asyncio.sleep(dice.choice((0.0, 0.0, 0.3, 1.0)))
        await self.served.start("started")

    # the clients

    async def _client(self, dice: random.Random) -> None:
        stories = {
            self._streams: 5,
            self._stateless: 2,
            self._waits: 1,
            self._joins: 2,
            self._asked: 2,
        }
        told: list[Callable[[random.Random], Awaitable[None]]] = list(stories)
        while not self._over:
            (story,) = dice.choices(told, list(stories.values()))
            await story(dice)

    def _walk(self, dice: random.Random, graph: str) -> dict[str, Any]:
        steps, pause = dice.randint(3, 12), dice.choice((0.02, 0.1, 0.3))
        return {
            "assistant_id": graph,
            "input": {"steps": steps, "pause": pause, "witness": str(self.witness)},
            "stream_mode": ["updates"],
        }

    async def _streams(self, dice: random.Random) -> None:
        """A run on a thread, and often a second one that is created while the first is under way."""
        graph = dice.choice(("steps", "steps", "threads", "fan"))
        thread_id = await self._thread()
        body = self._walk(dice, graph)
        follower = asyncio.create_task(self._told(graph, thread_id, body, 1))
        if graph != "fan" and dice.random() < 0.5:
            await asyncio.wait((follower,), timeout=dice.uniform(0, 1))
            if any(run.thread_id == thread_id for run in self.followed):
                await self._told(graph, thread_id, self._walk(dice, graph), body["input"]["steps"] + 1)
        await follower

    async def _told(self, kind: str, thread_id: str | None, body: dict[str, Any], first: int) -> None:
        run = await self._created(kind, thread_id, body, first)
        if run is not None:
            await self._follow(run)

    async def _stateless(self, dice: random.Random) -> None:
        graph = dice.choice(("steps", "fan"))
        await self._told(graph, None, self._walk(dice, graph), 1)

    async def _waits(self, dice: random.Random) -> None:
        thread_id = await self._thread() if dice.random() < 0.7 else None
        run = await self._created("steps", thread_id, self._walk(dice, "steps"), 1, how="wait")
        if run is not None:
            run.result = await self._late(run)
            run.call.over = True

    async def _joins(self, dice: random.Random) -> None:
        """A run in the background, at once or in a moment, read from its beginning by somebody who joins."""
        thread_id = await self._thread()
        body = {**self._walk(dice, "steps"), "after_seconds": dice.choice((0, 0, 1))}
        run = await self._created("steps", thread_id, body, 1, how="")
        if run is not None:
            await asyncio.sleep(dice.uniform(0, 1))
            await self._follow(run)

    async def _asked(self, dice: random.Random) -> None:
        """A walk up to a question, and the run that answers it."""
        thread_id = await self._thread()
        asking = await self._created("question", thread_id, self._walk(dice, "question"), 1)
        if asking is None:
            return
        await self._follow(asking)
        body = {"assistant_id": "question", "command": {"resume": "yes"}, "stream_mode": ["updates"]}
        await self._told("answer", thread_id, body, 1)

    # requests

    async def _thread(self) -> str:
        while True:
            created = await self._once("POST", "/threads", {})
            if created is not None:
                return str(created["thread_id"])

    async def _created(
        self, kind: str, thread_id: str | None, body: dict[str, Any], first: int, *, how: str = "stream"
    ) -> Followed | None:
        """
        Create a run; None if the answer was lost (then nobody may rely on it, and its thread is left alone).
        """
        place = "" if thread_id is None else f"/threads/{thread_id}"
        path = f"{place}/runs/{how}".rstrip("/")
        steps = body["input"]["steps"] if "input" in body else 0
        run: Followed | None = None
        try:
            async with self.served.http.post(
                path, json={**body, "multitask_strategy": "enqueue"}, timeout=_patience()
            ) as response:
                if response.status != 200:
                    self.faults.append(f"POST {path}: {response.status} {await response.text()}")
                    return None
                location = response.headers["Content-Location"]
                run = Followed(
                    kind=kind,
                    thread_id=thread_id,
                    run_id=location.rpartition("/")[2],
                    location=response.headers.get("Location", f"{location}/stream"),
                    first=first,
                    steps=steps,
                )
                self.followed.append(run)
                if how == "stream":
                    run.call.over = await self._copy(run, response)
        except CUT:
            pass  # if it is acknowledged, it is followed by its Location
        return run

    async def _follow(self, run: Followed) -> None:
        """Read a run's stream to its end, however often it is cut."""
        while not run.call.over:
            run.cuts += 1
            await asyncio.sleep(RETRY_S)
            last = run.call.parts[-1][0] if run.call.parts else "0"
            try:
                async with self.served.http.get(
                    run.location, headers={"Last-Event-ID": last}, timeout=_patience()
                ) as response:
                    if response.status != 200:
                        self.faults.append(f"GET {run.location}: {response.status} {await response.text()}")
                        return
                    run.call.over = await self._copy(run, response)
            except CUT:
                continue

    async def _copy(self, run: Followed, response: aiohttp.ClientResponse) -> bool:
        """Take over the events of a response; True when it has come to its orderly end."""
        frame: dict[str, str] = {}
        async for line in response.content:
            text = line.decode().rstrip("\r\n")
            if text and not text.startswith(":"):
                name, _, value = text.partition(": ")
                frame[name] = value
            elif not text and "event" in frame:
                run.call.parts.append((frame["id"], frame["event"], json.loads(frame["data"])))
                frame = {}
        return True

    async def _late(self, run: Followed) -> Any:
        """Wait for the result of a run, however often the answer is cut."""
        while True:
            found = await self._once("GET", run.location, None)
            if found is not None:
                return found
            run.cuts += 1

    async def _once(self, method: str, path: str, body: Any) -> Any:
        """Return the JSON of one request, None if it was cut."""
        try:
            async with self.served.http.request(method, path, json=body, timeout=_patience()) as response:
                if response.status != 200:
                    self.faults.append(f"{method} {path}: {response.status} {await response.text()}")
                    return {"thread_id": "00000000-0000-0000-0000-000000000000"}
                return await response.json()
        except CUT:
            await asyncio.sleep(RETRY_S)
            return None

    # the verdict

    async def judge(self) -> None:
        """Assert that nothing was lost, doubled, left over or executed twice at once."""
        assert self.faults == []
        await _gathered([self._judge_run(run) for run in self.followed])
        threads = {run.thread_id for run in self.followed if run.thread_id is not None}
        await _gathered([self._judge_thread(thread_id) for thread_id in threads])
        await self._nothing_is_left()
        assert overlaps(self.witness.read_text().splitlines()) == []
        assert await self.served.stop() == 0, self.served.log("last")[-4000:]
        connection = sqlite3.connect(self.served.data_dir / "gatewayd.sqlite")
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert invariants.invariants_check(connection, True) == []
        finally:
            connection.close()

    async def _judge_run(self, run: Followed) -> None:
        found = await self.served.get(f"/runs/{run.run_id}")
        assert found["status"] == "success", f"{run.kind} {run.run_id}: {found['status']}"
        call = run.call
        if run.result is not None:
            assert run.result["path"] == list(range(run.first, run.first + run.steps)), run.run_id
            return
        assert call.over, run.run_id
        if run.kind in {"steps", "threads", "question"}:
            call.walk_is_whole(run.steps, first=run.first)
        script.numbers_rise(call.parts)
        updates = [data for _, event, data in call.parts if event == "updates"]
        if run.kind == "fan":
            assert {number for data in updates for number in data.get("arm", {}).get("arms", [])} == {0, 1, 2}
        if run.kind == "question":
            assert any("__interrupt__" in data for data in updates), run.run_id
        if run.kind == "answer":
            assert {"ask": {"answer": "yes"}} in updates, run.run_id
        kept = Followed("", run.thread_id, run.run_id, run.location, run.first, run.steps)
        await self._follow(kept)
        assert kept.call.parts == call.parts, (
            f"{run.run_id}: the client has seen something else than what is kept"
        )

    async def _judge_thread(self, thread_id: str) -> None:
        """The state of a thread all of whose runs were acknowledged is that of a quiet day."""
        runs = [run for run in self.followed if run.thread_id == thread_id]
        stored = await self.served.get(f"/threads/{thread_id}/runs?limit=100")
        if len(stored) != len(runs):
            return  # one more was created whose answer was lost
        state = await self.served.get(f"/threads/{thread_id}/state")
        thread = await self.served.get(f"/threads/{thread_id}")
        steps = sum(run.steps for run in runs)
        assert state["values"]["path"] == list(range(1, steps + 1)), thread_id
        assert thread["values"] == state["values"], thread_id
        kinds = {run.kind for run in runs}
        if "fan" in kinds:
            assert state["values"]["arms"] == [0, 1, 2], thread_id
        waiting = "question" in kinds and "answer" not in kinds
        if "answer" in kinds:
            assert state["values"]["answer"] == "yes", thread_id
        assert thread["status"] == ("interrupted" if waiting else "idle"), thread_id

    async def _nothing_is_left(self) -> None:
        """
        Runs whose answer was lost may still be at work; then no run, no lock and no busy thread is left.
        """
        deadline = time.monotonic() + 60
        active = "SELECT run_id, status, attempt, strikes FROM runs WHERE ended_at IS NULL"
        while self.served.rows(active):
            assert time.monotonic() < deadline, f"stuck: {self.served.rows(active)}"
            await asyncio.sleep(RETRY_S)
        assert self.served.rows("SELECT run_id, error FROM runs WHERE status <> 'success'") == []
        assert self.served.rows("SELECT * FROM thread_locks") == []
        assert (
            self.served.rows("SELECT thread_id, status FROM threads WHERE status IN ('busy', 'error')") == []
        )


async def _gathered(work: list[Coroutine[Any, Any, None]]) -> None:
    gate = asyncio.Semaphore(8)

    async def one(each: Coroutine[Any, Any, None]) -> None:
        async with gate:
            await each

    await asyncio.gather(*(one(each) for each in work))


def _patience() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_S)


def overlaps(lines: list[str]) -> list[str]:
    """
    Return what a witness file tells of executions of one node of a run that took place at the same time.
    """
    found = [line for line in lines if "OVERLAP" in line]
    intervals: defaultdict[tuple[str, str], list[list[int]]] = defaultdict(list)
    for line in lines:
        run_id, node, pid, what, at = line.split()
        of_node = intervals[run_id, node]
        if what == "start":
            of_node.append([int(pid), int(at), 0])
        elif what == "end":
            mine = [each for each in of_node if each[0] == int(pid) and not each[2]]
            mine[-1][2] = int(at)
    for key, of_node in intervals.items():
        of_node.sort(key=lambda each: each[1])
        for number, (pid, _, end) in enumerate(of_node):
            later = [start for other, start, _ in of_node[number + 1 :] if other != pid]
            mine_later = [start for other, start, _ in of_node[number + 1 :] if other == pid]
            if later and (end > later[0] or (mine_later and mine_later[-1] > later[0])):
                found.append(f"{key}: process {pid} was still at it when another had begun")
    return found
