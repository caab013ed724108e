"""Time travel, and delta channels, whose value is rebuilt from the writes of ancestors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from gatewayd.checkpointing.sqlite import changes
from gatewayd.worker.states import checkpoints

pytestmark = pytest.mark.usefixtures("cutting")

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Plain(TypedDict):
    log: Annotated[list[str], operator.add]
    turn: int


def extend(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return state + [item for write in writes for item in write]


class Delta(TypedDict):
    log: Annotated[list[str], DeltaChannel(extend, list, snapshot_frequency=4)]
    turn: int


class Sparse(TypedDict):
    log: Annotated[list[str], DeltaChannel(extend, list, snapshot_frequency=1000)]
    turn: int


class Walker:
    """A graph of two steps whose first node's word can be changed between runs."""

    def __init__(self, schema: type) -> None:
        self.word = "a"
        self._builder = StateGraph(schema)
        self._builder.add_node("first", lambda state: {"log": [f"{self.word}{state['turn']}"]})
        self._builder.add_node("second", lambda state: {"log": ["."]})
        self._builder.add_edge(START, "first")
        self._builder.add_edge("first", "second")

    def on(self, saver: Any) -> Any:
        return self._builder.compile(checkpointer=saver)

    async def run(self, saver: Any, given: Any, config: Any = CONFIG, **options: Any) -> Any:
        """Execute a run as the executor does: it has ended when all that it sent is committed."""
        result = await self.on(saver).ainvoke(given, config, **options)
        if isinstance(saver, checkpoints.Saver):
            await saver._sink.committed()
        return result


async def history(graph: Any) -> list[tuple[Any, ...]]:
    return [
        (one.values.get("log"), one.next, one.metadata["source"], one.metadata["step"])
        async for one in graph.aget_state_history(CONFIG)
    ]


@pytest.mark.parametrize("schema", [Plain, Delta, Sparse], ids=["plain", "snapshots", "writes only"])
async def test_a_run_on_an_old_checkpoint_branches_and_both_branches_stay_readable(
    bench: Any, schema: type
) -> None:
    walker, stock_walker = Walker(schema), Walker(schema)
    memory, saver = InMemorySaver(), bench.saver("run-3")
    for turn in range(3):
        await walker.run(bench.saver(f"run-{turn}"), {"log": [], "turn": turn})
        await stock_walker.run(memory, {"log": [], "turn": turn})
    graph, stock = walker.on(saver), stock_walker.on(memory)
    assert await history(graph) == await history(stock)

    old_leaf = (await graph.aget_state(CONFIG)).config
    walker.word = stock_walker.word = "b"
    for branching, used, its_saver in ((graph, walker, saver), (stock, stock_walker, memory)):
        at_first = [one async for one in branching.aget_state_history(CONFIG) if one.next == ("first",)]
        result = await used.run(its_saver, None, at_first[0].config)
        assert result["log"] == ["a0", ".", "a1", ".", "b2", "."]
    assert (await graph.aget_state(CONFIG)).values["log"] == ["a0", ".", "a1", ".", "b2", "."]
    assert (await graph.aget_state(old_leaf)).values["log"] == ["a0", ".", "a1", ".", "a2", "."]

    bench.change(changes.run_delete, "run-3")
    assert (await graph.aget_state(CONFIG)).values["log"] == ["a0", ".", "a1", ".", "a2", "."]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("turns", [1, 2, 5, 6])
async def test_a_pruned_thread_with_delta_channels_keeps_its_state(
    bench: Any, durability: str, turns: int
) -> None:
    walker = Walker(Delta)
    for turn in range(turns):
        running = bench.saver(f"run-{turn}", durability=durability)
        await walker.run(running, {"log": [], "turn": turn}, durability=durability)
    saver = bench.saver("")
    graph = walker.on(saver)
    before = await graph.aget_state(CONFIG)
    assert before.values["log"] == [word for turn in range(turns) for word in (f"a{turn}", ".")]
    count = len(bench.dump("checkpoints"))

    await saver.aprune(["t"])
    after = await graph.aget_state(CONFIG)
    assert (after.values, after.config) == (before.values, before.config)
    # A snapshot comes with every fourth update, and input counts: nothing older than the last one is needed.
    assert len(bench.dump("checkpoints")) <= min(count, 7)
    result = await graph.ainvoke({"log": [], "turn": turns}, CONFIG)
    assert result["log"] == [*before.values["log"], f"a{turns}", "."]


async def test_pruning_a_plain_thread_leaves_one_checkpoint_and_its_state(bench: Any) -> None:
    saver = bench.saver()
    walker = Walker(Plain)
    graph = walker.on(saver)
    for turn in range(3):
        await walker.run(saver, {"log": [], "turn": turn})
    before = await graph.aget_state(CONFIG)
    saver.prune(["t"])
    after = await graph.aget_state(CONFIG)
    assert (after.values, after.config) == (before.values, before.config)
    assert (len(bench.dump("checkpoints")), bench.dump("writes")) == (1, [])


async def test_a_checkpoint_put_while_pruning_was_decided_stays(bench: Any) -> None:
    saver = bench.saver()
    walker = Walker(Plain)
    await walker.run(saver, {"log": [], "turn": 0})
    decided = list(saver.kept("t"))
    await walker.run(saver, {"log": [], "turn": 1})
    count = len(bench.dump("checkpoints"))
    bench.change(changes.apply, ["prune", "t", decided], "")
    assert (await walker.on(saver).aget_state(CONFIG)).values["log"] == ["a0", ".", "a1", "."]
    assert len(bench.dump("checkpoints")) == count - 3


async def test_a_later_run_on_an_ancestor_does_not_change_a_delta_channels_history(bench: Any) -> None:
    def placed(checkpoint_id: str | None) -> Any:
        return {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": checkpoint_id}}

    async def step(
        run_id: str, parent: str, child: str, task_id: str, written: list[tuple[str, Any]]
    ) -> None:
        saver = bench.saver(run_id, durability="sync")
        await saver.aput_writes(placed(parent), written, task_id)
        made: Any = {**empty_checkpoint(), "id": child}
        await saver.aput(placed(parent), made, {}, {})

    root: Any = {**empty_checkpoint(), "id": "1"}
    await bench.saver("run-a", durability="sync").aput(placed(None), root, {}, {})
    await step("run-a", "1", "2", "task", [("log", ["a"]), ("log", ["a too"])])
    await step("run-b", "1", "3", "task", [("log", ["b"])])
    await step("", "1", "4", "update", [("log", ["u"])])
    reader = bench.saver("run-c")
    for target, expected in (("2", ["a", "a too"]), ("3", ["b"])):
        history = reader.get_delta_channel_history(config=placed(target), channels=["log"])
        assert [value for _, _, values in history["log"]["writes"] for value in values] == expected


async def test_a_checkpoint_that_is_its_own_ancestor_does_not_stop_the_reader(bench: Any) -> None:
    saver = bench.saver()
    for checkpoint_id, parent in (("1", "2"), ("2", "1")):
        made: Any = {**empty_checkpoint(), "id": checkpoint_id}
        place = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": parent}
        saver.put({"configurable": place}, made, {}, {})
        saver.put_writes({"configurable": place}, [("log", [parent])], "task")
    history = saver.get_delta_channel_history(config=CONFIG, channels=["log"])
    assert history == {"log": {"writes": [("task", "log", ["1"])]}}


async def test_pruning_by_an_unknown_strategy_is_refused_by_name(bench: Any) -> None:
    with pytest.raises(ValueError, match="keep_some"):
        await bench.saver().aprune(["t"], strategy="keep_some")


async def test_a_copied_thread_with_delta_channels_has_the_same_history(bench: Any) -> None:
    walker = Walker(Delta)
    for turn in range(3):
        await walker.run(bench.saver(f"run-{turn}"), {"log": [], "turn": turn})
    saver = bench.saver("")
    await saver.acopy_thread("t", "u")
    saver.delete_thread("t")
    graph = walker.on(saver)
    copied = await graph.aget_state({"configurable": {"thread_id": "u"}})
    assert copied.values["log"] == ["a0", ".", "a1", ".", "a2", "."]
