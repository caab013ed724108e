"""
States under a key: nothing of them can be read in the file, they come back byte by byte, and a turn still
costs what it adds.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import asdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from gatewayd.blobs import cut
from gatewayd.blobs.seal import Locked, Seal
from gatewayd.channel import orders
from gatewayd.checkpointing import commands, pieces, rows
from gatewayd.errors import BadConfiguration
from gatewayd.worker.states import serde
from tests.checkpointing.test_shared_pieces import THREAD, long_thread, turn, values

KEY = b"sixteen letters!"

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=600)
STATES = st.dictionaries(
    WORDS,
    st.integers(-(2**63), 2**63) | WORDS | st.lists(WORDS, max_size=8) | WORDS.map(str.encode),
    max_size=6,
)


def words(value: Any) -> list[bytes]:
    """Return the first letters of every text in a value."""
    match value:
        case str():
            return [value[:12].encode()]
        case bytes():
            return [value[:12]]
        case dict():
            return [word for pair in value.items() for each in pair for word in words(each)]
        case list():
            return [word for each in value for word in words(each)]
    return []


def store(bench: Any, state: dict[str, Any]) -> None:
    """Store a state as a checkpoint and as a write on it."""
    saver = bench.saver(thread_id="t", durability="sync")
    made = {**empty_checkpoint(), "channel_values": {"state": state}}
    stored = saver.put({"configurable": {"thread_id": "t", "checkpoint_ns": ""}}, made, {"step": 1}, {})
    saver.put_writes(stored, [("state", state), ("other", None)], "task")
    saver.get_tuple(THREAD)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=STATES, size=st.sampled_from([16, 24, 32]))
def test_any_state_comes_back_byte_by_byte_and_none_of_its_texts_stands_in_the_file(
    new_bench: Any, state: dict[str, Any], size: int
) -> None:
    bench = new_bench(Seal(b"k" * size))
    empty = bench.content()  # has words of its own: names of tables and columns
    store(bench, state)
    content = bench.content()
    assert [word for word in words(state) if word in content and word not in empty] == []
    bench.reader.seal = Seal(b"k" * size)  # another process: it remembers nothing
    found = bench.saver("reads").get_tuple(THREAD)
    written = {channel: value for _, channel, value in found.pending_writes}
    packed = JsonPlusSerializer().dumps_typed
    assert packed(found.checkpoint["channel_values"]) == packed({"state": state})
    assert packed(written["state"]) == packed(state)
    assert written["other"] is None
    bench.close()


def test_without_a_key_the_texts_can_be_found_there(bench: Any) -> None:
    store(bench, {"something plain": "the words of a customer"})
    assert b"the words of a customer" in bench.content()


async def test_under_a_key_a_turn_writes_as_much_at_the_end_of_a_thread_as_at_its_beginning(
    new_bench: Any,
) -> None:
    costs = []
    for length in (40, 600):
        bench = new_bench(Seal(KEY))
        await long_thread(bench, length)
        sent, rows = 0, bench.count("blobs")
        for number in range(6):
            saver = bench.saver(f"run-{number}", thread_id="t")
            await turn(saver, length + 2 * number)
            sent += sum(len(commands.pack(one)) for one in saver._sink.operations)
        costs.append((sent, bench.count("blobs") - rows))
    (few_bytes, few_blobs), (many_bytes, many_blobs) = costs
    assert many_bytes <= 1.3 * few_bytes
    assert many_blobs <= 1.3 * few_blobs


async def test_states_from_before_the_key_are_read_and_go_on_under_it(new_bench: Any) -> None:
    bench = new_bench()
    await long_thread(bench, 20)
    small = {"configurable": {"thread_id": "u", "checkpoint_ns": ""}}
    bench.saver(durability="sync").put(
        small, {**empty_checkpoint(), "channel_values": {"a": "short"}}, {}, {}
    )
    bench.reader.seal = Seal(KEY)
    await turn(bench.saver("later", thread_id="t"), 20)
    found = (await values(bench.saver("reads")))["messages"]
    assert [message.id for message in found] == [str(number) for number in range(22)]
    assert bench.saver("reads").get_tuple(small).checkpoint["channel_values"] == {"a": "short"}
    bench.saver("deletes").delete_thread("t")
    bench.sweep()
    assert bench.count("blobs") == 0


@pytest.mark.parametrize("size", [100, 5000])
def test_what_langgraphs_encrypting_serialiser_has_stored_is_read_with_the_same_key(
    bench: Any, size: int
) -> None:
    theirs = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    saver = bench.saver(durability="sync", serde=theirs)
    said = HumanMessage("x" * size, id="1")
    saver.put(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
        {**empty_checkpoint(), "channel_values": {"messages": [said]}},
        {},
        {},
    )
    bench.reader.seal = Seal(KEY)
    assert bench.saver("reads").get_tuple(THREAD).checkpoint["channel_values"] == {"messages": [said]}


def test_what_is_stored_small_is_what_langgraphs_encrypting_serialiser_makes(new_bench: Any) -> None:
    bench = new_bench(Seal(KEY))
    store(bench, {"a": "short"})
    theirs = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    read = {channel: theirs.loads_typed((kind, value)) for channel, kind, value in bench.fetch(
        "SELECT channel, type, value FROM writes"
    )}  # fmt: skip
    assert read == {"state": {"a": "short"}, "other": None}


# the start of a worker


def configuration(bench: Any) -> orders.Configuration:
    nothing = dict.fromkeys(asdict(ORDER), None)
    return orders.Configuration(**{**nothing, "database": str(bench.path), "serde": {}})  # type: ignore[arg-type]


ORDER = orders.Configuration(
    name="", role="", database="", store="", folder="", search_path=[], graphs={}, log_level="", log_json=False,
    log_color=False, window=0, backlog=0, job_timeout_s=0, patience_s=0,
)  # fmt: skip


@pytest.mark.parametrize("size", [10, 5000])
@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("another key, oh!", "is not the key it was encrypted with"),
        ("", "LANGGRAPH_AES_KEY is not set"),
        ("short", "must be 16, 24 or 32 bytes long, not 5"),
    ],
)
def test_a_worker_does_not_start_without_the_key_of_the_newest_states(
    new_bench: Any, size: int, key: str, cause: str
) -> None:
    bench = new_bench(Seal(KEY))
    store(bench, {"a": "x" * size})
    with pytest.raises(BadConfiguration, match=cause):
        serde.opened(configuration(bench), {"LANGGRAPH_AES_KEY": key})
    serde.opened(configuration(bench), {"LANGGRAPH_AES_KEY": KEY.decode()}).close()


def test_a_worker_starts_with_a_new_key_on_states_in_the_clear(bench: Any) -> None:
    store(bench, {"a": "x" * 5000})
    serde.opened(configuration(bench), {"LANGGRAPH_AES_KEY": KEY.decode()}).close()
    serde.opened(configuration(bench), {}).close()


def test_what_a_serialiser_has_encrypted_is_not_compressed_whatever_it_looks_like() -> None:
    kept = pieces.pack("msgpack+aes", b"\0" * 500, cut.Cutter())
    assert kept == (rows.WHOLE, "msgpack+aes", b"\0" * 500)


def test_a_small_state_is_compressed_before_it_is_sealed() -> None:
    seal = Seal(KEY)
    version, kind, column = pieces.pack("msgpack", b"word" * 200, cut.Cutter(seal=seal))
    assert (version, kind) == (rows.PACKED, "msgpack+aes")
    assert len(column) < 100
    pieces.prove(kind, version, column, seal)
    with pytest.raises(Locked):
        pieces.prove(kind, version, column, Seal(b"another 16 bytes"))
