"""State updates, copies and prunes over HTTP; the service worker is played by the test."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from attrs import define, field

from gatewayd.checkpointing import commands
from gatewayd.checkpointing.sqlite import changes
from gatewayd.errors import Rejected, Unanswered
from gatewayd.model.caller import INTERNAL
from gatewayd.storage.sqlite import thread_locks
from gatewayd.storage.sqlite.engine import failures

UNKNOWN = "11111111-2222-4333-8444-555555555555"
MADE = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1f1e0000-0000-6000-8000-000000000001"}


@define
class Answering:
    """A service worker that computes updates when the test lets it."""

    asked: list[dict[str, Any]] = field(factory=list)
    open: asyncio.Event = field(factory=asyncio.Event)
    called: asyncio.Condition = field(factory=asyncio.Condition)
    answer: Any = None

    def __attrs_post_init__(self) -> None:
        self.open.set()

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        self.asked.append({"method": method, **params})
        async with self.called:
            self.called.notify_all()
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        number = len(self.asked)
        put = commands.put(params["thread_id"], "", f"{number:04}", None, "msgpack", b"state", "{}")
        values = json.dumps(params.get("values")).encode()
        return self.answer or {
            "operations": [put],
            "place": MADE,
            "event": [b'{"state":{"values":%b},"thread_id":"%b"}' % (values, params["thread_id"].encode())],
            "projection": {
                "values": values,
                "interrupts": {},
                "next": [],
                "result": values,
                "end_checkpoint_id": "x",
            },
        }

    async def until_asked(self, count: int) -> None:
        async with self.called:
            await self.called.wait_for(lambda: len(self.asked) >= count)


@pytest.fixture
def service(server: Any, monkeypatch: pytest.MonkeyPatch) -> Answering:
    made = Answering()
    monkeypatch.setattr(type(server.workers), "call", lambda _, *asked: made.call(*asked))
    return made


async def known(server: Any) -> str:
    """Return a thread that has a graph."""
    return await server.thread(metadata={"graph_id": "chat"})


async def rows(server: Any, statement: str) -> list[tuple[Any, ...]]:
    return await server.services.storage.writer.submit(
        lambda connection: connection.execute(statement).fetchall()
    )


async def holders(server: Any) -> list[tuple[Any, ...]]:
    return await rows(server, "SELECT holder FROM thread_locks")


# what is asked for, what is answered


async def test_a_state_update_is_computed_stored_and_answered_with_its_place(server, service):
    thread_id = await known(server)
    place = {"checkpoint_ns": "inner:1", "checkpoint_map": {"": "x"}, "thread_id": UNKNOWN}
    body = {"values": {"a": 1}, "as_node": "n", "checkpoint": place, "checkpoint_id": None}
    answer = await server.json("POST", f"/threads/{thread_id}/state", body)
    assert answer == {"checkpoint": MADE, "configurable": MADE, "checkpoint_id": MADE["checkpoint_id"]}
    del place["thread_id"]
    asked = {"values": {"a": 1}, "as_node": "n", "place": place, "thread_id": thread_id, "graph_id": "chat"}
    assert service.asked == [{"method": "update", "settings": {}, **asked}]
    thread = await server.json("GET", f"/threads/{thread_id}")
    assert (thread["values"], thread["status"], thread["error"]) == ({"a": 1}, "idle", None)
    assert thread["state_updated_at"] == thread["updated_at"] > thread["created_at"]
    assert await rows(server, "SELECT checkpoint_id, run_id FROM checkpoints") == [("0001", "")]
    assert await holders(server) == []


async def test_a_state_update_needs_nothing_of_its_body(server, service):
    thread_id = await known(server)
    await server.json("POST", f"/threads/{thread_id}/state", {})
    await server.json("POST", f"/threads/{thread_id}/state", {"values": [{"a": 1}], "checkpoint_id": UNKNOWN})
    assert [(one["values"], one["as_node"], one["place"]) for one in service.asked] == [
        (None, None, {}),
        ([{"a": 1}], None, {"checkpoint_id": UNKNOWN}),
    ]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"values": 5}, "5 is not valid under any of the schemas listed in the 'anyOf' keyword"),
        ({"values": "x"}, '"x" is not valid under any of the schemas'),
        ({"as_node": 5}, '5 is not of type "string"'),
        ({"checkpoint": 5}, '5 is not of type "object"'),
        ({"checkpoint_id": "zz"}, "Invalid checkpoint ID"),
        ({"checkpoint": {"checkpoint_id": "zz"}}, "Invalid checkpoint ID"),
    ],
)
async def test_a_wrong_state_update_is_refused_by_the_name_of_its_field(server, service, body, detail):
    thread_id = await known(server)
    refused = await server.json("POST", f"/threads/{thread_id}/state", body, status=422)
    assert refused["detail"].startswith(detail)
    assert service.asked == []


async def test_a_state_update_without_thread_or_graph_is_refused(server, service):
    path = f"/threads/{UNKNOWN}/state"
    assert await server.json("POST", path, {}, status=404) == {
        "detail": f"Thread with ID {UNKNOWN} not found"
    }
    await server.json("POST", "/threads/zz/state", {}, status=422)
    bare, strange = await server.thread(), await server.thread(metadata={"graph_id": "gone"})
    refused = await server.json("POST", f"/threads/{bare}/state", {}, status=400)
    assert refused["detail"].startswith(f"Thread '{bare}' has no assigned graph ID")
    refused = await server.json("POST", f"/threads/{strange}/state", {}, status=404)
    assert refused == {"detail": "Graph 'gone' not found. Expected one of: ['chat', 'other']"}
    assert service.asked == []
    assert await holders(server) == []


@pytest.mark.parametrize(
    ("error", "status"), [(Rejected("Node zz does not exist"), 400), (Unanswered("update hangs"), 504)]
)
async def test_an_update_that_is_not_computed_leaves_the_thread_as_it_was_and_free(
    server, service, error, status
):
    thread_id = await known(server)
    before = await server.json("GET", f"/threads/{thread_id}")
    service.answer = error
    refused = await server.json("POST", f"/threads/{thread_id}/state", {}, status=status)
    assert refused == {"detail": error.detail}
    assert await server.json("GET", f"/threads/{thread_id}") == before
    assert await holders(server) == []
    service.answer = None
    await server.json("POST", f"/threads/{thread_id}/state", {})


# with runs


async def test_an_update_is_refused_while_a_run_is_in_flight(server, service):
    path, body = "/threads/{}/state", {"values": {"a": 1}}
    thread_id = await known(server)
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    refused = await server.json("POST", path.format(thread_id), body, status=409)
    assert refused == {"detail": f"Thread {thread_id} has in-flight runs: [{run_id}]"}
    server.worker.end(run_id)
    await server.finished(thread_id, run_id)
    await server.json("POST", path.format(thread_id), body)


async def test_a_run_created_while_a_state_is_updated_starts_when_that_is_over(server, service):
    thread_id = await known(server)
    service.open.clear()
    update = asyncio.create_task(server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 1}}))
    await service.until_asked(1)
    run_id = await server.run(thread_id)
    for _ in range(3):  # the claimer has looked at the table, and found the thread taken
        await server.services.storage.counters()
    assert server.worker.orders == {}
    service.open.set()
    await update
    await server.worker.started(run_id)
    assert await holders(server) == [(run_id,)]


async def test_an_update_beside_a_run_that_waits_for_its_time_is_refused_until_that_is_gone(server, service):
    thread_id = await known(server)
    run_id = await server.run(thread_id, after_seconds=1000)
    answer = await server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 1}}, status=409)
    assert answer == {"detail": f"Thread {thread_id} has in-flight runs: [{run_id}]"}
    assert service.asked == []
    assert await holders(server) == []
    async with server.client.post(f"/threads/{thread_id}/runs/{run_id}/cancel?wait=true") as cancelled:
        await cancelled.read()  # it comes when the run has ended
    await server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 1}})
    thread = await server.json("GET", f"/threads/{thread_id}")
    assert (thread["status"], thread["values"]) == ("idle", {"a": 1})


# side by side


async def test_updates_of_one_thread_wait_for_each_other_in_their_order(server, service):
    thread_id = await known(server)
    service.open.clear()
    updates = []
    for number in range(4):
        updates.append(
            asyncio.create_task(
                server.services.changes.update_state(
                    INTERNAL, thread_id, values={"n": number}, as_node=None, place={}
                )
            )
        )
    await service.until_asked(1)
    elsewhere = asyncio.create_task(
        server.services.changes.update_state(INTERNAL, await known(server), values={}, as_node=None, place={})
    )
    await service.until_asked(2)  # another thread's does not wait
    assert [one["values"] for one in service.asked] == [{"n": 0}, {}]
    service.open.set()
    await asyncio.gather(*updates, elsewhere)
    assert [one["values"] for one in service.asked] == [{"n": 0}, {}, {"n": 1}, {"n": 2}, {"n": 3}]
    assert (await server.json("GET", f"/threads/{thread_id}"))["values"] == {"n": 3}
    assert await holders(server) == []
    assert server.services.changes.changing == []


async def test_an_update_of_a_thread_that_is_deleted_meanwhile_stores_nothing(server, service):
    thread_id = await known(server)
    service.open.clear()
    update = asyncio.create_task(server.json("POST", f"/threads/{thread_id}/state", {}, status=404))
    await service.until_asked(1)
    await server.json("DELETE", f"/threads/{thread_id}", status=204)
    await server.thread(thread_id=thread_id)
    service.open.set()
    assert await update == {"detail": f"Thread with ID {thread_id} not found"}
    assert (await server.json("GET", f"/threads/{thread_id}"))["values"] is None
    assert await rows(server, "SELECT * FROM checkpoints") == []
    assert await rows(server, "SELECT * FROM events") == []


async def test_an_update_whose_client_leaves_is_carried_through(server, service):
    thread_id = await known(server)
    service.open.clear()
    update = asyncio.create_task(server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 1}}))
    await service.until_asked(1)
    update.cancel()
    await asyncio.wait([update])
    service.open.set()
    again = await server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 2}})
    assert again["checkpoint"] == MADE
    assert [row[0] for row in await rows(server, "SELECT checkpoint_id FROM checkpoints")] == ["0001", "0002"]
    assert await holders(server) == []


async def test_a_thread_is_freed_as_soon_as_that_can_be_stored(server, service, monkeypatch):
    thread_id = await known(server)
    server.services.runs.engine.retry_s = 0.001
    refusals = [failures.FullDisk("no room"), OSError("broken")]
    release = thread_locks.thread_locks_release

    def refusing(connection: Any, operation_id: str) -> None:
        if refusals:
            raise refusals.pop()
        release(connection, operation_id)

    monkeypatch.setattr(thread_locks, "thread_locks_release", refusing)
    service.answer = Rejected("no")
    await server.json("POST", f"/threads/{thread_id}/state", {}, status=400)
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    assert refusals == []


# what readers of the thread see


@pytest.mark.parametrize("modes", ["state_update", "run_modes", "lifecycle", "run_modes,state_update"])
async def test_a_threads_stream_tells_of_state_updates_to_those_who_ask(server, service, modes):
    thread_id = await known(server)
    path = f"/threads/{thread_id}/stream?stream_mode={modes}"
    async with server.client.get(path, headers={"Last-Event-ID": "0"}) as answer:
        await server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 1}})
        await server.completed(thread_id)
        await server.json("POST", f"/threads/{thread_id}/state", {"values": {"a": 2}})
        await server.completed(thread_id)
        seen = []
        while len(seen) < (2 if modes == "state_update" else 4):
            line = await answer.content.readline()
            if line.startswith(b"event: "):
                seen.append(line[7:].strip().decode())
                data = (await answer.content.readline())[6:]
                if seen[-1] == "state_update":
                    number = seen.count("state_update")
                    state = {"values": {"a": number}}
                    assert json.loads(data) == {"state": state, "thread_id": thread_id}
    assert ("state_update" in seen) == ("state_update" in modes)
    assert ("metadata" in seen) == (modes != "state_update")


# copies and prunes


async def test_a_busy_thread_is_copied_and_its_run_goes_on(server):
    thread_id = await server.thread(metadata={"u": "bob"})
    await server.completed(thread_id, result=b'{"v":1}')
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    made = await server.json("POST", f"/threads/{thread_id}/copy")
    assert (made["status"], made["values"], made["metadata"]["u"]) == ("idle", {"v": 1}, "bob")
    assert made == await server.json("GET", f"/threads/{made['thread_id']}")
    assert await server.json("GET", f"/threads/{made['thread_id']}/runs") == []
    assert (await server.json("GET", f"/threads/{thread_id}"))["status"] == "busy"
    assert await holders(server) == [(run_id,)]
    server.worker.end(run_id)
    assert (await server.finished(thread_id, run_id)).status == "success"


async def test_a_copy_is_answered_as_the_record_of_a_thread(server):
    thread_id = await server.thread(metadata={"u": "bob"})
    await server.completed(thread_id, result=b'{"v":1}')
    source = await server.json("GET", f"/threads/{thread_id}")
    made = await server.json("POST", f"/threads/{thread_id}/copy")
    assert made == await server.json("GET", f"/threads/{made['thread_id']}")
    assert made["thread_id"] != thread_id
    for name in ("metadata", "values", "status", "error", "interrupts"):
        assert made[name] == source[name]
    assert await server.json("GET", f"/threads/{made['thread_id']}/runs") == []
    await server.json("POST", f"/threads/{UNKNOWN}/copy", status=404)
    await server.json("POST", "/threads/zz/copy", status=422)


async def test_a_prune_deletes_what_exists_busy_or_not_and_counts_it(server):
    idle, busy, other = await server.thread(), await server.thread(), await server.thread()
    run_id = await server.run(busy)
    await server.worker.started(run_id)
    body = {"thread_ids": [idle, UNKNOWN, busy.upper(), idle]}
    assert await server.json("POST", "/threads/prune", body) == {"pruned_count": 2}
    for thread_id in (idle, busy):
        await server.json("GET", f"/threads/{thread_id}", status=404)
    await server.json("GET", f"/threads/{other}")
    assert server.worker.cancelled == [run_id]
    assert await server.json("POST", "/threads/prune", {"thread_ids": []}) == {"pruned_count": 0}


async def test_a_prune_to_the_latest_states_passes_over_threads_in_flight(server, service):
    idle, busy = await server.thread(), await server.thread()
    run_id = await server.run(busy)
    await server.worker.started(run_id)
    for number in range(3):
        for thread_id in (idle, busy):
            put = commands.put(thread_id, "", f"{number:04}", None, "msgpack", b"state", "{}")
            await server.services.storage.writer.submit(changes.apply, put, "")
    service.answer = [["", "0002", []]]
    body = {"thread_ids": [busy, idle, UNKNOWN], "strategy": "keep_latest"}
    assert await server.json("POST", "/threads/prune", body) == {"pruned_count": 1}
    left = await rows(server, "SELECT thread_id, count(*) FROM checkpoints GROUP BY thread_id")
    assert dict(left) == {idle: 1, busy: 3}
    assert service.asked == [{"method": "kept", "thread_id": idle}]
    assert await holders(server) == [(run_id,)]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, '"thread_ids" is a required property'),
        ({"thread_ids": ["zz"]}, "Invalid thread ID: must be a UUID"),
        ({"thread_ids": "x"}, '"x" is not of type "array"'),
        ({"thread_ids": [], "strategy": "no"}, '"no" is not one of "delete" or "keep_latest"'),
    ],
)
async def test_a_wrong_prune_is_refused(server, body, detail):
    refused = await server.json("POST", "/threads/prune", body, status=422)
    assert refused["detail"].startswith(detail)
