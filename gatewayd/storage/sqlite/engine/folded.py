"""Databases whose tables were made by the twelve migrations that are now one, `0001_initial`.

Before the first release the tables grew by twelve migrations. They were folded into one script that explains
every column, and a table and some columns got better names. A database with all twelve is taken over: the
names are changed, and what comes of it is compared with the tables of a fresh database. One with fewer of
them, or with others, is refused by `migrate`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Final

from gatewayd import errors

CHECKSUMS: Final[Mapping[int, str]] = {
    1: "09cdd546bffdd8f121d26b07b5270378717f96616c65bd5868a4da144558b213",
    2: "c4b40e138d6532f887520c4b09876afcebcc34ab22f9627f927522a5f5c053e9",
    3: "0f494138ab4d878b1510430d6e5d40ffdf315f7d03aca3ef2d7e21f48d09ab53",
    4: "bc188e6f73c3afdd441c589ba1d7d1d7e768e35ff564b73ee4a96ab1ba0692ef",
    5: "bad35f81b09bec42162128c68b085434b12debf2015dfc99e3253851b2f675bf",
    6: "f54c8561714f993c8b663877ba83794b96eb743311a7782fdf9945b961379997",
    7: "d3b29d2db95b35c1c5558aabaafd55749535567233bd73e7a5600d4b219e844f",
    8: "2f96fb14c75f9c734e523cb5eecd4240c83ea36527f1779ced5d884d710b7f67",
    9: "13aaefbf5720a2a7c2a250e275b5af408594ec2485a06c8690d7ced254bde188",
    10: "3fb47adddc8418d458aa56759a069ba20abf75cb78b96a2695bd1f70d743f24c",
    11: "dc149d0ed29bbf085fba0c09c68849009bac3391cbf1bcbf0135284ddc7e4faf",
    12: "a04f706dc161db25af40e895abc2aadd279765f7d38e7fe089014d76e8f047ca",
}
"""SHA-256 of the twelve scripts, by their numbers."""

LAST_BUILD: Final = "commit 5209d15 of 1 December 2026"
"""A build that has the twelve scripts, for databases that have fewer."""

RENAMES: Final = (
    "ALTER TABLE slots RENAME TO thread_locks",
    "ALTER TABLE threads RENAME COLUMN kept TO cron_failed",
    "ALTER TABLE events RENAME COLUMN joined TO saved_bytes",
    "ALTER TABLE conversions RENAME COLUMN behind TO done_to",
    "ALTER TABLE conversions RENAME COLUMN until TO last_row",
)

_TOKEN = re.compile(r"""--[^\n]*|'(?:[^']|'')*'|"((?:[^"]|"")*)"|\w+|[^\s\w]""")


def has_all(applied: Mapping[int, str]) -> bool:
    """Return whether these migrations, with their checksums, are the twelve."""
    return dict(applied) == CHECKSUMS


def has_fewer(applied: Mapping[int, str]) -> bool:
    """Return whether these migrations are the first of the twelve, and not all of them."""
    return 0 < len(applied) < len(CHECKSUMS) and applied.items() <= CHECKSUMS.items()


def rename(connection: sqlite3.Connection, script: str) -> None:
    """
    Make the tables those of `script`, which is the text of `0001_initial`, in the transaction that is open.

    Raises `BadConfiguration` if the tables are not what the twelve migrations had made.
    """
    try:
        for statement in RENAMES:
            connection.execute(statement)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise errors.BadConfiguration(f"its tables were changed by hand: {error}") from error
    fresh = sqlite3.connect(":memory:")
    try:
        fresh.executescript(script)
        wanted = _schema(fresh)
    finally:
        fresh.close()
    if differing := sorted({name for (_, name), _ in _schema(connection).items() ^ wanted.items()}):
        raise errors.BadConfiguration(f"its tables were changed by hand: {', '.join(differing)}")


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[str, ...] | None]:
    """Return the tokens of what made each table, index and trigger, by its kind and name."""
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE name <> 'migration' AND name NOT LIKE 'sqlite_stat%'"
    )
    return {(kind, name): None if sql is None else tuple(_tokens(sql)) for kind, name, sql in rows}


def _tokens(sql: str) -> list[str]:
    """Return the tokens without comments; ALTER TABLE quotes names that CREATE TABLE need not quote."""
    return [
        match[0] if match[1] is None else match[1]
        for match in _TOKEN.finditer(sql)
        if not match[0].startswith("--")
    ]
