"""The official Python client, unmodified and asynchronous, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

pytestmark = pytest.mark.xdist_group("clients")

COUNT: dict[str, Any] = {"left": 2, "seen": []}
COUNTED = {"left": 0, "seen": ["tick 2", "tick 1"]}
SLOW: dict[str, Any] = {"left": 2, "pause": 30.0, "seen": []}
"""One step at once, then one that nobody waits for to its end."""


@pytest.fixture
async def client(served: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=served) as made:
        yield made


async def started(client: LangGraphClient, thread_id: str, **options: Any) -> tuple[str, Any]:
    """Stream a slow run to its first custom event; return its id and the rest of the stream."""
    created: list[Any] = []
    stream = client.runs.stream(
        thread_id, "slow", input=SLOW, stream_mode="custom", on_run_created=created.append, **options
    )
    rest = aiter(stream)
    async for part in rest:
        if part.event == "custom":
            break
    return created[0]["run_id"], rest


async def status_of(client: LangGraphClient, thread_id: str, *, but: str = "busy") -> str:
    """Wait until a thread has another status."""
    async with asyncio.timeout(15):
        while True:
            status = (await client.threads.get(thread_id))["status"]
            if status != but:
                return str(status)
            await asyncio.sleep(0.02)


# assistants


async def test_assistants_are_found_and_got(client: LangGraphClient) -> None:
    (found,) = await client.assistants.search(graph_id="countdown")
    assert found["metadata"] == {"created_by": "system"}
    assert await client.assistants.get(found["assistant_id"]) == found
    named = await client.assistants.search(name="NESTED", select=["name"], sort_by="name", sort_order="asc")
    assert [row["name"] for row in named] == ["nested", "nested_ask", "nested_failing"]
    page = await client.assistants.search(limit=2, response_format="object")
    assert (len(page["assistants"]), page["next"]) == (2, "2")


async def test_an_assistant_is_made_changed_put_back_and_deleted(client: LangGraphClient) -> None:
    made = await client.assistants.create(
        "countdown", context={"a": 1}, metadata={"sdk": True}, name="first", description="d"
    )
    assistant_id = made["assistant_id"]
    assert (made["config"], made["description"]) == ({"configurable": {"a": 1}}, "d")
    with pytest.raises(ConflictError):
        await client.assistants.create("countdown", assistant_id=assistant_id)
    same = await client.assistants.create("ask", assistant_id=assistant_id, if_exists="do_nothing")
    assert same == made
    changed = await client.assistants.update(assistant_id, name="second", metadata={"more": 1})
    assert (changed["version"], changed["metadata"]) == (2, {"sdk": True, "more": 1})
    assert [found["version"] for found in await client.assistants.get_versions(assistant_id)] == [2, 1]
    back = await client.assistants.set_latest(assistant_id, 1)
    assert (back["version"], back["name"]) == (1, "first")
    assert await client.assistants.count(metadata={"sdk": True}) == 1
    assert await client.assistants.count(name="nobody") == 0
    thread_id = (await client.threads.create())["thread_id"]
    assert await client.runs.wait(thread_id, assistant_id, input=COUNT) == COUNTED
    await client.assistants.delete(assistant_id, delete_threads=True)
    for gone in (client.assistants.get(assistant_id), client.threads.get(thread_id)):
        with pytest.raises(NotFoundError):
            await gone


async def test_an_assistant_tells_of_its_graph(client: LangGraphClient) -> None:
    (found,) = await client.assistants.search(graph_id="deep")
    assistant_id = found["assistant_id"]
    flat = await client.assistants.get_graph("deep")
    assert [node["id"] for node in flat["nodes"]] == ["__start__", "middle", "__end__"]
    deep = await client.assistants.get_graph(assistant_id, xray=True)
    assert "middle:inner:tick" in {node["id"] for node in deep["nodes"]}
    schemas = await client.assistants.get_schemas(assistant_id)
    state = schemas["state_schema"]
    assert state is not None
    assert state["properties"].keys() == {"left", "seen"}
    assert (await client.assistants.get_subgraphs(assistant_id)).keys() == {"middle"}
    assert (await client.assistants.get_subgraphs(assistant_id, recurse=True)).keys() == {
        "middle",
        "middle|inner",
    }
    assert (await client.assistants.get_subgraphs(assistant_id, "middle")).keys() == {"middle"}


# threads


async def test_a_thread_begins_with_a_state(client: LangGraphClient) -> None:
    begin = {"values": COUNT, "as_node": "__start__"}
    thread = await client.threads.create(
        graph_id="countdown", supersteps=[{"updates": [begin]}], metadata={"sdk": True}
    )
    assert (thread["status"], thread["values"]) == ("interrupted", COUNT)
    assert await client.runs.wait(thread["thread_id"], "countdown") == COUNTED


async def test_a_thread_is_created_changed_found_and_deleted(client: LangGraphClient) -> None:
    marker = str(uuid.uuid4())
    thread = await client.threads.create(metadata={"marker": marker})
    assert await client.threads.get(thread["thread_id"]) == thread
    again = await client.threads.create(thread_id=thread["thread_id"], if_exists="do_nothing")
    assert again["thread_id"] == thread["thread_id"]
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=thread["thread_id"])
    updated = await client.threads.update(thread["thread_id"], metadata={"more": 1})
    assert updated["metadata"] == {"marker": marker, "more": 1}
    assert await client.threads.update(thread["thread_id"], metadata={}, return_minimal=True) is None
    for query in ({"metadata": {"marker": marker}}, {"ids": [thread["thread_id"]]}):
        assert [row["thread_id"] for row in await client.threads.search(**query)] == [thread["thread_id"]]
    assert await client.threads.search(metadata={"marker": marker}, status="busy") == []
    await client.threads.delete(thread["thread_id"])
    with pytest.raises(NotFoundError):
        await client.threads.get(thread["thread_id"])


async def test_threads_are_searched_counted_and_picked_from(client: LangGraphClient) -> None:
    marker = str(uuid.uuid4())
    mine = {"marker": marker}
    made = [
        (await client.threads.create(metadata={**mine, "n": n, "deep": {"n": [n]}}))["thread_id"]
        for n in range(3)
    ]
    await client.runs.wait(made[0], "countdown", input=COUNT)
    await client.runs.wait(made[1], "ask", input={"topic": "t"})

    async def found(**query: Any) -> list[str]:
        return [row["thread_id"] for row in await client.threads.search(**{"metadata": mine, **query})]

    for key in ("thread_id", "created_at"):
        assert await found(sort_by=key, sort_order="asc") == made
        assert await found(sort_by=key, sort_order="desc") == made[::-1]
    assert await found() == [made[1], made[0], made[2]]  # what happened last comes first
    assert await found(sort_by="state_updated_at", sort_order="desc", limit=2) == [made[1], made[0]]
    assert await found(sort_by="status", sort_order="desc", limit=1) == [made[1]]
    assert await found(limit=1, offset=1) == [made[0]]
    assert await found(metadata={**mine, "n": 2}) == [made[2]]
    assert await found(metadata={**mine, "deep": {"n": [1]}}) == [made[1]]
    assert await found(values={"left": 0}) == [made[0]]
    assert await found(status="interrupted", ids=made[:2]) == [made[1]]
    (row,) = await client.threads.search(
        ids=[made[0]], select=["status"], extract={"last": "values.seen[-1]", "n": "metadata.deep.n[0]"}
    )
    assert row == {"status": "idle", "extracted": {"last": "tick 1", "n": 0}}
    assert await client.threads.count(metadata=mine) == 3
    assert await client.threads.count(metadata=mine, status="interrupted") == 1
    assert await client.threads.count(metadata=mine, values={"left": 0}) == 1
    with pytest.raises(UnprocessableEntityError):
        await client.threads.search(extract={"a": "status"})


async def test_states_of_a_thread_can_be_read(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    assert (await client.threads.get_state(thread_id))["values"] == {}
    await client.runs.wait(thread_id, "countdown", input=COUNT, metadata={"turn": 1})
    state = await client.threads.get_state(thread_id)
    assert (state["values"], state["next"]) == (COUNTED, [])
    history = await client.threads.get_history(thread_id, limit=10)
    assert [found["metadata"]["step"] for found in history] == [2, 1, 0, -1]
    early = history[2]["checkpoint"]
    assert (await client.threads.get_state(thread_id, checkpoint=early))["values"] == COUNT
    assert (await client.threads.get_state(thread_id, checkpoint_id=early["checkpoint_id"]))["next"] == [
        "tick"
    ]
    assert await client.threads.get_history(thread_id, limit=10, metadata={"turn": 2}) == []


# runs


async def test_a_state_is_updated_and_its_thread_copied_and_pruned(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    with pytest.raises(BadRequestError):
        await client.threads.update_state(thread_id, {"left": 1})
    await client.runs.wait(thread_id, "countdown", input=COUNT)
    first = (await client.threads.get_history(thread_id))[-1]["checkpoint"]
    made = await client.threads.update_state(thread_id, {"left": 1, "seen": ["by hand"]}, as_node="tick")
    state = await client.threads.get_state(thread_id)
    assert (state["checkpoint"], state["next"]) == (made["checkpoint"], ["tick"])
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]) == ("interrupted", state["values"])

    copied: Any = await client.threads.copy(thread_id)
    assert await client.runs.wait(copied["thread_id"], "countdown") == {
        "left": 0,
        "seen": ["tick 2", "tick 1", "by hand", "tick 1"],
    }
    assert await client.threads.get(thread_id) == thread

    pruned = await client.threads.prune([thread_id], strategy="keep_latest")
    assert pruned == {"pruned_count": 1}
    assert [one["checkpoint"] for one in await client.threads.get_history(thread_id)] == [state["checkpoint"]]
    forked = await client.threads.update_state(
        copied["thread_id"], None, as_node="__copy__", checkpoint=first
    )
    assert forked["checkpoint"]["thread_id"] == copied["thread_id"]
    assert await client.threads.prune([thread_id, copied["thread_id"]]) == {"pruned_count": 2}
    with pytest.raises(NotFoundError):
        await client.threads.update_state(thread_id, {})


async def test_a_thread_in_flight_is_not_changed_by_others(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run_id, _ = await started(client, thread_id)
    with pytest.raises(ConflictError, match=run_id):
        await client.threads.update_state(thread_id, {})
    copied: Any = await client.threads.copy(thread_id)  # up to the run's last checkpoint
    assert copied["thread_id"] != thread_id
    await client.runs.cancel(thread_id, run_id, wait=True)
    await client.threads.update_state(thread_id, {"left": 0}, as_node="wait")
    assert await status_of(client, thread_id) == "idle"


async def test_a_background_run_is_created_got_listed_and_joined(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    seen: list[Any] = []
    run = await client.runs.create(
        thread_id, "countdown", input=COUNT, metadata={"of": "run"}, on_run_created=seen.append
    )
    assert seen == [{"run_id": run["run_id"], "thread_id": thread_id}]
    assert await client.runs.join(thread_id, run["run_id"]) == COUNTED
    assert await status_of(client, thread_id) == "idle"
    got = await client.runs.get(thread_id, run["run_id"])
    assert (got["status"], got["metadata"]["of"], got["multitask_strategy"]) == ("success", "run", "enqueue")
    assert [row["run_id"] for row in await client.runs.list(thread_id, status="success")] == [run["run_id"]]
    assert await client.runs.list(thread_id, select=["status"]) == [{"status": "success"}]
    await client.runs.delete(thread_id, run["run_id"])
    assert await client.runs.list(thread_id) == []


async def test_wait_gives_the_values_or_raises(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    assert await client.runs.wait(thread_id, "countdown", input=COUNT) == COUNTED
    with pytest.raises(Exception, match="bad value"):
        await client.runs.wait(thread_id, "failing", input={"how": "value", "left": 0})
    failed = await client.runs.wait(
        thread_id, "failing", input={"how": "value", "left": 0}, raise_error=False
    )
    assert failed == {"__error__": {"error": "ValueError", "message": "bad value"}}


async def test_each_stream_mode_has_its_events(client: LangGraphClient) -> None:
    async def stream(graph: str, mode: Any, given: Any, **options: Any) -> list[tuple[str, Any]]:
        thread_id = (await client.threads.create())["thread_id"]
        parts = client.runs.stream(thread_id, graph, input=given, stream_mode=mode, **options)
        found = [(part.event, part.data) async for part in parts]
        assert found[0][0] == "metadata"
        assert found[0][1]["attempt"] == 1
        return found[1:]

    assert await stream("countdown", "values", {"left": 1, "seen": []}) == [
        ("values", {"left": 1, "seen": []}),
        ("values", {"left": 0, "seen": ["tick 1"]}),
    ]
    assert await stream("countdown", ["updates", "custom"], {"left": 1, "seen": []}) == [
        ("custom", {"left": 1}),
        ("updates", {"tick": {"left": 0, "seen": ["tick 1"]}}),
    ]
    said = {"messages": [{"role": "user", "content": "hello"}]}
    chunks = await stream("parrot", "messages-tuple", said)
    assert {name for name, _ in chunks} == {"messages"}
    assert "".join(chunk["content"] for _, (chunk, _) in chunks) == "You said hello"
    assert {about["langgraph_node"] for _, (_, about) in chunks} == {"repeat"}
    nested = await stream("nested", "updates", {"left": 1, "seen": []}, stream_subgraphs=True)
    names = [name for name, _ in nested]
    assert [name.partition(":")[0] for name in names] == ["updates|inner", "updates"]
    uuid.UUID(names[0].partition(":")[2])


async def test_a_failing_run_ends_its_stream_with_an_error(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    parts = [part async for part in client.runs.stream(thread_id, "failing", input={"how": "own", "left": 0})]
    assert (parts[-1].event, parts[-1].data) == (
        "error",
        {"error": "OwnError", "message": "An internal error occurred"},
    )
    assert await status_of(client, thread_id) == "error"


async def test_stateless_runs_leave_nothing(client: LangGraphClient) -> None:
    assert await client.runs.wait(None, "countdown", input=COUNT) == COUNTED
    created: list[Any] = []
    parts = client.runs.stream(None, "countdown", input=COUNT, on_run_created=created.append)
    assert [part.event async for part in parts] == ["metadata", "values", "values", "values"]
    assert created[0].get("thread_id") is None
    run = await client.runs.create(None, "countdown", input=COUNT)
    with pytest.raises(NotFoundError):
        await asyncio.wait_for(kept(client, run["thread_id"]), 15)


async def kept(client: LangGraphClient, thread_id: str) -> None:
    """Wait as long as there is a thread."""
    while True:
        await client.threads.get(thread_id)
        await asyncio.sleep(0.02)


# questions and answers


async def test_a_question_is_answered_by_a_plain_resume(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    asked = await client.runs.wait(thread_id, "ask", input={"topic": "tea"})
    assert [one["value"] for one in asked["__interrupt__"]] == [{"about": "tea"}]
    assert await status_of(client, thread_id) == "interrupted"
    (found,) = await client.threads.search(ids=[thread_id], status="interrupted")
    assert [one["value"] for ones in found["interrupts"].values() for one in ones] == [{"about": "tea"}]
    answered = await client.runs.wait(thread_id, "ask", command={"resume": "green"})
    assert answered == {"topic": "tea", "reply": "green", "closed": True}


async def test_two_questions_are_answered_by_a_map(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    asked = await client.runs.wait(thread_id, "both", input={"replies": []})
    answers = {one["id"]: one["value"]["who"].upper() for one in asked["__interrupt__"]}
    assert len(answers) == 2
    parts = client.runs.stream(thread_id, "both", command={"resume": answers}, stream_mode="values")
    values = [part.data async for part in parts if part.event == "values"]
    assert sorted(values[-1]["replies"]) == ["first FIRST", "second SECOND"]


async def test_a_command_can_update_and_go_elsewhere(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "ask", input={"topic": "tea"})
    command: Any = {"update": {"topic": "coffee"}, "resume": "black"}
    answered = await client.runs.wait(thread_id, "ask", command=command)
    assert answered == {"topic": "coffee", "reply": "black", "closed": True}
    fresh = (await client.threads.create())["thread_id"]
    await client.runs.wait(fresh, "jumper", input={"left": 0, "seen": []})
    went = await client.runs.wait(fresh, "jumper", command={"goto": "land"})
    assert went["seen"] == ["jumped", "landed", "landed"]


async def test_breakpoints_stop_a_run_that_goes_on_without_input(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    stopped = await client.runs.wait(thread_id, "countdown", input=COUNT, interrupt_before=["tick"])
    assert stopped == COUNT
    assert await status_of(client, thread_id) == "interrupted"
    assert await client.runs.wait(thread_id, "countdown") == COUNTED


# following, cancelling, queueing


async def test_a_cut_stream_is_joined_behind_the_last_event(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    options: Any = {"stream_mode": ["values", "custom"], "stream_resumable": True}
    seen = [part async for part in client.runs.stream(thread_id, "countdown", input=COUNT, **options)]
    run_id = seen[0].data["run_id"]
    numbers = [int(str(part.id).rpartition("-")[2]) for part in seen]
    assert numbers == sorted(set(numbers))
    rest = client.runs.join_stream(thread_id, run_id, last_event_id=seen[2].id)
    assert [part async for part in rest] == seen[3:]
    whole = client.runs.join_stream(thread_id, run_id, last_event_id="-1")
    assert [part async for part in whole] == seen
    values = client.runs.join_stream(thread_id, run_id, last_event_id="-1", stream_mode="values")
    assert [part.data async for part in values if part.event == "values"] == [
        part.data for part in seen if part.event == "values"
    ]


async def halfway(client: LangGraphClient, gate: Path) -> tuple[str, list[Any]]:
    """Stream an answer that stops in the middle, leave, and return the thread and what came so far."""
    thread_id = (await client.threads.create())["thread_id"]
    given: Any = {"messages": [{"role": "user", "content": "hello"}], "gate": str(gate)}
    modes: Any = ["messages-tuple", "updates"]
    stream = client.runs.stream(
        thread_id, "patient", input=given, stream_mode=modes, stream_resumable=True, on_disconnect="continue"
    )
    seen: list[Any] = []
    async for part in stream:
        seen.append(part)
        if part.event == "messages" and part.data[0]["content"] == "You said ":
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return thread_id, seen


async def test_a_stream_that_was_left_goes_on_behind_any_event(
    client: LangGraphClient, tmp_path: Path
) -> None:
    """Whichever was the last one that the client has seen, and however events lie together in storage."""
    gate = tmp_path / "gate"
    thread_id, seen = await halfway(client, gate)
    run_id = seen[0].data["run_id"]
    waiting = [
        asyncio.create_task(_parts(client.runs.join_stream(thread_id, run_id, last_event_id=part.id)))
        for part in seen
    ]
    assert (await client.runs.get(thread_id, run_id))["status"] == "running"
    gate.touch()
    rests = await asyncio.wait_for(asyncio.gather(*waiting), 15)
    whole = [*seen, *rests[-1]]
    assert rests == [whole[n + 1 :] for n in range(len(seen))]
    later = [client.runs.join_stream(thread_id, run_id, last_event_id=part.id) for part in whole]
    assert [await _parts(stream) for stream in later] == [whole[n + 1 :] for n in range(len(whole))]
    chunks = [part.data for part in whole if part.event == "messages"]
    said = [message["content"] for message, about in chunks if about["langgraph_node"] == "answer"]
    assert "".join(said) == "You said hello"


async def test_a_run_is_joined_behind_a_checkpoint(
    client: LangGraphClient, served: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    thread_id, seen = await halfway(client, gate)
    run_id = seen[0].data["run_id"]
    reached = (await client.threads.get_state(thread_id))["checkpoint"]["checkpoint_id"]
    gate.touch()
    whole = await _parts(client.runs.join_stream(thread_id, run_id, last_event_id="-1"))
    async with httpx.AsyncClient(base_url=served, timeout=60) as http:
        answer = await http.get(
            f"/threads/{thread_id}/runs/{run_id}/stream",
            params={"checkpoint_id": reached},
            headers={"Last-Event-ID": "-1"},
        )
    told = [line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id: ")]
    first = next(n for n, part in enumerate(whole) if part.event == "updates") + 1
    # The last events of the step before may be among them, as they reach storage when the checkpoint is made.
    assert [event_id for event_id in told if event_id in {part.id for part in whole[first:]}] == [
        part.id for part in whole[first:]
    ]
    assert whole[0].id not in told


async def _parts(stream: Any) -> list[Any]:
    return [part async for part in stream]


async def test_a_joiner_that_leaves_ends_the_run_if_it_said_so(
    client: LangGraphClient, tmp_path: Path
) -> None:
    thread_id, seen = await halfway(client, tmp_path / "gate")
    run_id = seen[0].data["run_id"]
    joined = client.runs.join_stream(thread_id, run_id, last_event_id="-1", cancel_on_disconnect=True)
    assert (await anext(aiter(joined))).event == "metadata"
    await joined.aclose()  # type: ignore[attr-defined]
    assert await status_of(client, thread_id) == "interrupted"
    assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"


async def test_a_thread_is_followed_through_several_runs(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    runs = [
        await client.runs.create(thread_id, "countdown", input=COUNT, stream_mode="updates") for _ in "ab"
    ]
    await asyncio.gather(*(client.runs.join(thread_id, run["run_id"]) for run in runs))
    seen: list[Any] = []
    stream = await client.threads.join_stream(thread_id, last_event_id="-")
    async for part in stream:
        seen.append(part)
        if [part.data.get("status") for part in seen].count("run_done") == 2:
            break
    told = [part.data["run_id"] for part in seen if part.event == "metadata"]
    assert told == [run["run_id"] for run in runs for _ in ("begun", "done")]
    assert [part.event for part in seen] == ["metadata", "updates", "updates", "metadata"] * 2


async def test_many_runs_are_created_and_cancelled_at_once(client: LangGraphClient) -> None:
    made: Any = [{"assistant_id": "slow", "input": SLOW, "metadata": {"n": n}} for n in range(3)]
    runs = await client.runs.create_batch(made)
    assert [run["metadata"]["n"] for run in runs] == [0, 1, 2]
    for run in runs:
        await client.runs.cancel(run["thread_id"], run["run_id"], wait=True)
    thread_id = (await client.threads.create())["thread_id"]
    queued = [await client.runs.create(thread_id, "slow", input=SLOW) for _ in range(3)]
    await client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"] for run in queued])
    for run in queued:
        await client.runs.join(thread_id, run["run_id"])
    assert {row["status"] for row in await client.runs.list(thread_id)} == {"interrupted"}


async def test_a_wait_that_is_left_ends_its_run_if_it_said_so(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    created: asyncio.Queue[Any] = asyncio.Queue()
    waiting = asyncio.create_task(
        client.runs.wait(
            thread_id, "slow", input=SLOW, on_disconnect="cancel", on_run_created=created.put_nowait
        )
    )
    run_id = (await asyncio.wait_for(created.get(), 15))["run_id"]
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await client.runs.join(thread_id, run_id)
    assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"


async def test_a_running_stream_can_be_joined(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run_id, rest = await started(client, thread_id)
    joined = client.runs.join_stream(thread_id, run_id)
    waiting = asyncio.create_task(_events(joined))
    await client.runs.cancel(thread_id, run_id, wait=True)
    assert await _events(rest) == []
    assert await asyncio.wait_for(waiting, 15) == []


async def _events(stream: Any) -> list[str]:
    return [part.event async for part in stream]


async def test_a_cancelled_run_keeps_its_checkpoints(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run_id, rest = await started(client, thread_id)
    assert await status_of(client, thread_id, but="idle") == "busy"
    await client.runs.cancel(thread_id, run_id, wait=True)
    assert await _events(rest) == []
    assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"
    assert (await client.threads.get_state(thread_id))["values"]["seen"] == ["waited 2"]
    with pytest.raises(NotFoundError):
        await client.runs.cancel(thread_id, run_id)
    went_on = await client.runs.wait(thread_id, "slow", command={"update": {"pause": 0}})
    assert went_on["seen"] == ["waited 2", "waited 1"]


async def test_a_run_that_is_rolled_back_never_was(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "slow", input={"left": 1, "pause": 0, "seen": []})
    before = await client.threads.get_state(thread_id)
    run_id, rest = await started(client, thread_id)
    await client.runs.cancel(thread_id, run_id, wait=True, action="rollback")
    assert await _events(rest) == []
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run_id)
    assert await status_of(client, thread_id) == "idle"
    assert await client.threads.get_state(thread_id) == before


async def test_a_second_run_is_rejected_or_queued(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run_id, rest = await started(client, thread_id)
    with pytest.raises(ConflictError):
        await client.runs.create(thread_id, "slow", input=SLOW, multitask_strategy="reject")
    quick: Any = {"left": 1, "pause": 0}
    queued = await client.runs.create(thread_id, "slow", input=quick, multitask_strategy="enqueue")
    assert (await client.runs.get(thread_id, queued["run_id"]))["status"] == "pending"
    await client.runs.cancel(thread_id, run_id, wait=True)
    await _events(rest)
    assert (await client.runs.join(thread_id, queued["run_id"]))["seen"] == ["waited 2", "waited 1"]


@pytest.mark.parametrize(("on_disconnect", "end"), [("cancel", "interrupted"), ("continue", "success")])
async def test_a_client_that_leaves_ends_its_run_if_it_said_so(
    client: LangGraphClient, on_disconnect: Any, end: str
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    pause = 30.0 if on_disconnect == "cancel" else 0.3
    created: list[Any] = []
    stream = client.runs.stream(
        thread_id,
        "slow",
        input={**SLOW, "pause": pause},
        stream_mode="custom",
        on_disconnect=on_disconnect,
        on_run_created=created.append,
    )
    async for part in stream:
        if part.event == "custom":
            break
    await stream.aclose()  # type: ignore[attr-defined]
    await status_of(client, thread_id)
    assert (await client.runs.get(thread_id, created[0]["run_id"]))["status"] == end


# refusals


async def test_refusals_raise_the_errors_of_their_status(client: LangGraphClient) -> None:
    unknown = str(uuid.uuid4())
    thread_id = (await client.threads.create())["thread_id"]
    for refused in (
        lambda: client.threads.get(unknown),
        lambda: client.threads.delete(unknown),
        lambda: client.threads.get_state(unknown),
        lambda: client.runs.get(thread_id, unknown),
        lambda: client.runs.create(unknown, "countdown", input=COUNT),
        lambda: client.assistants.get(unknown),
        lambda: client.runs.cancel(thread_id, unknown),
    ):
        with pytest.raises(NotFoundError) as raised:
            await refused()
        assert raised.value.status_code == 404
    both: Any = {"config": {"configurable": {"a": 1}}, "context": {"b": 1}}
    with pytest.raises(BadRequestError, match="Cannot specify both configurable and context"):
        await client.runs.create(thread_id, "countdown", **both)
    bad: Any = "colour"
    for wrong in (
        lambda: client.threads.get("zz"),
        lambda: client.runs.create(thread_id, "nope"),
        lambda: client.runs.create(thread_id, "countdown", stream_mode=bad),
        lambda: client.threads.search(limit=0),
    ):
        with pytest.raises(UnprocessableEntityError):
            await wrong()
    with pytest.raises(
        httpx.HTTPStatusError, match="404"
    ):  # wait does not translate, but the status is the same
        await client.runs.wait(thread_id, unknown, input=COUNT)


@pytest.mark.parametrize("mode", ["values", "updates", "tasks", "checkpoints", "events", "debug"])
async def test_every_mode_can_be_asked_for(client: LangGraphClient, mode: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    parts = [
        part.event async for part in client.runs.stream(thread_id, "countdown", input=COUNT, stream_mode=mode)
    ]
    assert parts[0] == "metadata"
    assert set(parts[1:]) == {mode}


async def test_a_mode_that_is_none_is_refused_by_name(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    with pytest.raises(UnprocessableEntityError, match="lifecycle"):
        await client.runs.create(thread_id, "countdown", input=COUNT, stream_mode=["values", "lifecycle"])
    assert await client.runs.list(thread_id) == []


# the store


async def test_items_are_put_read_found_and_deleted(client: LangGraphClient) -> None:
    space = ["sdk", str(uuid.uuid4())]
    await client.store.put_item(space, key="near", value={"text": "abba", "n": 1})
    await client.store.put_item(space, key="far", value={"text": "zzzy", "n": 2}, ttl=5)
    await client.store.put_item(space, key="unseen", value={"text": "abba"}, index=False)
    item = await client.store.get_item(space, key="near", refresh_ttl=True)
    assert (item["namespace"], item["key"], item["value"]) == (space, "near", {"text": "abba", "n": 1})
    assert item["created_at"] <= item["updated_at"]
    found = await client.store.search_items(space, query="ab", limit=5)
    assert [each["key"] for each in found["items"]] == ["near", "far", "unseen"]
    assert found["items"][0]["score"] == pytest.approx(1.0)
    assert found["items"][2]["score"] is None
    found = await client.store.search_items(space, filter={"n": {"$gte": 2}})
    assert [each["key"] for each in found["items"]] == ["far"]
    await client.store.put_item([*space, "below"], key="k", value={})
    listed = await client.store.list_namespaces(prefix=space, max_depth=3)
    assert listed["namespaces"] == [space, [*space, "below"]]
    for key in ("near", "far", "unseen"):
        await client.store.delete_item(space, key=key)
    assert await client.store.get_item(space, key="near") is None
    with pytest.raises(BadRequestError):
        await client.store.put_item([], key="k", value={})
    with pytest.raises(UnprocessableEntityError):
        await client.store.put_item(["sdk", ""], key="k", value={})


async def test_edits_of_a_message_are_versions_beside_each_other(client: LangGraphClient) -> None:
    """As front ends make them: each from the checkpoint before the state that shows the message first."""
    thread_id = (await client.threads.create())["thread_id"]

    async def say(text: str, checkpoint: Any = None) -> list[dict[str, Any]]:
        message = {"messages": [{"type": "human", "content": text, "id": text}]}
        await client.runs.wait(thread_id, "parrot", input=message, checkpoint=checkpoint)
        return [dict(state) for state in await client.threads.get_history(thread_id, limit=100)]

    def before(history: list[dict[str, Any]], message_id: str) -> Any:
        shows = [
            state
            for state in history
            if message_id in [each["id"] for each in (state["values"].get("messages") or [])]
        ]
        return shows[-1]["parent_checkpoint"]

    history = await say("first")
    for message_id, kept in (("second", ["first"]), ("one", [])):
        history = await say(message_id, before(history, "first") if not kept else None)
        parents = []
        for n in range(3):
            edit = f"{message_id}-{n}"
            history = await say(edit, before(history, message_id if n == 0 else f"{message_id}-{n - 1}"))
            said = [each["id"] for each in history[0]["values"]["messages"] if each["type"] == "human"]
            assert said == [*kept, edit]
            made = next(state for state in history if state["metadata"]["source"] == "input")
            parents.append(made["parent_checkpoint"])
        assert parents[0] is not None
        assert [each["checkpoint_id"] for each in parents] == [parents[0]["checkpoint_id"]] * 3
