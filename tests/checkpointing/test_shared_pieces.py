"""
States in pieces: a step costs what it adds, nothing that is needed is lost, nothing that is not needed stays.
"""

from __future__ import annotations

import random
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from gatewayd.blobs import cut
from gatewayd.checkpointing import commands, pieces, rows
from gatewayd.checkpointing.sqlite import changes
from gatewayd.worker.states import checkpoints
from tests.checkpointing.conftest import everything_in_pieces

THREAD: Any = {"configurable": {"thread_id": "t"}}
WORDS = [
    "the",
    "sea",
    "was",
    "calm",
    "when",
    "we",
    "came",
    "to",
    "an",
    "old",
    "house",
    "where",
    "nobody",
    "had",
    "lived",
    "since",
    "the",
    "war",
]


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]
    notes: dict[str, Any]


def text(seed: int, size: int = 2000) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(size // 5))


def chat(saver: Any) -> Any:
    def answer(state: Chat) -> dict[str, Any]:
        number = len(state["messages"])
        return {"messages": [AIMessage(text(number), id=f"{number}")]}

    builder = StateGraph(Chat)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


async def turn(saver: Any, number: int, config: Any = THREAD) -> None:
    await chat(saver).ainvoke({"messages": [HumanMessage(text(number), id=f"{number}")]}, config)
    if isinstance(saver, checkpoints.Saver):
        await saver._sink.committed()


async def values(saver: Any, config: Any = THREAD) -> Any:
    return (await chat(saver).aget_state(config)).values


async def long_thread(bench: Any, length: int) -> None:
    """Give thread t `length` messages at once."""
    messages = [HumanMessage(text(number), id=f"{number}") for number in range(length)]
    saver = bench.saver("start", thread_id="t")
    await chat(saver).aupdate_state(THREAD, {"messages": messages}, as_node="answer")
    await saver._sink.committed()


async def test_a_turn_writes_as_much_at_the_end_of_a_long_thread_as_at_its_beginning(new_bench: Any) -> None:
    costs = []
    for length in (40, 4000):
        bench = new_bench()
        await long_thread(bench, length)
        sent, stored = [], []
        for number in range(6):  # a turn may fill up segments: the mean is what counts
            saver = bench.saver(f"run-{number}", thread_id="t")
            before = bench.count("blobs") + bench.count("checkpoints") + bench.count("writes")
            await turn(saver, length + 2 * number)
            sent.append(sum(len(commands.pack(one)) for one in saver._sink.operations))
            stored.append(bench.count("blobs") + bench.count("checkpoints") + bench.count("writes") - before)
        costs.append((sum(sent), sum(stored)))
    (few_bytes, few_rows), (many_bytes, many_rows) = costs
    assert many_bytes <= 1.3 * few_bytes
    assert many_rows <= 1.3 * few_rows


async def test_the_message_of_a_write_is_the_same_blob_as_in_the_list_it_is_added_to(bench: Any) -> None:
    saver = bench.saver(thread_id="t")
    await turn(saver, 0)
    # The two messages and their texts; no input is an object of its own, for it is a message already.
    assert [row[3] for row in bench.dump("blobs")].count(cut.COMPOUND) == 2
    assert bench.count("blobs") == 4
    assert [message.id for message in (await values(saver))["messages"]] == ["0", "1"]


async def test_the_text_of_a_question_that_is_no_message_yet_is_stored_once(bench: Any) -> None:
    saver = bench.saver(thread_id="t")
    asked = {"messages": [{"role": "user", "content": text(0), "id": "0"}]}
    await chat(saver).ainvoke(asked, THREAD)
    await saver._sink.committed()
    kinds = [row[3] for row in bench.dump("blobs")]
    assert (kinds.count(cut.COMPOUND), len(kinds)) == (3, 5), "input, question and answer, and two texts"
    assert [message.content for message in (await values(saver))["messages"]] == [text(0), text(1)]


async def test_a_message_changed_in_place_is_stored_as_it_is_now(bench: Any) -> None:
    def edit(state: Chat) -> dict[str, Any]:
        state["messages"][0].additional_kwargs["seen"] = text(7)
        return {"notes": {"edited": True}}

    builder = StateGraph(Chat)
    builder.add_node("edit", edit)
    builder.add_edge(START, "edit")
    saver = bench.saver(thread_id="t")
    await long_thread(bench, 20)
    await builder.compile(checkpointer=saver).ainvoke({"messages": []}, THREAD)
    await saver._sink.committed()
    found = (await values(bench.saver("later")))["messages"]
    assert found[0].additional_kwargs == {"seen": text(7)}
    assert len(found) == 20


async def test_small_states_are_stored_in_their_rows_alone(bench: Any) -> None:
    saver = bench.saver(thread_id="t")
    await saver.aput(THREAD, {**empty_checkpoint(), "channel_values": {"x": "y" * 500}}, {}, {})
    await saver.aget_tuple(THREAD)
    assert [row[5] for row in bench.dump("checkpoints")] == [rows.PACKED]
    assert bench.count("blobs") == bench.count("families") == 0


async def test_everything_goes_with_the_last_copy(bench: Any) -> None:
    for number in range(0, 6, 2):
        await turn(bench.saver(f"run-{number}", thread_id="t"), number)
    blobs = bench.count("blobs")
    saver = bench.saver("copies")
    saver.copy_thread("t", "u")
    assert bench.count("blobs") == blobs
    saver.delete_thread("t")
    assert bench.sweep() == 0
    there: Any = {"configurable": {"thread_id": "u"}}
    assert len((await values(saver, there))["messages"]) == 6
    saver.prune(["u"])
    bench.sweep()
    assert len((await values(saver, there))["messages"]) == 6
    saver.delete_thread("u")
    bench.sweep()
    assert [bench.count(table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]


async def test_a_rollback_frees_what_only_its_run_had(bench: Any) -> None:
    await turn(bench.saver("first", thread_id="t"), 0)
    before = bench.dump("blobs"), bench.dump("checkpoints"), bench.dump("writes")
    await turn(bench.saver("second", thread_id="t"), 2)
    bench.change(changes.run_delete, "second")
    assert bench.sweep() > 0
    assert (bench.dump("blobs"), bench.dump("checkpoints"), bench.dump("writes")) == before
    # A run that begins now knows only what is there, and stores the same again.
    await turn(bench.saver("third", thread_id="t"), 2)
    assert len((await values(bench.saver("reader")))["messages"]) == 4


async def test_a_run_that_removes_rows_forgets_what_it_knew(bench: Any) -> None:
    saver = bench.saver("run", thread_id="t")
    await turn(saver, 0)
    assert saver._ledger.known
    await saver.adelete_thread("t")
    bench.sweep()
    assert bench.count("blobs") == 0
    await turn(saver, 0)
    assert len((await values(saver))["messages"]) == 2


async def test_of_threads_that_are_not_its_own_a_run_believes_nothing(bench: Any) -> None:
    saver = bench.saver("run", thread_id="t")
    there: Any = {"configurable": {"thread_id": "u"}}
    await turn(saver, 0, there)
    bench.saver("other").delete_thread("u")
    bench.sweep()
    await turn(saver, 0, there)
    assert len((await values(saver, there))["messages"]) == 2


async def test_what_follows_a_refused_operation_and_needs_its_blobs_is_refused(bench: Any) -> None:
    """The second operation is on its way already when the first one is refused."""
    other, saver = bench.saver("other"), bench.saver("run", thread_id="t")
    taken = {**empty_checkpoint(), "id": "1"}
    place: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    await other.aput(place, taken, {}, {})
    await other.aget_tuple(place)
    bench.writer.open_gate.clear()
    said = HumanMessage(text(1), id="1")
    await saver.aput(place, {**taken, "channel_values": {"messages": [said]}}, {}, {})
    await saver.aput_writes(
        {"configurable": {**place["configurable"], "checkpoint_id": "1"}}, [("m", said)], "task"
    )
    bench.writer.open_gate.set()
    with pytest.raises(checkpoints.SinkFailed, match="made by another run"):
        await saver.aget_tuple(place)
    assert bench.count("writes") == bench.count("blobs") == 0


async def test_blobs_that_were_sent_ahead_of_a_row_that_never_came_are_swept(bench: Any) -> None:
    cutter = cut.Cutter()
    cutter.manifest([[text(number).encode() for number in range(3)]])
    bench.change(changes.apply, commands.blobs("t", cutter.blobs.values()), "run")
    assert bench.count("blobs") == 3
    assert bench.sweep() == 3


class Swap:
    """A cipher whose ciphertexts are never the same."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "swap", random.randbytes(8) + plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return ciphertext[:7:-1]


async def test_what_an_encrypting_serialiser_makes_is_stored_whole_and_comes_back(bench: Any) -> None:
    saver = bench.saver(thread_id="t", serde=EncryptedSerializer(Swap()))
    await turn(saver, 0)
    stored = repr(bench.dump("blobs")) + repr(bench.dump("checkpoints")) + repr(bench.dump("writes"))
    assert text(0)[:30] not in stored
    assert [message.content for message in (await values(saver))["messages"]] == [text(0), text(1)]


async def test_history_and_forks_are_those_of_the_saver_in_memory(bench: Any) -> None:
    ours, stock = bench.saver(thread_id="t"), InMemorySaver()
    seen = []
    for saver in (ours, stock):
        for number in range(0, 20, 2):
            await turn(saver, number)
        history = [state async for state in chat(saver).aget_state_history(THREAD)]
        fork = await chat(saver).aupdate_state(
            history[12].config, {"messages": [AIMessage(text(99), id="x")]}
        )
        await chat(saver).ainvoke({"messages": [HumanMessage(text(98), id="y")]}, fork)
        again = [state async for state in chat(saver).aget_state_history(THREAD, limit=30)]
        seen.append(
            [(state.values, state.next, (state.metadata or {}).get("step")) for state in history + again]
        )
    assert seen[0] == seen[1]


# Any sequence: the same answers as with everything in one piece, from one saver to the other.

IDS = st.sampled_from([f"{number:02}" for number in range(6)])
THREADS = st.sampled_from("tuv")
RUNS = st.sampled_from(["run-a", "run-b", "run-c"])
LISTS = st.builds(
    lambda length, seed: [f"{seed}:{n}" for n in range(length)], st.integers(0, 12), st.integers(0, 1)
)
STATES = st.fixed_dictionaries({}, optional={"log": LISTS, "x": st.integers(0, 3) | st.text(max_size=9)})
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), THREADS, RUNS, IDS, st.none() | IDS, STATES),
        st.tuples(st.just("put"), THREADS, RUNS, IDS, st.none() | IDS, STATES),
        st.tuples(st.just("writes"), THREADS, RUNS, IDS, st.sampled_from(["x", "__interrupt__"]), LISTS),
        st.tuples(st.just("delete_thread"), THREADS),
        st.tuples(st.just("delete_for_runs"), RUNS),
        st.tuples(st.just("copy"), THREADS, THREADS),
        st.tuples(st.just("prune"), THREADS, st.sampled_from(["keep_latest", "delete"])),
        st.tuples(st.just("rollback"), RUNS),
        st.tuples(st.just("sweep")),
    ),
    max_size=30,
)


def at(thread_id: str, checkpoint_id: str | None = None) -> Any:
    where = {"thread_id": thread_id, "checkpoint_ns": ""}
    return {"configurable": where | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


def execute(bench: Any, call: tuple[Any, ...]) -> str | None:
    """Execute a call, each as a run of its own; return why it was refused."""
    try:
        match call:
            case ("put", thread_id, run_id, checkpoint_id, parent, state):
                saver = bench.saver(run_id, durability="sync", thread_id=thread_id)
                saver.get_tuple(at(thread_id))  # what it reads it needs not send
                made = {**empty_checkpoint(), "ts": "", "id": checkpoint_id, "channel_values": state}
                saver.put(at(thread_id, parent), made, {"step": len(state)}, {})
            case ("writes", thread_id, run_id, checkpoint_id, channel, value):
                saver = bench.saver(run_id, thread_id=thread_id)
                saver.get_tuple(at(thread_id))
                saver.put_writes(at(thread_id, checkpoint_id), [(channel, value)], "task")
                saver.get_tuple(at(thread_id))
            case ("delete_thread", thread_id):
                bench.saver("deletes").delete_thread(thread_id)
            case ("delete_for_runs", run_id):
                bench.saver("deletes").delete_for_runs([run_id])
            case ("copy", source, target):
                bench.saver("copies").copy_thread(source, target)
            case ("prune", thread_id, strategy):
                bench.saver("prunes").prune([thread_id], strategy=strategy)
            case ("rollback", run_id):
                bench.change(changes.run_delete, run_id)
            case ("sweep",):
                bench.sweep()
    except checkpoints.SinkFailed as error:
        return str(error)
    return None


def answers(bench: Any) -> list[Any]:
    saver = bench.saver("reads")
    found: list[Any] = list(saver.list(None))
    for thread_id in "tuv":
        found += [
            saver.get_tuple(at(thread_id)),
            list(saver.list(at(thread_id), before=at(thread_id, "03"), limit=2)),
        ]
        found.append(list(saver.list(at(thread_id), filter={"step": 1})))
        found += [
            saver.get_delta_channel_history(config=at(thread_id, f"{number:02}"), channels=["log", "x"])
            for number in range(6)
        ]
    return found


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_any_sequence_of_calls_and_sweeps_is_answered_as_if_everything_were_in_one_piece(
    new_bench: Any, monkeypatch: Any, calls: list[Any]
) -> None:
    whole, cut_up = new_bench(), new_bench()
    with monkeypatch.context() as patch:
        everything_in_pieces(patch)
        refusals = [execute(cut_up, call) for call in calls]
        patch.setattr(pieces, "SMALL", 1 << 30)
        assert [execute(whole, call) for call in calls] == refusals
        patch.undo()
        everything_in_pieces(patch)
        assert answers(cut_up) == answers(whole)
        cut_up.sweep()
        assert answers(cut_up) == answers(whole)
        for thread_id in "tuv":
            execute(cut_up, ("delete_thread", thread_id))
        cut_up.sweep()
    assert [cut_up.count(table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]
    whole.close()
    cut_up.close()


@pytest.mark.parametrize("how", ["list", "get"])
async def test_what_is_pruned_while_it_is_read_is_read_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for number in range(3):
        await turn(bench.saver(f"run-{number}", thread_id="t"), number)
    saver = bench.saver("reads")
    listed = list(saver.list(THREAD))
    latest = saver.get_tuple(THREAD)
    blobs, pruned = bench.reader.blobs, []

    def late(*wanted: Any) -> Any:
        if not pruned:
            pruned.append(commands.prune("t", list(bench.saver("prunes").kept("t"))))
            bench.change(changes.apply, *pruned, "")
            bench.sweep()
        return blobs(*wanted)

    monkeypatch.setattr(bench.reader, "blobs", late)
    if how == "list":
        assert list(saver.list(THREAD)) == [latest]
    else:
        # As it was, if what it needs is needed by others too.
        for before in listed[1:]:
            assert saver.get_tuple(before.config) in (None, before)
    assert pruned
