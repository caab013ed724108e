"""
Protocol v2 over the whole engine: real graphs, the API's own handlers, SQLite, and crashes at chosen points.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponse, WSMsgType
from aiohttp.test_utils import TestClient, TestServer

from gatewayd import api, ids, wire
from gatewayd.model.caller import INTERNAL
from gatewayd.storage import store
from gatewayd.storage.sqlite.store import SqliteStore
from gatewayd.streams import hub, v2
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
ALL = list(v2.CHANNELS)
ENDS = {"completed", "failed", "interrupted"}


class Client:
    """What a client of v2 does on one thread."""

    def __init__(self, http: TestClient[Any, Any], thread_id: str) -> None:
        self.http = http
        self.thread_id = thread_id

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        path = f"/threads/{self.thread_id}/commands"
        async with self.http.post(path, json={"id": 1, "method": method, "params": params}) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def start(self, graph: str, given: Any, **more: Any) -> str:
        answer = await self.command("run.start", assistant_id=graph, input=given, **more)
        assert answer["type"] == "success", answer
        return str(answer["result"]["run_id"])

    @asynccontextmanager
    async def stream(self, **asked: Any) -> AsyncIterator[ClientResponse]:
        path = f"/threads/{self.thread_id}/stream/events"
        async with self.http.post(path, json={"channels": ALL, **asked}) as response:
            assert response.status == 200, await response.text()
            yield response

    async def until_end(self, run_id: str, **asked: Any) -> list[dict[str, Any]]:
        """Return the events of the thread up to the end of a run."""
        async with self.stream(**asked) as response:
            return await read_until_end(response, run_id)


async def read_until_end(response: ClientResponse, run_id: str) -> list[dict[str, Any]]:
    found = []
    async with asyncio.timeout(20):
        async for line in response.content:
            if line.startswith(b"data: "):
                found.append(wire.loads(line[6:]))
                if is_end(found[-1], run_id):
                    return found
    raise AssertionError(f"the stream ended without the end of {run_id}: {found}")


def is_end(event: dict[str, Any], run_id: str) -> bool:
    params = event["params"]
    return (
        event["method"] == "lifecycle"
        and not params["namespace"]
        and params["data"]["event"] in ENDS
        and event["event_id"].split(":")[1] == run_id
    )


@asynccontextmanager
async def serving(daemon: inprocess.Daemon) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(api.build_app(daemon.services))) as http:
        yield http


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Client]:
    async with inprocess.opened(tmp_path, PROJECT) as daemon, serving(daemon) as http:
        yield Client(http, ids.new_id())


def outline(events: list[dict[str, Any]]) -> list[str]:
    return [
        f"{event['method']}:{event['params']['data']['event']}"
        if event["method"] == "lifecycle"
        else event["method"]
        for event in events
    ]


async def test_a_run_is_seen_whole_by_who_opens_the_stream_after_its_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        run_id = await client.start("steps", {"word": "w", "path": []})
        events = await client.until_end(run_id)
        names = outline(events)
        assert (names[0], names[-1]) == ("lifecycle:running", "lifecycle:completed")
        assert {"values", "updates", "checkpoints"} <= set(names)
        seqs = [event["seq"] for event in events]
        assert seqs == sorted(set(seqs))
        assert len({event["event_id"] for event in events}) == len(events)
        # What was replayed and what came live are the same, whenever it is asked for.
        assert await client.until_end(run_id) == events
        later = await client.until_end(run_id, since=seqs[2])
        assert later == events[3:]
        # The run's record is final when its end is seen.
        async with client.http.get(f"/threads/{client.thread_id}/runs/{run_id}") as response:
            assert (await response.json())["status"] == "success"


async def test_a_checkpoint_is_told_before_the_state_it_holds(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        run_id = await client.start("steps", {"word": "w", "path": []})
        names = outline(await client.until_end(run_id, channels=["values", "checkpoints", "lifecycle"]))
        assert names.count("values") > 2
        assert all(names[at - 1] == "checkpoints" for at, name in enumerate(names) if name == "values")


async def test_a_question_can_be_answered_as_soon_as_it_is_seen_and_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        first = await client.start("two_questions", {"word": "w", "path": []})
        events = await client.until_end(first)
        (asked,) = [event for event in events if event["method"] == "input.requested"]
        data = asked["params"]["data"]
        assert data["payload"] == data["value"] == {"question": "first"}
        assert events[-1]["params"]["data"]["event"] == "interrupted"

        wrong = await client.command("input.respond", namespace=[], interrupt_id="nothing", response=1)
        assert (wrong["error"], wrong["message"]) == (
            "no_such_interrupt",
            "Unknown or already-consumed interrupt: nothing",
        )
        respond = {"namespace": [], "interrupt_id": data["interrupt_id"], "response": "yes"}
        clicks = await asyncio.gather(*(client.command("input.respond", **respond) for _ in range(2)))
        assert sorted(answer["type"] for answer in clicks) == ["error", "success"]
        (taken,) = [answer for answer in clicks if answer["type"] == "success"]
        assert taken["result"] == {}
        async with client.stream(since=taken["meta"]["applied_through_seq"]) as response:
            line = b""
            while not line.startswith(b"data: "):
                line = await response.content.readline()
            run_id = wire.loads(line[6:])["event_id"].split(":")[1]
            rest = await read_until_end(response, run_id)
        (told,) = [event for event in rest if event["method"] == "input.answered"]
        assert told["params"]["data"] == {"interrupt_ids": [data["interrupt_id"]]}
        (again,) = [event for event in rest if event["method"] == "input.requested"]
        assert again["params"]["data"]["payload"] == {"question": "second", "after": "yes"}


@pytest.mark.parametrize("strict", [True, False])
async def test_answers_of_which_one_answers_nothing_are_refused_together(
    tmp_path: Path, strict: bool
) -> None:
    async with opened(tmp_path) as client:
        events = await client.until_end(
            await client.start("parallel_questions", {"word": "w", "path": []}),
            channels=["input", "lifecycle"],
        )
        asked = [event["params"]["data"]["interrupt_id"] for event in events if "input" in event["method"]]
        answers = [{"namespace": [], "interrupt_id": name, "response": 1} for name in (asked[0], "nothing")]
        refused = await client.command("input.respond", responses=answers, strict_resume=strict)
        assert (refused["error"], refused["message"]) == (
            "no_such_interrupt",
            "Unknown or already-consumed interrupt: nothing",
        )
        async with client.http.get(f"/threads/{client.thread_id}/runs") as response:
            assert len(await response.json()) == 1
        taken = await client.command("input.respond", responses=answers[:1], strict_resume=strict)
        assert taken["type"] == "success"


async def test_the_failure_of_a_strict_resume_says_what_was_refused_and_what_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        events = await client.until_end(
            await client.start("parallel_questions", {"word": "w", "path": []}),
            channels=["input", "lifecycle"],
        )
        asked = sorted(
            event["params"]["data"]["interrupt_id"] for event in events if "input" in event["method"]
        )
        for resume, reason, refused in (
            ({asked[0]: 1, "f" * 32: 2}, "not_pending", ["f" * 32]),
            ({}, "empty_map", []),
            ("one for two", "ambiguous", []),
        ):
            body = {
                "assistant_id": "parallel_questions",
                "command": {"resume": resume},
                "strict_resume": True,
            }
            async with client.http.post(f"/threads/{client.thread_id}/runs", json=body) as response:
                run_id = (await response.json())["run_id"]
            data = (await client.until_end(run_id))[-1]["params"]["data"]
            assert data.pop("error")
            assert data == {
                "event": "failed",
                "graph_name": "parallel_questions",
                "reason": reason,
                "interrupt_ids": refused,
                "pending_ids": asked,
            }
        failed = await client.until_end(await client.start("steps", {"word": "w", "path": 5}))
        assert failed[-1]["params"]["data"].keys() == {"event", "graph_name", "error"}


async def test_of_two_spellings_of_the_strategy_the_wires_own_counts(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        first = await client.start("waiting", {"word": "w", "path": []})
        second = {"assistant_id": "steps", "input": {"word": "x", "path": []}}
        for spelling in ("multitask_strategy", "multitaskStrategy"):
            refused = await client.command("run.start", **second, **{spelling: "reject"})
            assert (refused["error"], refused["message"][:4]) == ("unknown_error", "409:")
        both = {"multitask_strategy": "interrupt", "multitaskStrategy": "reject"}
        run_id = (await client.command("run.start", **second, **both))["result"]["run_id"]
        assert (await client.until_end(first))[-1]["params"]["data"]["event"] == "interrupted"
        assert (await client.until_end(run_id))[-1]["params"]["data"]["event"] == "completed"


async def test_input_for_a_thread_that_waits_is_the_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        await client.until_end(await client.start("two_questions", {"word": "w", "path": []}))
        run_id = await client.start("two_questions", {"word": "other"})
        events = await client.until_end(run_id)
        (asked,) = [
            event["params"]["data"]
            for event in events
            if event["method"] == "input.requested" and run_id in event["event_id"]
        ]
        assert asked["payload"] == {"question": "second", "after": {"word": "other"}}
        async with client.http.get(f"/threads/{client.thread_id}/runs/{run_id}") as response:
            kwargs = (await response.json())["kwargs"]
        assert (kwargs["input"], kwargs["command"]) == (None, {"resume": {"word": "other"}})


async def test_a_question_of_a_subgraph_names_its_place(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        events = await client.until_end(await client.start("inner_questions", {"word": "w", "path": []}))
        asked = [event for event in events if event["method"] == "input.requested"]
        assert asked
        assert all(event["params"]["namespace"] for event in asked)
        started = [event for event in events if event["params"]["data"].get("event") == "started"]
        assert {tuple(event["params"]["namespace"]) for event in asked} <= {
            tuple(event["params"]["namespace"]) for event in started
        }
        tree = (await client.command("agent.getTree"))["result"]["tree"]
        assert tree["status"] == "interrupted"
        assert [child["status"] for child in tree["children"]] == ["interrupted"]


@pytest.mark.parametrize("spelling", ["multitask_strategy", "multitaskStrategy"])
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_run_that_is_superseded_ends_for_its_readers(
    tmp_path: Path, strategy: str, spelling: str
) -> None:
    async with opened(tmp_path) as client:
        first = await client.start("steps", {"word": "w", "path": []})
        second = await client.start("steps", {"word": "x", "path": []}, **{spelling: strategy})
        assert is_end((await client.until_end(first))[-1], first)
        assert (await client.until_end(second))[-1]["params"]["data"]["event"] == "completed"


async def test_refusals_have_the_protocols_codes(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        codes = [
            (await client.command(method, **params))["error"]
            for method, params in (
                ("run.start", {}),
                ("run.start", {"assistant_id": "unknown"}),
                ("run.start", {"assistant_id": "steps", "multitask_strategy": "bogus"}),
                ("input.respond", {}),
                ("input.respond", {"responses": []}),
                ("input.respond", {"interrupt_id": "x"}),
                ("agent.getTree", {}),
                ("subscription.reconnect", {}),
                ("state.get", {}),
            )
        ]
        assert codes == [
            "invalid_argument",
            "unknown_error",
            "invalid_argument",
            "invalid_argument",
            "invalid_argument",
            "no_such_interrupt",
            "no_such_run",
            "no_such_run",
            "unknown_command",
        ]
        path = f"/threads/{client.thread_id}/commands"
        for body in (b"{", b"[]", b'{"id":"x","method":"y"}', b'{"id":1}'):
            async with client.http.post(path, data=body) as response:
                assert response.status == 400
        events = f"/threads/{client.thread_id}/stream/events"
        for body, status in ((b"{", 400), (b"{}", 400), (b'{"channels":["bogus"]}', 400)):
            async with client.http.post(events, data=body) as response:
                assert response.status == status
        async with client.http.post("/threads/x/stream/events", json={"channels": ["values"]}) as response:
            assert response.status == 422
        async with client.http.get(events) as response:
            assert response.status == 405


async def test_a_run_of_v1_is_seen_over_v2_and_a_run_of_v2_over_v1(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon, serving(daemon) as http:
        client = Client(http, ids.new_id())
        admitted = await daemon.create(
            inprocess.request("steps", thread_id=client.thread_id, input={"word": "w", "path": []})
        )
        seen = await client.until_end(admitted.run.run_id)
        names = outline(seen)
        assert (names[0], names[-1]) == ("lifecycle:running", "lifecycle:completed")
        assert names.count("values") > 2
        assert all(event["params"].get("node") for event in seen if event["method"] == "updates")

        run_id = await client.start("steps", {"word": "x", "path": []})
        of_v2 = [event for event in await client.until_end(run_id) if event["seq"] > seen[-1]["seq"]]
        headers = {"Last-Event-ID": "-1"}
        async with http.get(f"/threads/{client.thread_id}/runs/{run_id}/stream", headers=headers) as response:
            text = await response.text()
        frames = [
            dict(line.split(": ", 1) for line in frame.splitlines())
            for frame in text.split("\r\n\r\n")
            if frame
        ]
        assert {frame["event"] for frame in frames} == {"metadata", "values", "updates"}
        states = [wire.loads(frame["data"]) for frame in frames if frame["event"] == "values"]
        assert states == [event["params"]["data"] for event in of_v2 if event["method"] == "values"]


async def test_a_websocket_replays_before_it_answers_and_goes_on_live(tmp_path: Path) -> None:
    async with opened(tmp_path) as client:
        first = await client.start("steps", {"word": "w", "path": []})
        before = await client.until_end(first, channels=["lifecycle"])
        async with client.http.ws_connect(f"/threads/{client.thread_id}/stream/events") as socket:

            async def say(number: int, method: str, **params: Any) -> list[dict[str, Any]]:
                """Send a command; return what came up to its answer, the answer last."""
                await socket.send_json({"id": number, "method": method, "params": params})
                found: list[dict[str, Any]] = []
                async with asyncio.timeout(10):
                    while not found or found[-1].get("id") != number:
                        found.append(await socket.receive_json())
                return found

            *replayed, answer = await say(1, "subscription.subscribe", channels=["lifecycle"])
            assert replayed == before
            assert answer["result"]["replayed_events"] == len(before)
            *live, started = await say(2, "run.start", assistant_id="steps", input={"word": "x", "path": []})
            async with asyncio.timeout(10):
                while not live or not is_end(live[-1], started["result"]["run_id"]):
                    live.append(await socket.receive_json())
            assert outline(live) == ["lifecycle:running", "lifecycle:completed"]
            *_, gone = await say(
                3, "subscription.unsubscribe", subscription_id=answer["result"]["subscription_id"]
            )
            assert gone["result"] == {}
            *again, resumed = await say(
                4, "subscription.reconnect", channels=["lifecycle"], since=before[-1]["seq"]
            )
            assert again == live
            assert resumed["result"]["replayed_events"] == 2
            await socket.send_str("{")
            assert (await socket.receive_json())["error"] == "invalid_argument"
            await socket.send_bytes(b"x")
            closed = await socket.receive()
            assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1003)
        async with client.http.ws_connect("/threads/nonsense/stream/events") as socket:
            assert (await socket.receive()).data == 4422


async def test_an_open_stream_goes_on_with_the_thread_that_is_made_under_a_deleted_ones_id(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as client, client.stream(channels=["lifecycle"]) as response:
        given = {"word": "w", "path": []}
        first = await client.start("steps", given)
        await read_until_end(response, first)
        async with client.http.delete(f"/threads/{client.thread_id}") as deleted:
            assert deleted.status == 204
        second = await client.start("steps", given)
        assert outline(await read_until_end(response, second)) == ["lifecycle:running", "lifecycle:completed"]


async def test_of_earlier_runs_only_how_they_stood_is_replayed_and_of_the_last_everything(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as client:
        first = await client.start("deep_questions", {"word": "w", "path": []})
        whole = await client.until_end(first)
        second = await client.start("deep_questions", {"word": "answer"})
        everything = await client.until_end(second, since=0)
        last = [event for event in everything if event["seq"] > whole[-1]["seq"]]
        assert everything == whole + last
        *replayed, again = await client.until_end(second)
        assert again == last[-1]
        assert replayed[-len(last) + 1 :] == last[:-1]
        shown = replayed[: -len(last) + 1]
        namespaces = {tuple(event["params"]["namespace"]) for event in whole if event["method"] == "values"}
        assert len(namespaces) > 1
        for namespace in namespaces:
            here = [event for event in whole if tuple(event["params"]["namespace"]) == namespace]
            state = [event for event in here if event["method"] == "values"][-1]
            place = [event for event in here[: here.index(state)] if event["method"] == "checkpoints"][-1]
            kept = [event for event in shown if tuple(event["params"]["namespace"]) == namespace]
            told = [event for event in here if event["method"] in {"lifecycle", "input.requested"}]
            assert kept == sorted([*told, place, state], key=lambda event: int(event["seq"]))
        assert len(shown) < len(whole)
        async with client.http.ws_connect(f"/threads/{client.thread_id}/stream/events") as socket:
            await socket.send_json({"id": 1, "method": "subscription.subscribe", "params": {"channels": ALL}})
            got = [await socket.receive_json() for _ in range(len(shown) + len(last) + 1)]
            assert got[:-1] == shown + last
            assert got[-1]["result"]["replayed_events"] == len(shown) + len(last)


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_nothing_of_a_deleted_thread_is_shown_to_who_waits_for_the_next_one_under_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    """Interleaving: the stream looks into the log after the deletion, and before the thread is made again."""
    read, forget = SqliteStore.events_page, hub.Hub.drop
    deleted, looked = asyncio.Event(), asyncio.Event()

    def parting(self: hub.Hub, *about: Any) -> None:
        deleted.set()
        forget(self, *about)

    async def watched(self: store.Storage, *where: Any) -> list[Any]:
        late = deleted.is_set()
        found = await read(self, *where)
        if late:
            looked.set()
        return found

    given = {"word": "w", "path": []}
    async with opened(tmp_path) as client, reading(client, over) as events:
        first = await client.start("steps", given)
        while not is_end(await anext(events), first):
            pass
        monkeypatch.setattr(SqliteStore, "events_page", watched)
        monkeypatch.setattr(hub.Hub, "drop", parting)
        async with client.http.delete(f"/threads/{client.thread_id}") as answer:
            assert answer.status == 204
        async with asyncio.timeout(20):
            await looked.wait()
            second = await client.start("steps", given)
            seen = [await anext(events)]
            while not is_end(seen[-1], second):
                seen.append(await anext(events))
        assert not [event for event in seen if first in event["event_id"]]
        assert seen == await client.until_end(second, since=0)


@asynccontextmanager
async def reading(client: Client, over: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Yield the events of the thread as they come, all of them."""

    async def of_stream(response: ClientResponse) -> AsyncIterator[dict[str, Any]]:
        async for line in response.content:
            if line.startswith(b"data: "):
                yield wire.loads(line[6:])

    async def of_socket(socket: Any) -> AsyncIterator[dict[str, Any]]:
        while True:
            yield await socket.receive_json(timeout=20)

    if over == "sse":
        async with client.stream() as response:
            yield of_stream(response)
    else:
        async with client.http.ws_connect(f"/threads/{client.thread_id}/stream/events") as socket:
            await socket.send_json({"id": 1, "method": "subscription.subscribe", "params": {"channels": ALL}})
            assert (await socket.receive_json())["type"] == "success"
            yield of_socket(socket)


@pytest.mark.parametrize("what", ["run", "thread", "rollback"])
async def test_who_has_seen_a_run_begin_sees_it_end_when_it_is_deleted_or_undone(
    tmp_path: Path, what: str
) -> None:
    async with opened(tmp_path) as client:
        path = f"/threads/{client.thread_id}"
        async with (
            client.stream(channels=["lifecycle"]) as response,
            client.http.ws_connect(f"{path}/stream/events") as socket,
        ):
            subscribe = {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["lifecycle"]}}
            await socket.send_json(subscribe)
            assert (await socket.receive_json())["type"] == "success"
            run_id = await client.start("waiting", {"word": "w", "path": []})
            begun = await socket.receive_json()
            assert begun["event_id"] == f"synth:{run_id}:lc||running"
            method, where = {
                "run": ("DELETE", f"{path}/runs/{run_id}"),
                "thread": ("DELETE", path),
                "rollback": ("POST", f"{path}/runs/{run_id}/cancel?action=rollback&wait=1"),
            }[what]
            async with client.http.request(method, where) as answer:
                assert answer.status in {200, 204}
            seen = [begun, await socket.receive_json(timeout=20)]
            assert seen == await read_until_end(response, run_id)
            assert outline(seen) == ["lifecycle:running", "lifecycle:interrupted"]
            assert seen[0]["seq"] < seen[1]["seq"]
            if what != "thread":  # who comes later sees the same
                assert await client.until_end(run_id, since=0, channels=["lifecycle"]) == seen


async def test_streams_and_sockets_are_cut_when_the_server_stops(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon, serving(daemon) as http:
        client = Client(http, ids.new_id())
        async with (
            client.stream() as response,
            http.ws_connect(f"/threads/{client.thread_id}/stream/events") as socket,
        ):
            daemon.services.shutdown.set()
            with pytest.raises((ClientPayloadError, ClientConnectionError)):
                await response.content.read()
            assert (await socket.receive()).type in {WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSE}


async def test_a_crash_anywhere_loses_no_update_for_readers_of_v2(tmp_path: Path) -> None:
    given = {"word": "w", "path": []}
    complete = await counted(tmp_path / "whole", None, given)
    for cut in range(1, 40):
        found = await counted(tmp_path / str(cut), cut, given)
        assert found >= complete, f"cut after {cut}: {complete - found} was never seen"
        if found.crashed is False:
            return
    raise AssertionError("the run never got through")


class Seen(frozenset[str]):
    """Updates that readers have seen; `crashed`: whether the run was cut at all."""

    crashed: bool = False


async def counted(data_dir: Path, cut: int | None, given: Any) -> Seen:
    """Return the updates that a reader sees of a run that is cut after so many stored operations."""
    await asyncio.to_thread(data_dir.mkdir)
    thread_id = ids.new_id()
    request = inprocess.request(
        "steps", thread_id=thread_id, input=given, stream_mode=("lifecycle",), subgraphs=True
    )
    crashed = False
    async with inprocess.opened(data_dir, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        if cut is not None:
            daemon.writer.crash_after(cut)
        admitted = await daemon.create(request)
        ended = asyncio.ensure_future(daemon.services.runs.wait(INTERNAL, thread_id, admitted.run.run_id))
        dead = asyncio.ensure_future(daemon.writer.crashed.wait())
        await asyncio.wait({ended, dead}, return_when=asyncio.FIRST_COMPLETED)
        crashed = not ended.done()
        for task in (ended, dead):
            task.cancel()
        await asyncio.gather(ended, dead, return_exceptions=True)
        if crashed:
            daemon.abandon()
    async with inprocess.opened(data_dir, PROJECT) as daemon:
        await daemon.services.runs.wait(INTERNAL, thread_id, admitted.run.run_id)
        records = await daemon.log(thread_id)
    ends = [record for record in records if record.kind.startswith("v2/lifecycle=completed")]
    assert [end.namespace for end in ends].count("") == 1
    seen = Seen(record.data.decode() for record in records if record.kind == "v2/updates")
    seen.crashed = crashed
    return seen
