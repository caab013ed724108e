"""What a search of threads finds is what the contract's words, written down in Python, find; page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from gatewayd import ids, wire
from gatewayd.errors import Invalid
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import search, states, threads
from gatewayd.storage.sqlite.engine import database, migrate
from tests.storage.sqlite import test_filters as model

KEYS = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")
COLUMNS = ("status", "created_at", "updated_at", "state_updated_at")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("search") / "gatewayd.sqlite"
    connection = database.connect(path)
    migrate.migrate(connection, path)
    connection.execute("PRAGMA synchronous = OFF")
    states.prepare(connection)
    yield connection
    connection.close()


relaxed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
few_objects = strategies.dictionaries(
    strategies.sampled_from(["a", "b", '"', "é.[0]"]), model.documents, max_size=3
)
stored_threads = strategies.lists(
    strategies.tuples(
        few_objects,
        strategies.none() | few_objects,
        strategies.sampled_from(search.STATUSES),
        strategies.tuples(*[strategies.integers(0, 2)] * 3),
    ),
    max_size=9,
)


def put(connection: sqlite3.Connection, *rows: Any) -> list[Thread]:
    """
    Store threads of (metadata, values, status, times), some of them deleted or hidden, and return the others.
    """
    made = []
    for n, (metadata, values, status, times) in enumerate(rows):
        thread_id = ids.system_assistant_id(f"{n}")
        threads.thread_insert(connection, thread_id, wire.loads(wire.dumps(metadata)), 0)
        connection.execute(
            """UPDATE threads SET status = ?, created_at = ?, updated_at = ?, state_updated_at = ?, "values" = ?
               WHERE thread_id = ?""",
            (status, *times, None if values is None else wire.dumps(values), thread_id),
        )
        found = threads.thread_find(connection, thread_id)
        assert found is not None
        made.append(found)
    for column in ("deleted_at", "hidden_at"):
        gone = ids.new_id()
        threads.thread_insert(connection, gone, {"a": 1}, 0)
        connection.execute(f"UPDATE threads SET {column} = 1 WHERE thread_id = ?", (gone,))
    return made


def empty(connection: sqlite3.Connection) -> None:
    """Begin anew in a transaction that is never committed."""
    if connection.in_transaction:
        connection.rollback()
    connection.execute("BEGIN")
    connection.execute("DELETE FROM threads")
    assert connection.execute("SELECT count(*) FROM thread_tags").fetchone() == (0,)


def matches(thread: Thread, wanted: search.ThreadSearch) -> bool:
    values = None if thread.values is None else wire.loads(thread.values)
    return (
        (not wanted.ids or thread.thread_id in wanted.ids)
        and wanted.status in (None, thread.status)
        and model.contains(thread.metadata, wanted.metadata)
        and (not wanted.values or (values is not None and model.contains(values, wanted.values)))
        and not any(model.contains(thread.metadata, excluded) for excluded in wanted.excluded)
    )


def expected(made: list[Thread], wanted: search.ThreadSearch) -> list[str]:
    """Return the ids that a search of everything finds, in its order."""
    found = [thread for thread in made if matches(thread, wanted)]
    found.sort(
        key=lambda thread: (getattr(thread, wanted.sort_by), thread.thread_id), reverse=wanted.descending
    )
    return [thread.thread_id for thread in found]


@strategies.composite
def searches(draw: strategies.DrawFn, made: list[Thread]) -> dict[str, Any]:
    """Draw what to look for: parts of what there is, and things there are not."""
    metadata: Any = {}
    values: Any = {}
    excluded: list[Any] = []
    if made:
        base = draw(strategies.sampled_from(made))
        metadata = draw(
            strategies.just({}) | model.part(base.metadata).filter(lambda value: isinstance(value, dict))
        )
        if base.values is not None and draw(strategies.booleans()):
            values = draw(model.part(wire.loads(base.values)).filter(lambda value: isinstance(value, dict)))
        if draw(strategies.booleans()):
            others = draw(strategies.lists(strategies.sampled_from(made), max_size=2))
            parts = [draw(model.part(other.metadata)) for other in others]
            excluded = [each for each in parts if isinstance(each, dict) and each]
    known = [thread.thread_id for thread in made]
    some_ids = strategies.lists(
        strategies.sampled_from([*known, ids.system_assistant_id("none")]), max_size=12
    )
    return {
        "metadata": wire.loads(wire.dumps(metadata)),
        "values": wire.loads(wire.dumps(values)),
        "excluded": wire.loads(wire.dumps(excluded)),
        "status": draw(strategies.none() | strategies.sampled_from(search.STATUSES)),
        "ids": draw(strategies.none() | some_ids),
        "sort_by": draw(strategies.sampled_from(KEYS)),
        "descending": draw(strategies.booleans()),
    }


@relaxed
@given(
    data=strategies.data(),
    rows=stored_threads,
    few=strategies.integers(0, 3),
    patience=strategies.integers(1, 4),
)
def test_the_pages_of_a_search_together_are_what_the_contract_finds(
    file: sqlite3.Connection,
    data: strategies.DataObject,
    rows: list[Any],
    few: int,
    patience: int,
) -> None:
    """Whichever way the planner takes: by tag, in order, or first the one and then the other."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(search, "FEW", few)
        patched.setattr(search, "PATIENCE", patience)
        patched.setattr(search, "CHUNK", 2)
        patched.setattr(search, "CHUNK_OF_VALUES", 2)
        empty(file)
        made = put(file, *rows)
        fields = data.draw(searches(made))
        limit = data.draw(strategies.integers(1, 4))
        everything = expected(made, search.ThreadSearch(**fields))
        pages: list[str] = []
        while True:
            found = search.threads_search(file, search.ThreadSearch(**fields, limit=limit, offset=len(pages)))
            assert found.scanned is None
            shown = [thread.thread_id for thread in found.threads]
            assert len(shown) == min(limit + 1, len(everything) - len(pages))
            pages += shown[:limit]
            if len(shown) <= limit:
                break
        assert pages == everything
        assert search.threads_count(file, search.ThreadSearch(**fields)) == len(everything)


@relaxed
@given(changes=strategies.lists(few_objects, min_size=1, max_size=4))
def test_patches_merge_at_the_top_and_the_tags_follow(
    file: sqlite3.Connection, changes: list[dict[str, Any]]
) -> None:
    empty(file)
    thread_id = ids.new_id()
    changes = wire.loads(wire.dumps(changes))
    threads.thread_insert(file, thread_id, changes[0], 0)
    merged = dict(changes[0])
    for change in changes[1:]:
        merged = {**merged, **change}
        patched = threads.thread_patch(file, thread_id, change, 1)
        assert patched.metadata == merged
        assert wire.text(patched.metadata) == wire.text(merged)  # 1 and 1.0 and true are equal in Python
    tags = file.execute("SELECT name, value FROM thread_tags WHERE thread_id = ?", (thread_id,)).fetchall()
    assert sorted(tags, key=repr) == sorted(search.tags_of(merged), key=repr)
    threads.thread_delete(file, thread_id, 2)
    assert file.execute("SELECT count(*) FROM thread_tags").fetchone() == (0,)


def test_texts_too_long_for_a_tag_are_found_all_the_same(file: sqlite3.Connection) -> None:
    empty(file)
    long = "é" * 201
    made = put(
        file, ({"a": long, long: 1}, None, "idle", (0, 0, 0)), ({"a": long[1:]}, None, "idle", (0, 0, 0))
    )
    for metadata, right in (({"a": long}, made[0]), ({long: 1}, made[0]), ({"a": long[1:]}, made[1])):
        found = search.threads_search(file, search.ThreadSearch(metadata=metadata))
        assert [thread.thread_id for thread in found.threads] == [right.thread_id]
        assert search.threads_count(file, search.ThreadSearch(metadata=metadata)) == 1
    assert search.tags_of({"a": long, long: 1}) == []


def test_a_search_that_gives_up_answers_what_it_has_found_and_says_so(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CHUNK", 2)
    deep = [desk.thread(nest={"n": n % 5}) for n in range(10)]
    wanted = {"metadata": {"nest": {"n": 4}}, "limit": 2, "sort_by": "created_at", "descending": False}
    found = search.threads_search(desk.connection, search.ThreadSearch(**wanted, scan=6))
    assert [thread.thread_id for thread in found.threads] == [deep[4]]
    assert found.scanned == 6
    found = search.threads_search(desk.connection, search.ThreadSearch(**wanted, scan=10))
    assert [thread.thread_id for thread in found.threads] == [deep[4], deep[9]]
    assert found.scanned is None  # exactly all were looked at
    found = search.threads_search(desk.connection, search.ThreadSearch(**{**wanted, "limit": 1, "scan": 6}))
    assert found.scanned == 6  # whether there is a next page is not known
    found = search.threads_search(desk.connection, search.ThreadSearch(**wanted, scan=7))
    assert found.scanned == 7  # no more than that, though it looks at two at a time
    with pytest.raises(Invalid, match="more than 6 threads would have to be looked at"):
        search.threads_count(desk.connection, search.ThreadSearch(metadata={"nest": {"n": 4}}, scan=6))
    assert (
        search.threads_count(desk.connection, search.ThreadSearch(metadata={"nest": {"n": 4}}, scan=10)) == 2
    )
    others = {**wanted, "metadata": {}, "excluded": [{"nest": {"n": n}} for n in range(4)]}
    found = search.threads_search(desk.connection, search.ThreadSearch(**others, scan=6))
    assert ([thread.thread_id for thread in found.threads], found.scanned) == ([deep[4]], 6)
    with pytest.raises(Invalid, match="more than 6 threads would have to be looked at"):
        search.threads_count(desk.connection, search.ThreadSearch(excluded=others["excluded"], scan=6))
    assert (
        search.threads_count(desk.connection, search.ThreadSearch(excluded=others["excluded"], scan=10)) == 2
    )


def test_a_search_that_takes_too_long_gives_up(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CHUNK", 2)
    for n in range(5):
        desk.thread(nest={"n": n})
    wanted = search.ThreadSearch(metadata={"nest": {}})
    assert len(search.threads_search(desk.connection, wanted).threads) == 5
    monkeypatch.setattr(search, "SCAN_S", -1.0)
    assert search.threads_search(desk.connection, wanted) == search.ThreadPage(threads=[], scanned=0)


def test_what_answers_from_an_index_looks_at_no_more_than_it_shows(desk: Any) -> None:
    """However many threads there are: one tag, a status, an order need no limit."""
    for n in range(30):
        desk.thread(rare=n, all="x")
    for fields in (
        {"metadata": {"rare": 3}},
        {"metadata": {"rare": -1}},
        {"status": "idle"},
        {"status": "error", "sort_by": "created_at"},
        {"sort_by": "state_updated_at"},
        {"metadata": {"all": "x"}, "limit": 1},
    ):
        assert search.threads_search(desk.connection, search.ThreadSearch(**fields, scan=1)).scanned is None
    for metadata, number in (({"rare": 3}, 1), ({"all": "x"}, 30), ({}, 30)):
        assert search.threads_count(desk.connection, search.ThreadSearch(metadata=metadata, scan=1)) == number


def test_the_tags_in_the_table_are_those_that_searches_look_for_and_only_of_visible_threads(
    path: Any,
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    migrate.migrate(connection, path)
    metadata = {
        "text": "x",
        "number": 1.5,
        "whole": 2,
        "yes": True,
        "no": False,
        "null": None,
        "list": [],
        "long": "y" * 201,
    }
    for thread_id, column in (("seen", None), ("gone", "deleted_at"), ("hidden", "hidden_at")):
        connection.execute(
            "INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, metadata) VALUES (?, 0, 0, 0, ?)",
            (thread_id, wire.text(metadata)),
        )
        if column is not None:
            connection.execute(f"UPDATE threads SET {column} = 1 WHERE thread_id = ?", (thread_id,))
    rows = connection.execute("SELECT thread_id, name, value FROM thread_tags").fetchall()
    assert sorted(rows, key=repr) == sorted((("seen", *tag) for tag in search.tags_of(metadata)), key=repr)
    assert len(rows) == 6
    connection.close()
