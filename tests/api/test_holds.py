"""
Streams of protocol v2 whose client has just started a run: what comes before and after the command's answer.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gatewayd.api.streaming import clients
from gatewayd.runs import manager
from gatewayd.streams import earlier

PYTHON = {"User-Agent": "langgraph-sdk-py/0.4.14"}
NODE = {"User-Agent": "node", "Sec-Fetch-Mode": "cors"}
BROWSER = {
    "User-Agent": "Mozilla/5.0",
    "Origin": "http://127.0.0.1",
    "Content-Type": "application/json",
}
CHANNELS = ["lifecycle", "values"]


@pytest.mark.parametrize(
    ("headers", "known", "rotates"),
    [
        (PYTHON, True, False),
        ({"User-Agent": "Python/3.11 websockets/17.4"}, True, False),
        (NODE, True, True),
        ({}, True, True),
        ({"User-Agent": "Bun/1.2"}, True, True),
        ({"User-Agent": "curl/8"}, False, None),
        ({"User-Agent": "Python/3.11 aiohttp/3.13"}, False, None),
        ({"User-Agent": "nodemon"}, False, None),
        (BROWSER, False, None),
        ({**PYTHON, "Origin": "http://127.0.0.1"}, False, None),
        ({**NODE, "Sec-Fetch-Site": "same-origin"}, False, None),
    ],
)
def test_sdks_outside_of_browsers_are_known(
    headers: dict[str, str], known: bool, rotates: bool | None
) -> None:
    request = make_mocked_request("GET", "/", headers=headers)
    found = clients.of(request)
    assert (found is not None) == known
    assert (found.rotates if found else None) == rotates
    in_browser = "Origin" in headers or "Sec-Fetch-Site" in headers
    assert clients.is_front_end(request) == (in_browser or rotates is True)


def test_clients_of_different_keys_are_different_ones() -> None:
    def client(**headers: str) -> Any:
        return clients.of(make_mocked_request("GET", "/", headers={**PYTHON, **headers}))

    assert client() == client()
    assert client(Authorization="a") != client(Authorization="b") != client()


class Tape:
    """The events of a stream, as they come."""

    def __init__(self, server: Any, thread_id: str, headers: dict[str, str], **params: Any) -> None:
        self.server, self.headers = server, headers
        self.path = f"/threads/{thread_id}/stream/events"
        self.params = {"channels": CHANNELS, **params}
        self.seen: list[str] = []
        self._come = asyncio.Condition()

    async def open(self) -> Tape:
        opened = asyncio.get_running_loop().create_future()
        self.reading = asyncio.create_task(self._read(opened))
        await asyncio.wait([self.reading, opened], return_when=asyncio.FIRST_COMPLETED)
        assert opened.done(), self.reading
        return self

    async def _read(self, opened: asyncio.Future[None]) -> None:
        request = self.server.client.post(self.path, data=json.dumps(self.params), headers=self.headers)
        async with request as answer:
            assert answer.status == 200, await answer.text()
            opened.set_result(None)
            async for line in answer.content:
                if line.startswith(b"data: "):
                    data = json.loads(line[6:])["params"]["data"]
                    async with self._come:
                        self.seen.append(data.get("event", "values"))
                        self._come.notify_all()

    async def until(self, word: str) -> list[str]:
        async with asyncio.timeout(30), self._come:
            await self._come.wait_for(lambda: word in self.seen)
        return self.seen

    async def close(self) -> None:
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)


@pytest.fixture
async def tape() -> Any:
    made: list[Tape] = []

    async def open_tape(*given: Any, **params: Any) -> Tape:
        made.append(await Tape(*given, **params).open())
        return made[-1]

    yield open_tape
    for each in made:
        await each.close()


async def turns(server: Any) -> None:
    """Let everything that is under way in this process arrive."""
    for _ in range(5):
        await server.json("GET", "/ok")


async def ended(server: Any, run_id: str) -> None:
    """Have a run bring a state and its end."""
    await server.worker.started(run_id)
    server.worker.emit(run_id, "v2/values", {"data": {"n": 1}}, mask=7)
    server.worker.end(run_id, result=b"{}", values=b"{}", next=[], interrupts={})


async def start(server: Any, thread_id: str, headers: dict[str, str]) -> str:
    command = {"id": 1, "method": "run.start", "params": {"assistant_id": "chat", "input": {}}}
    answer = await server.json("POST", f"/threads/{thread_id}/commands", command, headers=headers)
    return str(answer["result"]["run_id"])


@pytest.mark.parametrize("headers", [PYTHON, NODE, BROWSER, {"User-Agent": "curl/8"}])
async def test_the_answer_leaves_before_anything_of_the_run(
    server: Any, tape: Any, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id, order = str(uuid.uuid4()), []
    stream = await tape(server, thread_id, headers)
    create = manager.RunManager.create

    async def slowly(runs: Any, *given: Any, **named: Any) -> Any:
        admitted = await create(runs, *given, **named)
        await ended(server, admitted.run.run_id)
        await server.finished(thread_id, admitted.run.run_id)
        await turns(server)
        order.append(list(stream.seen))
        return admitted

    monkeypatch.setattr(manager.RunManager, "create", slowly)
    await start(server, thread_id, headers)
    assert order == [[]]
    assert await stream.until("completed") == ["running", "values", "completed"]


@pytest.mark.parametrize("asking", ["state", "stream", None])
async def test_an_open_stream_of_the_python_sdk_waits_until_it_asks_again(
    serve: Any, tape: Any, asking: str | None
) -> None:
    server = await serve(v2_hold=10 if asking is None else 10_000)
    thread_id = await server.thread()
    mine, page = await tape(server, thread_id, PYTHON), await tape(server, thread_id, BROWSER)
    run_id = await start(server, thread_id, PYTHON)
    await ended(server, run_id)
    await page.until("completed")
    if asking is not None:
        await turns(server)
        assert mine.seen == []
    if asking == "state":
        await server.json("GET", f"/threads/{thread_id}/state", headers=PYTHON)
    elif asking == "stream":
        await tape(server, thread_id, PYTHON, channels=["input"])
    assert await mine.until("completed") == ["running", "values", "completed"]


async def test_a_later_stream_of_the_javascript_sdk_gets_the_end_of_the_run_last(
    serve: Any, tape: Any
) -> None:
    server = await serve(v2_hold=10_000)
    thread_id = await server.thread()
    run_id = await start(server, thread_id, NODE)
    mine, python = await tape(server, thread_id, NODE), await tape(server, thread_id, PYTHON)
    await server.worker.started(run_id)
    n = server.worker.emit(run_id, "v2/values", {"data": {"n": 1}}, mask=7)
    await server.worker.committed(run_id, n)
    await mine.until("values")
    server.worker.end(run_id, result=b"{}", values=b"{}", next=[], interrupts={})
    await python.until("completed")
    await turns(server)
    assert mine.seen == ["running", "values"]


async def test_nobody_waits_when_it_is_switched_off(serve: Any, tape: Any) -> None:
    server = await serve(v2_hold=0)
    thread_id = await server.thread()
    streams = [await tape(server, thread_id, headers) for headers in (PYTHON, NODE)]
    await ended(server, await start(server, thread_id, PYTHON))
    for stream in streams:
        assert await stream.until("completed") == ["running", "values", "completed"]


async def test_a_socket_waits_until_its_subscriptions_change(serve: Any) -> None:
    server = await serve(v2_hold=10_000)
    thread_id = str(uuid.uuid4())

    def subscribe(command_id: int, *channels: str) -> dict[str, Any]:
        return {"id": command_id, "method": "subscription.subscribe", "params": {"channels": channels}}

    path = f"/threads/{thread_id}/stream/events"
    headers = {"User-Agent": "Python/3.11 websockets/17.4"}
    async with server.client.ws_connect(path, headers=headers) as socket:
        await socket.send_json(subscribe(1, *CHANNELS))
        assert (await socket.receive_json(timeout=30))["id"] == 1
        run = {"assistant_id": "chat", "input": {}}
        await socket.send_json({"id": 2, "method": "run.start", "params": run})
        run_id = (await socket.receive_json(timeout=30))["result"]["run_id"]
        await ended(server, run_id)
        await server.finished(thread_id, run_id)
        await turns(server)
        await socket.send_json(subscribe(3, "input"))
        assert (await socket.receive_json(timeout=30))["id"] == 3
        told = [(await socket.receive_json(timeout=30))["params"]["data"].get("event") for _ in range(3)]
    assert told == ["running", None, "completed"]


async def test_a_socket_of_the_javascript_sdk_gets_the_end_behind_all_that_it_subscribes(serve: Any) -> None:
    server = await serve(v2_hold=10_000)
    thread_id = str(uuid.uuid4())
    async with server.client.ws_connect(
        f"/threads/{thread_id}/stream/events", headers={"User-Agent": ""}
    ) as socket:
        run = {"assistant_id": "chat", "input": {}}
        await socket.send_json({"id": 1, "method": "run.start", "params": run})
        run_id = (await socket.receive_json(timeout=30))["result"]["run_id"]
        await ended(server, run_id)
        await server.finished(thread_id, run_id)
        answers = []
        for n, channel in enumerate(("lifecycle", "values"), 2):
            command = {"id": n, "method": "subscription.subscribe", "params": {"channels": [channel]}}
            await socket.send_json(command)
            while "id" not in (told := await socket.receive_json(timeout=30)):
                answers.append(told["params"]["data"].get("event", channel))
        assert answers == ["running", "values"]


async def test_a_client_that_leaves_before_the_answer_holds_nobody_up(
    server: Any, tape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any) -> None:
        raise ConnectionResetError

    thread_id = await server.thread()
    page = await tape(server, thread_id, BROWSER)
    with monkeypatch.context() as patched:
        patched.setattr(web.Response, "prepare", gone)
        with pytest.raises(Exception, match=r".*"):
            await start(server, thread_id, BROWSER)
    await ended(server, await server.worker.started())
    assert (await page.until("completed"))[-1] == "completed"


# the ends of earlier runs: the JavaScript SDK until 1.11 takes the first end that comes for that of its own
# run

IN_THEIR_PLACES = ["running", "values", "failed", "running", "values", "completed"]
"""A failed run and a good one, one after the other."""
REPLAYED = ["running", "values", "running", "values", "completed", "failed"]
"""The same, as a front end may see them that has started the good one."""


async def failed(server: Any, thread_id: str) -> None:
    """Have a run of the thread fail."""
    run_id = await start(server, thread_id, BROWSER)
    await server.worker.started(run_id)
    server.worker.emit(run_id, "v2/values", {"data": {"n": 1}}, mask=7)
    server.worker.end(run_id, "error", error={"error": "ValueError", "message": "broken"})
    await server.finished(thread_id, run_id)


@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("headers", [NODE, BROWSER])
async def test_a_stream_that_follows_a_command_gets_ends_of_earlier_runs_behind_that_of_its_own(
    server: Any, tape: Any, headers: dict[str, str], over: bool
) -> None:
    thread_id = await server.thread()
    await failed(server, thread_id)
    run_id = await start(server, thread_id, headers)
    if over:
        await ended(server, run_id)
        await server.finished(thread_id, run_id)
    stream = await tape(server, thread_id, headers)
    if not over:
        await server.worker.started(run_id)
        await turns(server)
        assert "failed" not in stream.seen
        await ended(server, run_id)
    assert await stream.until("failed") == REPLAYED


@pytest.mark.parametrize("headers", [NODE, BROWSER])
async def test_a_stream_that_comes_just_before_a_command_gets_no_end_before_that_of_its_own_run(
    serve: Any, tape: Any, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(v2_hold=10_000)
    thread_id = await server.thread()
    await failed(server, thread_id)
    with monkeypatch.context() as patched:
        patched.setattr(earlier, "RECENT_S", 0)  # the failed run is an old one
        stream = await tape(server, thread_id, headers)
        await turns(server)
    assert stream.seen == []
    await ended(server, await start(server, thread_id, headers))
    assert await stream.until("failed") == REPLAYED


@pytest.mark.parametrize(("headers", "hold"), [(NODE, 10), (BROWSER, 10), (BROWSER, 0), (PYTHON, 10_000)])
async def test_ends_stay_in_their_places_if_nothing_begins(
    serve: Any, tape: Any, headers: dict[str, str], hold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "RECENT_S", 0)
    server = await serve(v2_hold=hold)
    thread_id = await server.thread()
    await failed(server, thread_id)
    run_id = await start(server, thread_id, BROWSER)
    await ended(server, run_id)
    await server.finished(thread_id, run_id)
    stream = await tape(server, thread_id, headers)
    assert await stream.until("completed") == IN_THEIR_PLACES


@pytest.mark.parametrize(
    ("headers", "params"), [(BROWSER, {"since": 0}), (PYTHON, {}), ({"User-Agent": "curl/8"}, {})]
)
async def test_a_stream_that_names_its_place_or_of_no_front_end_gets_all_in_order(
    server: Any, tape: Any, headers: dict[str, str], params: dict[str, Any]
) -> None:
    thread_id = await server.thread()
    await failed(server, thread_id)
    run_id = await start(server, thread_id, BROWSER)
    stream = await tape(server, thread_id, headers, **params)
    await ended(server, run_id)
    assert await stream.until("completed") == IN_THEIR_PLACES


async def test_an_end_that_is_kept_back_comes_though_the_newest_run_is_deleted(
    server: Any, tape: Any
) -> None:
    thread_id = await server.thread()
    await failed(server, thread_id)
    run_id = await start(server, thread_id, BROWSER)
    await server.worker.started(run_id)
    stream = await tape(server, thread_id, BROWSER)
    await server.json("DELETE", f"/threads/{thread_id}/runs/{run_id}", status=204)
    assert (await stream.until("failed"))[-2:] == ["interrupted", "failed"]


async def test_subscriptions_of_a_socket_get_ends_of_earlier_runs_behind_that_of_the_newest(
    server: Any,
) -> None:
    thread_id = await server.thread()
    await failed(server, thread_id)
    seen: dict[str, list[str]] = {"lifecycle": [], "values": []}
    async with server.client.ws_connect(f"/threads/{thread_id}/stream/events", headers=BROWSER) as socket:

        async def receive() -> dict[str, Any]:
            told: dict[str, Any] = await socket.receive_json(timeout=30)
            if "params" in told:
                seen[told["method"]].append(told["params"]["data"].get("event", "values"))
            return told

        run = {"assistant_id": "chat", "input": {}}
        await socket.send_json({"id": 1, "method": "run.start", "params": run})
        run_id = (await receive())["result"]["run_id"]
        for n, channel in enumerate(seen, 2):
            command = {"id": n, "method": "subscription.subscribe", "params": {"channels": [channel]}}
            await socket.send_json(command)
            while "id" not in await receive():
                pass
        assert "failed" not in seen["lifecycle"]
        await ended(server, run_id)
        while "failed" not in seen["lifecycle"]:
            await receive()
    assert seen == {"lifecycle": ["running", "running", "completed", "failed"], "values": ["values"] * 2}
