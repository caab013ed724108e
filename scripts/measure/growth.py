"""What a conversation costs as it grows: bytes on disk, a turn, reading, copying; beside langgraph's own
SQLite saver.

    python scripts/measure/growth.py [--turns 200 2000] [--stock-turns 200] [--size 2000]

A turn is a question and an answer of about `--size` bytes of English-like text, asked of a graph with one
node. Only checkpoints are stored, through the same saver, statements and writer as in the server, into a file
in a temporary directory. "disk" is the size of the database after the last turn, divided by the bytes of the
texts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from attrs import define, field
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from gatewayd.checkpointing import commands, pieces, reader
from gatewayd.checkpointing.sqlite import changes, steps
from gatewayd.checkpointing.sqlite.reader import SqliteReader
from gatewayd.storage.sqlite.engine import database, migrate, writing
from gatewayd.worker.states import checkpoints, serde

CONFIG: Any = {"configurable": {"thread_id": "thread"}}


class Chat(TypedDict):
    """The state of the conversation."""

    messages: Annotated[list[Any], add_messages]


def vocabulary(count: int = 4000) -> list[str]:
    """Return made-up words of English lengths and letters."""
    draw = random.Random(1)
    letters = "etaoinshrdlcumwfgypbvk"
    weights = [12, 9, 8, 8, 7, 7, 6, 6, 6, 4, 4, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1]
    return [
        "".join(draw.choices(letters, weights, k=draw.choice([2, 3, 3, 4, 4, 5, 6, 7, 9])))
        for _ in range(count)
    ]


WORDS = vocabulary()
RANKS = [1 / (rank + 2) for rank in range(len(WORDS))]
"""Words are as frequent as in a language: the nth by one nth."""


def text(number: int, size: int) -> str:
    """Return the text of a message."""
    # Not the number itself: Random(-1) draws what Random(1) does, and the texts of questions have negative
    # ones.
    words = random.Random(f"{number}").choices(WORDS, RANKS, k=size // 3)
    return " ".join(words)[:size]


def graph(saver: Any, size: int) -> Any:
    """Return the graph."""

    def answer(state: Chat) -> dict[str, Any]:
        number = len(state["messages"])
        return {"messages": [AIMessage(text(number, size), id=f"run--{number:032}")]}

    builder = StateGraph(Chat)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


@define
class Cost:
    """What one turn has sent and what it has cost the writer."""

    frames: int = 0
    bytes: int = 0
    writer_s: float = 0.0


@define(eq=False)
class Sink:
    """A run's way to the writer."""

    writer: writing.Writer
    cost: Cost = field(factory=Cost)
    _last: Any = None

    def send(self, operation: commands.Operation, /) -> None:
        """Queue an operation."""
        packed = commands.pack(operation)
        self.cost.frames += 1
        self.cost.bytes += len(packed)
        self._last = self.writer.submit(self._apply, commands.unpack(packed))

    def _apply(self, connection: sqlite3.Connection, operation: commands.Operation) -> None:
        started = time.thread_time()  # here the graph executes beside it, in the server it is another process
        changes.apply(connection, operation, "run")
        self.cost.writer_s += time.thread_time() - started

    async def committed(self) -> None:
        """Wait for the last one."""
        if self._last is not None:
            await self._last

    def committed_blocking(self) -> None:
        """Wait for the last one, where one may wait in a thread: the loop's own would wait for itself."""
        raise RuntimeError("the graph that is measured has asynchronous nodes only")


async def turn(saver: Any, number: int, size: int) -> None:
    """Ask a question."""
    asked = {"messages": [{"role": "user", "content": text(-number, size), "id": f"question-{number}"}]}
    await graph(saver, size).ainvoke(asked, CONFIG)


async def timed(call: Any, times: int = 3) -> float:
    """Return the milliseconds that an asynchronous call takes, the best of a few."""
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        await call()
        best = min(best, time.perf_counter() - started)
    return best * 1000


async def history(saver: Any, size: int) -> None:
    """Read the last ten states."""
    async for _ in graph(saver, size).aget_state_history(CONFIG, limit=10):
        pass


def show(name: str, value: object, unit: str = "") -> None:
    """Print one figure."""
    told = f"{value:,.2f}" if isinstance(value, float) else value
    print(f"  {name:<52} {told:>14} {unit}")


async def ours(folder: Path, turns: Sequence[int], size: int) -> None:
    """Measure gatewayd's saver."""
    path = folder / "gatewayd.db"
    connection = database.connect(path)
    migrate.migrate(connection, path)
    writer = writing.Writer(connection)
    writer.start()
    eyes = SqliteReader(path, serde=serde.serialiser({}))
    costs: dict[int, list[Cost]] = {20: [], max(turns): []}
    for number in range(1, max(turns) + 1):
        sink = Sink(writer)
        saver = checkpoints.Saver(eyes, sink, run_id="run", durability="async", thread_id="thread")
        await turn(saver, number, size)
        await sink.committed()
        for last, kept in costs.items():
            if last - 8 < number <= last:  # eight turns: segments are filled up by some and not by others
                kept.append(sink.cost)
        if number in turns:
            await writer.submit(lambda connection: None)
            print(f"gatewayd, {number} turns")
            show("disk, bytes per byte of text", disk(path) / (number * 2 * size))
            for table, each in parts(path):
                show(f"  {table}", each / (number * 2 * size))
    few, many = ([mean(kept, name) for name in ("frames", "bytes", "writer_s")] for kept in costs.values())
    print(f"a turn, the mean of eight: up to turn 20, up to turn {max(turns)}, ratio")
    for name, early, late, scale in zip(
        ("frames", "bytes", "ms of the writer"), few, many, (1, 1, 1000), strict=True
    ):
        print(f"  {name:<40} {early * scale:>12,.2f} {late * scale:>12,.2f} {late / early:>8.2f}")
    await reading(eyes, max(turns), size, writer)
    await copying(writer)
    eyes.close()
    await writer.close()


def disk(path: Path) -> int:
    """Return the size of a database as it is without a write-ahead log."""
    with sqlite3.connect(path) as connection:
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
    connection.close()
    return int(pages * size)


def parts(path: Path) -> list[tuple[str, int]]:
    """Return the bytes of rows by table."""
    with sqlite3.connect(path) as connection:
        found = [
            (name, connection.execute(f"SELECT coalesce(sum({body}), 0) FROM {name}").fetchone()[0])
            for name, body in (
                ("blobs", "length(body) + 40"),
                ("checkpoints", "length(checkpoint) + length(coalesce(metadata_packed, metadata)) + 150"),
                ("writes", "length(value) + 150"),
            )
        ]
    connection.close()
    return found


def mean(costs: Sequence[Cost], name: str) -> float:
    """Return the mean of one figure."""
    return float(sum(getattr(cost, name) for cost in costs) / len(costs))


async def reading(eyes: SqliteReader, turns: int, size: int, writer: writing.Writer) -> None:
    """Measure reads at the end of the conversation."""

    def saver() -> checkpoints.Saver:
        return checkpoints.Saver(eyes, Sink(writer), run_id="", durability="async")

    memory = InMemorySaver()
    given = [HumanMessage(text(number, size), id=f"{number}") for number in range(2 * turns - 8)]
    await graph(memory, size).aupdate_state(CONFIG, {"messages": given}, as_node="answer")
    for number in range(4):
        await turn(memory, turns + number, size)
    print(f"reading at turn {turns} ({2 * turns} messages)")
    show("the latest state", await timed(lambda: saver().aget_tuple(CONFIG)), "ms")
    show("the same in memory", await timed(lambda: memory.aget_tuple(CONFIG)), "ms")
    show("the last ten states", await timed(lambda: history(saver(), size)), "ms")
    show("the same in memory", await timed(lambda: history(memory, size)), "ms")

    async def share() -> None:
        joiner = saver()._joiner("thread")
        page = eyes.page(reader.Search(thread_id="thread"), None, 10)
        saver()._load(joiner, page)
        for row in page:
            pieces.whole(row, joiner)

    show("of the ten states: reading and joining alone", await timed(share), "ms")


async def copying(writer: writing.Writer) -> None:
    """Measure a copy of the thread in the server's steps."""
    started, longest, position, steps = time.perf_counter(), 0.0, None, 0

    def step(connection: sqlite3.Connection, after: steps.Position | None) -> steps.Position | None:
        nonlocal longest
        begun = time.perf_counter()
        done = steps.thread_copy_step(connection, "thread", "copy", after)
        longest = max(longest, time.perf_counter() - begun)
        return done

    while (position := await writer.submit(step, position)) is not None:
        steps += 1
    show(f"a copy of the thread, in {steps} steps", (time.perf_counter() - started) * 1000, "ms")
    show("its longest step", longest * 1000, "ms")


async def stock(folder: Path, turns: int, size: int) -> None:
    """Measure langgraph's SQLite saver."""
    path = folder / "stock.db"
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        for number in range(1, turns + 1):
            await turn(saver, number, size)
        print(f"langgraph-checkpoint-sqlite, {turns} turns")
        show("disk, bytes per byte of text", disk(path) / (turns * 2 * size))
        show("the latest state", await timed(lambda: saver.aget_tuple(CONFIG)), "ms")
        show("the last ten states", await timed(lambda: history(saver, size)), "ms")


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, nargs="+", default=[200, 2000])
    parser.add_argument(
        "--stock-turns", type=int, default=200, help="0: leave it out; 200 need 0.4 GB of disk"
    )
    parser.add_argument("--size", type=int, default=2000, help="bytes of a message")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        await ours(Path(folder), given.turns, given.size)
        if given.stock_turns:
            await stock(Path(folder), given.stock_turns, given.size)


if __name__ == "__main__":
    asyncio.run(main())
