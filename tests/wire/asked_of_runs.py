"""
Scenarios: runs as records, their creation, cancelling, queueing, joining, waiting and answering questions.
"""

from __future__ import annotations

from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

SLOW = {"assistant_id": "slow", "input": {"left": 2, "pause": 30.0, "seen": []}}
"""One step at once, then one that nobody waits for to its end."""
ASK = {"assistant_id": "ask", "input": {"topic": "tea"}}


async def settled(c: Conversation, thread: str) -> Any:
    """Wait until a thread is not busy, and write it down."""
    return await c.until(f"/threads/{thread}", lambda found: found["status"] != "busy")


async def interrupts(c: Conversation, thread: str) -> list[dict[str, Any]]:
    """Return a thread's open questions."""
    state = await c.get(f"/threads/{thread}/state", record=False)
    return [asked for task in state["tasks"] for asked in task["interrupts"]]


@scenario
async def run_records(c: Conversation) -> None:
    thread = await c.thread(metadata={"of": "thread"})
    body = {
        **COUNT,
        "metadata": {"of": "run"},
        "config": {"tags": ["one"], "recursion_limit": 9, "configurable": {"colour": "red"}},
        "stream_mode": ["values", "updates"],
        "stream_subgraphs": True,
        "durability": "sync",
        "interrupt_before": ["nowhere"],
    }
    run = await c.run(thread, record=True, **body)
    await c.get(f"/threads/{thread}/runs/{run}/join")
    await settled(c, thread)
    await c.get(f"/threads/{thread}/runs/{run}")
    await c.ask("HEAD", f"/threads/{thread}/runs/{run}")
    second = await c.run(thread, **COUNT, context={"depth": 1}, checkpoint_during=False)
    await c.get(f"/threads/{thread}/runs/{second}/join")
    await c.get(f"/threads/{thread}/runs/{second}")
    await c.get(f"/threads/{thread}/runs?select=run_id&select=status")
    for query in (
        "limit=1",
        "limit=1&offset=1",
        "offset=5",
        "limit=0",
        "status=success",
        "status=error",
        "status=odd",
    ):
        await c.get(f"/threads/{thread}/runs?select=run_id&{query}")
    for query in ("limit=x", "select=colour"):
        await c.get(f"/threads/{thread}/runs?{query}")
    other = await c.thread()
    for path in (
        f"{other}/runs/{run}",
        f"{thread}/runs/{UNKNOWN}",
        f"{UNKNOWN}/runs/{run}",
        f"{UNKNOWN}/runs",
    ):
        await c.get(f"/threads/{path}")
    await c.ask("DELETE", f"/threads/{thread}/runs/{run}")
    await c.ask("DELETE", f"/threads/{thread}/runs/{run}")
    await c.get(f"/threads/{thread}/runs/{run}")


@scenario
async def runs_that_are_refused(c: Conversation) -> None:
    thread = await c.thread()
    for ending in ("", "/wait", "/stream"):
        await c.post(f"/threads/{thread}/runs{ending}", {**COUNT, "assistant_id": "nope"})
        await c.post(f"/threads/{thread}/runs{ending}", {**COUNT, "assistant_id": UNKNOWN})
        await c.post(f"/threads/{UNKNOWN}/runs{ending}", COUNT)
        await c.post(f"/runs{ending}", {**COUNT, "assistant_id": "nope"})
    both = {"config": {"configurable": {"a": 1}}, "context": {"b": 1}}
    for wrong in (
        both,
        {"stream_mode": "colour"},
        {"stream_mode": ["values", "colour"]},
        {"stream_mode": 5},
        {"interrupt_before": "tick"},
        {"interrupt_after": [1]},
        {"multitask_strategy": "hope"},
        {"if_not_exists": "ask"},
        {"durability": "eternal"},
        {"after_seconds": "soon"},
        {"config": []},
        {"config": {"tags": "one"}},
        {"config": {"recursion_limit": "x"}},
        {"config": {"configurable": []}},
        {"metadata": []},
        {"context": 5},
        {"command": "go"},
        {"command": {"goto": 5}},
        {"command": {"goto": {"node": "tick"}}},
        {"command": {"goto": ["tick", 5]}},
        {"command": {"update": "text"}},
        {"checkpoint": 5},
        {"stream_subgraphs": "yes"},
        {"stream_resumable": 1},
        {"feedback_keys": "x"},
    ):
        await c.post(f"/threads/{thread}/runs", {**COUNT, **wrong})
    await c.post("/runs", {**COUNT, "on_completion": "burn"})
    await c.get(f"/threads/{thread}/runs")
    await c.get(f"/threads/{thread}")


@scenario
async def fields_that_are_looked_at_more_or_less_closely(c: Conversation) -> None:
    for body in ({"stream_mode": None}, {"on_disconnect": "cry"}, {"metadata": None}, {"config": None}):
        await c.post("/runs/wait", {**COUNT, **body})


@scenario
async def runs_that_make_their_thread(c: Conversation) -> None:
    fixed = "0a0a0a0a-0000-4000-8000-000000000002"
    await c.ask("DELETE", f"/threads/{fixed}", record=False)
    await c.post(f"/threads/{fixed}/runs/wait", {**COUNT, "if_not_exists": "reject"})
    await c.post(f"/threads/{fixed}/runs/wait", {**COUNT, "assistant_id": "nope", "if_not_exists": "create"})
    await c.get(f"/threads/{fixed}")
    await c.post(f"/threads/{fixed}/runs/wait", {**COUNT, "if_not_exists": "create"})
    await settled(c, fixed)
    await c.get(f"/threads/{fixed}/runs?select=metadata")


@scenario
async def what_a_node_is_told(c: Conversation) -> None:
    thread = await c.thread(metadata={"of": "thread"})
    for extra in (
        {},
        {
            "config": {"configurable": {"colour": "red"}, "tags": ["one"], "recursion_limit": 7},
            "metadata": {"note": 1},
        },
        {"context": {"colour": "blue"}},
        {"config": {"configurable": {"user_id": "u", "run_id": UNKNOWN, "thread_id": UNKNOWN}}},
    ):
        await c.post(f"/threads/{thread}/runs/wait", {"assistant_id": "told", "input": {"told": {}}, **extra})


@scenario
async def waits(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", COUNT)
    await settled(c, thread)
    asking = await c.thread()
    await c.post(f"/threads/{asking}/runs/wait", ASK)
    await settled(c, asking)
    stopping = await c.thread()
    await c.post(f"/threads/{stopping}/runs/wait", {**COUNT, "interrupt_before": ["tick"]})
    await settled(c, stopping)
    await c.post(f"/threads/{stopping}/runs/wait", {"assistant_id": "countdown", "interrupt_after": "*"})
    await c.post(f"/threads/{stopping}/runs/wait", {"assistant_id": "countdown", "input": None})
    await settled(c, stopping)
    for body in (
        {"assistant_id": "countdown", "input": None},
        {"assistant_id": "countdown", "input": "text"},
        {"assistant_id": "countdown", "input": [1]},
        {**COUNT, "config": {"recursion_limit": 1}},
        {"assistant_id": "unstorable", "input": {}},
        {"assistant_id": "nested_failing", "input": {"how": "value", "left": 1}},
        {"assistant_id": "made", "input": {"left": 1, "seen": []}},
        {"assistant_id": "countdown", "input": {"left": 1, "unknown": 1}},
    ):
        own = await c.thread()
        await c.post(f"/threads/{own}/runs/wait", body)
        await settled(c, own)


@scenario
async def two_questions_at_once(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/runs/wait"
    await c.post(path, {"assistant_id": "both", "input": {"replies": []}})
    first, second = await interrupts(c, thread)
    await c.post(path, {"assistant_id": "both", "command": {"resume": {second["id"]: "to two"}}})
    await settled(c, thread)
    await c.post(path, {"assistant_id": "both", "command": {"resume": {first["id"]: "to one"}}})
    await settled(c, thread)


@scenario
async def failures_in_nodes(c: Conversation) -> None:
    for how in ("value", "key", "own", "os", "assert", "not implemented", "group", "empty"):
        thread = await c.thread()
        await c.post(
            f"/threads/{thread}/runs/wait", {"assistant_id": "failing", "input": {"how": how, "left": 0}}
        )
        await settled(c, thread)


@scenario
async def odd_values(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", {"assistant_id": "odd", "input": {}})
    await settled(c, thread)
    await c.get(f"/threads/{thread}/state")


RARE = (
    "complex",
    "pattern",
    "named tuple",
    "deque",
    "address",
    "plain object",
    "nested model",
    "document",
    "send",
    "command",
    "larger",
    "surrogate",
    "array",
)


@scenario
async def rare_values(c: Conversation) -> None:
    for kind in RARE:
        await c.post("/runs/wait", {"assistant_id": "rare", "input": {"kind": kind}})


@scenario
async def forms_of_messages(c: Conversation) -> None:
    for messages in (
        [{"role": "user", "content": "a role"}],
        [{"type": "human", "content": "a type", "id": "mine"}],
        [["user", "a pair"]],
        "a string",
        {"role": "user", "content": "alone"},
        [{"role": "user", "content": [{"type": "text", "text": "a block"}]}],
        [{"role": "nobody", "content": "unknown"}],
    ):
        await c.post("/runs/wait", {"assistant_id": "parrot", "input": {"messages": messages}})


@scenario
async def stateless_runs(c: Conversation) -> None:
    for body in (COUNT, ASK, {"assistant_id": "failing", "input": {"how": "value", "left": 0}}):
        await c.post("/runs/wait", body)
    created = await c.post("/runs", COUNT)
    thread, run = c.name("thread", created["thread_id"]), c.name("run", created["run_id"])
    await c.get(f"/threads/{thread}/runs/{run}/join", record=False)
    kept = await c.post("/runs", {**COUNT, "on_completion": "keep"})
    thread, run = c.name("thread", kept["thread_id"]), c.name("run", kept["run_id"])
    await c.get(f"/threads/{thread}/runs/{run}/join")
    await settled(c, thread)
    await c.post("/runs/wait", {**COUNT, "thread_id": UNKNOWN, "multitask_strategy": "reject"})


@scenario
async def stateless_threads_are_gone_at_the_end(c: Conversation) -> None:
    async with c.stream("/runs/stream", {**COUNT, "stream_mode": "updates"}) as stream:
        async for _ in stream:
            pass
        thread = stream.response.headers["Content-Location"]
    assert "threads" not in thread
    kept = await c.post("/runs", COUNT, record=False)
    thread = c.name("thread", kept["thread_id"])
    await c.until(f"/threads/{thread}", lambda found: "detail" in found)
    await c.get(f"/threads/{thread}/state")
    await c.get(f"/threads/{thread}/runs")


@scenario
async def answers_to_a_question(c: Conversation) -> None:
    def resume(**command: Any) -> dict[str, Any]:
        return {"assistant_id": "ask", "command": command}

    for command in ("plain", "map", "nothing", "unknown", "input too", "update", "goto"):
        thread = await c.thread()
        await c.post(f"/threads/{thread}/runs/wait", ASK, record=False)
        (asked,) = await interrupts(c, thread)
        body = {
            "plain": resume(resume="green"),
            "map": resume(resume={asked["id"]: {"kind": "black"}}),
            "nothing": resume(),
            "unknown": resume(resume={"0123456789abcdef0123456789abcdef": "x"}),
            "input too": {**resume(resume="white"), "input": {}},
            "update": resume(update={"topic": "coffee"}, resume="espresso"),
            "goto": resume(goto="close"),
        }[command]
        await c.post(f"/threads/{thread}/runs/wait", body)
        await settled(c, thread)
    await c.post(f"/threads/{thread}/runs/wait", resume(resume="late"))
    await c.post(f"/threads/{thread}/runs/wait", resume(goto="nowhere"))
    await c.post(
        f"/threads/{thread}/runs/wait", resume(goto={"node": "question", "input": {"topic": "milk"}})
    )
    await c.post(f"/threads/{thread}/runs/wait", resume(goto=["close"], update=[["topic", "water"]]))


@scenario
async def questions_one_by_one(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/runs/wait"
    await c.post(path, {"assistant_id": "queue", "input": {"replies": []}})
    await c.post(path, {"assistant_id": "queue", "command": {"resume": "one"}})
    await settled(c, thread)
    await c.post(path, {"assistant_id": "queue", "command": {"resume": "two"}})
    await settled(c, thread)


@scenario
async def answer_to_a_question_inside(c: Conversation) -> None:
    thread = await c.thread()
    path = f"/threads/{thread}/runs/wait"
    await c.post(path, {"assistant_id": "nested_ask", "input": {"topic": "inside"}})
    await settled(c, thread)
    await c.post(path, {"assistant_id": "nested_ask", "command": {"resume": "heard"}})
    await settled(c, thread)


@scenario
async def run_from_an_earlier_checkpoint(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", COUNT, record=False)
    states = await c.post(f"/threads/{thread}/history", {"limit": 10}, record=False)
    (early,) = [found for found in states if found["values"].get("left") == 1]
    body = {
        "assistant_id": "countdown",
        "input": None,
        "checkpoint": {"checkpoint_id": early["checkpoint_id"]},
    }
    await c.post(f"/threads/{thread}/runs/wait", body)
    body = {
        "assistant_id": "countdown",
        "input": {"left": 5},
        "checkpoint_id": early["checkpoint_id"],
        "interrupt_after": ["tick"],
    }
    await c.post(f"/threads/{thread}/runs/wait", body)
    await settled(c, thread)
    await c.get(f"/threads/{thread}/state")
    await c.post(f"/threads/{thread}/runs/wait", {**body, "checkpoint_id": UNKNOWN})


@scenario
async def durability_at_exit(c: Conversation) -> None:
    thread = await c.thread()
    await c.post(f"/threads/{thread}/runs/wait", {**COUNT, "durability": "exit"})
    states = await c.post(f"/threads/{thread}/history", {"limit": 10})
    assert len(states) == 1


@scenario
async def cancel(c: Conversation) -> None:
    for query in ("", "?wait=1", "?wait=true&action=interrupt", "?action=odd"):
        thread = await c.thread()
        async with c.stream(
            f"/threads/{thread}/runs/stream", {**SLOW, "stream_mode": ["updates", "custom"]}
        ) as stream:
            run = c.name("run", (await stream.next("metadata"))["run_id"])
            await stream.next("custom")
            await c.post(f"/threads/{thread}/runs/{run}/cancel{query}")
            assert [event async for event in stream] == []
        await c.until(f"/threads/{thread}/runs/{run}", lambda found: found["status"] == "interrupted")
        await settled(c, thread)
        await c.get(f"/threads/{thread}/state")
        await c.post(f"/threads/{thread}/runs/{run}/cancel")
    await c.post(f"/threads/{thread}/runs/{UNKNOWN}/cancel")
    await c.post(f"/threads/{UNKNOWN}/runs/{run}/cancel")


@scenario
async def cancel_by_rollback(c: Conversation) -> None:
    for query in ("?action=rollback", "?action=rollback&wait=1"):
        thread = await c.thread()
        await c.post(
            f"/threads/{thread}/runs/wait",
            {"assistant_id": "slow", "input": {"left": 1, "pause": 0, "seen": []}},
            record=False,
        )
        async with c.stream(
            f"/threads/{thread}/runs/stream", {**SLOW, "stream_mode": ["updates", "custom"]}
        ) as stream:
            run = c.name("run", (await stream.next("metadata"))["run_id"])
            await stream.next("custom")
            await c.post(f"/threads/{thread}/runs/{run}/cancel{query}")
            assert [event async for event in stream] == []
        await c.until(f"/threads/{thread}/runs/{run}", lambda found: "detail" in found)
        await settled(c, thread)
        await c.get(f"/threads/{thread}/state")
        await c.post(f"/threads/{thread}/runs/{run}/cancel?action=rollback")


@scenario
async def cancel_of_a_pending_run(c: Conversation) -> None:
    thread = await c.thread()
    run = await c.run(thread, **SLOW, after_seconds=600)
    await c.get(f"/threads/{thread}")
    await c.post(f"/threads/{thread}/runs/{run}/cancel")
    await c.until(f"/threads/{thread}/runs/{run}", lambda found: found["status"] == "interrupted")
    await settled(c, thread)
    await c.get(f"/threads/{thread}/runs/{run}/join")


@scenario
async def cancel_of_a_finished_run(c: Conversation) -> None:
    thread = await c.thread()
    run = await c.run(thread, **COUNT)
    await c.get(f"/threads/{thread}/runs/{run}/join")
    await settled(c, thread)
    for query in ("", "?wait=1", "?action=rollback"):
        await c.post(f"/threads/{thread}/runs/{run}/cancel{query}")
    await c.get(f"/threads/{thread}/runs/{run}")


@scenario
async def go_on_after_a_cancel(c: Conversation) -> None:
    thread = await c.thread()
    async with c.stream(
        f"/threads/{thread}/runs/stream", {**SLOW, "stream_mode": ["values", "custom"]}
    ) as stream:
        run = c.name("run", (await stream.next("metadata"))["run_id"])
        await stream.next("custom")
        await c.post(f"/threads/{thread}/runs/{run}/cancel?wait=1")
    await settled(c, thread)
    body = {"assistant_id": "slow", "command": {"update": {"pause": 0.0}}}
    await c.post(f"/threads/{thread}/runs/wait", body)
    await settled(c, thread)


@scenario
async def cancel_many(c: Conversation) -> None:
    threads = [await c.thread(), await c.thread()]
    runs = [await c.run(thread, **SLOW, after_seconds=600) for thread in threads]
    for body in (
        {},
        {"status": "odd"},
        {"thread_id": threads[0]},
        {"run_ids": runs},
        {"status": "all", "thread_id": threads[0], "run_ids": runs},
        {"thread_id": threads[0], "run_ids": []},
        {"thread_id": threads[0], "run_ids": [UNKNOWN]},
    ):
        await c.post("/runs/cancel", body)
    await c.post("/runs/cancel", {"thread_id": threads[0], "run_ids": [runs[0], UNKNOWN]})
    await c.until(f"/threads/{threads[0]}/runs/{runs[0]}", lambda found: found["status"] == "interrupted")
    await c.get(f"/threads/{threads[1]}/runs?select=status")
    await c.post("/runs/cancel", {"thread_id": threads[1], "run_ids": runs})


@scenario
async def waiters_of_a_cancelled_run(c: Conversation) -> None:
    for action in ("interrupt", "rollback"):
        thread = await c.thread()
        run = await c.run(thread, **SLOW)
        await c.until(f"/threads/{thread}/state", lambda state: state["values"].get("seen") == ["waited 2"])
        await c.post(f"/threads/{thread}/runs/{run}/cancel?action={action}&wait=1")
        await settled(c, thread)
        await c.get(f"/threads/{thread}/runs/{run}/join")


@scenario
async def joins(c: Conversation) -> None:
    short = {"assistant_id": "slow", "input": {"left": 2, "pause": 0.3, "seen": []}}
    for body in (short, ASK, {"assistant_id": "failing", "input": {"how": "own", "left": 1}}):
        thread = await c.thread()
        run = await c.run(thread, **body)
        await c.get(f"/threads/{thread}/runs/{run}/join")
        await settled(c, thread)
        await c.get(f"/threads/{thread}/runs/{run}/join")
    await c.get(f"/threads/{thread}/runs/{UNKNOWN}/join")
    await c.get(f"/threads/{UNKNOWN}/runs/{run}/join")


@scenario
async def double_texting_rejected(c: Conversation) -> None:
    thread = await c.thread()
    async with c.stream(f"/threads/{thread}/runs/stream", {**SLOW, "stream_mode": "custom"}) as stream:
        await stream.next("custom")
        for ending in ("", "/wait", "/stream"):
            await c.post(f"/threads/{thread}/runs{ending}", {**SLOW, "multitask_strategy": "reject"})
        run = c.name("run", stream.shown[0][1]["run_id"])
        await c.post(f"/threads/{thread}/runs/{run}/cancel?wait=1")
    pending = await c.thread()
    await c.run(pending, **SLOW, after_seconds=600)
    await c.post(f"/threads/{pending}/runs", {**SLOW, "multitask_strategy": "reject"})
    free = await c.thread()
    await c.post(f"/threads/{free}/runs/wait", {**COUNT, "multitask_strategy": "reject"})


@scenario
async def double_texting_enqueued(c: Conversation) -> None:
    thread = await c.thread()
    short = {
        "assistant_id": "slow",
        "input": {"left": 2, "pause": 0.3, "seen": []},
        "stream_mode": ["values"],
    }
    async with c.stream(f"/threads/{thread}/runs/stream", short) as first:
        await first.next("metadata")
        second = await c.run(thread, record=True, **{**short, "input": {"left": 1}})
        async for _ in first:
            pass
    await c.get(f"/threads/{thread}/runs/{second}/join")
    await settled(c, thread)
    await c.get(f"/threads/{thread}/runs?select=status&select=multitask_strategy")


@scenario
async def threads_deleted_while_busy(c: Conversation) -> None:
    thread = await c.thread()
    async with c.stream(f"/threads/{thread}/runs/stream", {**SLOW, "stream_mode": "custom"}) as stream:
        run = c.name("run", (await stream.next("metadata"))["run_id"])
        await stream.next("custom")
        await c.ask("DELETE", f"/threads/{thread}")
        await c.get(f"/threads/{thread}")
        await c.get(f"/threads/{thread}/runs/{run}")
        await c.get(f"/threads/{thread}/state")
        async for _ in stream:
            pass
