"""The API over real HTTP on real storage, hub and run manager; the worker is played by the test."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from attrs import define, field

import gatewayd
from gatewayd import api, project, serving, settings, tasks
from gatewayd.api import keys
from gatewayd.api.sockets import addresses, incoming, listening
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.model.webhook import WebhookRules
from gatewayd.runs import engine, manager, waiters
from gatewayd.services import Services
from gatewayd.storage import opening
from gatewayd.streams import hub, log
from gatewayd.webhooks import policy, sender

GRAPHS = ("chat", "other")


@define(eq=False)
class PlayedWorker:
    """A worker whose graphs are the test: it emits and ends runs by calling these methods."""

    owner: PlayedSupervisor
    blocked_since: float | None = None
    place: str = ""
    name: str = "played"
    loaded: bool = True
    draining: bool = False
    obeys: bool = True
    """Whether a cancel ends its run at once."""
    orders: dict[str, dict[str, Any]] = field(factory=dict)
    acked: dict[str, int] = field(factory=dict)
    cancelled: list[str] = field(factory=list)
    _frames: defaultdict[str, int] = field(factory=lambda: defaultdict(int))
    _started: asyncio.Condition = field(factory=asyncio.Condition)
    _moved: asyncio.Event = field(factory=asyncio.Event)

    def start_run(self, run_id: str, attempt: int, order: dict[str, Any]) -> None:
        self.orders[run_id] = order
        self._moved.set()

    def cancel_run(self, run_id: str, attempt: int) -> None:
        self.cancelled.append(run_id)
        self._moved.set()
        if self.obeys:
            asyncio.get_running_loop().call_soon(self.end, run_id, "cancelled")

    def ack(self, run_id: str, attempt: int, n: int) -> None:
        self.acked[run_id] = n
        self._moved.set()

    def refuse(self, run_id: str, attempt: int, n: int, why: str) -> None:
        self.acked[run_id] = n
        self._moved.set()

    def kill(self) -> None:
        pass

    async def until(self, happened: Any) -> None:
        """Wait until something that this worker is told of has happened."""
        while not happened():
            self._moved.clear()
            await self._moved.wait()

    async def started(self, run_id: str | None = None) -> str:
        """Wait for a run (any, if it is not named) and return its id."""
        await self.until(lambda: run_id in self.orders if run_id else self.orders)
        return run_id or next(iter(self.orders))

    def emit(self, run_id: str, kind: str, data: Any, *, namespace: str = "", mask: int = event.V1) -> int:
        """Send one event up; return its frame's number."""
        items = [(kind, namespace, mask, json.dumps(data, separators=(",", ":")).encode())]
        self._frames[run_id] += 1
        n = self._frames[run_id]
        frame = ["events", run_id, self.orders[run_id]["attempt"], n, len(items), event.pack(items)]
        self.owner.listener.worker_frame(self, frame, 100)
        return n

    def end(self, run_id: str, outcome: str = "success", **fields: Any) -> None:
        """Send a run's last frame."""
        self._frames[run_id] += 1
        order = self.orders[run_id]
        frame = ["ended", run_id, order["attempt"], self._frames[run_id], {"outcome": outcome, **fields}]
        self.owner.listener.worker_frame(self, frame, 100)

    async def committed(self, run_id: str, n: int) -> None:
        """Wait until a frame has been stored and published."""
        await self.until(lambda: self.acked.get(run_id, 0) >= n)


@define(eq=False)
class PlayedSupervisor:
    """What the manager and the handlers use of the supervisor."""

    listener: Any = None
    trouble: str | None = None
    places: int = 10
    idle_s: float = 0.0
    answers: dict[str, Any] = field(factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(factory=list)
    worker: PlayedWorker = field(init=False)
    held: set[str] = field(factory=set)
    processes: list[Any] = field(factory=list)
    deaths: Counter[str] = field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self.worker = PlayedWorker(self)

    def free(self) -> int:
        return self.places - len(self.held)

    def ready(self) -> int:
        return 1

    def not_taking_s(self) -> float:
        return self.idle_s

    def blocked(self) -> PlayedWorker | None:
        return self.worker if self.worker.blocked_since is not None else None

    async def until_loaded(self) -> None:
        pass

    def free_quarantines(self) -> int:
        return 0

    def take(self) -> PlayedWorker:
        return self.worker

    def release(self, source: PlayedWorker, run_id: str) -> None:
        pass

    def flush_acks(self) -> None:
        pass

    def pause(self, paused: bool) -> None:
        pass

    def drain(self, reason: str) -> None:
        for run_id in list(self.listener.in_flight.active):
            if run_id in self.worker.orders:  # the others are requeued: nobody has them yet
                self.worker.end(run_id, "drained")

    def cut(self) -> None:
        pass

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        self.calls.append((method, params))
        answer = self.answers.get(method, {})
        if isinstance(answer, Exception):
            raise answer
        return answer


class Listening:
    """aiohttp's HTTP protocol behind a listener, as in the daemon."""

    def __init__(self, http: web.Server, listener: listening.Listener) -> None:
        self.http = http
        self.listener = listener

    def __call__(self) -> incoming.Incoming:
        return incoming.Incoming(self.listener, self.http)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.http, name)


class Runner(web.AppRunner):
    listener: listening.Listener

    async def _make_server(self) -> Any:
        return Listening(await super()._make_server(), self.listener)


class ListeningServer(TestServer):
    listener: listening.Listener

    async def _make_runner(self, **kwargs: Any) -> Runner:
        runner = Runner(self.app, **kwargs)
        runner.listener = self.listener
        return runner


@define(eq=False)
class Server:
    """A server under test."""

    client: TestClient[web.Request, web.Application]
    services: Services
    workers: PlayedSupervisor
    listener: listening.Listener
    """Its watch looks when the test says so (`check`)."""
    ended: asyncio.Event = field(factory=asyncio.Event)

    @property
    def worker(self) -> PlayedWorker:
        return self.workers.worker

    async def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a request and return the JSON of its answer, which must have this status."""
        data = None if body is None else json.dumps(body)
        async with self.client.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return json.loads(text) if text else None

    async def thread(self, **body: Any) -> str:
        """Create a thread and return its id."""
        return str((await self.json("POST", "/threads", body))["thread_id"])

    async def run(self, thread_id: str, **body: Any) -> str:
        """Create a run in the background and return its id."""
        made = await self.json("POST", f"/threads/{thread_id}/runs", {"assistant_id": "chat", **body})
        return str(made["run_id"])

    async def finished(self, thread_id: str, run_id: str) -> waiters.Ended:
        """Wait for a run's end."""
        return await self.services.runs.wait(INTERNAL, thread_id, run_id)

    async def completed(self, thread_id: str, **body: Any) -> str:
        """Create a run that succeeds at once, with its body's `result`."""
        result = body.pop("result", b'{"done":true}')
        run_id = await self.run(thread_id, **body)
        await self.worker.started(run_id)
        self.worker.emit(run_id, "values", json.loads(result))
        self.worker.end(run_id, result=result, values=result, next=[], interrupts={})
        await self.finished(thread_id, run_id)
        return run_id


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Any]:
    """Return a function that starts a server with the given settings."""
    opened: list[TestClient[web.Request, web.Application]] = []

    async def start(cors: project.Cors | None = None, **fields: Any) -> Server:
        chosen = settings.Settings(config=tmp_path / "langgraph.json", data_dir=tmp_path, **fields)
        graphs = {name: project.GraphSpec(graph_id=name, path=f"./{name}.py:graph") for name in GRAPHS}
        served = project.Project(path=tmp_path / "langgraph.json", folder=tmp_path, graphs=graphs, cors=cors)
        app = web.Application(client_max_size=chosen.max_body_bytes)
        workers = PlayedSupervisor()

        async def parts(app: web.Application) -> AsyncIterator[None]:
            now = 1_700_000_000_000_000
            storage = await opening.open_storage(tmp_path / "db", now, os.getpid(), gatewayd.__version__)
            await storage.system_assistants_sync(dict.fromkeys(graphs), now)
            published = hub.Hub(storage, chosen.hub_memory)
            runs = manager.RunManager(
                engine.Engine(
                    storage=storage,
                    log=log.Log(storage, published),
                    workers=workers,
                    max_retries=3,
                    cancel_deadline_s=chosen.cancel_deadline_s,
                )
            )
            app[keys.SERVICES] = Services(
                settings=chosen,
                serving=serving.Serving(chosen, served),
                storage=storage,
                runs=runs,
                hub=published,
                workers=workers,
                webhooks=sender.Sender(
                    storage=storage,
                    policy=policy.Policy(rules=WebhookRules(loopback=True)),
                    show=lambda run: {"run_id": run.run_id},
                ),
            )
            group = tasks.Group("test")
            claimer = group.spawn(runs.claimer(), "claimer")
            yield
            claimer.cancel()
            await group.stop()
            await runs.stop(1.0)
            await storage.close(now)

        app.cleanup_ctx.append(parts)
        api.setup(app)
        http = ListeningServer(app)
        http.listener = listening.Listener(
            addresses=addresses.Addresses(chosen.trusted_proxies),
            most=chosen.max_connections,
            most_of_one=chosen.max_per_address,
            receive_timeout_s=chosen.receive_timeout_s,
            write_timeout_s=chosen.write_timeout_s,
        )
        client = TestClient(http)
        await client.start_server()
        opened.append(client)
        return Server(client, app[keys.SERVICES], workers, http.listener)

    yield start
    for client in opened:
        await client.close()


@pytest.fixture
async def server(serve: Any) -> Server:
    """A server with the default settings."""
    return await serve()
