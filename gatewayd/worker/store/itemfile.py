"""The long-term store's file, which the service worker owns: langgraph's tables, our operations.

Tables and migrations are those of langgraph-checkpoint-sqlite, so that its own store can open the file. Its
operations are not used, because they
- embed inside the transaction: one slow embedding, and nobody reads a memory any more;
- commit what was done before an error, and never end a transaction whose task was cancelled at its beginning;
- show items after they have expired; leave the vectors of deleted items; take dots in a filter for a path,
  and objects for operators; reset `created_at`; know times to the second.

Here a batch is one function in one transaction, run by the thread of a connection: one that writes and one
that only reads, so that a search through many vectors delays no put. Times are UTC: ISO text, expiry as
SQLite spells it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import orjson
from attrs import define, field
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
    tokenize_path,
)
from langgraph.store.sqlite import SqliteStore

from gatewayd import loops, permissions
from gatewayd.model import items
from gatewayd.worker.store import embeddings, itemfilter, vectors

T = TypeVar("T")
Vectors = dict[int, list[tuple[str, bytes]]]
"""
By the place of an operation in its batch: (path, vector) of what is put, or one vector of what is searched.
"""

SWEPT_AT_ONCE = 200
"""Expired items that are deleted in one transaction."""
COLUMNS = "s.prefix, s.key, s.value, s.created_at, s.updated_at"
ALIVE = "(s.expires_at IS NULL OR s.expires_at > :now)"
EXPIRY = "strftime('%Y-%m-%d %H:%M:%f', :now, ttl_minutes || ' minutes')"


@functools.lru_cache(64)
def _terms(text: str) -> Any:
    return orjson.loads(text)


def _matches(value: Any, terms: str) -> bool:
    return itemfilter.matches(orjson.loads(value), _terms(terms))


@define(eq=False)
class _Connection:
    """A connection with the thread that uses it."""

    path: str
    tells: bool = False
    """Says so if searching by meaning will take longer."""
    _sqlite: sqlite3.Connection = field(init=False)
    _thread: concurrent.futures.ThreadPoolExecutor = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="items")

    def open(self) -> None:
        with contextlib.suppress(OSError):  # SQLite says it better
            permissions.create(Path(self.path))
        sqlite = self._sqlite = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "busy_timeout = 5000",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            sqlite.execute(f"PRAGMA {pragma}")
        sqlite.create_function("matches", 2, _matches, deterministic=True)
        SqliteStore(sqlite).setup()
        vectors.install(sqlite, tell=self.tells)

    def submit(
        self, work: Callable[[sqlite3.Connection], T], *, writes: bool
    ) -> concurrent.futures.Future[T]:
        return self._thread.submit(self._transaction, work, writes)

    def _transaction(self, work: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        self._sqlite.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            result = work(self._sqlite)
            self._sqlite.execute("COMMIT")
        except BaseException:
            if self._sqlite.in_transaction:
                self._sqlite.execute("ROLLBACK")
            raise
        return result

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._sqlite.close()


class ItemFile(BaseStore):
    """The store. Its methods may be called from any thread; `open` and `close` once."""

    supports_ttl = True

    def __init__(
        self,
        path: str,
        *,
        embedder: embeddings.Embedder | None = None,
        fields: Sequence[str] = ("$",),
        ttl: items.StoreTtl | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        ttl = ttl or items.StoreTtl()
        self.ttl_config = ttl_config(ttl)
        self.sweep_interval_s = ttl.sweep_interval_minutes * 60
        self._embedder = embedder
        self._paths = [(path, tokenize_path(path)) for path in fields]
        self._now = now
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._writer, self._reader = _Connection(path), _Connection(path, tells=embedder is not None)

    def open(self) -> None:
        """Open the file, made if it is missing. Raises sqlite3.Error."""
        for connection in (self._writer, self._reader):
            connection.open()

    def close(self) -> None:
        """Finish what has been asked for, and close the file."""
        self._writer.close()
        self._reader.close()
        if self._embedder is not None:
            self._embedder.close()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations in their order, all or none, and wait for them."""
        asked = list(ops)
        return self._submit(asked, self._placed(asked, self._vectors_blocking(self._texts(asked)))).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """
        Carry out operations in their order, all or none; also when whoever asked is cancelled meanwhile.
        """
        asked = list(ops)
        texts = [text for _, _, text in self._texts(asked)]
        made = await self._embedder.vectors(texts) if self._embedder and texts else []
        return await asyncio.wrap_future(self._submit(asked, self._placed(asked, made)))

    def sweep(self) -> int:
        """Delete expired items in small steps; return how many there were. Waits."""
        expired = "SELECT rowid FROM store s WHERE s.expires_at <= :now LIMIT :most"
        found = {"now": self._moment(), "most": SWEPT_AT_ONCE}

        def step(sqlite: sqlite3.Connection) -> int:
            return sqlite.execute(f"DELETE FROM store WHERE rowid IN ({expired})", found).rowcount

        total = 0
        while swept := self._writer.submit(step, writes=True).result():
            total += swept
        return total

    # vectors

    def _texts(self, ops: list[Op]) -> list[tuple[int, str, str]]:
        """Return the texts to embed: (place of the operation, path, text)."""
        if self._embedder is None:
            return []
        return [(n, path, text) for n, op in enumerate(ops) for path, text in self._texts_of(op)]

    def _texts_of(self, op: Op) -> Iterator[tuple[str, str]]:
        if isinstance(op, SearchOp) and op.query:
            yield "", op.query
        elif isinstance(op, PutOp) and op.value is not None and op.index is not False:
            paths = self._paths if op.index is None else [(path, tokenize_path(path)) for path in op.index]
            for path, tokens in paths:
                texts = get_text_at_path(op.value, "$" if path == "$" else tokens)
                for number, text in enumerate(texts):
                    yield (f"{path}.{number}" if len(texts) > 1 else path), text

    def _vectors_blocking(self, texts: list[tuple[int, str, str]]) -> list[bytes]:
        if self._embedder is None or not texts:
            return []
        return self._embedder.vectors_blocking([text for _, _, text in texts])

    def _placed(self, ops: list[Op], made: list[bytes]) -> Vectors:
        placed: Vectors = {}
        if made:
            for (n, path, _), vector in zip(self._texts(ops), made, strict=True):
                placed.setdefault(n, []).append((path, vector))
        return placed

    # operations

    def _submit(self, ops: list[Op], placed: Vectors) -> concurrent.futures.Future[list[Result]]:
        for op in ops:
            if isinstance(op, SearchOp) and op.filter:
                itemfilter.check(op.filter)

        def work(sqlite: sqlite3.Connection) -> list[Result]:
            return [self._run(sqlite, op, placed.get(n, [])) for n, op in enumerate(ops)]

        writes = any(
            isinstance(op, PutOp) or (isinstance(op, GetOp | SearchOp) and op.refresh_ttl) for op in ops
        )
        return (self._writer if writes else self._reader).submit(work, writes=writes)

    def _run(self, sqlite: sqlite3.Connection, op: Op, made: list[tuple[str, bytes]]) -> Result:
        match op:
            case GetOp():
                return self._get(sqlite, op)
            case PutOp():
                self._put(sqlite, op, made)
                return None
            case SearchOp():
                return self._search(sqlite, op, made[0][1] if made else None)
            case ListNamespacesOp():
                return self._namespaces(sqlite, op)

    def _get(self, sqlite: sqlite3.Connection, op: GetOp) -> Item | None:
        place = {"prefix": _text(op.namespace), "key": op.key, "now": self._moment()}
        if op.refresh_ttl:
            self._refresh(sqlite, [place])
        row = sqlite.execute(
            f"SELECT {COLUMNS} FROM store s WHERE s.prefix = :prefix AND s.key = :key AND {ALIVE}", place
        ).fetchone()
        return None if row is None else Item(**_fields(row))

    def _put(self, sqlite: sqlite3.Connection, op: PutOp, made: list[tuple[str, bytes]]) -> None:
        place: dict[str, Any] = {"prefix": _text(op.namespace), "key": op.key, "now": self._moment()}
        if op.value is None:
            sqlite.execute("DELETE FROM store WHERE prefix = :prefix AND key = :key", place)
            return
        time = self._time().isoformat(timespec="microseconds")
        sqlite.execute(
            """
            INSERT INTO store (prefix, key, value, created_at, updated_at, ttl_minutes)
            VALUES (:prefix, :key, :value, :time, :time, :ttl)
            ON CONFLICT (prefix, key) DO UPDATE SET
                value = excluded.value, updated_at = excluded.updated_at, ttl_minutes = excluded.ttl_minutes,
                created_at = CASE WHEN expires_at <= :now THEN excluded.created_at ELSE created_at END
            """,
            {**place, "value": orjson.dumps(dict(op.value)).decode(), "time": time, "ttl": op.ttl},
        )
        sqlite.execute(f"UPDATE store SET expires_at = {EXPIRY} WHERE prefix = :prefix AND key = :key", place)
        sqlite.execute("DELETE FROM store_vectors WHERE prefix = :prefix AND key = :key", place)
        sqlite.executemany(
            "INSERT OR REPLACE INTO store_vectors (prefix, key, field_name, embedding) VALUES (?, ?, ?, ?)",
            [(place["prefix"], op.key, path, vector) for path, vector in made],
        )

    def _search(self, sqlite: sqlite3.Connection, op: SearchOp, vector: bytes | None) -> list[SearchItem]:
        """
        Return what matches: by meaning the nearest first, and what has no vector last; else the newest first.
        """
        inside, found = _inside(op.namespace_prefix)
        found |= {"now": self._moment(), "limit": op.limit, "offset": op.offset}
        where = f"{inside} AND {ALIVE}"
        if op.filter:
            where += " AND matches(s.value, :terms)"
            found["terms"] = orjson.dumps(op.filter).decode()
        score, join = "NULL", ""
        if vector is not None:
            found |= {"vector": vector, "bytes": len(vector)}
            # Vectors of another length are those of an earlier index.
            join = "LEFT JOIN store_vectors v ON v.prefix = s.prefix AND v.key = s.key AND length(v.embedding) = :bytes"
            near = "1.0 - vec_distance_cosine(v.embedding, :vector)"
            score = f"max(CASE WHEN v.embedding IS NULL THEN NULL ELSE {near} END)"
        rows = sqlite.execute(
            f"""
            SELECT {COLUMNS}, {score} AS score FROM store s {join} WHERE {where}
            {"GROUP BY s.prefix, s.key" if join else ""}
            ORDER BY score DESC NULLS LAST, s.updated_at DESC, s.prefix, s.key LIMIT :limit OFFSET :offset
            """,
            found,
        ).fetchall()
        if op.refresh_ttl:
            self._refresh(sqlite, [{"prefix": row[0], "key": row[1], "now": found["now"]} for row in rows])
        return [SearchItem(**_fields(row), score=row[5]) for row in rows]

    def _namespaces(self, sqlite: sqlite3.Connection, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        plain = (
            condition.path
            for condition in conditions
            if condition.match_type == "prefix" and "*" not in condition.path
        )
        inside, found = _inside(next(plain, ()))
        sql = f"SELECT DISTINCT s.prefix FROM store s WHERE {inside} AND {ALIVE}"
        spaces = set()
        for (prefix,) in sqlite.execute(sql, {**found, "now": self._moment()}):
            space = _namespace(prefix)
            if all(_fits(space, condition) for condition in conditions):
                spaces.add(space[: op.max_depth])
        return sorted(spaces)[op.offset : op.offset + op.limit]

    def _refresh(self, sqlite: sqlite3.Connection, places: list[dict[str, Any]]) -> None:
        sqlite.executemany(
            f"UPDATE store AS s SET expires_at = {EXPIRY} WHERE prefix = :prefix AND key = :key AND {ALIVE}"
            " AND ttl_minutes IS NOT NULL",
            places,
        )

    def _time(self) -> datetime:
        """
        Return the time for a record: later than all before it, so that the order by time is that of the puts.
        """
        self._latest = max(self._now(), self._latest + timedelta(microseconds=1))
        return self._latest

    def _moment(self) -> str:
        return self._now().strftime("%Y-%m-%d %H:%M:%S.%f")


def ttl_config(ttl: items.StoreTtl) -> Any:
    """Return what langgraph's stores read their defaults from."""
    return {"default_ttl": ttl.default_ttl, "refresh_on_read": ttl.refresh_on_read}


async def sweeper(file: ItemFile, turned: loops.Turned = lambda: None) -> None:
    """Delete expired items from time to time, until cancelled. To be called again after an error."""
    while True:
        await asyncio.sleep(file.sweep_interval_s)
        with contextlib.suppress(sqlite3.OperationalError):  # locked or full: the next time, then
            await asyncio.to_thread(file.sweep)
        turned()


def _text(namespace: Iterable[str]) -> str:
    return ".".join(namespace)


def _namespace(prefix: str) -> tuple[str, ...]:
    return tuple(prefix.split(".")) if prefix else ()


def _inside(namespace: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the condition for what is in a namespace or below it, which the index can answer."""
    if not namespace:
        return "TRUE", {}
    prefix = _text(namespace)
    return (
        "(s.prefix = :inside OR (s.prefix > :below AND s.prefix < :behind))",
        {"inside": prefix, "below": f"{prefix}.", "behind": f"{prefix}/"},  # "/" follows "."
    )


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    part = (
        namespace[: len(path)]
        if condition.match_type == "prefix"
        else namespace[len(namespace) - len(path) :]
    )
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    prefix, key, value, created_at, updated_at, *_ = row
    return {
        "namespace": _namespace(prefix),
        "key": key,
        "value": orjson.loads(value),
        "created_at": _datetime(created_at),
        "updated_at": _datetime(updated_at),
    }


def _datetime(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return (
        time if time.tzinfo else time.replace(tzinfo=UTC)
    )  # langgraph's own store writes UTC without saying so
