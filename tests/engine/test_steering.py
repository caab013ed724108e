"""
Runs that wait are merged into the one that executes, at a step where no message waits for a tool's answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.errors import Conflict
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import Run
from gatewayd.storage.sqlite import runs
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "steering" / "langgraph.json"
MODES: dict[str, dict[str, Any]] = {
    "values": {"stream_mode": ("values",)},
    "updates": {"stream_mode": ("updates",)},
    "messages": {"stream_mode": ("messages-tuple", "debug"), "subgraphs": True},
    "over v2": {"stream_mode": ("lifecycle",), "subgraphs": True},
    "stored at the end": {"durability": "exit"},
    "stored at each step": {"durability": "sync"},
}
DONE = ["first", "call-0", "=call-0", "call-1", "=call-1", "to first"]


class Gates:
    """Tells which nodes have begun, and lets them go on."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def tell(self, node: str) -> None:
        self._loop.call_soon_threadsafe(self.arrived.put_nowait, node)

    async def at(self, node: str) -> None:
        """Wait until the next node has begun, which must be this."""
        async with asyncio.timeout(60):
            assert await self.arrived.get() == node

    def modules(self) -> Iterator[dict[str, Any]]:
        for module in list(sys.modules.values()):
            if getattr(module, "__file__", None) == str(PROJECT.parent / "steering.py"):
                yield vars(module)

    def listen(self) -> None:
        """Hear from the project's modules, whose nodes wait from now on."""
        for names in self.modules():
            names["ARRIVED"][:] = [self.tell]
            while names["PASSES"].acquire(blocking=False):
                pass

    def let(self, nodes: int = 1000) -> None:
        """Let so many nodes go on; as good as all by default."""
        for names in self.modules():
            names["PASSES"].release(nodes)


@pytest.fixture
async def gates() -> Any:
    made = Gates()
    yield made
    made.let()


def said(graph: str, thread_id: str, text: str, **more: Any) -> Any:
    messages = {"messages": [{"role": "user", "content": text}]}
    return inprocess.request(graph, thread_id=thread_id, input=messages, **more)


async def started(daemon: inprocess.Daemon, gates: Gates, graph: str, **more: Any) -> Any:
    """Return the admission of a run that is in its first node."""
    await daemon.finish(said("plain", ids.new_id(), "the worker has loaded the project when this has ended"))
    gates.listen()
    admission = await daemon.create(said(graph, ids.new_id(), "first", **more))
    await gates.at("answer" if graph == "plain" else "agent")
    return admission


async def waiting(daemon: inprocess.Daemon, run: Run, *texts: str, **more: Any) -> list[Any]:
    """Have runs wait for another, and wish them merged into it; return their admissions."""
    made = [await daemon.create(said(run.graph_id, run.thread_id, text, **more)) for text in texts]
    merged = await daemon.services.runs.merge(INTERNAL, run.thread_id, into_running=True)
    assert (merged.into, merged.run.run_id) == (run.run_id, made[0].run.run_id)
    return made


async def ended(admission: Any) -> Any:
    async with asyncio.timeout(60):
        return await admission.ended


async def messages(daemon: inprocess.Daemon, thread_id: str) -> list[str]:
    """Return the thread's messages: what each says, which tool it calls, or which call it answers."""
    values = wire.loads((await daemon.services.storage.thread_get(INTERNAL, thread_id)).values or b"{}")
    assert len({each["id"] for each in values["messages"]}) == len(values["messages"])
    return [shown(each) for each in values["messages"]]


def shown(message: dict[str, Any]) -> str:
    if message.get("tool_calls"):
        return str(message["tool_calls"][0]["id"])
    return f"={message['tool_call_id']}" if message["type"] == "tool" else str(message["content"])


async def found(daemon: inprocess.Daemon, run: Run) -> Run:
    here = await daemon.services.storage.run_get(INTERNAL, run.thread_id, run.run_id)
    assert here is not None
    return here


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
@pytest.mark.parametrize("node", ["agent", "tools"])
async def test_the_input_lands_behind_a_tools_answer_and_the_run_goes_on_in_its_attempt(
    tmp_path: Path, gates: Gates, node: str, options: dict[str, Any]
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        first = await started(daemon, gates, "tooled", **options)
        if node == "tools":
            gates.let(1)
            await gates.at("tools")
        merged = await waiting(daemon, first.run, "a", "b", **options)
        gates.let()
        assert (await ended(first)).status == "success"
        assert await messages(daemon, first.run.thread_id) == [
            *("first", "call-0", "=call-0", "a", "b", "call-1", "=call-1", "to first a b")
        ]
        run = await found(daemon, first.run)
        assert (run.attempt, run.strikes, run.suspicions) == (1, 0, 0)
        assert [(await ended(each)).status for each in merged] == ["interrupted"] * 2
        into = [(await found(daemon, each.run)).cancel_reason for each in merged]
        assert into == [f"merged:{first.run.run_id}", f"merged:{merged[0].run.run_id}"]
        records = await daemon.log(first.run.thread_id, first.run.run_id)
        assert sum(record.kind == "metadata" for record in records) == 1
        assert "error" not in {record.kind for record in records}
        assert (await daemon.services.storage.thread_get(INTERNAL, first.run.thread_id)).status == "idle"


async def test_a_run_without_a_fitting_step_is_followed_by_the_merged_run(
    tmp_path: Path, gates: Gates
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        first = await started(daemon, gates, "plain")
        oldest, other = await waiting(daemon, first.run, "a", "b")
        gates.let()
        assert [(await ended(each)).status for each in (first, oldest, other)] == [
            *("success", "success", "interrupted")
        ]
        assert await messages(daemon, first.run.thread_id) == ["first", "to first", "a", "b", "to first a b"]


async def test_steps_of_a_subgraph_are_not_interrupted_for_it(tmp_path: Path, gates: Gates) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        first = await started(daemon, gates, "nested")
        (merged,) = await waiting(daemon, first.run, "a")
        gates.let()
        assert (await ended(first)).status == "success"
        assert (await ended(merged)).status == "interrupted"
        assert await messages(daemon, first.run.thread_id) == [*DONE, "a", "to first a"]


async def test_a_second_wish_takes_the_next_step_or_the_same_and_nothing_is_lost(
    tmp_path: Path, gates: Gates
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        first = await started(daemon, gates, "tooled")
        (one,) = await waiting(daemon, first.run, "a")
        two = await daemon.create(said("tooled", first.run.thread_id, "b"))
        await daemon.services.runs.merge(
            INTERNAL, first.run.thread_id, into_running=True
        )  # b into a, and a into the run
        gates.let(2)  # agent and tools
        for node in ("tools", "agent"):
            await gates.at(node)
        (three,) = await waiting(daemon, first.run, "c")
        gates.let()
        assert (await ended(first)).status == "success"
        assert [(await ended(each)).status for each in (one, two, three)] == ["interrupted"] * 3
        assert await messages(daemon, first.run.thread_id) == [
            *("first", "call-0", "=call-0", "a", "b", "call-1", "=call-1", "c", "to first a b c")
        ]


async def test_a_waiting_run_that_is_cancelled_before_the_step_is_not_merged(
    tmp_path: Path, gates: Gates
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        first = await started(daemon, gates, "tooled")
        (one,) = await waiting(daemon, first.run, "a")
        await daemon.services.runs.cancel(INTERNAL, one.run.thread_id, one.run.run_id, "interrupt")
        gates.let()
        assert (await ended(first)).status == "success"
        assert await messages(daemon, first.run.thread_id) == DONE
        assert "requested" in ((await found(daemon, one.run)).cancel_reason or "")


async def test_only_into_a_run_of_the_same_kind_that_was_started(tmp_path: Path, gates: Gates) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        first = await started(daemon, gates, "tooled")
        thread_id = first.run.thread_id
        with pytest.raises(Conflict, match="Nothing to merge: 0"):
            await daemon.services.runs.merge(INTERNAL, thread_id, into_running=True)
        other = await daemon.create(said("plain", thread_id, "a"))
        with pytest.raises(
            Conflict, match=f"differs from the running run {first.run.run_id} in its assistant"
        ):
            await daemon.services.runs.merge(INTERNAL, thread_id, into_running=True)
        await daemon.services.runs.cancel(INTERNAL, thread_id, other.run.run_id, "interrupt")
        later = await daemon.create(said("tooled", ids.new_id(), "a", after_s=3600.0))
        with pytest.raises(Conflict, match="is not due yet"):
            await daemon.services.runs.merge(INTERNAL, later.run.thread_id, into_running=True)
        gates.let()
        await ended(first)


def merging(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    return function is runs.run_checkpoint_apply and args[0][0] == "merge"


class NextAfterMerge:
    """Finds what is stored for a run right after a merge."""

    merged = False

    def __call__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        if self.merged and function in inprocess.OF_RUNS:
            return True
        self.merged |= merging(function, args)
        return False


@pytest.mark.parametrize("fatal", [merging, NextAfterMerge()], ids=["before", "after"])
async def test_a_machine_that_dies_at_the_merge_has_merged_all_or_nothing(
    tmp_path: Path, gates: Gates, fatal: Any
) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        first = await started(daemon, gates, "tooled")
        one, two = await waiting(daemon, first.run, "a", "b")
        daemon.writer.crash_when(fatal)
        gates.let()
        async with asyncio.timeout(60):
            await daemon.writer.crashed.wait()
        daemon.abandon()
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = first.run.thread_id
        gates.let()
        async with asyncio.timeout(60):
            ends = [
                await daemon.services.runs.wait(INTERNAL, thread_id, each.run.run_id)
                for each in (first, one, two)
            ]
        stored = fatal is not merging
        assert [each.status for each in ends][::2] == ["success", "interrupted"]
        assert ends[1].status == "interrupted"
        done = await messages(daemon, thread_id)
        assert (done.count("a"), done.count("b")) == (1, 1)
        place = done.index("a")
        assert done[place - 1] == ("=call-0" if stored else "=call-1")
        assert done[place : place + 2] == ["a", "b"]
        assert done[-1] == "to first a b"
        assert (await found(daemon, one.run)).cancel_reason == f"merged:{first.run.run_id}"
