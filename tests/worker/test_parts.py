"""A state that was cut is, joined, byte for byte what it would have been in one piece."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from gatewayd.blobs import join
from gatewayd.blobs.cut import COMPOUND, Cutter
from gatewayd.blobs.sqlite import tables
from gatewayd.checkpointing import split
from gatewayd.checkpointing.sqlite import statements
from gatewayd.model.state import FIRST, Cut, Parts, loaded, stored
from gatewayd.worker.states import parts, serialise

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "sqlite"


class Shade(Enum):
    DARK = "dark"


@dataclass
class Point:
    x: int
    name: str


class Shelf:
    """A database that is read as a worker's reader reads, and what has been cut is stored in."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for script in sorted(MIGRATIONS.glob("*.sql")):
            self.connection.executescript(script.read_text())
        self.connection.execute(
            "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at) VALUES ('t', 0, 0, 0)"
        )

    def fetch(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def values_manifest(self, thread_id: str) -> bytes | None:
        rows = self.fetch(statements.VALUES_MANIFEST, (thread_id,))
        return rows[0][0] if rows else None

    def blobs(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[Any, ...]]:
        return tables.blobs(self.fetch, thread_id, hashes)

    def segments(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        return tables.segments(self.fetch, thread_id, hashes)

    def store(self, cut: bytes | Cut) -> bytes:
        """Store a state as the thread's values and return it joined."""
        if isinstance(cut, Cut):
            tables.store(self.connection, "t", cut.blobs, [cut.manifest])
        self.connection.execute('UPDATE threads SET "values" = ?', (parts.inline(cut),))
        ((column,),) = self.fetch('SELECT "values" FROM threads')
        found = loaded(column)
        if isinstance(found, bytes):
            return found
        assert isinstance(found, Parts)
        return join.Joiner("t", self).join(found.manifest)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    yield made
    made.connection.close()


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(),
    st.sampled_from(
        [
            "x" * 300,
            'line\nbreak "quoted" \\ \u2028 \U0001f600' * 20,
            "nul \x00 and \ud800 lone",
            Decimal("1.50"),
            dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
            uuid.UUID(int=7),
            Shade.DARK,
            Point(1, "p" * 400),
            b"bytes" * 100,
            {"set"},
            object(),
            HumanMessage("h" * 500, id="1"),
            AIMessage("a" * 500, id="2"),
            ValueError("secret"),
        ]
    ),
)
KEYS = st.one_of(st.text(max_size=5), st.sampled_from(["messages", "\x00", "k" * 300]))
STATES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=30),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: some * 15),
        st.dictionaries(KEYS, inner, max_size=5),
        st.dictionaries(st.integers(0, 9), inner, max_size=3),
        st.tuples(inner, inner),
        st.lists(inner, max_size=5).map(deque),
    ),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(state=STATES, full=st.booleans())
def test_any_state_joined_is_the_same_bytes_as_in_one_piece(shelf: Shelf, state: Any, full: bool) -> None:
    assert shelf.store(parts.States(shelf, "t").cut(state, full=full)) == serialise.dumps(state, full=full)


@pytest.mark.parametrize(
    "elements",
    [
        list(range(5000)),
        [None, *range(3000)],
        ["word"] * 3000,
        ["long " * 200] * 100,
        [1.5, "x" * 900, {"a": [1, 2]}, [], {}] * 40,
        [[]] * 900,
        [{"n": n, "text": "t" * (n % 700)} for n in range(600)],
    ],
    ids=["integers", "mixed", "words", "equal texts", "all kinds", "empty lists", "objects"],
)
def test_long_lists_of_all_kinds_are_the_same_joined(shelf: Shelf, elements: list[Any]) -> None:
    state = {"first": elements, "deep": {"er": {"list": elements}}, "last": 1}
    assert shelf.store(parts.States(shelf, "t").cut(state)) == serialise.dumps(state)
    assert shelf.store(parts.States(shelf, "t").cut(elements)) == serialise.dumps(elements)


def test_what_the_whole_refuses_is_refused_in_parts(shelf: Shelf) -> None:
    endless: dict[str, Any] = {"text": "x" * 2000}
    endless["self"] = [endless] * 20
    for state in ({"n": 2**64, "text": "x" * 2000}, {"n": [2**70] * 100}, endless):
        with pytest.raises((TypeError, RecursionError)):
            parts.States(shelf, "t").cut(state)


def test_small_states_stay_in_one_piece(shelf: Shelf) -> None:
    states = parts.States(shelf, "t")
    for state in ({"n": 1}, {"trail": [str(n) for n in range(50)]}, [], None, {"x": "x" * 900}):
        assert states.cut(state) == serialise.dumps(state)
    assert isinstance(states.cut({"x": "x" * 1100}), Cut)


def conversation(length: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"{n} " * 300, id=str(n)) for n in range(length)], "turn": length}


def weight(cut: bytes | Cut) -> int:
    assert isinstance(cut, Cut)
    return len(cut.manifest) + sum(len(body) + 20 for _, _, body in cut.blobs)


def test_a_growing_state_is_sent_once_and_then_by_what_is_new(shelf: Shelf) -> None:
    states = parts.States(shelf, "t")
    first = states.cut(conversation(500))
    again = states.cut(conversation(500))
    grown = states.cut(conversation(502))
    assert weight(first) > 30_000
    assert not isinstance(again, bytes)
    assert not again.blobs
    assert weight(grown) < 1500
    # A node may have changed any message in place: it is looked at, not remembered.
    changed = conversation(502)
    changed["messages"][7].content = "something else " * 50
    shelf.store(first)
    shelf.store(grown)
    assert shelf.store(states.cut(changed)) == serialise.dumps(changed)


def test_the_next_run_does_not_send_again_what_the_thread_has(shelf: Shelf) -> None:
    shelf.store(parts.States(shelf, "t").cut(conversation(700)))
    later = parts.States(shelf, "t").cut(conversation(702))
    assert weight(later) < 2500
    assert shelf.store(later) == serialise.dumps(conversation(702))
    forgetful = parts.States(shelf, "t")
    forgetful.forget()
    assert weight(forgetful.cut(conversation(702))) > 40_000


def test_the_text_of_a_message_is_stored_once_for_its_checkpoint_and_its_state(shelf: Shelf) -> None:
    said = HumanMessage('line\nbreak "quoted" ' * 200, id="1")
    shelf.store(parts.States(shelf, "t").cut({"messages": [said]}))
    kinds = [kind for (kind,) in shelf.fetch("SELECT kind FROM blobs ORDER BY kind")]
    cutter = Cutter(find=split.long_texts)
    manifest = cutter.manifest(split.pieces(JsonPlusSerializer().dumps_typed([said])[1]))
    tables.store(shelf.connection, "t", list(cutter.blobs.values()), [manifest])
    again = [kind for (kind,) in shelf.fetch("SELECT kind FROM blobs ORDER BY kind")]
    assert (len(kinds), kinds.count(COMPOUND)) == (2, 1)
    assert (len(again), again.count(COMPOUND)) == (3, 2)
    assert join.Joiner("t", shelf).join(manifest) == JsonPlusSerializer().dumps_typed([said])[1]


def test_the_two_forms_are_told_apart_by_the_first_byte(shelf: Shelf) -> None:
    cut = parts.States(shelf, "t").cut(conversation(9))
    assert isinstance(cut, Cut)
    assert cut.manifest[:1] == FIRST
    assert stored(loaded(cut.manifest)) == cut.manifest
    assert loaded(b'{"a":1}') == b'{"a":1}'
    assert loaded(None) is None
