"""The statements of the tables `blobs`, `families` and `thread_families`, inside the caller's transaction.

Whoever stores a row with a manifest calls `store` first, whether there are new blobs or not: it stops a sweep
that has begun and could miss the row. Whoever removes rows with manifests calls `mark`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from gatewayd.blobs import cut
from gatewayd.errors import Rejected

if TYPE_CHECKING:
    import sqlite3

    from gatewayd.blobs.cut import Blob

BATCH: Final = 500
"""Blobs of one query."""

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Executes a statement and returns all its rows."""

_FAMILY = """
SELECT family_id, sweep FROM thread_families JOIN families USING (family_id) WHERE thread_id = ?"""

_MARK = """
UPDATE families SET garbage = garbage + 1
WHERE family_id IN (SELECT family_id FROM thread_families WHERE thread_id {which})"""


@functools.cache
def select(count: int) -> str:
    """
    Return the statement that reads `count` blobs: (hash, kind, body, …). Parameters: thread_id, hash, …

    With a compound comes its first text, mostly the only one: hash, kind and body once more, NULL where there
    is none.
    """
    return (
        "SELECT blobs.hash, blobs.kind, blobs.body, texts.hash, texts.kind, texts.body FROM blobs "
        f"LEFT JOIN blobs AS texts ON blobs.kind = {cut.COMPOUND} AND texts.family_id = blobs.family_id "
        f"AND texts.hash = substr(blobs.body, {cut.FIRST + 1}, {cut.HASH_BYTES}) WHERE blobs.family_id = "
        "(SELECT family_id FROM thread_families WHERE thread_id = ?) "
        f"AND blobs.hash IN ({_marks(count)})"
    )


@functools.cache
def select_segments(count: int) -> str:
    """
    Return the statement that reads the segments among `count` blobs: (hash, children). Parameters as in
    `select`.
    """
    return (
        "SELECT hash, body FROM blobs WHERE family_id = "
        f"(SELECT family_id FROM thread_families WHERE thread_id = ?) AND hash IN ({_marks(count)}) "
        f"AND kind = {cut.SEGMENT}"
    )


@functools.cache
def _marks(count: int) -> str:
    return ", ".join("?" * count)


def blobs(fetch: Fetch, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """Return those of the blobs that are stored, as `select` gives them."""
    return _in_batches(select, fetch, thread_id, hashes)


def segments(fetch: Fetch, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return those of the blobs that are segments: (hash, children)."""
    return _in_batches(select_segments, fetch, thread_id, hashes)


def _in_batches(
    statement: Callable[[int], str], fetch: Fetch, thread_id: str, hashes: Sequence[bytes]
) -> list[Any]:
    stored: list[Any] = []
    for start in range(0, len(hashes), BATCH):
        batch = hashes[start : start + BATCH]
        stored += fetch(statement(len(batch)), (thread_id, *batch))
    return stored


@frozen
class Blobs:
    """The stored blobs, read by way of `fetch`."""

    fetch: Fetch

    def blobs(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[Any, ...]]:
        return blobs(self.fetch, thread_id, hashes)

    def segments(self, thread_id: str, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        return segments(self.fetch, thread_id, hashes)


def store(
    connection: sqlite3.Connection,
    thread_id: str,
    blobs: Sequence[Blob | Sequence[Any]],
    manifests: Iterable[bytes],
) -> None:
    """
    Store blobs ``(hash, kind, body)`` for rows with these manifests; those that the family has already stay
    as they are.

    Raises Rejected if something would be missing: the sender was wrong about what is stored.
    """
    family_id = _open(connection, thread_id)
    if blobs:
        connection.executemany(
            "INSERT OR IGNORE INTO blobs (family_id, hash, kind, body) VALUES (?, ?, ?, ?)",
            [(family_id, *blob) for blob in blobs],
        )
    # What new segments and compounds refer to is looked up as well, so nothing that is stored can ever lack
    # something below it.
    needed = {reference for manifest in manifests for reference in cut.references(manifest)}
    for _, kind, body in blobs:
        if kind == cut.SEGMENT:
            needed.update(cut.split(body))
        elif kind == cut.COMPOUND:
            needed.update(cut.references(body))
    needed.difference_update(blob[0] for blob in blobs)
    ordered = list(needed)
    for start in range(0, len(ordered), BATCH):
        some = ordered[start : start + BATCH]
        found = connection.execute(
            f"SELECT count(*) FROM blobs WHERE family_id = ? AND hash IN ({_marks(len(some))})",
            (family_id, *some),
        ).fetchone()
        if found[0] < len(some):
            raise Rejected(f"Thread {thread_id} has not got {len(some) - found[0]} of the blobs referred to")


def _open(connection: sqlite3.Connection, thread_id: str) -> int:
    """Return the thread's family, made if there is none; a sweep of it that is under way ends."""
    found = connection.execute(_FAMILY, (thread_id,)).fetchone()
    if found is not None:
        family_id, sweep = found
        if sweep is not None:
            connection.execute("UPDATE families SET sweep = NULL WHERE family_id = ?", (family_id,))
        return int(family_id)
    (made,) = connection.execute("INSERT INTO families DEFAULT VALUES RETURNING family_id").fetchone()
    connection.execute("INSERT INTO thread_families VALUES (?, ?)", (thread_id, made))
    return int(made)


def adopt(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Take a thread into the family of another, before it gets copies of that one's rows.

    The target has no rows of its own: what its former family kept for it is garbage.
    """
    if connection.execute(_FAMILY, (source,)).fetchone() is None:
        return
    family_id = _open(connection, source)
    former = connection.execute(_FAMILY, (target,)).fetchone()
    if former is not None and former[0] != family_id:
        mark(connection, target)
    connection.execute("INSERT OR REPLACE INTO thread_families VALUES (?, ?)", (target, family_id))


def mark(connection: sqlite3.Connection, thread_id: str) -> None:
    """Remember that rows with manifests of this thread have gone, or are about to go."""
    connection.execute(_MARK.format(which="= ?"), (thread_id,))


def forget(connection: sqlite3.Connection, thread_id: str) -> None:
    """Take a thread of which no row is left out of its family."""
    mark(connection, thread_id)
    connection.execute("DELETE FROM thread_families WHERE thread_id = ?", (thread_id,))


def mark_where(connection: sqlite3.Connection, threads: str, parameters: Sequence[object]) -> None:
    """The same of all threads that the SELECT `threads` returns."""
    connection.execute(_MARK.format(which=f"IN ({threads})"), parameters)
