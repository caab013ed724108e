"""A metadata filter finds exactly what the contract's words, written down in Python, find."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies

from gatewayd import wire
from gatewayd.errors import Invalid
from gatewayd.storage.sqlite import filters

LETTERS = "ab.\"\\[]0$ é😀'%\n\x01\x7f\u2028_/"

texts = strategies.text(alphabet=LETTERS, max_size=3)
scalars = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(-3, 3),
    strategies.integers(-8, 8).map(lambda number: number / 2),
    strategies.sampled_from([2**53 + 1, -(2**63), 2**63 - 1, 2**63, 1e300, -0.0]),
    texts,
    strategies.sampled_from(["1", "true", "null", "[]", "{}", "[1]", '{"a":1}', ""]),
)
documents = strategies.recursive(
    scalars,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = strategies.dictionaries(texts, documents, max_size=3)


def contains(have: Any, wanted: Any) -> bool:
    """
    Whether a value contains another: objects by their keys, lists by their items, everything else if it is
    equal.
    """
    match wanted:
        case None | bool() | str():
            return type(have) is type(wanted) and have == wanted
        case int() | float():
            return isinstance(have, int | float) and not isinstance(have, bool) and have == wanted
        case list():
            return isinstance(have, list) and all(
                any(contains(item, each) for item in have) for each in wanted
            )
        case _:
            return isinstance(have, dict) and all(
                key in have and contains(have[key], value) for key, value in wanted.items()
            )


@strategies.composite
def part(draw: strategies.DrawFn, document: Any) -> Any:
    """A value that a document contains, or nearly contains."""
    if draw(strategies.integers(0, 9)) == 0:
        return draw(documents)
    match document:
        case dict():
            kept = (
                draw(strategies.lists(strategies.sampled_from(sorted(document)), unique=True))
                if document
                else []
            )
            return {key: draw(part(document[key])) for key in kept}
        case list():
            kept = (
                draw(strategies.lists(strategies.sampled_from(range(len(document))), max_size=4))
                if document
                else []
            )
            return [draw(part(document[place])) for place in kept]
        case bool():
            return document
        case int() | float():
            return draw(strategies.sampled_from([document, float(document)]))
        case _:
            return document


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path_factory.mktemp("filters") / "notes.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("CREATE TABLE notes (note TEXT NOT NULL) STRICT")
    yield connection
    connection.close()


def found(notes: sqlite3.Connection, documents: list[Any], wanted: Any) -> list[Any]:
    notes.execute("DELETE FROM notes")
    notes.executemany("INSERT INTO notes VALUES (?)", [(wire.text(document),) for document in documents])
    conditions = filters.matches("note", wanted)
    where = " AND ".join(conditions.terms) or "true"
    rows = notes.execute(f"SELECT note FROM notes WHERE {where} ORDER BY rowid", conditions.parameters)
    return [wire.loads(note) for (note,) in rows]


relaxed = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@relaxed
@given(data=strategies.data(), stored=strategies.lists(objects, min_size=1, max_size=3))
def test_containment_in_sql_is_containment_in_python(
    notes: sqlite3.Connection, data: strategies.DataObject, stored: list[dict[str, Any]]
) -> None:
    base = data.draw(strategies.sampled_from(stored))
    wanted = data.draw(part(base).filter(lambda value: isinstance(value, dict)))
    stored = wire.loads(wire.dumps(stored))  # numbers as they are after storing
    wanted = wire.loads(wire.dumps(wanted))
    expected = [document for document in stored if contains(document, wanted)]
    assert found(notes, stored, wanted) == expected


@relaxed
@example(key='"')
@example(key="\\")
@example(key="")
@example(key="a.b")
@example(key="[0]")
@given(
    key=strategies.text(
        strategies.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5
    )
)
def test_every_key_finds_its_value_and_no_other(notes: sqlite3.Connection, key: str) -> None:
    right: list[Any] = [{key: {key: [{key: 1}]}}]
    wrong: list[Any] = [
        {key: {key: [{key: 2}]}},
        {key + "x": {key: [{key: 1}]}},
        {key: {key: [{"x" + key: 1}]}},
    ]
    assert found(notes, right + wrong, right[0]) == right


def test_the_rows_of_the_contract_hold(notes: sqlite3.Connection) -> None:
    def hit(document: Any, wanted: Any) -> bool:
        return bool(found(notes, [document], wanted))

    assert hit({"n": {"x": 1, "y": 2}}, {"n": {"x": 1}})
    assert hit({"n": {"x": 1}}, {"n": {}})
    assert not hit({"n": [1]}, {"n": {}})
    assert hit({"n": 1}, {"n": 1.0})
    assert not hit({"n": 1}, {"n": "1"})
    assert not hit({"n": 1}, {"n": True})
    assert not hit({"n": True}, {"n": 1})
    assert not hit({}, {"zz": None})
    assert hit({"zz": None}, {"zz": None})
    assert hit({"any": "thing"}, {})


def test_a_list_is_contained_item_by_item(notes: sqlite3.Connection) -> None:
    def hit(document: Any, wanted: Any) -> bool:
        return bool(found(notes, [{"l": document}], {"l": wanted}))

    assert hit([1, 2], [1])
    assert hit([1, 2], [2.0, 1, 1])
    assert hit([1, 2], [])
    assert not hit([1, 2], [1, 3])
    assert not hit([1, 2], [True])
    assert not hit([1, 2], ["1"])
    assert not hit([1, 2], 1)
    assert not hit("[1]", [1])
    assert not hit({"0": 1}, [])
    assert not hit({"0": 1}, [1])
    assert hit([{"b": 2.0, "a": 1}], [{"a": 1}])
    assert not hit([{"a": 1}, {"b": 2}], [{"a": 1, "b": 2}])
    assert hit([{"a": {"k": [1, None]}}], [{"a": {"k": [None]}}])
    assert hit([[1, 2], [3]], [[2], [3]])
    assert not hit([[1, 2], [3]], [[2, 3]])
    assert not hit([[1, 2], [3]], [1])
    assert not hit([1, "a", None], [{"a": 1}])
    assert hit([1, "a", {'"': 2}], [{'"': 2}])
    assert not hit([1, "a", '{"'], [{'"': 2}])


@relaxed
@given(data=strategies.data(), stored=strategies.lists(objects, min_size=1, max_size=3))
def test_what_is_excluded_is_what_would_be_found(
    notes: sqlite3.Connection, data: strategies.DataObject, stored: list[dict[str, Any]]
) -> None:
    unwanted = data.draw(part(data.draw(strategies.sampled_from(stored))).filter(bool))
    if not isinstance(unwanted, dict):
        return
    stored, unwanted = wire.loads(wire.dumps(stored)), wire.loads(wire.dumps(unwanted))
    found(notes, stored, {})
    excluded = filters.Conditions()
    excluded.add_none_of(filters.matches("note", unwanted))
    rows = notes.execute(f"SELECT note FROM notes WHERE {excluded.terms[0]}", excluded.parameters)
    assert [wire.loads(note) for (note,) in rows] == [
        document for document in stored if not contains(document, unwanted)
    ]


def nested(key: str, depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = {key: made}
    return made


def listed(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return {"list": made}


def test_a_filter_is_answered_or_refused_however_large_and_deep_it_is(notes: sqlite3.Connection) -> None:
    for wanted in (nested("a", 200), nested('"', 8), {"list": list(range(200))}, listed(8)):
        assert found(notes, [{"a": 1}, wanted], wanted) == [wanted]
    for wanted in (nested("a", 501), nested('"', 9), {"list": list(range(600))}, listed(9)):
        with pytest.raises(Invalid):
            filters.matches("note", wanted)


@pytest.mark.parametrize("order", list(itertools.product("lo", repeat=8)), ids="".join)
def test_lists_and_odd_keys_inside_each_other_are_taken_in_any_order(
    notes: sqlite3.Connection, order: tuple[str, ...]
) -> None:
    wanted: Any = 1
    for kind in order:
        wanted = [wanted, wanted] if kind == "l" else {'"': wanted, "a": 2}
    assert found(notes, [{"a": 1}, {"a": wanted}], {"a": wanted}) == [{"a": wanted}]
