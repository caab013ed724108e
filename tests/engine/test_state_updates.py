"""
What updates of a state leave is what a graph with langgraph's own saver in memory has after the same updates.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from gatewayd import ids, wire
from gatewayd.errors import Rejected
from gatewayd.model.caller import INTERNAL
from gatewayd.worker.service import state
from gatewayd.worker.states import serialise
from tests.engine import inprocess
from tests.engine.project import kinds_of_runs

PROJECT = Path(__file__).parent / "project" / "langgraph.json"

DECK = ["node", "node", "guess", "back", "fork", "clear", "inside", "run", "run", "refused"]
"""What is done on one thread, in any order."""

SEEDS = 2

NODES = {
    "steps": ("a", "b", "c"),
    "scattering": ("spread", "one", "join"),
    "two_questions": ("before", "ask", "after"),
    "parallel_questions": ("once", "twice", "plain", "join"),
    "inner_questions": ("before", "inner", "beside", "after"),
    "remembering": ("before", "inner", "beside", "after"),
    "talking": ("speak", "route"),
}


def told(history: list[dict[str, Any]]) -> list[Any]:
    """Return what does not differ from one time to the next: checkpoints are named by their age."""
    age = {one["checkpoint_id"]: -number for number, one in enumerate(reversed(history))}

    def task(one: dict[str, Any]) -> Any:
        asked = [interrupt["value"] for interrupt in one["interrupts"]]
        inside = (one["checkpoint"] or {}).get("checkpoint_ns", "").partition(":")[0]
        return (one["name"], one["path"], one["error"], asked, one["result"], inside)

    return [
        (
            one["values"],
            one["next"],
            [task(each) for each in one["tasks"]],
            (one["metadata"]["source"], one["metadata"]["step"]),
            age.get(one["parent_checkpoint_id"]),
        )
        for one in history
    ]


def without_ids(value: Any) -> Any:
    """Return values without the ids that messages were given."""
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key != "id"}
    return value


@define
class Both:
    """One thread of a graph, twice: in gatewayd and in memory."""

    daemon: inprocess.Daemon
    kind: str
    thread_id: str = field(factory=ids.new_id)
    plain: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.plain = copy.copy(getattr(kinds_of_runs, self.kind))
        self.plain.checkpointer = InMemorySaver()

    def config(self, **place: Any) -> Any:
        return {"configurable": {"thread_id": self.thread_id, "checkpoint_ns": "", **place}}

    async def run(self, given: Any, resume: Any = None) -> None:
        command = None if resume is None else {"resume": resume}
        request = inprocess.request(self.kind, thread_id=self.thread_id, input=given, command=command)
        ended = await self.daemon.finish(request)
        try:
            await self.plain.ainvoke(given if resume is None else Command(resume=resume), self.config())
            failure = None
        except Exception as error:
            failure = {"error": type(error).__name__, "message": str(error)}
        assert ended.error == failure

    async def history(self, namespace: str = "") -> list[dict[str, Any]]:
        answer = await self.daemon.services.threads.history(
            INTERNAL, self.thread_id, limit=100, checkpoint_ns=namespace
        )
        return wire.loads(answer)

    async def plain_history(self, namespace: str = "") -> list[dict[str, Any]]:
        config = self.config(checkpoint_ns=namespace)
        found = [state.shape(one) async for one in self.plain.aget_state_history(config)]
        return wire.loads(serialise.dumps(found))

    async def update(
        self, values: Any, as_node: str | None, at: int | None = None, inside: bool = False
    ) -> bool:
        """Update both alike: the latest state, that of the checkpoint `at`, or that of the first subgraph."""
        mine, theirs = (await self.history())[at or 0], (await self.plain_history())[at or 0]
        places = [
            next(task["checkpoint"] for task in one["tasks"] if task["checkpoint"])
            if inside
            else {}
            if at is None
            else {"checkpoint_id": one["checkpoint_id"]}
            for one in (mine, theirs)
        ]
        refusals: list[str] = ["", ""]
        try:
            await self.daemon.services.changes.update_state(
                INTERNAL, self.thread_id, values=values, as_node=as_node, place=places[0]
            )
        except Rejected as error:
            refusals[0] = error.detail
        try:
            await self.plain.aupdate_state(self.config(**places[1]), values, as_node=as_node)
        except Exception as error:
            refusals[1] = str(error)
        assert (refusals[0] == "") == (refusals[1] == "")
        assert refusals[1] in refusals[0]
        return not refusals[0]

    async def refuse(self, values: Any, as_node: str) -> None:
        """Ask only gatewayd for what is not possible: in memory a part of it would stay behind."""
        before = await self.history()
        with pytest.raises(Rejected, match="TypeError"):
            await self.daemon.services.changes.update_state(
                INTERNAL, self.thread_id, values=values, as_node=as_node, place={}
            )
        assert await self.history() == before

    async def compare(self) -> None:
        mine, theirs = await self.history(), await self.plain_history()
        assert without_ids(told(mine)) == without_ids(told(theirs))
        thread = await self.daemon.services.storage.thread_get(INTERNAL, self.thread_id)
        latest = wire.loads(await self.daemon.services.threads.state(INTERNAL, self.thread_id))
        assert wire.loads(thread.values) == latest["values"]
        asking = {task["id"] for task in latest["tasks"] if task["interrupts"]}
        assert set(thread.interrupts or {}) == asking
        assert thread.status == ("interrupted" if latest["next"] or asking else "idle")


def some_values(kind: str, draw: random.Random) -> Any:
    if kind == "talking":
        return draw.choice(
            [None, {"messages": [{"role": "human", "content": draw.choice("abc"), "id": "m"}]}]
        )
    return draw.choice(
        [None, {"word": draw.choice("uvw")}, {"path": [draw.choice("xyz")]}, {"word": "n", "path": ["m"]}]
    )


def a_node(kind: str, draw: random.Random, at: dict[str, Any]) -> str:
    """Draw a node that has no result at a checkpoint: of two the newer counts here, in memory the older."""
    finished = {task["name"] for task in at["tasks"] if task["result"] is not None}
    return draw.choice([node for node in NODES[kind] if node not in finished])


def first_input(kind: str) -> Any:
    if kind == "talking":
        return {"messages": [{"role": "human", "content": "hello", "id": "first"}]}
    return {"word": "w", "path": []}


@pytest.mark.parametrize("kind", NODES)
async def test_any_sequence_of_updates_and_runs_leaves_what_it_leaves_in_memory(
    tmp_path: Path, kind: str
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        for seed in range(SEEDS):
            draw = random.Random(f"{kind} {seed}")
            both = Both(daemon, kind)
            await both.run(first_input(kind))
            for doing in draw.sample(DECK, len(DECK)):
                history = await both.history()
                waiting = [each for task in history[0]["tasks"] for each in task["interrupts"]]
                nested = any(task["checkpoint"] for task in history[0]["tasks"])
                at = draw.randrange(len(history)) if doing in {"back", "fork"} else 0
                as_node = a_node(kind, draw, history[at])
                values = some_values(kind, draw)
                match doing:
                    case "guess":
                        await both.update(values, None)
                    case "back":
                        await both.update(values, as_node, at)
                    case "fork":
                        again = draw.choice([None, [[values, as_node]]])
                        await both.update(again, "__copy__", at)
                    case "refused":
                        await both.refuse({"path": 5}, as_node)
                        await both.refuse([[{"path": 5}, as_node]], "__copy__")
                    case "clear":
                        await both.update(None, "__end__")
                    case "inside" if nested:
                        await both.update({"path": ["inside"]}, None, inside=True)
                    case "run" if len(waiting) == 1:
                        await both.run(None, f"answer {draw.choice('rst')}")
                    case "run":
                        await both.run(first_input(kind))
                    case _:
                        await both.update(values, as_node)
                await both.compare()
