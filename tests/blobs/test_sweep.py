"""What nothing refers to goes, what something refers to stays, whatever happens in between."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewayd.blobs import cut
from gatewayd.blobs.sqlite import sweep
from gatewayd.blobs.texts import Place
from tests.blobs.conftest import SOURCES


def piece(number: int) -> bytes:
    return random.Random(number).randbytes(300)


def with_texts(number: int) -> bytes:
    """Return an element in which `find` finds two texts, the first of which three elements have."""
    return b"%04d" % number + piece(1000 + number // 3) + b"between" + piece(2000 + number)


def find(content: bytes) -> list[Place]:
    return [Place(4, 304, False), Place(311, 611, False)] if content[304:311] == b"between" else []


def history(length: int, seed: int = 0) -> list[Any]:
    return [b"head", [piece(seed + number) for number in range(length)]]


def test_blobs_go_with_the_last_row_that_reaches_them(shelf: Any) -> None:
    shelf.put("t", "a", history(70))
    shelf.put("t", "b", history(100))
    shelf.drop("t", "b")
    assert shelf.sweep() == 30 + 4
    assert shelf.get("t", "a")
    shelf.copy("t", "u")
    shelf.drop("t", "a")
    assert shelf.sweep() == 0
    assert shelf.get("u", "a")
    shelf.drop("u", "a")
    assert shelf.sweep() == 70 + 8 + 1
    assert [shelf.count(table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]


def test_a_family_is_left_alone_while_one_of_its_threads_is_locked(shelf: Any) -> None:
    shelf.put("t", "a", history(3))
    shelf.copy("t", "u")
    shelf.drop("t", "a")
    shelf.drop("u", "a")
    shelf.connection.execute("INSERT INTO thread_locks VALUES ('u', 'run', 'run', 1)")
    assert sweep.families(shelf.connection, 0, 10) == []
    assert sweep.begin(shelf.connection, 1) is None
    shelf.connection.execute("DELETE FROM thread_locks")
    assert shelf.sweep() == 3


@pytest.mark.parametrize("taken", [True, False], ids=["lock taken", "row stored"])
def test_what_happens_during_a_sweep_ends_it(shelf: Any, taken: bool, monkeypatch: Any) -> None:
    shelf.put("t", "a", history(3))
    shelf.drop("t", "a")
    monkeypatch.setattr(sweep.time, "perf_counter", iter(range(100)).__next__)
    monkeypatch.setattr(sweep, "STEP_S", 1)
    begun = sweep.begin(shelf.connection, 1)
    assert not sweep.step(shelf.connection, begun, SOURCES)
    # It has marked and not removed. A sender that knows nothing stores the same pieces: they are there
    # already.
    if taken:
        shelf.connection.execute("INSERT INTO thread_locks VALUES ('t', 'run', 'run', 1)")
    else:
        shelf.known.clear()
        shelf.put("t", "b", history(3))
    assert sweep.step(shelf.connection, begun, SOURCES)
    assert begun.removed == 0
    monkeypatch.undo()
    shelf.connection.execute("DELETE FROM thread_locks")
    assert shelf.sweep() == (3 if taken else 0)
    assert taken or shelf.get("t", "b")


def test_rows_that_go_during_a_sweep_are_swept_by_the_next(shelf: Any) -> None:
    shelf.put("t", "a", history(3))
    shelf.put("t", "b", history(3, seed=50))
    shelf.drop("t", "a")
    begun = sweep.begin(shelf.connection, 1)
    shelf.drop("t", "b")
    while not sweep.step(shelf.connection, begun, SOURCES):
        pass
    shelf.sweep()
    assert shelf.count() == 0


def test_a_text_goes_with_the_last_compound_that_has_it(shelf: Any) -> None:
    shelf.find = find
    elements = [with_texts(number) for number in range(9)]
    shelf.put("t", "a", [elements[:4]])
    shelf.put("t", "b", [elements])
    assert shelf.count() == 9 + 9 + 3 + 1
    shelf.drop("t", "b")
    assert shelf.sweep() == 5 + 5 + 1 + 1, "the second of the shared texts is in the fourth element, too"
    assert shelf.get("t", "a") == b"".join(elements[:4])
    shelf.copy("t", "u")
    shelf.drop("t", "a")
    assert shelf.sweep() == 0
    assert shelf.get("u", "a") == b"".join(elements[:4])
    shelf.drop("u", "a")
    assert shelf.sweep() == 4 + 4 + 2
    assert [shelf.count(table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]


def test_a_text_that_is_stored_during_a_sweep_stays(shelf: Any, monkeypatch: Any) -> None:
    shelf.find = find
    shelf.put("t", "a", [[with_texts(0)]])
    shelf.drop("t", "a")
    monkeypatch.setattr(sweep.time, "perf_counter", iter(range(100)).__next__)
    monkeypatch.setattr(sweep, "STEP_S", 1)
    begun = sweep.begin(shelf.connection, 1)
    assert not sweep.step(shelf.connection, begun, SOURCES)
    # Another element with the same text: nothing but the compound is new in the table.
    shelf.known.clear()
    shelf.put("t", "b", [[with_texts(1)]])
    assert sweep.step(shelf.connection, begun, SOURCES)
    assert begun.removed == 0
    monkeypatch.undo()
    assert shelf.sweep() == 2
    assert shelf.get("t", "b") == with_texts(1)


def test_a_sweep_looks_below_many_compounds_a_few_at_a_time(shelf: Any) -> None:
    shelf.find = find
    elements = [with_texts(number) for number in range(500)]
    shelf.put("t", "a", [elements])
    shelf.put("t", "b", [[with_texts(1000)]])
    shelf.drop("t", "b")
    kinds = dict(shelf.connection.execute("SELECT kind, count(*) FROM blobs GROUP BY kind"))
    assert kinds[cut.COMPOUND] == 501
    assert shelf.sweep() == 3
    assert shelf.get("t", "a") == b"".join(elements)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "drop", "copy", "sweep", "step", "begin"]),
        st.sampled_from("tuv"),
        st.sampled_from("tuv"),
        st.integers(0, 3),
        st.integers(1, 40),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS, texts=st.booleans())
def test_no_sequence_loses_a_blob_or_leaves_garbage(shelf: Any, operations: list[Any], texts: bool) -> None:
    shelf.find = find if texts else None
    for table in ("held", "blobs", "families", "thread_families"):
        shelf.connection.execute(f"DELETE FROM {table}")
    shelf.known.clear()
    held: dict[tuple[str, str], bytes] = {}
    begun = None
    for number, (what, thread_id, other, seed, length) in enumerate(operations):
        mine = [key for key in held if key[0] == thread_id]
        match what:
            case "put":
                # Each operation is a run of its own here: it knows nothing.
                shelf.known.clear()
                elements = [with_texts(seed * 20 + each) for each in range(length)]
                shelf.put(thread_id, str(number), [b"head", elements])
                held[thread_id, str(number)] = b"head" + b"".join(elements)
            case "drop" if mine:
                shelf.drop(*mine[0])
                del held[mine[0]]
            case "copy" if mine and not any(key[0] == other for key in held):
                shelf.copy(thread_id, other)
                held |= {(other, name): held[thread_id, name] for _, name in mine}
            case "sweep":
                shelf.sweep()
            case "begin":
                waiting = sweep.families(shelf.connection, 0, 10)
                begun = sweep.begin(shelf.connection, waiting[0]) if waiting else None
            case "step" if begun is not None:
                begun = None if sweep.step(shelf.connection, begun, SOURCES) else begun
    assert {key: shelf.get(*key) for key in held} == held
    shelf.sweep()
    assert {key: shelf.get(*key) for key in held} == held
    for key in held:
        shelf.drop(*key)
    shelf.sweep()
    assert [shelf.count(table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]
