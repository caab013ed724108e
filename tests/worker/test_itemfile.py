"""The long-term store's file: lives, order, filters, vectors; and that langgraph's own store can read it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp
from langgraph.store.base.embed import ensure_embeddings
from langgraph.store.sqlite import SqliteStore

from gatewayd.errors import Rejected, Unanswered
from gatewayd.model import items
from gatewayd.worker.project import usercode
from gatewayd.worker.store import embeddings, itemfile, itemfilter, vectors


@define(eq=False)
class Clock:
    """A clock that stands until it is turned."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@define(eq=False)
class Files:
    """Opens stores on one file, and closes them."""

    path: Path
    opened: list[itemfile.ItemFile] = field(factory=list)

    def __call__(self, **options: Any) -> itemfile.ItemFile:
        made = itemfile.ItemFile(str(self.path), **options)
        made.open()
        self.opened.append(made)
        return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path / "store.sqlite")
    yield files
    for each in files.opened:
        each.close()


def embedder(embed: Any, dims: int = 2, deadline_s: float = 10.0) -> embeddings.Embedder:
    return embeddings.Embedder(ensure_embeddings(embed), "./embed.py:embed", dims, deadline_s)


def lengths(texts: list[str]) -> list[list[float]]:
    """Embed by how many a and b there are."""
    return [[float(text.count("a")), float(text.count("b"))] for text in texts]


def keys(found: list[Any]) -> list[str]:
    return [item.key for item in found]


# lives


def test_an_item_is_not_seen_after_its_ttl_also_before_it_is_swept(store: Files) -> None:
    clock = Clock()
    file = store(now=clock)
    file.put(("a",), "short", {"n": 1}, ttl=2)
    file.put(("a",), "long", {"n": 1})
    file.put(("a",), "passed", {"n": 1}, ttl=-1)
    clock.turn(1.9)
    assert keys(file.search(("a",))) == ["long", "short"]
    clock.turn(2.1)
    # The search at 1.9 minutes has renewed it until 3.9.
    assert file.get(("a",), "short") is None
    assert keys(file.search(())) == ["long"]
    file.delete(("a",), "long")
    assert file.list_namespaces() == []
    assert file.sweep() == 2
    assert file.sweep() == 0


def test_reading_renews_a_life_unless_the_call_or_the_configuration_says_otherwise(store: Files) -> None:
    clock = Clock()
    file = store(now=clock, ttl=items.StoreTtl(default_ttl=10.0, refresh_on_read=False))
    for key in ("read", "renewed"):
        file.put(("a",), key, {"n": 1})
    file.put(("a",), "for ever", {"n": 1}, ttl=None)
    clock.turn(9)
    assert file.get(("a",), "read")
    assert file.get(("a",), "renewed", refresh_ttl=True)
    clock.turn(9)
    assert {item.key for item in file.search(("a",))} == {"renewed", "for ever"}


async def test_the_sweeper_deletes_what_has_expired(store: Files) -> None:
    file = store(ttl=items.StoreTtl(sweep_interval_minutes=0.0001))
    await file.aput(("a",), "k", {"n": 1}, ttl=-1)
    sweeping = asyncio.create_task(itemfile.sweeper(file))
    counted = sqlite3.connect(store.path)
    async with asyncio.timeout(10):
        while counted.execute("SELECT count(*) FROM store").fetchone() != (0,):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    counted.close()
    sweeping.cancel()


def test_overwriting_keeps_the_time_of_creation_and_comes_first_in_a_search(store: Files) -> None:
    file = store(now=Clock())
    for key in ("one", "two"):
        file.put(("a",), key, {"n": 1})
    before = file.get(("a",), "one")
    file.put(("a",), "one", {"n": 2})
    after = file.get(("a",), "one")
    assert before
    assert after
    assert after.created_at == before.created_at < before.updated_at + timedelta(seconds=1)
    assert after.updated_at > before.updated_at
    assert keys(file.search(("a",))) == ["one", "two"]


# batches


def test_a_batch_is_done_as_a_whole_or_not_at_all(store: Files) -> None:
    file = store()
    with pytest.raises(TypeError):
        file.batch([PutOp(("a",), "k", {"n": 1}), PutOp(("a",), "bad", {"n": object()})])
    assert file.get(("a",), "k") is None


async def test_a_cancelled_call_leaves_no_transaction_behind(store: Files) -> None:
    file = store()
    for _ in range(20):
        putting = asyncio.create_task(file.aput(("a",), "k", {"n": 1}))
        await asyncio.sleep(0)
        putting.cancel()
        await asyncio.wait([putting])
    await file.aput(("a",), "last", {"n": 1})
    assert await file.aget(("a",), "last")


def test_langgraphs_own_store_and_ours_read_each_others_items(store: Files) -> None:
    ours = store()
    ours.put(("a", "b"), "ours", {"ü": 1})
    with SqliteStore.from_conn_string(str(store.path)) as theirs:
        theirs.setup()
        theirs.put(("a", "b"), "theirs", {"n": [1]})
        read = theirs.get(("a", "b"), "ours")
        assert read
        assert (read.value, read.namespace) == ({"ü": 1}, ("a", "b"))
        assert read.created_at.utcoffset() == timedelta(0)
    found = ours.get(("a", "b"), "theirs")
    assert found
    assert found.value == {"n": [1]}
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(minutes=1)


# filters


@pytest.mark.parametrize(
    ("terms", "matches"),
    [
        ({"n": {"$gt": "x"}}, False),
        ({"word": {"$gt": "a", "$lt": "c"}}, True),
        ({"word": {"$gte": 1}}, False),
        ({"absent": {"$lt": 1}}, False),
        ({"list": [{"x": {"$gt": 0}}, 2]}, True),
        ({"list": [{"x": 1}]}, False),
        ({"n": {"x": 1}}, False),
        ({"n": {"$eq": 5, "x": 1}}, False),
    ],
)
def test_filters_compare_what_can_be_compared(terms: dict[str, Any], matches: bool) -> None:
    value = {"n": 5, "word": "b", "list": [{"x": 1}, 2]}
    assert itemfilter.matches(value, terms) is matches


def test_an_unknown_operator_is_an_error_at_any_depth() -> None:
    for terms in ({"n": {"$in": []}}, {"a": {"b": {"$or": 1}}}, {"a": [{"$in": 1}]}):
        with pytest.raises(ValueError, match="Unsupported operator"):
            itemfilter.check(terms)


# vectors


def test_vectors_go_with_their_item_and_are_replaced_with_it(store: Files) -> None:
    file = store(embedder=embedder(lengths), fields=("text", "more[*]"))
    file.put(("a",), "both", {"text": "aab", "more": ["b", "bb"]})
    file.put(("a",), "one", {"text": "a"})
    assert [(item.key, item.score) for item in file.search((), query="b")] == [("both", 1.0), ("one", 0.0)]
    file.put(("a",), "both", {"text": "a"})
    assert [item.score for item in file.search((), query="b")] == [0.0, 0.0]
    file.delete(("a",), "both")
    counted = sqlite3.connect(store.path)
    assert counted.execute("SELECT count(*) FROM store_vectors").fetchone() == (1,)
    counted.close()


def test_vectors_of_an_earlier_index_do_not_count(store: Files) -> None:
    store(embedder=embedder(lengths)).put(("a",), "old", {"text": "a"})
    file = store(embedder=embedder(lambda texts: [[1.0, 2.0, 3.0] for _ in texts], dims=3))
    file.put(("a",), "new", {"text": "a"})
    assert [(item.key, item.score) for item in file.search((), query="x")] == [
        ("new", pytest.approx(1.0)),
        ("old", None),
    ]


def test_our_distance_is_that_of_sqlite_vec() -> None:
    import struct

    def packed(*numbers: float) -> bytes:
        return struct.pack(f"{len(numbers)}f", *numbers)

    assert vectors.cosine_distance(packed(1, 0), packed(0, 2)) == pytest.approx(1.0)
    assert vectors.cosine_distance(packed(1, 1), packed(2, 2)) == pytest.approx(0.0)
    assert vectors.cosine_distance(packed(1, 0), packed(-3, 0)) == pytest.approx(2.0)
    assert vectors.cosine_distance(packed(0, 0), packed(1, 0)) is None


async def test_a_blocked_embedding_is_told_by_name_and_holds_nobody_else(store: Files) -> None:
    let_go = threading.Event()

    def blocked(texts: list[str]) -> list[list[float]]:
        let_go.wait(30)
        return lengths(texts)

    async def blocking(texts: list[str]) -> list[list[float]]:
        return blocked(texts)  # the loop it is in is its own

    try:
        for embed in (blocked, blocking):
            file = store(embedder=embedder(embed, deadline_s=0.1))
            searching = asyncio.create_task(file.asearch((), query="x"))
            await file.aput(("a",), "k", {"text": "a"}, index=False)
            assert await file.aget(("a",), "k")
            with pytest.raises(
                Unanswered, match=r"the embedding ./embed\.py:embed did not answer within 0.1 s"
            ):
                await searching
            with pytest.raises(Unanswered):
                await asyncio.to_thread(file.search, (), query="x")
    finally:
        let_go.set()


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda texts: [[1.0]] * len(texts), "1 numbers a vector, but store.index.dims is 2"),
        (lambda _: [], "0 vectors for 1 texts"),
        (lambda _: None, "did not return lists of numbers"),
        (lambda _: 1 / 0, "failed with ZeroDivisionError"),
    ],
)
async def test_an_embedding_that_fails_says_so_and_stores_nothing(
    store: Files, embed: Any, message: str
) -> None:
    file = store(embedder=embedder(embed))
    with pytest.raises(embeddings.EmbeddingFailed, match=message):
        await file.aput(("a",), "k", {"text": "a"})
    with pytest.raises(embeddings.EmbeddingFailed, match=message):
        await asyncio.to_thread(file.put, ("a",), "k", {"text": "a"})
    assert await file.aget(("a",), "k") is None


async def test_a_value_error_of_the_embedding_is_the_requests_fault(store: Files) -> None:
    async def refuse(_: list[str]) -> list[list[float]]:
        raise ValueError("too long")

    with pytest.raises(Rejected, match="too long"):
        await store(embedder=embedder(refuse)).aput(("a",), "k", {"text": "a"})


def test_an_embedding_is_loaded_from_a_file_or_by_langchain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "embed_of_itemfile.py").write_text(
        "def one(texts): return [[1.0] for _ in texts]\nnone = 5\n"
    )

    class Model(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[2.0] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return [2.0]

    asked: list[str] = []

    def init_embeddings(name: str) -> Embeddings:
        asked.append(name)
        if name == "openai:none":
            raise ImportError("langchain-openai is missing")
        return Model()

    monkeypatch.setattr("langgraph.store.base.embed._get_init_embeddings", lambda: init_embeddings)

    def load(embed: str) -> embeddings.Embedder:
        return embeddings.load(items.StoreIndex(dims=1, embed=embed), tmp_path, 1.0)

    for embed, number in (("./embed_of_itemfile.py:one", 1.0), ("openai:org/model:v1", 2.0)):
        loaded = load(embed)
        assert loaded.vectors_blocking(["x"]) == loaded.vectors_blocking(["x"])
        assert loaded.embeddings.embed_documents(["x"]) == [[number]]
        loaded.close()
    assert asked == ["openai:org/model:v1"]
    for embed, message in (
        ("./embed_of_itemfile.py:none", "neither a function nor Embeddings"),
        ("openai:none", "ImportError: langchain-openai is missing"),
    ):
        with pytest.raises(usercode.LoadError, match=message):
            load(embed)


@pytest.mark.parametrize("indexed", [False, True])
def test_sqlite_vec_is_spoken_of_once_and_only_if_there_is_an_index(
    store: Any, indexed: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise sqlite3.OperationalError("not authorized")

    monkeypatch.setattr("gatewayd.worker.store.vectors.sqlite_vec.load", refuse)
    caplog.set_level("INFO")
    store(**({"embedder": embedder(lambda texts: [[1.0, 0.0] for _ in texts])} if indexed else {}))
    assert [message.split()[0] for message in caplog.messages] == (["sqlite-vec"] if indexed else [])
