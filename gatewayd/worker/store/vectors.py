"""Vectors in SQLite: their table, and the distance between two.

The distance is sqlite-vec's where Python can load extensions. Where it was built without (pyenv does, by
default) a function of ours takes its place: the same numbers, about a hundred times slower, which a store of
some thousand items does not feel.
"""

from __future__ import annotations

import functools
import logging
import math
import operator
import sqlite3
from array import array

import sqlite_vec  # type: ignore[import-untyped]
from langgraph.store.sqlite import SqliteStore

log = logging.getLogger(__name__)


def install(sqlite: sqlite3.Connection, *, tell: bool) -> None:
    """
    Make the table of the vectors, and ``vec_distance_cosine(one, other)`` for this connection.

    `tell`: say so if the extension can't be had; without an index nobody misses it.
    """
    _migrate(sqlite)
    try:
        sqlite.enable_load_extension(True)
        sqlite_vec.load(sqlite)
        sqlite.enable_load_extension(False)
    except (AttributeError, sqlite3.Error) as error:
        if tell:
            log.info("sqlite-vec can't be loaded (%s); searching by meaning takes longer", error)
        sqlite.create_function("vec_distance_cosine", 2, cosine_distance, deterministic=True)


def _migrate(sqlite: sqlite3.Connection) -> None:
    """Do what langgraph's own store does when it has an index, without its demand for the extension."""
    sqlite.execute("BEGIN IMMEDIATE")
    sqlite.execute("CREATE TABLE IF NOT EXISTS vector_migrations (v INTEGER PRIMARY KEY)")
    (done,) = sqlite.execute("SELECT coalesce(max(v), -1) FROM vector_migrations").fetchone()
    for version, statement in enumerate(SqliteStore.VECTOR_MIGRATIONS):
        if version > done:
            sqlite.execute(statement)
            sqlite.execute("INSERT INTO vector_migrations (v) VALUES (?)", (version,))
    sqlite.execute("COMMIT")


@functools.lru_cache(16)
def _asked(packed: bytes) -> tuple[array[float], float]:
    """Return the vector of a search, which every row is compared with, and its length."""
    vector = array("f", packed)
    return vector, math.sqrt(sum(map(operator.mul, vector, vector)))


def cosine_distance(packed: bytes, other: bytes) -> float | None:
    """Return 1 minus the cosine between a stored vector and that of a search; None if one of them is zero."""
    vector, (asked, length) = array("f", packed), _asked(other)
    lengths = length * math.sqrt(sum(map(operator.mul, vector, vector)))
    return 1.0 - sum(map(operator.mul, vector, asked)) / lengths if lengths else None
