"""Searching and counting threads: which index is used, and how much is scanned if none applies.

A search reads *candidates* in the requested order and compares them with the filters until the page is full.
The candidates come from the narrowest source:

- the ids in the request;
- the threads with a *tag* (a scalar at the top level of the metadata, see `thread_tags`), if few have it;
- otherwise all threads, or those of a status, by an index in the requested order.

So a search by ids, status, order or a tag is answered from an index. A filter by anything else stops after
`scan` candidates or `SCAN_S` seconds. Then a search returns its results so far and the number of candidates
it has read; a count is refused, since a part of it is of no use.

All of it reads one snapshot, in a thread of its own (see `snapshots`), in statements of a few hundred rows.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Final

from attrs import define, evolve, field

from gatewayd import wire
from gatewayd.errors import Invalid
from gatewayd.model.thread import Thread
from gatewayd.storage.sqlite import filters, states, threads
from gatewayd.storage.threads import ThreadPage, ThreadSearch

FEW: Final = 2000
"""If no more threads have a tag, they are all fetched and sorted, instead of scanned in order."""
PATIENCE: Final = 1500
"""Candidates scanned in order before a tag is considered that more than a few threads have."""
CHUNK: Final = 400
"""Candidates compared by one statement at most. The first statements compare fewer: often they are enough."""
FIRST_CHUNK: Final = 50
CHUNK_OF_VALUES: Final = 50
"""As `CHUNK`, when values are compared, which may be large."""
SCAN_S: Final = 2.0
"""Seconds after which a search stops scanning."""
STATUSES: Final = ("busy", "error", "idle", "interrupted")
LONGEST_TAG: Final = 200
"""Characters that a name or text in `thread_tags` has at most."""

INDEX: Final = {
    "thread_id": "threads_by_status",
    "status": "threads_by_status",
    "created_at": "threads_by_status_created",
    "updated_at": "threads_by_status_updated",
    "state_updated_at": "threads_by_status_state",
}
"""Sort key → the index that has this order for each status."""

Candidate = tuple[int, Any, str]
"""Row number, what it is sorted by, id."""


def threads_search(connection: sqlite3.Connection, search: ThreadSearch) -> ThreadPage:
    """ThreadSearch threads. Raises `Invalid` if the filter is too large."""
    terms = _terms(search)
    if not search.ids and not terms.terms:
        page = _walk(connection, search, None, search.limit + 1, search.offset)
        return ThreadPage(threads=_records(connection, search, page))
    scan = _Scan(connection, search, terms, enough=search.offset + search.limit + 1)
    complete = scan.run()
    return ThreadPage(
        threads=_records(connection, search, scan.kept[search.offset :]),
        scanned=None if complete else scan.scanned,
    )


def threads_count(connection: sqlite3.Connection, search: ThreadSearch) -> int:
    """Count threads, regardless of limits. Raises `Invalid` if too many would have to be scanned."""
    terms = _terms(search)
    if not search.ids and not terms.terms:
        statuses = STATUSES if search.status is None else (search.status,)
        sql = f"SELECT count(*) FROM threads INDEXED BY threads_by_status WHERE status = ? AND {threads.VISIBLE}"
        return sum(connection.execute(sql, (status,)).fetchone()[0] for status in statuses)
    tags = tags_of(search.metadata)
    if not search.ids and search.status is None and len(terms.terms) == len(tags) == 1:
        sql = "SELECT count(*) FROM thread_tags WHERE name = ? AND value = ?"
        return int(connection.execute(sql, tags[0]).fetchone()[0])
    scan = _Scan(connection, search, terms, enough=None)
    if not scan.run():
        raise Invalid(
            f"metadata, values: to count what matches, more than {scan.scanned} threads would have to be looked at; "
            "narrow it by a top-level key of the metadata that fewer threads have"
        )
    return len(scan.kept)


def tags_of(metadata: dict[str, Any]) -> list[tuple[str, str | float]]:
    """Return the tags that a thread must have to match a filter, as they are stored."""
    tags: list[tuple[str, str | float]] = []
    for name, value in metadata.items():
        if len(name) > LONGEST_TAG:
            continue
        match value:
            case None:
                tags.append((name, "null"))
            case bool():
                tags.append((name, "true" if value else "false"))
            case int() | float():
                tags.append((name, filters.number(value)))
            case str() if len(value) <= LONGEST_TAG:
                tags.append((name, f"s{value}"))
    return tags


def _terms(search: ThreadSearch) -> filters.Conditions:
    terms = filters.matches("metadata", search.metadata)
    for excluded in search.excluded:
        terms.add_none_of(filters.matches("metadata", excluded))
    # last, because they are the most expensive to read
    terms.add_all(filters.matches(states.VALUES, search.values))
    return terms


def _records(connection: sqlite3.Connection, search: ThreadSearch, page: list[Candidate]) -> list[Thread]:
    sql = f"SELECT {threads.COLUMNS} FROM threads WHERE rowid IN (SELECT value FROM json_each(?))"
    rows = connection.execute(sql, (wire.text([row for row, _, _ in page]),))
    by_id = {row[0]: threads.record(row) for row in rows}
    listed = [by_id[thread_id] for _, _, thread_id in page]
    if search.values_shown:
        return [threads.shown(connection, thread) for thread in listed]
    return [evolve(thread, values=None) for thread in listed]


def _order(search: ThreadSearch) -> str:
    direction = "DESC" if search.descending else "ASC"
    first = "" if search.sort_by == "thread_id" else f"2 {direction}, "
    return f"ORDER BY {first}3 {direction}"


def _walk(
    connection: sqlite3.Connection, search: ThreadSearch, after: Candidate | None, limit: int, offset: int = 0
) -> list[Candidate]:
    """Return the next threads of the search's status, or of all statuses, behind `after` in its order."""
    arms, parameters = [], []
    for status in STATUSES if search.status is None else (search.status,):
        behind, given = _behind(search, after, status)
        if behind is not None:
            arms.append(
                f"SELECT rowid, {search.sort_by}, thread_id FROM threads INDEXED BY {INDEX[search.sort_by]} "
                f"WHERE status = ? AND {threads.VISIBLE}{behind}"
            )
            parameters += [status, *given]
    if not arms:
        return []
    sql = f"{' UNION ALL '.join(arms)} {_order(search)} LIMIT ? OFFSET ?"
    return connection.execute(sql, [*parameters, limit, offset]).fetchall()


def _behind(search: ThreadSearch, after: Candidate | None, status: str) -> tuple[str | None, list[Any]]:
    """Return the condition for the threads of a status behind `after`; None if there can't be any."""
    if after is None:
        return "", []
    than = "<" if search.descending else ">"
    _, key, thread_id = after
    if search.sort_by == "thread_id":
        return f" AND thread_id {than} ?", [thread_id]
    if search.sort_by != "status":
        return f" AND ({search.sort_by}, thread_id) {than} (?, ?)", [key, thread_id]
    if status == key:
        return f" AND thread_id {than} ?", [thread_id]
    return ("" if (status < key) is search.descending else None), []


def _sizes(most: int) -> Iterator[int]:
    size = min(FIRST_CHUNK, most)
    while True:
        yield size
        size = min(2 * size, most)


def _walked(connection: sqlite3.Connection, search: ThreadSearch, most: int) -> Iterator[list[Candidate]]:
    """Yield all threads of the search's status in its order, in chunks of at most `most`."""
    after = None
    for size in _sizes(most):
        chunk = _walk(connection, search, after, size)
        if chunk:
            yield chunk
            after = chunk[-1]
        if len(chunk) < size:
            break


def _sorted(
    connection: sqlite3.Connection, search: ThreadSearch, source: str, given: tuple[Any, ...], most: int
) -> Iterator[list[Candidate]]:
    """Yield the threads of a table of ids in the search's order."""
    with_status = "" if search.status is None else "AND +threads.status = ?"
    sql = (
        f"SELECT threads.rowid, threads.{search.sort_by}, threads.thread_id FROM {source} AS chosen "
        f"CROSS JOIN threads ON threads.thread_id = chosen.thread_id "
        f"WHERE {threads.VISIBLE} {with_status} {_order(search)}"
    )
    parameters = given if search.status is None else (*given, search.status)
    rows = connection.execute(sql, parameters).fetchall()
    start = 0
    for size in _sizes(most):
        if start >= len(rows):
            break
        yield rows[start : start + size]
        start += size


@define
class _Chunks:
    """An iterator of chunks of candidates that can be asked whether there are more."""

    source: Iterator[list[Candidate]]
    _ahead: list[Candidate] | None = None

    def more(self) -> bool:
        if self._ahead is None:
            self._ahead = next(self.source, None)
        return self._ahead is not None

    def take(self, most: int) -> list[Candidate]:
        """Return up to `most` next candidates; call it only after `more`."""
        assert self._ahead is not None
        chunk, rest = self._ahead[:most], self._ahead[most:]
        self._ahead = rest or None
        return chunk


@define
class _Scan:
    """A scan: candidates are compared with the filters until there are enough results."""

    connection: sqlite3.Connection
    search: ThreadSearch
    terms: filters.Conditions
    enough: int | None
    """Number of threads to find; None: all."""
    kept: list[Candidate] = field(factory=list)
    scanned: int = 0
    deadline: float = field(factory=lambda: time.monotonic() + SCAN_S, init=False)

    def run(self) -> bool:
        """Scan; False if there may be more results."""
        search = self.search
        size = CHUNK_OF_VALUES if search.values else CHUNK
        if search.ids:
            chosen = wire.text(list(dict.fromkeys(search.ids)))
            by_ids = "(SELECT value AS thread_id FROM json_each(?))"
            chunks = _Chunks(_sorted(self.connection, search, by_ids, (chosen,), size))
            return self._take(chunks, len(search.ids))
        tags = tags_of(search.metadata)
        tag, _ = self._rarest(tags, FEW)
        if tag is not None:
            return self._take(self._tagged(tag, size), FEW)
        walk = _Chunks(_walked(self.connection, search, size))
        if self._take(walk, min(PATIENCE, search.scan)):
            return True
        tag, having = self._rarest(tags, search.scan)
        if tag is not None and having < self._expected():
            self.kept.clear()
            return self._take(self._tagged(tag, size), self.scanned + search.scan)
        return self._take(walk, search.scan)

    def _expected(self) -> float:
        """Estimate the candidates to read until there are enough results, from the rate so far."""
        if self.enough is None or not self.kept:
            return math.inf
        return self.scanned * self.enough / len(self.kept)

    def _tagged(self, tag: tuple[str, str | float], size: int) -> _Chunks:
        source = "(SELECT thread_id FROM thread_tags WHERE name = ? AND value = ?)"
        return _Chunks(_sorted(self.connection, self.search, source, tag, size))

    def _rarest(
        self, tags: list[tuple[str, str | float]], most: int
    ) -> tuple[tuple[str, str | float] | None, int]:
        """Return the tag that the fewest threads have, and their number; None if more than `most` have it."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM thread_tags WHERE name = ? AND value = ? LIMIT ?)"
        numbers = [(self.connection.execute(sql, (*tag, most + 1)).fetchone()[0], tag) for tag in tags]
        having, rarest = min(numbers, key=lambda pair: int(pair[0]), default=(most + 1, None))
        return (rarest, having) if having <= most else (None, having)

    def _take(self, chunks: _Chunks, most: int) -> bool:
        """Compare chunks until there are enough results; False if `most` or the deadline stopped it."""
        while self.enough is None or len(self.kept) < self.enough:
            if self.scanned >= most or time.monotonic() > self.deadline:
                return not chunks.more()
            if not chunks.more():
                return True
            chunk = chunks.take(most - self.scanned)
            self.scanned += len(chunk)
            self.kept += self._matching(chunk)
        del self.kept[self.enough :]
        return True

    def _matching(self, chunk: list[Candidate]) -> list[Candidate]:
        if not self.terms.terms:
            return chunk
        rows = wire.text([row for row, _, _ in chunk])
        sql = (
            "SELECT rowid FROM threads WHERE rowid IN (SELECT value FROM json_each(?)) "
            f"AND {' AND '.join(self.terms.terms)}"
        )
        matching = {row for (row,) in self.connection.execute(sql, [rows, *self.terms.parameters])}
        return [candidate for candidate in chunk if candidate[0] in matching]
