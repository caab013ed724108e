"""
Scenarios: several clients that read one thread: joiners, thread streams, and what others do to the run they
read.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.asked_of_runs import SLOW, settled
from tests.wire.conversation import Conversation, Stream
from tests.wire.scenario import scenario

PLAIN: Final = {**COUNT, "stream_mode": ["values", "updates"]}
SHOWN: Final = {**SLOW, "stream_mode": ["updates", "custom"]}
"""A run that waits in its second step."""


async def rest(stream: Stream) -> list[tuple[str, Any]]:
    """Read a stream to its end."""
    return [event async for event in stream]


async def done(stream: Stream, runs: int = 1) -> None:
    """Read a thread's stream until so many runs have ended."""
    while runs:
        runs -= "status" in await stream.next("metadata")


async def streamed_before(c: Conversation, thread: str, body: dict[str, Any]) -> tuple[str, str]:
    """Stream a run; return its id and the event id of its metadata."""
    async with c.stream(f"/threads/{thread}/runs/stream", body, record=False) as stream:
        run = c.name("run", (await stream.next("metadata"))["run_id"])
        await rest(stream)
    await settled(c, thread)
    return run, str(stream.ids[0])


@scenario
async def join_a_background_run(c: Conversation) -> None:
    for modes in ({}, {"stream_mode": ["updates", "custom"]}, {"stream_mode": "messages-tuple"}):
        thread = await c.thread()
        body = {"assistant_id": "slow", "input": {"left": 2, "pause": 0.2, "seen": []}, **modes}
        run = await c.run(thread, **body, after_seconds=0.3)
        await c.events(f"/threads/{thread}/runs/{run}/stream")


@scenario
async def join_a_running_resumable_stream(c: Conversation) -> None:
    thread = await c.thread()
    body = {
        "assistant_id": "slow",
        "input": {"left": 2, "pause": 1.5, "seen": []},
        "stream_mode": ["updates", "custom"],
        "stream_resumable": True,
    }
    async with c.stream(f"/threads/{thread}/runs/stream", body) as first:
        run = c.name("run", (await first.next("metadata"))["run_id"])
        await first.next("custom")
        path = f"/threads/{thread}/runs/{run}/stream"
        headers = [{}, {"Last-Event-ID": "-1"}, {"Last-Event-ID": str(first.ids[0])}]
        for each in headers:
            async with c.stream(path, headers=each) as joined:
                if each:
                    await joined.next("custom")
        async with c.stream(path) as joined:
            await rest(joined)
        await rest(first)


@scenario
async def join_with_a_filter(c: Conversation) -> None:
    thread = await c.thread()
    body = {
        "assistant_id": "nested",
        "input": {"left": 1, "seen": []},
        "stream_mode": ["values", "updates", "custom", "tasks", "debug", "checkpoints"],
        "stream_subgraphs": True,
        "stream_resumable": True,
    }
    run, known = await streamed_before(c, thread, body)
    path = f"/threads/{thread}/runs/{run}/stream"
    everything = {"Last-Event-ID": known}
    for modes in ("values", "custom", "tasks", "debug", "events", "messages", '["values","custom"]'):
        await c.events(f"{path}?stream_mode={modes}", headers=everything)
    await c.events(f"{path}?stream_mode=values,custom", headers=everything)
    await c.events(f"{path}?stream_mode=", headers=everything)


@scenario
async def join_messages_with_a_filter(c: Conversation) -> None:
    message = {"type": "human", "content": "hello", "id": "human-1"}
    for mode in ("messages-tuple", "messages"):
        thread = await c.thread()
        body = {
            "assistant_id": "parrot",
            "input": {"messages": [message]},
            "stream_mode": [mode, "values"],
            "stream_resumable": True,
        }
        run, known = await streamed_before(c, thread, body)
        for wanted in ("messages", "messages-tuple"):
            path = f"/threads/{thread}/runs/{run}/stream?stream_mode={wanted}"
            await c.events(path, headers={"Last-Event-ID": known})


@scenario
async def parameters_that_clients_add(c: Conversation) -> None:
    thread = await c.thread()
    body = {**PLAIN, "stream_resumable": True, "strict_resume": False, "langsmith_tracer": None}
    body |= {"checkpoint_during": True, "multitask_strategy": "enqueue", "metadata": {}, "unknown": 1}
    events = await c.events(f"/threads/{thread}/runs/stream?namespace=a%7Cb", body)
    run = c.name("run", events[0][1]["run_id"])
    await settled(c, thread)
    query = f"namespace=a%7Cb&checkpoint_id={UNKNOWN}&cancel_on_disconnect=0"
    path = f"/threads/{thread}/runs/{run}/stream?{query}"
    await c.events(path, headers={"Last-Event-ID": "-1"})


@scenario
async def delayed_streams(c: Conversation) -> None:
    thread = await c.thread()
    await c.events(f"/threads/{thread}/runs/stream", {**PLAIN, "after_seconds": 0.5})


@scenario
async def streams_of_cancelled_runs(c: Conversation) -> None:
    for action in ("interrupt", "rollback"):
        thread = await c.thread()
        async with c.stream(f"/threads/{thread}/runs/stream", SHOWN) as first:
            run = c.name("run", (await first.next("metadata"))["run_id"])
            await first.next("custom")
            async with c.stream(f"/threads/{thread}/runs/{run}/stream") as second:
                await c.post(f"/threads/{thread}/runs/{run}/cancel?action={action}&wait=1", {})
                assert await rest(first) == []
                assert await rest(second) == []
        await settled(c, thread)


@scenario
async def streams_of_a_pending_run_that_is_cancelled(c: Conversation) -> None:
    thread = await c.thread()
    async with c.stream(f"/threads/{thread}/runs/stream", SHOWN) as first:
        run = c.name("run", (await first.next("metadata"))["run_id"])
        await first.next("custom")
        async with c.stream(f"/threads/{thread}/runs/stream", SHOWN) as second:
            rows = await c.get(f"/threads/{thread}/runs", record=False)
            (queued,) = [c.name("run", row["run_id"]) for row in rows if row["run_id"] != run]
            await c.post(f"/threads/{thread}/runs/{queued}/cancel", {})
            await rest(second)
        await c.post(f"/threads/{thread}/runs/{run}/cancel", {})
        await rest(first)
    await settled(c, thread)


@scenario
async def streams_of_runs_that_are_deleted(c: Conversation) -> None:
    for of_thread in (False, True):
        thread = await c.thread()
        async with c.stream(f"/threads/{thread}/runs/stream", SHOWN) as first:
            run = c.name("run", (await first.next("metadata"))["run_id"])
            await first.next("custom")
            path = f"/threads/{thread}" if of_thread else f"/threads/{thread}/runs/{run}"
            await c.ask("DELETE", path)
            await rest(first)
        await c.get(f"/threads/{thread}/runs/{run}")


@scenario
async def streams_when_another_run_comes(c: Conversation) -> None:
    short = {**PLAIN, "assistant_id": "slow", "input": {"left": 1, "pause": 0.0, "seen": []}}
    for strategy in ("interrupt", "rollback"):
        thread = await c.thread()
        async with c.stream(f"/threads/{thread}/runs/stream", SHOWN) as first:
            await first.next("metadata")
            await first.next("custom")
            follower = {**short, "multitask_strategy": strategy}
            async with c.stream(f"/threads/{thread}/runs/stream", follower) as second:
                assert await rest(first) == []
                await rest(second)
        await settled(c, thread)


@scenario
async def two_readers_of_whom_the_creator_leaves(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/runs/stream"
    async with c.stream(path, {**SHOWN, "on_disconnect": "cancel"}) as first:
        run = c.name("run", (await first.next("metadata"))["run_id"])
        await first.next("custom")
        second = c.stream(f"/threads/{thread}/runs/{run}/stream")
        joined = await second.__aenter__()
    assert await rest(joined) == []
    await second.__aexit__(None, None, None)
    await settled(c, thread)


@scenario
async def threads_that_are_read(c: Conversation) -> None:
    thread = await c.thread()
    queries = (
        "",
        "?stream_modes=lifecycle",
        "?stream_modes=run_modes",
        "?stream_modes=lifecycle&stream_modes=run_modes",
    )
    streams = [c.stream(f"/threads/{thread}/stream{query}") for query in queries]
    opened = [await stream.__aenter__() for stream in streams]
    ask = {"assistant_id": "ask", "input": {"topic": "tea"}}
    failing = {"assistant_id": "failing", "input": {"how": "value", "left": 0}}
    for body in (PLAIN, ask, failing, {**PLAIN, "stream_mode": "debug"}):
        await c.run(thread, **body)
        await settled(c, thread)
    for stream in opened:
        await done(stream, 4)
    for stream in streams:
        await stream.__aexit__(None, None, None)


@scenario
async def threads_that_are_read_again(c: Conversation) -> None:
    thread = await c.thread()
    ids: list[str] = []
    for body in ({**PLAIN, "stream_resumable": True}, {**COUNT, "stream_resumable": True}):
        async with c.stream(f"/threads/{thread}/runs/stream", body, record=False) as stream:
            await rest(stream)
            ids += [str(each) for each in stream.ids]
        await settled(c, thread)
    path = f"/threads/{thread}/stream"
    for known in ("-", "0", ids[1]):
        async with c.stream(path, headers={"Last-Event-ID": known}) as stream:
            await done(stream, 2)
    await c.get(path, headers={"Last-Event-ID": "nonsense"})
    for wrong in ("/threads/zz/stream", f"{path}?stream_modes=bogus", f"{path}?stream_modes=values"):
        await c.get(wrong)


@scenario
async def threads_that_are_read_while_runs_are_cancelled(c: Conversation) -> None:
    thread = await c.thread()
    async with c.stream(f"/threads/{thread}/stream") as stream:
        for action in ("interrupt", "rollback"):
            run = await c.run(thread, **SHOWN)
            await stream.next("custom")
            await c.post(f"/threads/{thread}/runs/{run}/cancel?action={action}", {})
            await done(stream)
            await settled(c, thread)


@scenario
async def waits_that_are_left(c: Conversation) -> None:
    for end in ("cancel", "continue"):
        thread = await c.thread()
        pause = 30.0 if end == "cancel" else 0.5
        body = {
            "assistant_id": "slow",
            "input": {"left": 2, "pause": pause, "seen": []},
            "on_disconnect": end,
        }
        waiting = asyncio.create_task(c.post(f"/threads/{thread}/runs/wait", body, record=False))
        state = f"/threads/{thread}/state"
        await c.until(state, lambda found: (found.get("values") or {}).get("seen") == ["waited 2"])
        waiting.cancel()
        await asyncio.wait([waiting])
        await settled(c, thread)
