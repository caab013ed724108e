"""A real database file, a thread that writes it as the daemon does, and savers whose sinks lead there.

The writer takes all operations that wait into one transaction, a savepoint each, and acknowledges after the
commit, in its own thread: that is all a saver may rely on.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from gatewayd.blobs import cut
from gatewayd.blobs.seal import Seal
from gatewayd.blobs.sqlite import sweep
from gatewayd.checkpointing import commands, pieces
from gatewayd.checkpointing.sqlite import changes, statements
from gatewayd.checkpointing.sqlite.reader import SqliteReader
from gatewayd.errors import GatewaydError
from gatewayd.worker.states import checkpoints

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "sqlite"


class Writer:
    """The only connection that writes, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open_gate = threading.Event()
        self.open_gate.set()
        self._waiting: queue.Queue[tuple[RunSink, bytes] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="writer")
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        for script in sorted(MIGRATIONS.glob("*.sql")):
            connection.executescript(script.read_text())
        connection.close()
        self._thread.start()

    def take(self, sink: RunSink, operation: commands.Operation) -> None:
        self._waiting.put((sink, commands.pack(operation)))

    def stop(self) -> None:
        self.open_gate.set()
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        statements.prepare(connection)
        try:
            while (first := self._waiting.get()) is not None:
                self.open_gate.wait()
                batch = [first]
                while not self._waiting.empty() and (more := self._waiting.queue[0]) is not None:
                    batch.append(more)
                    self._waiting.get()
                self._commit(connection, batch)
        finally:
            connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list[tuple[RunSink, bytes]]) -> None:
        outcomes: list[tuple[RunSink, str | None]] = []
        connection.execute("BEGIN IMMEDIATE")
        for sink, packed in batch:
            connection.execute("SAVEPOINT operation")
            try:
                changes.apply(connection, commands.unpack(packed), sink.run_id)
            except GatewaydError as error:
                connection.execute("ROLLBACK TO operation")
                outcomes.append((sink, error.detail))
            else:
                outcomes.append((sink, None))
            connection.execute("RELEASE operation")
        connection.execute("COMMIT")
        for sink, refusal in outcomes:
            sink.acknowledge(refusal)


class RunSink:
    """The sink of one run."""

    def __init__(self, writer: Writer, run_id: str) -> None:
        self.run_id = run_id
        self.operations: list[commands.Operation] = []
        self._writer = writer
        self._changed = threading.Condition()
        self._acknowledged = 0
        self._refusal: str | None = None
        self._listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def send(self, operation: commands.Operation, /) -> None:
        with self._changed:
            self._check()
            self.operations.append(operation)
            self._writer.take(self, operation)

    def acknowledge(self, refusal: str | None) -> None:
        with self._changed:
            self._acknowledged += 1
            self._refusal = self._refusal or refusal
            self._changed.notify_all()
            for loop, event in self._listeners:
                loop.call_soon_threadsafe(event.set)

    async def committed(self) -> None:
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._changed:
            target = len(self.operations)
            self._listeners.append(entry)
        try:
            while True:
                with self._changed:
                    self._check()
                    if self._acknowledged >= target:
                        return
                    entry[1].clear()
                await entry[1].wait()
        finally:
            with self._changed:
                self._listeners.remove(entry)

    def committed_blocking(self) -> None:
        with self._changed:
            target = len(self.operations)
            arrived = self._changed.wait_for(
                lambda: self._refusal is not None or self._acknowledged >= target, timeout=20
            )
            assert arrived, "the acknowledgement never came: deadlock"
            self._check()

    def _check(self) -> None:
        if self._refusal is not None:
            raise checkpoints.SinkFailed(self._refusal)


class Bench:
    """One database with its writer, and a saver for any run."""

    def __init__(self, path: Path, seal: Seal | None = None) -> None:
        self.path = path
        self.writer = Writer(path)
        self.reader = SqliteReader(path, serde=JsonPlusSerializer(), seal=seal)

    def saver(self, run_id: str = "run-a", durability: str = "async", **options: Any) -> checkpoints.Saver:
        sink = RunSink(self.writer, run_id)
        return checkpoints.Saver(self.reader, sink, run_id=run_id, durability=durability, **options)

    def content(self) -> bytes:
        """Return the bytes of the database file, the write-ahead log folded in."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        return self.path.read_bytes()

    def change(self, function: Callable[..., object], *args: object) -> None:
        """Run one of the functions on the tables in a transaction, as the daemon's own operations do."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            function(connection, *args)

    def fetch(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement, values).fetchall()

    def dump(self, table: str) -> list[tuple[Any, ...]]:
        return sorted(self.fetch(f"SELECT * FROM {table}"), key=repr)

    def sweep(self) -> int:
        """Sweep every family that is at rest; return the number of blobs that are gone."""
        before = self.count("blobs")
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for family_id in sweep.families(connection, 0, 1000):
                begun = sweep.begin(connection, family_id)
                while begun is not None and not sweep.step(connection, begun, statements.SOURCES):
                    pass
        return before - self.count("blobs")

    def count(self, table: str) -> int:
        return int(self.fetch(f"SELECT count(*) FROM {table}")[0][0])

    def close(self) -> None:
        self.writer.stop()
        self.reader.close()


@pytest.fixture(params=["as stored", "all in pieces"])
def cutting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Run a test twice: as values of its size are stored, and with everything in pieces and lists of small
    trees.
    """
    if request.param == "all in pieces":
        everything_in_pieces(monkeypatch)


def everything_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "SMALL", 0)
    monkeypatch.setattr(cut, "LONE", 3)
    monkeypatch.setattr(cut, "SHARED", 4)
    monkeypatch.setattr(cut, "FANOUT", 2)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "gatewayd.db")
    yield made
    made.close()


@pytest.fixture
def new_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make any number of benches, each with a file of its own."""
    made: list[Bench] = []

    def make(seal: Seal | None = None) -> Bench:
        made.append(Bench(tmp_path / f"{len(made)}.db", seal))
        return made[-1]

    yield make
    for one in made:
        one.close()
