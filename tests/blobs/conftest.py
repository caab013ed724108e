"""The tables of blobs in memory, beside one table whose rows have manifests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gatewayd.blobs import cut, join, texts
from gatewayd.blobs.sqlite import sweep, tables

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "sqlite"
SOURCES = [sweep.Source("held", ("name",), ("",), "manifest", "manifest IS NOT NULL")]


@define(eq=False)
class Shelf:
    """Threads that hold values by name."""

    connection: sqlite3.Connection
    known: cut.Known = field(factory=set)
    find: texts.Find | None = None
    """How the long texts in elements are found."""

    def put(self, thread_id: str, name: str, pieces: Sequence[cut.Piece]) -> list[cut.Blob]:
        """Store a value; return the blobs that had to be sent."""
        cutter = cut.Cutter(self.known, find=self.find)
        manifest = cutter.manifest(pieces)
        blobs = list(cutter.blobs.values())
        tables.store(self.connection, thread_id, blobs, [manifest])
        self.connection.execute("INSERT INTO held VALUES (?, ?, ?)", (thread_id, name, manifest))
        self.known.update(cutter.blobs)
        return blobs

    def manifest(self, thread_id: str, name: str) -> bytes:
        (found,) = self.connection.execute(
            "SELECT manifest FROM held WHERE thread_id = ? AND name = ?", (thread_id, name)
        ).fetchone()
        return bytes(found)

    def get(self, thread_id: str, name: str) -> bytes:
        return self.joiner(thread_id).join(self.manifest(thread_id, name))

    def joiner(self, thread_id: str) -> join.Joiner:
        return join.Joiner(thread_id, tables.Blobs(self.fetch))

    def fetch(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def drop(self, thread_id: str, name: str) -> None:
        tables.mark(self.connection, thread_id)
        self.connection.execute("DELETE FROM held WHERE thread_id = ? AND name = ?", (thread_id, name))

    def copy(self, source: str, target: str) -> None:
        tables.adopt(self.connection, source, target)
        self.connection.execute(
            "INSERT INTO held SELECT ?, name, manifest FROM held WHERE thread_id = ?", (target, source)
        )

    def sweep(self) -> int:
        """Sweep all families as far as that is possible; return the number of blobs removed."""
        removed = 0
        for family_id in sweep.families(self.connection, 0, 1000):
            begun = sweep.begin(self.connection, family_id)
            while begun and not sweep.step(self.connection, begun, SOURCES):
                pass
            removed += begun.removed if begun else 0
        self.known.clear()
        return removed

    def count(self, table: str = "blobs") -> int:
        (count,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in sorted(MIGRATIONS.glob("*.sql")):
        connection.executescript(script.read_text())
    connection.execute("CREATE TABLE held (thread_id, name, manifest, PRIMARY KEY (thread_id, name))")
    yield Shelf(connection)
    connection.close()
