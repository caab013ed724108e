"""Whatever the instant at which the machine dies, the run ends as if nothing had happened (design §4).

For each kind of run: what its worker has the daemon store is recorded in an undisturbed run. Then, for every
n, a copy of the database as it was when the run was accepted gets the run's start and the first n of these
operations, and the next boot on it must bring the run to the same end.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from attrs import define, field, fields, frozen

from gatewayd import datadir, ids, wire
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import Chunk, Draft, Record
from gatewayd.model.run import Run, RunRequest
from gatewayd.storage.sqlite import admission, events, runs, states
from gatewayd.storage.sqlite.engine import database, writing
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"

AT_ONCE = 4
"""Boots under way at a time: each waits most of its few milliseconds."""

Operations = Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]

ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
"""Ids of tasks, checkpoints and of what is derived from them: a repeated step has new ones."""


# the kinds

Prepare = Callable[[inprocess.Daemon, str], Awaitable[RunRequest]]
"""Makes the thread what it is before the run, and returns the run's request."""

KINDS: dict[str, Prepare] = {}


def kind(prepare: Prepare) -> Prepare:
    KINDS[prepare.__name__] = prepare
    return prepare


def plain(graph: str, **how: Any) -> Prepare:
    """Return the preparation of a run with an input on a fresh thread."""

    async def prepare(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
        given = {"input": {"word": "w", "path": []}, **how}
        return inprocess.request(graph, thread_id=thread_id, **given)

    return prepare


async def questions(daemon: inprocess.Daemon, thread_id: str) -> dict[str, str]:
    """Return the thread's open questions and the ids of their interrupts."""
    thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
    return {
        one["value"]["question"]: one["id"] for each in (thread.interrupts or {}).values() for one in each
    }


def asked(graph: str, *answers: str, **how: Any) -> Prepare:
    """
    Return the preparation of a run that gives the last of `answers`, each the answer to a question of its own
    run.
    """

    async def prepare(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
        await daemon.finish(
            inprocess.request(graph, thread_id=thread_id, input={"word": "w", "path": []}, **how)
        )
        for answer in answers[:-1]:
            await daemon.finish(inprocess.request(graph, thread_id=thread_id, command={"resume": answer}))
        return inprocess.request(graph, thread_id=thread_id, command={"resume": answers[-1]}, **how)

    return prepare


ALL_MODES = (
    "values",
    "updates",
    "messages",
    "custom",
    "tasks",
    "checkpoints",
    "debug",
    "events",
    "tools",
)

KINDS |= {
    "all_modes": plain("steps", stream_mode=ALL_MODES),
    "all_modes_durability_sync": plain("steps", stream_mode=ALL_MODES, durability="sync"),
    "all_modes_of_nodes_beside_each_other": plain("parallel", stream_mode=ALL_MODES),
    "all_modes_of_subgraphs": asked("inner_questions", "one", subgraphs=True, stream_mode=ALL_MODES),
    "all_modes_of_a_called_graph": plain("calling_async", stream_mode=ALL_MODES, subgraphs=True),
    "all_modes_of_messages": plain(
        "talking",
        input={"messages": [{"role": "user", "content": "hello", "id": "hello"}], "path": []},
        stream_mode=ALL_MODES,
    ),
    "events_alone": plain("parallel", stream_mode=("events",)),
    "input_on_a_fresh_thread": plain("steps"),
    "durability_sync": plain("steps", durability="sync"),
    "durability_exit": plain("steps", durability="exit"),
    "nodes_beside_each_other": plain("parallel", stream_mode=("values", "updates", "custom")),
    "nodes_beside_each_other_durability_sync": plain("parallel", durability="sync"),
    "nodes_beside_each_other_durability_exit": plain("parallel", durability="exit"),
    "tasks_scattered_by_send": plain("scattering"),
    "interrupt_before": plain("steps", interrupt_before=["b"]),
    "interrupt_after": plain("steps", interrupt_after=["b"]),
    "interrupt_before_all": plain("steps", interrupt_before="*"),
    "interrupt_after_all": plain("steps", interrupt_after="*"),
    "interrupt_before_durability_exit": plain("steps", interrupt_before=["c"], durability="exit"),
    "breakpoints_of_the_graph": plain("paused"),
    "first_question": plain("two_questions"),
    "second_question": asked("two_questions", "one"),
    "last_answer": asked("two_questions", "one", "two"),
    "second_question_durability_exit": asked("two_questions", "one", durability="exit"),
    "last_answer_durability_sync": asked("two_questions", "one", "two", durability="sync"),
    "parallel_questions": plain("parallel_questions"),
    "subgraph_first_question": plain("inner_questions"),
    "subgraph_second_question": asked("inner_questions", "one"),
    "subgraph_last_answer": asked("inner_questions", "one", "two"),
    "subgraph_second_question_durability_exit": asked("inner_questions", "one", durability="exit"),
    "subgraph_streamed": plain(
        "inner_questions", subgraphs=True, stream_mode=("values", "updates", "custom", "messages-tuple")
    ),
    "subgraph_streamed_last_answer": asked("inner_questions", "one", "two", subgraphs=True),
    "remembering_subgraph_second_question": asked("remembering", "one"),
    "remembering_subgraph_last_answer": asked("remembering", "one", "two"),
    "subgraph_of_a_subgraph_second_question": asked("deep_questions", "one"),
    "subgraph_of_a_subgraph_last_answer": asked("deep_questions", "one", "two"),
    "graph_called_in_a_sync_node": plain("calling"),
    "graph_called_in_an_async_node": plain("calling_async", stream_mode=("values", "updates", "custom")),
    "called_graph_asks": plain("calling_questions"),
    "called_graph_asks_again": asked("calling_questions", "one"),
    "called_graph_is_answered": asked("calling_questions", "one", "two"),
    "a_node_asks_before_it_calls": asked("asking_around_a_call", "own"),
    "a_node_asks_after_its_call_was_answered": asked("asking_around_a_call", "own", "one", "two"),
    "a_node_that_asked_around_its_call_is_answered": asked(
        "asking_around_a_call", "own", "one", "two", "last"
    ),
    "messages_and_custom": plain(
        "talking",
        input={"messages": [{"role": "user", "content": "hello", "id": "hello"}], "path": []},
        stream_mode=("updates", "messages-tuple", "custom"),
    ),
}


@kind
async def input_on_a_finished_thread(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("steps", thread_id=thread_id, input={"word": "old", "path": ["old"]})
    )
    return inprocess.request("steps", thread_id=thread_id, input={"word": "new", "path": ["new"]})


@kind
async def input_on_a_finished_thread_durability_exit(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("steps", thread_id=thread_id, input={"word": "old", "path": ["old"]})
    )
    return inprocess.request(
        "steps", thread_id=thread_id, input={"word": "new", "path": ["new"]}, durability="exit"
    )


@kind
async def input_while_a_question_is_open(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("two_questions", thread_id=thread_id, input={"word": "old", "path": []})
    )
    return inprocess.request("two_questions", thread_id=thread_id, input={"word": "new", "path": []})


@kind
async def answers_by_a_map_of_which_one_asks_again(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("parallel_questions", thread_id=thread_id, input={"word": "w", "path": []})
    )
    open_now = await questions(daemon, thread_id)
    answers = {open_now["once"]: "yes", open_now["first"]: "one"}
    return inprocess.request("parallel_questions", thread_id=thread_id, command={"resume": answers})


@kind
async def the_last_of_parallel_questions(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    request = await answers_by_a_map_of_which_one_asks_again(daemon, thread_id)
    await daemon.finish(request)
    return inprocess.request("parallel_questions", thread_id=thread_id, command={"resume": "two"})


@kind
async def one_of_two_parallel_questions(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("parallel_questions", thread_id=thread_id, input={"word": "w", "path": []})
    )
    open_now = await questions(daemon, thread_id)
    return inprocess.request(
        "parallel_questions", thread_id=thread_id, command={"resume": {open_now["once"]: "yes"}}
    )


@kind
async def update_and_goto(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(inprocess.request("steps", thread_id=thread_id, input={"word": "old", "path": []}))
    return inprocess.request(
        "steps", thread_id=thread_id, command={"update": {"path": ["updated"], "word": "new"}, "goto": "b"}
    )


@kind
async def goto_with_send(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("scattering", thread_id=thread_id, input={"word": "old", "path": []})
    )
    return inprocess.request(
        "scattering", thread_id=thread_id, command={"goto": [{"node": "one", "input": {"word": "sent"}}]}
    )


@kind
async def goto_with_send_to_a_question(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(inprocess.request("steps", thread_id=thread_id, input={"word": "old", "path": []}))
    return inprocess.request(
        "two_questions", thread_id=thread_id, command={"goto": [{"node": "ask", "input": {"word": "sent"}}]}
    )


@kind
async def answer_to_a_question_that_was_sent(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await goto_with_send_to_a_question(daemon, thread_id))
    return inprocess.request("two_questions", thread_id=thread_id, command={"resume": "one"})


@kind
async def last_answer_to_a_question_that_was_sent(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await answer_to_a_question_that_was_sent(daemon, thread_id))
    return inprocess.request("two_questions", thread_id=thread_id, command={"resume": "two"})


@kind
async def resume_and_update(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("two_questions", thread_id=thread_id, input={"word": "old", "path": []})
    )
    return inprocess.request(
        "two_questions",
        thread_id=thread_id,
        command={"resume": "one", "update": {"path": ["updated"], "word": "new"}},
    )


@kind
async def resume_and_update_to_the_end(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await resume_and_update(daemon, thread_id))
    return inprocess.request(
        "two_questions",
        thread_id=thread_id,
        command={"resume": "two", "update": {"path": ["updated again"]}},
    )


@kind
async def answer_that_has_been_given(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(
        inprocess.request("two_questions", thread_id=thread_id, input={"word": "w", "path": []})
    )
    answers = {(await questions(daemon, thread_id))["first"]: "one"}
    await daemon.finish(inprocess.request("two_questions", thread_id=thread_id, command={"resume": answers}))
    return inprocess.request("two_questions", thread_id=thread_id, command={"resume": answers})


async def place_before(daemon: inprocess.Daemon, thread_id: str, graph: str, node: str) -> str:
    """Return the id of the newest checkpoint at which `node` comes next."""
    params = {"limit": 20, "before": None, "metadata": None, "checkpoint_ns": "", "checkpoint_id": None}
    answer = await daemon.services.workers.call(
        "history", {"thread_id": thread_id, "graph_id": graph, **params}
    )
    found = next(state for state in wire.loads(answer) if state["next"] == [node])
    return str(found["checkpoint"]["checkpoint_id"])


@kind
async def from_an_old_checkpoint(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(inprocess.request("steps", thread_id=thread_id, input={"word": "old", "path": []}))
    place = await place_before(daemon, thread_id, "steps", "b")
    return inprocess.request("steps", thread_id=thread_id, config={"configurable": {"checkpoint_id": place}})


@kind
async def from_an_old_checkpoint_with_input(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(inprocess.request("steps", thread_id=thread_id, input={"word": "old", "path": []}))
    place = await place_before(daemon, thread_id, "steps", "b")
    return inprocess.request(
        "steps",
        thread_id=thread_id,
        input={"word": "new", "path": ["new"]},
        config={"configurable": {"checkpoint_id": place}},
    )


@kind
async def from_the_checkpoint_before_a_question(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await asked("two_questions", "one", "two")(daemon, thread_id))
    place = await place_before(daemon, thread_id, "two_questions", "ask")
    return inprocess.request(
        "two_questions", thread_id=thread_id, config={"configurable": {"checkpoint_id": place}}
    )


@kind
async def over_a_breakpoint_before(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await plain("steps", interrupt_before=["b"])(daemon, thread_id))
    return inprocess.request("steps", thread_id=thread_id, interrupt_before=["b", "c"])


@kind
async def over_a_breakpoint_after(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await plain("steps", interrupt_after=["a"])(daemon, thread_id))
    return inprocess.request("steps", thread_id=thread_id, interrupt_after=["a", "b"])


@kind
async def over_a_breakpoint_to_the_end(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await plain("steps", interrupt_after=["b"])(daemon, thread_id))
    return inprocess.request("steps", thread_id=thread_id, interrupt_after=["b"], durability="exit")


@kind
async def over_the_breakpoints_of_the_graph(daemon: inprocess.Daemon, thread_id: str) -> RunRequest:
    await daemon.finish(await plain("paused")(daemon, thread_id))
    return inprocess.request("paused", thread_id=thread_id)


# what is compared


@frozen(kw_only=True)
class Outcome:
    """What everybody can see of a run that has ended, but for ids and times."""

    run: dict[str, Any]
    thread: dict[str, Any]
    state: dict[str, Any]
    left_over: list[Any]
    """Rows that only a run that is under way may have."""
    last_values: Any


def plainly(data: bytes | None) -> Any:
    """Return JSON without ids."""
    return None if data is None else wire.loads(ID.sub(b"*", data))


def pending(interrupts: dict[str, list[dict[str, Any]]] | None) -> list[Any]:
    return sorted((plainly(wire.dumps(each)) for each in (interrupts or {}).values()), key=repr)


def tree(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a state does not depend on the ids of its checkpoints."""
    metadata = state["metadata"] or {}
    told = plainly(wire.dumps({key: state[key] for key in ("values", "next", "interrupts")}))
    tasks = [
        {
            **plainly(wire.dumps({key: task[key] for key in ("name", "error", "interrupts", "result")})),
            "state": task["state"] and tree(task["state"]),
        }
        for task in state["tasks"]
    ]
    return {
        **told,
        "tasks": sorted(tasks, key=repr),
        "step": metadata.get("step"),
        "source": metadata.get("source"),
    }


async def outcome_of(daemon: inprocess.Daemon, run: Run, records: Sequence[Record]) -> Outcome:
    storage = daemon.services.storage
    stored = await storage.run_get(INTERNAL, run.thread_id, run.run_id)
    assert stored is not None
    thread = await storage.thread_get(INTERNAL, run.thread_id)
    (following,) = (
        await storage.readers.rows("SELECT next FROM threads WHERE thread_id = ?", (run.thread_id,))
    )[0]
    values = [plainly(record.data) for record in records if record.kind == "values" and not record.namespace]
    for each in values:
        each.pop("__interrupt__", None)  # langgraph tells the state after a question with and without it
    return Outcome(
        run={"status": stored.status, "error": stored.error, "result": plainly(stored.result)},
        thread={
            "status": thread.status,
            "values": plainly(thread.values),
            "interrupts": pending(thread.interrupts),
            "next": wire.loads(following),
            "error": thread.error,
        },
        state=tree(await daemon.state(run.thread_id, run.graph_id)),
        left_over=[
            *await storage.readers.rows("SELECT * FROM thread_locks"),
            *await storage.readers.rows("SELECT run_id FROM runs WHERE status IN ('pending', 'running')"),
        ],
        last_values=values[-1] if values else None,
    )


def told(records: Sequence[Record]) -> Counter[str]:
    """Count what the run's tasks have told: their updates and questions, custom events, tokens."""
    counted: Counter[str] = Counter()
    for record in records:
        data, namespace = plainly(record.data), plainly(wire.dumps(record.namespace))
        if record.kind == "updates" and isinstance(data, dict):
            data.pop("__metadata__", None)  # marks what a resumed step repeats of its finished tasks
        if record.kind in {"updates", "custom"}:
            counted[f"{record.kind} {namespace} {wire.dumps(data).decode()}"] += 1
        elif record.kind == "messages":
            counted[f"messages {namespace} {data[0]['content']}"] += 1
        elif record.kind == "messages/partial":
            counted[f"messages/partial {data[0]['content']}"] = 1
        elif record.kind == "tasks" and "result" in data:
            counted[f"tasks {namespace} {data['name']} {wire.dumps(data['result']).decode()}"] += 1
        elif record.kind == "checkpoints":
            counted[f"checkpoints {namespace} {data['metadata']['step']} {data['next']}"] = 1
        elif record.kind == "events" and data["event"].endswith("_end") and data["parent_ids"]:
            counted[f"events {data['event']} {data['name']}"] += 1
    return counted


def attempts(records: Sequence[Record]) -> list[int]:
    return [wire.loads(record.data)["attempt"] for record in records if record.kind == "metadata"]


def faults_of_log(stored: Sequence[Record], records: Sequence[Record], whole: Sequence[Record]) -> list[str]:
    """
    Return what a reader of the run's stream would complain about; `stored` is what it had before the machine
    died.
    """
    faults = []
    numbers = [record.seq for record in records]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        faults.append(f"numbers do not rise: {numbers}")
    if [record.event_id for record in records[: len(stored)]] != [record.event_id for record in stored]:
        faults.append("what was stored is not there any more")
    if [record.kind for record in records].count(event.END) != 1 or records[-1].kind != event.END:
        faults.append("the end is not told, or not last, or twice")
    after = records[len(stored) :]
    if after and (after[0].kind != "metadata" or attempts(after) != [2]):
        faults.append(f"what comes after the crash is not announced: {after[0].kind} {attempts(after)}")
    if missing := told(whole) - told(records):
        faults.append(f"lost: {dict(missing)}")
    return faults


# the test


@frozen(kw_only=True)
class Recording:
    """A kind of run, undisturbed."""

    accepted: Path
    """The data directory with the run accepted and not started."""
    boot: int
    run: Run
    operations: Operations
    records: Sequence[Record]
    outcome: Outcome


async def recorded(prepare: Prepare, folder: Path) -> Recording:
    """Make the thread, accept the run, execute it undisturbed on a copy."""
    accepted, thread_id = folder / "accepted", ids.new_id()
    async with inprocess.opened(accepted, PROJECT) as daemon:
        request = await prepare(daemon, thread_id)
        boot = daemon.services.storage.boot
    connection = database.connect(accepted / datadir.DATABASE)
    connection.execute("BEGIN")
    run = admission.run_create(connection, request, boot, False).run
    connection.execute("COMMIT")
    connection.close()
    shutil.copytree(accepted, folder / "whole")
    async with inprocess.opened(folder / "whole", PROJECT, writer=inprocess.CrashingWriter) as daemon:
        await daemon.services.runs.wait(INTERNAL, thread_id, run.run_id)
        records = await daemon.log(thread_id, run.run_id)
        outcome = await outcome_of(daemon, run, records)
        operations = daemon.writer.taken
    return Recording(
        accepted=accepted, boot=boot, run=run, operations=operations, records=records, outcome=outcome
    )


def died_after(recording: Recording, n: int, data_dir: Path) -> list[Record]:
    """
    Make a data directory as it is when the machine dies after the run's n-th operation; return the run's
    records.
    """
    shutil.copytree(recording.accepted, data_dir)
    connection = database.connect(data_dir / datadir.DATABASE)
    connection.execute("BEGIN")
    (started,) = runs.runs_claim_due(connection, recording.boot, time.time_ns() // 1000, 1, 0).taken
    assert started.run_id == recording.run.run_id
    for function, args in recording.operations[:n]:
        assert not isinstance(function(connection, *args), BaseException)
    connection.execute("COMMIT")
    connection.close()
    return records_in(data_dir, recording.run)


def records_in(data_dir: Path, run: Run) -> list[Record]:
    """Return the events of a run that a daemon which is dead has stored, with their states as they are."""
    connection = database.connect(data_dir / datadir.DATABASE)
    try:
        rows = connection.execute(
            f"SELECT {events.COLUMNS} FROM events WHERE run_id = ? ORDER BY last_seq", (run.run_id,)
        ).fetchall()
        return [record for row in rows for record in whole(events.chunk(row), connection).records]
    finally:
        connection.close()


def whole(chunk: Chunk, connection: sqlite3.Connection) -> Chunk:
    if not chunk.parts:
        return chunk
    return chunk.whole(
        {number: states.joined(connection, chunk.thread_id, each) for number, each in enumerate(chunk.parts)}
    )


async def faults_after(recording: Recording, n: int, folder: Path) -> list[str]:
    """Die after n operations, boot and return what is not as in the undisturbed run."""
    data_dir = folder / f"died-{n}"
    return await faults_at_boot(recording, died_after(recording, n, data_dir), data_dir)


async def faults_at_boot(recording: Recording, stored: Sequence[Record], data_dir: Path) -> list[str]:
    """Boot on what a dead machine has left and return what is not as in the undisturbed run."""
    run = recording.run
    async with inprocess.opened(data_dir, PROJECT) as daemon:
        async with asyncio.timeout(10):
            await daemon.services.runs.wait(INTERNAL, run.thread_id, run.run_id)
        records = await daemon.log(run.thread_id, run.run_id)
        outcome = await outcome_of(daemon, run, records)
    return [*faults_of_log(stored, records, recording.records), *differences(recording, outcome)]


def differences(recording: Recording, outcome: Outcome) -> list[str]:
    """Return what is not as in the undisturbed run."""
    return [
        f"{one.name}: {found} instead of {wanted}"
        for one in fields(Outcome)
        if (found := getattr(outcome, one.name)) != (wanted := getattr(recording.outcome, one.name))
    ]


def described(operation: tuple[Callable[..., Any], tuple[Any, ...]]) -> str:
    """Return an operation in a few words, for the message of a failure."""
    function, args = operation
    match function.__name__, args[0]:
        case "append", Draft() as draft:
            return "events " + ",".join(kind for kind, *_ in ormsgpack.unpackb(draft.packed))
        case "run_checkpoint_apply", ["put", _, namespace, checkpoint_id, *_]:
            return f"put {checkpoint_id[:13]} {namespace}"
        case "run_checkpoint_apply", ["writes", _, namespace, checkpoint_id, task_id, _, values]:
            return f"writes {[value[1] for value in values]} of {task_id[:8]} on {checkpoint_id[:13]} {namespace}"
        case name, _:
            return name


@pytest.mark.parametrize("name", KINDS)
async def test_a_run_ends_the_same_wherever_the_machine_dies(name: str, tmp_path: Path) -> None:
    recording = await recorded(KINDS[name], tmp_path)
    assert recording.outcome.run["status"] == "success"
    assert not recording.outcome.left_over
    executed = any(each.startswith(("updates", "events")) for each in told(recording.records))
    assert executed == (name != "answer_that_has_been_given")
    failed: dict[int, list[str]] = {}
    turn = asyncio.Semaphore(AT_ONCE)

    async def attempt(n: int) -> None:
        async with turn:
            if faults := await faults_after(recording, n, tmp_path):
                failed[n] = faults

    async with asyncio.TaskGroup() as group:
        for n in range(len(recording.operations) + 1):
            group.create_task(attempt(n))
    assert not failed, report(recording, failed)


def report(recording: Recording, failed: dict[int, list[str]]) -> str:
    story = [f"{n:3} {described(operation)}" for n, operation in enumerate(recording.operations, 1)]
    lines = [f"after {n}: {fault}" for n, faults in sorted(failed.items()) for fault in faults]
    return "\n".join(["", *story, *lines])


# The same with real deaths: the worker is at work when the daemon, or the worker alone, is struck. What it
# has sent by then is not always a prefix of what was recorded: nodes beside each other end in another order,
# events are packed otherwise.

MOST = 60
"""More operations than any of these runs has."""

AT_WORK = [
    "nodes_beside_each_other",
    "answers_by_a_map_of_which_one_asks_again",
    "graph_called_in_an_async_node",
]


async def ended_or(event_: asyncio.Event, daemon: inprocess.Daemon, run: Run) -> bool:
    """Wait for the run's end or the event; tell whether the run has ended."""
    ending = asyncio.ensure_future(daemon.services.runs.wait(INTERNAL, run.thread_id, run.run_id))
    waiting = asyncio.ensure_future(event_.wait())
    async with asyncio.timeout(10):
        await asyncio.wait([ending, waiting], return_when=asyncio.FIRST_COMPLETED)
    ended = ending.done()
    for each in (ending, waiting):
        each.cancel()
    return ended


@pytest.mark.parametrize("name", AT_WORK)
async def test_a_run_ends_the_same_when_the_daemon_dies_at_work(name: str, tmp_path: Path) -> None:
    recording = await recorded(KINDS[name], tmp_path)
    run, failed = recording.run, {}
    for n in range(MOST):
        data_dir = tmp_path / f"died-{n}"
        shutil.copytree(recording.accepted, data_dir)

        def armed(connection: sqlite3.Connection, count: int = n) -> writing.Writer:
            writer = inprocess.CrashingWriter(connection)
            writer.crash_after(count)
            return writer

        async with inprocess.opened(data_dir, PROJECT, writer=armed) as daemon:
            ended = await ended_or(daemon.writer.crashed, daemon, run)
            daemon.abandon()
        stored = records_in(data_dir, run)
        if faults := await faults_at_boot(recording, stored, data_dir):
            failed[n] = faults
        if ended:
            break
    else:
        pytest.fail("the run never came to its end")
    assert n > 3
    assert not failed, report(recording, failed)


@define(eq=False)
class KillingWriter(inprocess.CrashingWriter):
    """Has the run worker killed before it takes the operation after so many; itself it lives on."""

    count: int
    workers: inprocess.Workers
    killed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.crash_when(self._strike)

    def _strike(self, function: Callable[..., Any], _: tuple[Any, ...]) -> bool:
        if function in inprocess.OF_RUNS and len(self.taken) >= self.count and not self.killed:
            self.killed = True
            self.workers.named("run-1").kill()
        return False


@pytest.mark.parametrize("name", AT_WORK)
async def test_a_run_ends_the_same_when_its_worker_dies_at_work(name: str, tmp_path: Path) -> None:
    recording = await recorded(KINDS[name], tmp_path)
    run, failed = recording.run, {}
    for n in range(MOST):
        data_dir = tmp_path / f"died-{n}"
        shutil.copytree(recording.accepted, data_dir)
        workers = inprocess.Workers()

        def armed(
            connection: sqlite3.Connection, count: int = n, workers: inprocess.Workers = workers
        ) -> Any:
            return KillingWriter(connection, count, workers)

        async with inprocess.opened(data_dir, PROJECT, writer=armed, workers=workers) as daemon:
            async with asyncio.timeout(10):
                await daemon.services.runs.wait(INTERNAL, run.thread_id, run.run_id)
            records = await daemon.log(run.thread_id, run.run_id)
            outcome = await outcome_of(daemon, run, records)
            killed = daemon.writer.killed
        before = next((at for at, each in enumerate(records[1:], 1) if each.kind == "metadata"), len(records))
        if faults := [
            *faults_of_log(records[:before], records, recording.records),
            *differences(recording, outcome),
        ]:
            failed[n] = faults
        if not killed:
            break
    else:
        pytest.fail("the run never came to its end")
    assert n > 3
    assert not failed, report(recording, failed)
