"""
The rows of `assistants`, and of `assistant_versions`.

Every change of an assistant makes a version; the assistant's own row is what it is now. One whose graph the
project does not have is hidden: no query sees it, and it is as it was when the graph is back. Its crons stay
with it, its versions too, and go with it when it is deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from gatewayd import ids, wire
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.storage.sqlite import filters

COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version, created_at, updated_at"
)
VERSION_COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version, created_at, created_at"
)
SYSTEM = wire.text({"created_by": "system"})
FIND = f"SELECT {COLUMNS} FROM assistants WHERE assistant_id = ? AND NOT hidden"

# The threads on which an assistant's runs were last, in pages by their id. Parameters: assistant_id,
# thread_id, limit.
THREADS_OF = """
SELECT tag.thread_id FROM thread_tags AS tag JOIN threads AS t ON t.thread_id = tag.thread_id
WHERE tag.name = 'assistant_id' AND tag.value = 's' || ? AND tag.thread_id > ?
AND t.deleted_at IS NULL AND t.hidden_at IS NULL
ORDER BY tag.thread_id LIMIT ?"""


@frozen(kw_only=True)
class Search:
    """What `assistants_search` looks for; None means any."""

    metadata: dict[str, Any]
    graph_id: str | None = None
    name: str | None = None
    """Part of the name, in upper or lower case."""
    limit: int = 10
    offset: int = 0
    sort_by: str = "created_at"
    descending: bool = True


def record(row: tuple[Any, ...]) -> Assistant:
    """Make the record of a row with `COLUMNS` or `VERSION_COLUMNS`."""
    return Assistant(
        assistant_id=row[0],
        graph_id=row[1],
        name=row[2],
        description=row[3],
        config=wire.loads(row[4]),
        context=wire.loads(row[5]),
        metadata=wire.loads(row[6]),
        version=row[7],
        created_at=row[8],
        updated_at=row[9],
    )


def identifier(assistant: str) -> str:
    """Return an assistant's id; a graph's id stands for its system assistant."""
    return ids.parse_uuid(assistant) or ids.system_assistant_id(assistant)


def assistant_find(connection: sqlite3.Connection, assistant: str) -> Assistant | None:
    """Return the assistant with this id; a graph id stands for its system assistant."""
    row = connection.execute(FIND, (identifier(assistant),)).fetchone()
    return record(row) if row else None


def assistant_hidden(connection: sqlite3.Connection, assistant: str) -> bool:
    """Tell whether there is such an assistant, but the project has not its graph at the moment."""
    row = connection.execute(
        "SELECT hidden FROM assistants WHERE assistant_id = ?", (identifier(assistant),)
    ).fetchone()
    return bool(row and row[0])


def assistant_create(connection: sqlite3.Connection, assistant: Assistant, do_nothing: bool) -> Assistant:
    """Store a new assistant, or with `do_nothing` return the one that has this id. Raises `Conflict`."""
    found = assistant_find(connection, assistant.assistant_id)
    if found is not None and do_nothing:
        return found
    if found is not None or assistant_hidden(connection, assistant.assistant_id):
        raise Conflict(f"Assistant {assistant.assistant_id} already exists")
    connection.execute(
        f"INSERT INTO assistants ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _values(assistant)
    )
    _version_insert(connection, assistant)
    return assistant


def assistant_patch(
    connection: sqlite3.Connection, assistant: str, change: AssistantChange, now: int
) -> Assistant:
    """Change what is given, as a new version. Raises `NotFound`."""
    found = _require(connection, assistant)
    (version,) = connection.execute(
        "SELECT max(version) + 1 FROM assistant_versions WHERE assistant_id = ?", (found.assistant_id,)
    ).fetchone()
    given = attrs.asdict(change, recurse=False, filter=lambda _, value: value is not None)
    given["metadata"] = {**found.metadata, **(change.metadata or {})}
    changed = attrs.evolve(found, **given, version=version, updated_at=now)
    _version_insert(connection, changed)
    return _become(connection, changed)


def assistant_version_set(
    connection: sqlite3.Connection, assistant: str, version: int | None, now: int
) -> Assistant:
    """Make an assistant what it was in one of its versions, graph included. Raises `NotFound`."""
    found = _require(connection, assistant)
    row = connection.execute(
        f"SELECT {VERSION_COLUMNS} FROM assistant_versions WHERE assistant_id = ? AND version = ?",
        (found.assistant_id, version),
    ).fetchone()
    if row is None:
        raise NotFound(f"Version {version} not found for assistant {found.assistant_id}")
    return _become(connection, attrs.evolve(record(row), created_at=found.created_at, updated_at=now))


def assistant_delete(connection: sqlite3.Connection, assistant: str) -> None:
    """Remove an assistant with its versions and crons; runs that were made of it stay. Raises `NotFound`."""
    gone = connection.execute(
        "DELETE FROM assistants WHERE assistant_id = ? AND NOT hidden", (identifier(assistant),)
    )
    if gone.rowcount == 0:
        raise NotFound(f"Assistant with ID {assistant} not found")


def _require(connection: sqlite3.Connection, assistant: str) -> Assistant:
    found = assistant_find(connection, assistant)
    if found is None:
        raise NotFound(f"Assistant {assistant} not found")
    return found


def _become(connection: sqlite3.Connection, assistant: Assistant) -> Assistant:
    columns = COLUMNS.replace(",", " = ?,") + " = ?"
    connection.execute(
        f"UPDATE assistants SET {columns} WHERE assistant_id = ?",
        (*_values(assistant), assistant.assistant_id),
    )
    return assistant


def _values(assistant: Assistant) -> tuple[Any, ...]:
    """Return the values of `COLUMNS`."""
    return (
        assistant.assistant_id,
        assistant.graph_id,
        assistant.name,
        assistant.description,
        wire.text(assistant.config),
        wire.text(assistant.context),
        wire.text(assistant.metadata),
        assistant.version,
        assistant.created_at,
        assistant.updated_at,
    )


def _version_insert(connection: sqlite3.Connection, assistant: Assistant) -> None:
    connection.execute(
        """INSERT INTO assistant_versions (assistant_id, graph_id, name, description, config, context, metadata, version,
               created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (*_values(assistant)[:-2], assistant.updated_at),
    )


# reading


def search_statement(search: Search) -> tuple[str, list[Any]]:
    """Return the SELECT of a search and its parameters: sorted and cut, one row more than asked."""
    found = _conditions(search)
    column = "folded(name)" if search.sort_by == "name" else search.sort_by
    direction = "DESC" if search.descending else "ASC"
    sql = (
        f"SELECT {COLUMNS} FROM assistants WHERE {' AND '.join(found.terms)} "
        f"ORDER BY {column} {direction}, rowid {direction} LIMIT ? OFFSET ?"
    )
    return sql, [*found.parameters, search.limit + 1, search.offset]


def count_statement(search: Search) -> tuple[str, list[Any]]:
    """Return the statement that counts what a search would find without its limits, and its parameters."""
    found = _conditions(search)
    return f"SELECT count(*) FROM assistants WHERE {' AND '.join(found.terms)}", found.parameters


def versions_statement(
    assistant_id: str, metadata: dict[str, Any], limit: int, offset: int
) -> tuple[str, list[Any]]:
    """Return the SELECT of an assistant's versions, newest first, and its parameters."""
    found = filters.matches("metadata", metadata)
    found.add("assistant_id = ?", assistant_id)
    sql = (
        f"SELECT {VERSION_COLUMNS} FROM assistant_versions WHERE {' AND '.join(found.terms)} "
        "ORDER BY version DESC LIMIT ? OFFSET ?"
    )
    return sql, [*found.parameters, limit, offset]


def _conditions(search: Search) -> filters.Conditions:
    found = filters.matches("metadata", search.metadata)
    found.add("NOT hidden")
    if search.graph_id is not None:
        found.add("graph_id = ?", search.graph_id)
    if search.name is not None:
        found.add("instr(folded(name), folded(?)) > 0", search.name)
    return found


# the project's graphs


def system_assistants_sync(
    connection: sqlite3.Connection, graphs: Mapping[str, str | None], now: int
) -> None:
    """
    Store one assistant per graph of the project (id to description), and hide those of graphs that it has
    not.

    One that exists gets the new description, unless a client has changed it.
    """
    for graph_id, description in graphs.items():
        assistant_id = ids.system_assistant_id(graph_id)
        connection.execute(
            """INSERT INTO assistants (assistant_id, graph_id, name, description, metadata, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT (assistant_id) DO UPDATE SET description = excluded.description
               WHERE description IS NOT excluded.description AND NOT EXISTS (
                   SELECT 1 FROM assistant_versions AS changed
                   WHERE changed.assistant_id = excluded.assistant_id AND changed.version > 1)""",
            (assistant_id, graph_id, graph_id, description, SYSTEM, now, now),
        )
        connection.execute(
            """INSERT INTO assistant_versions
               SELECT assistant_id, version, graph_id, name, description, config, context, metadata, updated_at
               FROM assistants WHERE assistant_id = ? AND version = 1
               ON CONFLICT (assistant_id, version) DO UPDATE SET description = excluded.description""",
            (assistant_id,),
        )
    connection.execute(
        "UPDATE assistants SET hidden = graph_id NOT IN (SELECT value FROM json_each(?))",
        (wire.text(list(graphs)),),
    )
