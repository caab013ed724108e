"""The official Python client in its synchronous form, unmodified, against a real server."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

pytestmark = pytest.mark.xdist_group("clients")

COUNT: dict[str, Any] = {"left": 2, "seen": []}
COUNTED = {"left": 0, "seen": ["tick 2", "tick 1"]}
SLOW: dict[str, Any] = {"left": 2, "pause": 30.0, "seen": []}


@pytest.fixture
def client(served: str) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=served) as made:
        yield made


def test_threads_assistants_and_states(client: SyncLangGraphClient) -> None:
    (found,) = client.assistants.search(graph_id="countdown")
    thread_id = client.threads.create(metadata={"sync": True})["thread_id"]
    assert client.threads.update(thread_id, metadata={"more": 1})["metadata"] == {"sync": True, "more": 1}
    assert client.runs.wait(thread_id, found["assistant_id"], input=COUNT) == COUNTED
    assert client.threads.get_state(thread_id)["values"] == COUNTED
    assert len(client.threads.get_history(thread_id, limit=10)) == 4
    assert [row["thread_id"] for row in client.threads.search(ids=[thread_id])] == [thread_id]
    assert client.threads.count(metadata={"sync": True, "more": 1}, status="idle") == 1
    client.threads.delete(thread_id)
    with pytest.raises(NotFoundError):
        client.threads.get(thread_id)
    with pytest.raises(UnprocessableEntityError):
        client.threads.get("zz")


def test_runs_are_streamed_joined_and_replayed(client: SyncLangGraphClient) -> None:
    thread_id = client.threads.create()["thread_id"]
    seen = list(
        client.runs.stream(
            thread_id, "countdown", input=COUNT, stream_mode=["updates", "custom"], stream_resumable=True
        )
    )
    assert [part.event for part in seen] == ["metadata", "custom", "updates", "custom", "updates"]
    run_id = seen[0].data["run_id"]
    assert list(client.runs.join_stream(thread_id, run_id, last_event_id="-1")) == seen
    assert client.runs.join(thread_id, run_id) == COUNTED
    assert [row["run_id"] for row in client.runs.list(thread_id)] == [run_id]
    stateless = client.runs.stream(None, "countdown", input=COUNT)
    assert [part.event for part in stateless] == ["metadata", "values", "values", "values"]


def test_a_stream_that_was_left_goes_on_behind_the_last_event(
    client: SyncLangGraphClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    thread_id = client.threads.create()["thread_id"]
    given: Any = {"messages": [{"role": "user", "content": "hello"}], "gate": str(gate)}
    stream = client.runs.stream(thread_id, "patient", input=given, stream_mode=["messages-tuple", "values"])
    seen: list[Any] = []
    for part in stream:
        seen.append(part)
        if part.event == "messages" and part.data[0]["content"] == "You said ":
            break
    stream.close()  # type: ignore[attr-defined]
    run_id = seen[0].data["run_id"]
    rest: list[Any] = []
    for part in client.runs.join_stream(thread_id, run_id, last_event_id=seen[1].id):
        rest.append(part)
        if part.id == seen[-1].id:
            gate.touch()
    assert rest[: len(seen) - 2] == seen[2:]
    assert rest[-1].event == "values"
    assert rest[-1].data == client.runs.join(thread_id, run_id)
    assert rest[-1].data["messages"][-1]["content"] == "You said hello"


def test_states_are_updated_and_runs_created_in_a_batch(client: SyncLangGraphClient) -> None:
    thread_id = client.threads.create(graph_id="ask")["thread_id"]
    client.runs.wait(thread_id, "ask", input={"topic": "tea"})
    client.threads.update_state(thread_id, {"reply": "black"}, as_node="question")
    assert client.threads.get_state(thread_id)["next"] == ["close"]
    assert client.runs.wait(thread_id, "ask") == {"topic": "tea", "reply": "black", "closed": True}
    copied: Any = client.threads.copy(thread_id)
    assert client.threads.get_state(copied["thread_id"])["values"]["closed"] is True
    made: Any = {"assistant_id": "countdown", "input": COUNT}
    runs = client.runs.create_batch([made, made])
    assert [client.runs.join(run["thread_id"], run["run_id"]) for run in runs] == [COUNTED, COUNTED]
    queued = client.runs.create(thread_id, "slow", input=SLOW)
    client.runs.cancel_many(thread_id=thread_id, run_ids=[queued["run_id"]])
    client.runs.join(thread_id, queued["run_id"])
    assert client.runs.get(thread_id, queued["run_id"])["status"] == "interrupted"


def test_a_question_is_answered(client: SyncLangGraphClient) -> None:
    thread_id = client.threads.create()["thread_id"]
    (asked,) = client.runs.wait(thread_id, "nested_ask", input={"topic": "tea"})["__interrupt__"]
    parts = list(
        client.runs.stream(
            thread_id, "nested_ask", command={"resume": {asked["id"]: "green"}}, stream_subgraphs=True
        )
    )
    assert parts[-1].data == {"topic": "tea", "reply": "green", "closed": True}


def test_a_run_is_cancelled_from_another_thread(client: SyncLangGraphClient) -> None:
    thread_id = client.threads.create()["thread_id"]
    run_id = ""
    rest: list[str] = []
    reader: threading.Thread | None = None
    stream = client.runs.stream(thread_id, "slow", input=SLOW, stream_mode="custom")
    for part in stream:
        run_id = run_id or part.data["run_id"]
        if part.event == "custom":
            reader = threading.Thread(target=lambda: rest.extend(later.event for later in stream))
            break
    assert reader is not None
    reader.start()
    with pytest.raises(ConflictError):
        client.runs.create(thread_id, "slow", input=SLOW, multitask_strategy="reject")
    client.runs.cancel(thread_id, run_id, wait=True)
    reader.join(timeout=15)
    assert (reader.is_alive(), rest) == (False, [])
    assert client.runs.get(thread_id, run_id)["status"] == "interrupted"


def test_items_are_put_read_found_and_deleted(client: SyncLangGraphClient) -> None:
    space = ["sdk sync", str(uuid.uuid4())]
    client.store.put_item(space, key="k", value={"n": 1}, index=False, ttl=5)
    assert client.store.get_item(space, key="k")["value"] == {"n": 1}
    found = client.store.search_items(space[:1], filter={"n": 1}, limit=1000)
    assert space in [item["namespace"] for item in found["items"]]
    assert client.store.list_namespaces(suffix=space[1:])["namespaces"] == [space]
    client.store.delete_item(space, key="k")
    assert client.store.get_item(space, key="k") is None
