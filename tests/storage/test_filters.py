"""A metadata filter finds exactly what the contract's words, written down in Python, find."""

from __future__ import annotations

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


def equal(have: Any, wanted: Any) -> bool:
    """Whether JSON calls two values the same."""
    match wanted:
        case None | bool() | str():
            return type(have) is type(wanted) and have == wanted
        case int() | float():
            return isinstance(have, int | float) and not isinstance(have, bool) and have == wanted
        case list():
            return (
                isinstance(have, list)
                and len(have) == len(wanted)
                and all(equal(one, other) for one, other in zip(have, wanted, strict=True))
            )
        case _:
            return (
                isinstance(have, dict)
                and have.keys() == wanted.keys()
                and all(equal(have[key], wanted[key]) for key in wanted)
            )


def contains(have: Any, wanted: Any) -> bool:
    """Whether objects contain, and everything else equals."""
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(
            key in have and contains(have[key], value) for key, value in wanted.items()
        )
    return equal(have, wanted)


@strategies.composite
def part(draw: strategies.DrawFn, document: Any, containment: bool = True) -> Any:
    """A value that a document has, or nearly has."""
    if draw(strategies.integers(0, 9)) == 0:
        return draw(documents)
    match document:
        case dict() if containment:
            kept = (
                draw(strategies.lists(strategies.sampled_from(sorted(document)), unique=True))
                if document
                else []
            )
            return {key: draw(part(document[key])) for key in kept}
        case dict():
            shuffled = draw(strategies.permutations(sorted(document)))
            return {key: draw(part(document[key], False)) for key in shuffled}
        case list():
            return [draw(part(item, False)) for item in document]
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


def found(notes: sqlite3.Connection, documents: list[Any], wanted: Any, *, containment: bool) -> list[Any]:
    notes.execute("DELETE FROM notes")
    notes.executemany("INSERT INTO notes VALUES (?)", [(wire.text(document),) for document in documents])
    conditions = filters.matches("note", wanted, containment=containment)
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
    assert found(notes, stored, wanted, containment=True) == expected


@relaxed
@given(data=strategies.data(), stored=strategies.lists(objects, min_size=1, max_size=3))
def test_without_containment_each_key_named_is_compared_whole(
    notes: sqlite3.Connection, data: strategies.DataObject, stored: list[dict[str, Any]]
) -> None:
    base = data.draw(strategies.sampled_from(stored))
    chosen = data.draw(strategies.lists(strategies.sampled_from(sorted(base)), unique=True)) if base else []
    wanted = wire.loads(wire.dumps({key: data.draw(part(base[key], False)) for key in chosen}))
    stored = wire.loads(wire.dumps(stored))
    expected = [
        document
        for document in stored
        if all(key in document and equal(document[key], value) for key, value in wanted.items())
    ]
    assert found(notes, stored, wanted, containment=False) == expected


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
    assert found(notes, right + wrong, right[0], containment=True) == right


def test_the_rows_of_the_contract_hold(notes: sqlite3.Connection) -> None:
    def hit(document: Any, wanted: Any) -> bool:
        return bool(found(notes, [document], wanted, containment=True))

    assert hit({"n": {"x": 1, "y": 2}}, {"n": {"x": 1}})
    assert hit({"n": {"x": 1}}, {"n": {}})
    assert not hit({"n": [1]}, {"n": {}})
    assert not hit({"l": [1, 2]}, {"l": [1]})
    assert hit({"n": 1}, {"n": 1.0})
    assert not hit({"n": 1}, {"n": "1"})
    assert not hit({"n": 1}, {"n": True})
    assert not hit({"n": True}, {"n": 1})
    assert not hit({}, {"zz": None})
    assert hit({"zz": None}, {"zz": None})
    assert not hit({"l": "[1]"}, {"l": [1]})
    assert hit({"l": [{"a": 1, "b": 2.0}]}, {"l": [{"b": 2, "a": 1}]})
    assert not hit({"l": [{"a": 1, "b": 2}]}, {"l": [{"a": 1}]})
    assert hit({"any": "thing"}, {})


def nested(key: str, depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = {key: made}
    return made


def test_a_filter_is_answered_or_refused_however_large_and_deep_it_is(notes: sqlite3.Connection) -> None:
    for wanted in (nested("a", 200), nested('"', 8), {"list": list(range(400))}):
        assert found(notes, [{"a": 1}, wanted], wanted, containment=True) == [wanted]
    for wanted in (nested("a", 501), nested('"', 9), {"list": list(range(600))}):
        with pytest.raises(Invalid):
            filters.matches("note", wanted, containment=True)
