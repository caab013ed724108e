"""The same calls on this saver and on langgraph's own ones: the answers are equal.

Left out: a list of writes that mixes special and regular channels and repeats a special one. Stock savers
disagree about it (in memory the newest counts, in SQLite the first); ours does as the one in memory.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

THREADS = st.sampled_from(["t", "u"])
NAMESPACES = st.sampled_from(["", "child:1"])
IDS = st.sampled_from([f"{number:04d}" for number in range(6)])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "é", "b c", ""])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner)
)
KEYS = st.sampled_from(["source", "step", "flag", "note"])
METADATA = st.dictionaries(KEYS, JSON)
CHANNELS = st.sampled_from(["x", "y", "messages"])
SPECIAL = st.sampled_from(["__error__", "__interrupt__", "__resume__", "__scheduled__"])
REGULAR_WRITES = st.lists(st.tuples(CHANNELS, JSON), min_size=1, max_size=3)
SPECIAL_WRITES = st.lists(st.tuples(SPECIAL, JSON), min_size=1, max_size=2)
TASKS = st.sampled_from([("task-1", ""), ("task-2", "~__pregel_pull, b"), ("task-3", "~__pregel_pull, a")])

PUTS = st.tuples(
    st.just("put"), THREADS, NAMESPACES, IDS, st.none() | IDS, METADATA, st.dictionaries(CHANNELS, JSON)
)
WRITES = st.tuples(st.just("write"), THREADS, NAMESPACES, IDS, TASKS, REGULAR_WRITES | SPECIAL_WRITES)
DELETES = st.tuples(st.just("delete"), THREADS)
# Which of several equal ids in different namespaces comes first is left open by the stock savers.
QUERIES = st.tuples(
    THREADS,
    NAMESPACES,
    st.none() | IDS,
    st.none() | IDS,
    st.dictionaries(KEYS, SCALARS, max_size=2),
    st.none() | st.integers(1, 30),
)


def place(thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None) -> Any:
    where = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    return {"configurable": where | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


async def execute(saver: BaseCheckpointSaver[Any], call: tuple[Any, ...]) -> Any:
    match call:
        case ("put", thread_id, checkpoint_ns, checkpoint_id, parent, metadata, values):
            versions = {channel: f"{int(checkpoint_id) + 1:032}.5" for channel in values}
            made: Any = {
                **empty_checkpoint(),
                "id": checkpoint_id,
                "ts": "2026-01-01",
                "channel_values": values,
                "channel_versions": versions,
            }
            config = {**place(thread_id, checkpoint_ns, parent), "metadata": {"run": "r", "nul": "a\x00b"}}
            return await saver.aput(config, made, metadata, versions)
        case ("write", thread_id, checkpoint_ns, checkpoint_id, task, writes):
            return await saver.aput_writes(place(thread_id, checkpoint_ns, checkpoint_id), writes, *task)
        case ("delete", thread_id):
            return await saver.adelete_thread(thread_id)
    raise AssertionError(call)


async def ask(saver: BaseCheckpointSaver[Any], query: tuple[Any, ...], *, filtered: bool) -> list[Any]:
    thread_id, checkpoint_ns, checkpoint_id, before, metadata, limit = query
    options: dict[str, Any] = {"before": before and place(thread_id, checkpoint_ns, before), "limit": limit}
    if filtered:
        options["filter"] = metadata
    config = place(thread_id, checkpoint_ns, checkpoint_id)
    return [
        await saver.aget_tuple(config),
        await saver.aget_tuple(place(thread_id, checkpoint_ns)),
        [found async for found in saver.alist(place(thread_id, checkpoint_ns), **options)],
        await saver.aget_delta_channel_history(config=config, channels=["x", "y"]) if checkpoint_id else None,
    ]


@pytest.mark.usefixtures("cutting")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(PUTS | WRITES | DELETES, max_size=25), queries=st.lists(QUERIES, min_size=1, max_size=4)
)
async def test_any_sequence_of_calls_is_answered_like_the_stock_sqlite_saver(
    new_bench: Any, calls: list[Any], queries: list[Any]
) -> None:
    bench = new_bench()
    ours = bench.saver()
    async with AsyncSqliteSaver.from_conn_string(":memory:") as stock:
        await stock.setup()
        for call in calls:
            assert await execute(ours, call) == await execute(stock, call)
        for query in queries:
            assert await ask(ours, query, filtered=True) == await ask(stock, query, filtered=True)
    bench.close()


@pytest.mark.usefixtures("cutting")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(WRITES, max_size=10), queries=st.lists(QUERIES, min_size=1, max_size=3))
async def test_any_sequence_of_writes_is_answered_like_the_saver_in_memory(
    new_bench: Any, calls: list[Any], queries: list[Any]
) -> None:
    bench, stock = new_bench(), InMemorySaver()
    ours = bench.saver()
    for checkpoint_ns in ("", "child:1"):
        for thread_id in "tu":
            for number in range(4):
                parent = f"{number - 1:04d}" if number else None
                put = (
                    "put",
                    thread_id,
                    checkpoint_ns,
                    f"{number:04d}",
                    parent,
                    {"step": number},
                    {"x": number},
                )
                assert await execute(ours, put) == await execute(stock, put)
    for call in calls:
        assert await execute(ours, call) == await execute(stock, call)
    for query in queries:
        assert await ask(ours, query, filtered=False) == await ask(stock, query, filtered=False)
    bench.close()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"flag": True}, ["2"]),
        ({"flag": None}, ["1", "0"]),
        ({"step": 1}, ["1"]),
        ({"score": 0.5}, ["0"]),
        ({"nested": {"a": [1, "é"]}}, ["1"]),
        ({"nested.a": [1, "é"]}, ["1"]),
        ({"names": ["x", "y"]}, ["2"]),
        ({"two words": "w"}, ["0"]),
        ({"big": 2**70}, ["0"]),
        ({"step": 1, "flag": True}, []),
    ],
    ids=str,
)
async def test_a_filter_finds_what_is_equal(bench: Any, wanted: dict[str, Any], found: list[str]) -> None:
    saver = bench.saver()
    for number, metadata in enumerate(
        [
            {"step": 0, "score": 0.5, "two words": "w", "big": 2**70, "odd": "\ud800"},
            {"step": 1, "nested": {"a": [1, "é"]}},
            {"step": 2, "flag": True, "names": ["x", "y"], "nan": float("nan")},
        ]
    ):
        made: Any = {**empty_checkpoint(), "id": str(number)}
        await saver.aput(place("t", ""), made, metadata, {})
    assert [one.checkpoint["id"] async for one in saver.alist(place("t", ""), filter=wanted)] == found


async def test_a_filter_key_cannot_leave_its_path(bench: Any) -> None:
    saver = bench.saver()
    with pytest.raises(ValueError, match="quote"):
        list(saver.list(place("t", ""), filter={'a" OR 1': 1}))


async def test_a_long_listing_is_complete_and_in_order_across_its_pages(bench: Any) -> None:
    saver = bench.saver()
    for thread_id in "tu":
        for checkpoint_ns in ("", "child:1"):
            for number in range(45):
                made: Any = {**empty_checkpoint(), "id": f"{number:04d}"}
                await saver.aput(place(thread_id, checkpoint_ns), made, {"step": number}, {})

    def key(one: Any) -> tuple[str, str, str]:
        where = one.config["configurable"]
        return where["checkpoint_id"], where["thread_id"], where["checkpoint_ns"]

    everything = [key(one) for one in saver.list(None)]
    assert len(everything) == 180
    assert everything == sorted(set(everything), reverse=True)
    assert [key(one) for one in saver.list(None, limit=101)] == everything[:101]
    of_thread: Any = {"configurable": {"thread_id": "t"}}
    assert [key(one) async for one in saver.alist(of_thread)] == [one for one in everything if one[1] == "t"]
    assert list(saver.list(of_thread, limit=0)) == []


async def test_versions_rise_and_continue_those_of_other_savers(bench: Any) -> None:
    saver = bench.saver()
    first = saver.get_next_version(None, None)
    second = saver.get_next_version(first, None)
    assert first < second < saver.get_next_version("41", None)
    assert saver.get_next_version(41, None).partition(".")[0] == f"{42:032}"
