"""
Mixed load on a real daemon that is killed every few seconds, and a verdict on what is left.

Clients tell stories until the time is over: runs in the background, streamed and waited for, queued behind
each other, cancelled and rolled back, superseded, states updated; every request that creates something
carries an Idempotency-Key and is repeated until it is answered. A cron fires each second; runs have webhooks
to a receiver in this process; some runs block their worker's event loop. A killer kills the daemon, alone or
with its workers, or workers alone. With ``--faults`` it also stops a process for some seconds (SIGSTOP),
holds the database's write lock from another connection, and sets the daemon's wall clock forth and back.

The verdict: every acknowledged run has an end that was asked for; every run that asked for it was told to its
webhook, by one delivery; no run was executed twice at once (the graphs are those of tests/crash, which keep a
witness file); each date of the cron has one run; repeats have made nothing; no answer was a 5xx but 503; the
invariants hold in the whole file. Without kills also: memory and file handles of the daemon and of its oldest
worker do not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from attrs import define, field

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from gatewayd.storage.sqlite import invariants  # noqa: E402
from tests.crash import served as subject  # noqa: E402
from tests.crash import storm  # noqa: E402

GRAPHS = ("steps", "threads", "fan", "question", "blocking")
RETRY_S = 0.1
PATIENCE_S = 120.0
"""How long one request is repeated, and how long the end waits for what is still at work."""
KILLS = ("daemon", "daemon", "daemon and workers", "run workers", "all workers")
FAULTS = ("stop daemon", "stop run worker", "stop service worker", "lock", "clock")
SHIFTED = Path(__file__).with_name("shifted.py")
LONGEST_FAULT_S = 8.0
FURTHEST_CLOCK_S = 30.0
MAY_END: dict[str, set[str]] = {
    "plain": {"success"},
    "interrupt": {"success", "interrupted"},
    "rollback": {"gone", "success"},
    "superseded": {"success", "interrupted", "gone"},
    "blocked": {
        "success",
        "error",
    },  # a run that stores nothing while the daemon is killed again and again is put aside
}
"""Ends that a run may have, by what was asked of it: who comes too late with a cancel finds it ended."""


class Served(subject.Served):
    """A daemon whose clock can be set."""

    async def spawn(self, **options: object) -> None:
        self.launcher = [str(SHIFTED)]
        await super().spawn(**options)


@define(eq=False)
class Soak:
    """The load, what it was told, and the verdict."""

    served: subject.Served
    http: aiohttp.ClientSession
    witness: Path
    hook: str
    dice: random.Random
    clock: Path
    """Says by how many seconds the daemon's clock is ahead."""
    with_faults: bool
    runs: dict[str, tuple[str, str]] = field(factory=dict)
    """Acknowledged runs: thread, and what was asked of them (a key of `MAY_END`)."""
    told: defaultdict[str, Counter[str]] = field(factory=lambda: defaultdict(Counter))
    """Deliveries of webhooks by run."""
    requests: Counter[int] = field(factory=Counter)
    faults: list[str] = field(factory=list)
    kills: Counter[str] = field(factory=Counter)
    repeats: int = 0
    figures: defaultdict[str, list[float]] = field(factory=lambda: defaultdict(list))
    over: bool = False

    # asking

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None
    ) -> tuple[int, Any]:
        """Send a request until it is answered with anything but 503; return status and JSON."""
        headers = {} if key is None else {"Idempotency-Key": key}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                async with self.http.request(method, path, json=body, headers=headers) as answer:
                    text = await answer.text()
                    if answer.status != 503:
                        self.requests[answer.status] += 1
                        if answer.status >= 500:
                            self.faults.append(f"{method} {path}: {answer.status} {text[:200]}")
                        return answer.status, json.loads(text) if text.strip() else None
            except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                pass
            self.repeats += 1
            if time.monotonic() > deadline:
                self.faults.append(f"{method} {path} was not answered")
                return 0, None
            await asyncio.sleep(RETRY_S)

    async def thread(self) -> str:
        _, made = await self.ask("POST", "/threads", {}, key=uuid.uuid4().hex)
        return str(made["thread_id"])

    def body(self, graph: str = "steps", steps: int = 3, **more: Any) -> dict[str, Any]:
        given = {"witness": str(self.witness), "steps": steps, "pause": self.dice.choice([0.02, 0.1, 0.3])}
        return {"assistant_id": graph, "input": given, "webhook": self.hook, **more}

    async def run(self, thread_id: str, asked: str = "plain", **more: Any) -> str | None:
        key = uuid.uuid4().hex
        path = f"/threads/{thread_id}/runs"
        body = self.body(**more)
        status, made = await self.ask("POST", path, body, key=key)
        if status != 200:
            return None
        run_id = str(made["run_id"])
        self.runs[run_id] = (thread_id, asked)
        if self.dice.random() < 0.1:  # a client that has lost the answer
            _, again = await self.ask("POST", path, body, key=key)
            if again is None or again["run_id"] != run_id:
                self.faults.append(f"the repeat of {run_id} made {again}")
        return run_id

    # stories

    async def client(self) -> None:
        stories = (
            self.walks,
            self.streams,
            self.waits,
            self.queues,
            self.cancels,
            self.supersedes,
            self.updates,
            self.blocks,
        )
        while not self.over:
            await self.dice.choice(stories)()

    async def walks(self) -> None:
        await self.run(await self.thread(), graph=self.dice.choice(GRAPHS[:3]))

    async def streams(self) -> None:
        thread_id = await self.thread()
        run_id = await self.run(thread_id, stream_mode=["updates", "custom"])
        if run_id is None:
            return
        try:
            async with self.http.get(
                f"/threads/{thread_id}/runs/{run_id}/stream", headers={"Last-Event-ID": "-1"}
            ) as answer:
                async for _ in answer.content:
                    pass
        except (aiohttp.ClientError, TimeoutError):
            pass

    async def waits(self) -> None:
        body = {**self.body(), "webhook": None}
        await self.ask("POST", "/runs/wait", body, key=uuid.uuid4().hex)

    async def queues(self) -> None:
        thread_id = await self.thread()
        for _ in range(3):
            await self.run(thread_id, steps=2)

    async def cancels(self) -> None:
        thread_id, action = await self.thread(), self.dice.choice(["interrupt", "rollback"])
        run_id = await self.run(thread_id, action, graph=self.dice.choice(GRAPHS[:2]), steps=8)
        if run_id is None:
            return
        await asyncio.sleep(self.dice.uniform(0, 1))
        wait = self.dice.choice(["0", "1"])
        await self.ask("POST", f"/threads/{thread_id}/runs/{run_id}/cancel?action={action}&wait={wait}")

    async def supersedes(self) -> None:
        thread_id = await self.thread()
        await self.run(thread_id, "superseded", steps=8)
        await asyncio.sleep(self.dice.uniform(0, 0.6))
        await self.run(thread_id, multitask_strategy=self.dice.choice(["interrupt", "rollback"]), steps=2)

    async def updates(self) -> None:
        thread_id = await self.thread()
        run_id = await self.run(thread_id, steps=1)
        if run_id is None:
            return
        await self.ask("GET", f"/threads/{thread_id}/runs/{run_id}/join")
        await self.ask(
            "POST", f"/threads/{thread_id}/state", {"values": {"answer": "by hand"}, "as_node": "step"}
        )

    async def blocks(self) -> None:
        body = self.body(graph="blocking", steps=2)
        body["input"]["pause"] = self.dice.choice([0.2, 1.0, 5.0])
        thread_id = await self.thread()
        status, made = await self.ask("POST", f"/threads/{thread_id}/runs", body, key=uuid.uuid4().hex)
        if status == 200:
            self.runs[str(made["run_id"])] = (thread_id, "blocked")
            await self.ask("GET", f"/threads/{thread_id}/runs/{made['run_id']}/join")

    # trouble

    async def killer(self, every_s: float) -> None:
        while not self.over:
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * every_s)
            what = self.dice.choice(KILLS + FAULTS * self.with_faults)
            self.kills[what] += 1
            if what in FAULTS:
                await self.disturb(what, self.dice.uniform(0.5, LONGEST_FAULT_S))
                continue
            if what == "run workers":
                self.served.kill_workers("run-")
                continue
            if what == "all workers":
                self.served.kill_workers()
                continue
            self.served.kill() if what == "daemon" else self.served.kill_all()
            await self.served.wait()
            started = time.monotonic()
            await self.served.start("listening")
            await self.ask("GET", "/ok")
            self.figures["boot_s"].append(time.monotonic() - started)

    async def disturb(self, what: str, seconds: float) -> None:
        """Do something to the daemon that kills nobody, and undo it after some seconds."""
        if what == "clock":
            self.clock.write_text(str(self.dice.uniform(-FURTHEST_CLOCK_S, FURTHEST_CLOCK_S)))
        elif what == "lock":
            connection = sqlite3.connect(self.served.data_dir / "gatewayd.sqlite", isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(seconds)
            except sqlite3.OperationalError:
                pass  # the daemon has it all the time
            finally:
                connection.close()
        else:
            role = {"stop run worker": "run-", "stop service worker": "service"}.get(what)
            pids = [self.served.pid] if role is None else self.served.workers(role)[:1]
            for pid in pids:
                subject.send(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            for pid in pids:
                subject.send(pid, signal.SIGCONT)

    async def observer(self) -> None:
        while not self.over:
            await asyncio.sleep(1)
            workers = self.served.workers("run-") if self.served.alive else []
            for name, pid in (("daemon", self.served.pid), ("worker", min(workers, default=0))):
                if (found := size_of(pid)) is not None:
                    self.figures[f"{name}_mib"].append(found[0])
                    self.figures[f"{name}_handles"].append(found[1])

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.told[body["run_id"]][request.headers["Idempotency-Key"]] += 1
        return web.Response(status=self.dice.choice([200, 200, 200, 500]))

    # the verdict

    async def judge(self, cron_id: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        quiet = (
            "SELECT (SELECT count(*) FROM runs WHERE ended_at IS NULL) + "
            "(SELECT count(*) FROM webhooks WHERE state = 'owed' AND attempts < 4)"
        )
        while self.served.rows(quiet) != [(0,)]:
            if time.monotonic() > deadline:
                self.faults.append(
                    f"still at work: {self.served.rows('SELECT run_id, status FROM runs WHERE ended_at IS NULL')}"
                )
                break
            await asyncio.sleep(RETRY_S)
        rows = self.served.rows("SELECT run_id, status, error FROM runs")
        ends = {run_id: (status, error) for run_id, status, error in rows}
        for run_id, (_, asked) in self.runs.items():
            end, error = ends.get(run_id, ("gone", None))
            if end not in MAY_END[asked]:
                self.faults.append(f"run {run_id} ({asked}) ended as {end}: {error}")
            if len(self.told[run_id]) != 1:
                self.faults.append(f"run {run_id} was told by {len(self.told[run_id])} deliveries")
        ((firings, fired),) = self.served.rows(
            "SELECT count(firings.run_id), count(runs.run_id) FROM firings LEFT JOIN runs USING (run_id) "
            f"WHERE cron_id = '{cron_id}'"
        )
        if not firings or fired != firings:
            self.faults.append(f"{fired} runs of {firings} dates of the cron")
        self.faults += storm.overlaps(self.witness.read_text().splitlines())
        code = await self.served.stop()
        if code:
            self.faults.append(f"the daemon ended with {code}")
        connection = sqlite3.connect(self.served.data_dir / "gatewayd.sqlite")
        self.faults += map(str, invariants.invariants_check(connection, True))
        connection.close()
        self.report(fired)

    def report(self, fired: int) -> None:
        doubled = sum(count - 1 for each in self.told.values() for count in each.values())
        print("kills           ", sum(self.kills.values()), dict(self.kills))
        print("requests        ", dict(sorted(self.requests.items())), "repeated", self.repeats)
        print("runs            ", len(self.runs), dict(Counter(asked for _, asked in self.runs.values())))
        print("runs of the cron", fired)
        print(
            "webhooks        ",
            sum(map(len, self.told.values())),
            "told,",
            doubled,
            "attempts beyond the first",
        )
        if boots := self.figures["boot_s"]:
            print(f"boots            median {statistics.median(boots):.2f} s, longest {max(boots):.2f} s")
        print("faults          ", len(self.faults))
        for fault in self.faults[:40]:
            print("  ", fault)

    def growth(self) -> None:
        """Compare the last quarter with the second."""
        for name in ("daemon_mib", "daemon_handles", "worker_mib", "worker_handles"):
            figures = self.figures[name]
            quarter = len(figures) // 4
            second = statistics.median(figures[quarter : 2 * quarter])
            last = statistics.median(figures[3 * quarter :])
            print(f"{name:16} {second:.1f} → {last:.1f} ({last / second:.0%})")


def size_of(pid: int) -> tuple[float, int] | None:
    """Return MiB of memory and number of open files of a process, None if there is none."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * 4096 / 2**20, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None


async def main(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        graph = ROOT / "tests" / "crash" / "project" / "witness.py"
        document = {
            "graphs": {name: f"{graph}:{name}" for name in GRAPHS},
            "webhooks": {"url": {"require_https": False, "disable_loopback": False}},
        }
        (home / "langgraph.json").write_text(json.dumps(document))
        (home / "witness").touch()
        (home / "clock").write_text("0")
        settings = {
            "GATEWAYD_WORKERS": str(options.workers),
            "GATEWAYD_CANCEL_DEADLINE_S": "5",
            "GATEWAYD_MAX_RETRIES": "100",  # it is not the runs that kill
            "GATEWAYD_WORKER_BLOCKED_S": "2",
            "CLOCK": str(home / "clock"),
        }
        timeout = aiohttp.ClientTimeout(total=60)
        async with Served(home, home / "data", settings) as served:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(served.url, connector=connector, timeout=timeout) as http:
                return await _soaked(options, served, http, home)


async def _soaked(
    options: argparse.Namespace, served: subject.Served, http: aiohttp.ClientSession, home: Path
) -> int:
    soak = Soak(
        served, http, home / "witness", "", random.Random(options.seed), home / "clock", options.faults
    )
    receiver = web.Application()
    receiver.router.add_post("/hook", soak.receive)
    runner = web.AppRunner(receiver)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    soak.hook = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await served.start()
    _, cron = await soak.ask(
        "POST",
        "/runs/crons",
        {**soak.body(steps=1), "webhook": None, "schedule": "* * * * * *", "on_run_completed": "keep"},
    )
    work = [soak.client() for _ in range(options.clients)] + [soak.observer()]
    if not options.no_kills:
        work.append(soak.killer(options.kill_every))
    tasks = [asyncio.ensure_future(each) for each in work]
    await asyncio.wait(tasks, timeout=options.minutes * 60, return_when=asyncio.FIRST_EXCEPTION)
    soak.over = True
    await asyncio.gather(*tasks)
    await soak.ask("PATCH", f"/runs/crons/{cron['cron_id']}", {"enabled": False})
    await soak.judge(cron["cron_id"])
    if options.no_kills:
        soak.growth()
    await runner.cleanup()
    return 1 if soak.faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Mixed load, kills, and a verdict.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--kill-every", type=float, default=4.0, metavar="SECONDS")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--faults", action="store_true", help="stopped processes, foreign locks, a set clock")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(asyncio.run(main(parser.parse_args())))
