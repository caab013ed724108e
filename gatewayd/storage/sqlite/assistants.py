"""
The rows of `assistants` and `assistant_versions`.

Every change of an assistant creates a version. Its own row holds the version in use. An assistant whose graph
the project does not have is hidden: no query sees it, and it returns unchanged with the graph. Its versions
and crons stay with it, and are removed when it is deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import attrs

from gatewayd import ids, wire
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.storage.assistants import AssistantSearch
from gatewayd.storage.sqlite import filters

COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version, created_at, updated_at"
)
VERSION_COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version, created_at, created_at"
)
SYSTEM = wire.text({"created_by": "system"})
FIND = f"SELECT {COLUMNS} FROM assistants WHERE assistant_id = ? AND NOT hidden"

# The threads whose latest run was an assistant's, in pages by thread id. Parameters: assistant_id, thread_id
# (the last of the page before), limit.
THREADS_OF = """
SELECT tag.thread_id FROM thread_tags AS tag JOIN threads AS t ON t.thread_id = tag.thread_id
WHERE tag.name = 'assistant_id' AND tag.value = 's' || ? AND tag.thread_id > ?
AND t.deleted_at IS NULL AND t.hidden_at IS NULL
ORDER BY tag.thread_id LIMIT ?"""


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
    """Return the id of an assistant that may be named by its graph's id: then it is the system assistant."""
    return ids.parse_uuid(assistant) or ids.system_assistant_id(assistant)


def assistant_find(connection: sqlite3.Connection, assistant: str) -> Assistant | None:
    """Return the assistant with this id, or the system assistant of the graph with this id."""
    row = connection.execute(FIND, (identifier(assistant),)).fetchone()
    return record(row) if row else None


def assistant_hidden(connection: sqlite3.Connection, assistant: str) -> bool:
    """Return whether the assistant exists but is hidden because the project does not have its graph."""
    row = connection.execute(
        "SELECT hidden FROM assistants WHERE assistant_id = ?", (identifier(assistant),)
    ).fetchone()
    return bool(row and row[0])


def assistant_create(connection: sqlite3.Connection, assistant: Assistant, do_nothing: bool) -> Assistant:
    """Store a new assistant; with `do_nothing`, return an existing one instead. Raises `Conflict`."""
    existing = assistant_find(connection, assistant.assistant_id)
    if existing is not None and do_nothing:
        return existing
    if existing is not None or assistant_hidden(connection, assistant.assistant_id):
        raise Conflict(f"Assistant {assistant.assistant_id} already exists")
    connection.execute(
        f"INSERT INTO assistants ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _values(assistant)
    )
    _version_insert(connection, assistant)
    return assistant


def assistant_patch(
    connection: sqlite3.Connection, assistant: str, change: AssistantChange, now: int
) -> Assistant:
    """Change the given fields, as a new version. Raises `NotFound`."""
    current = _require(connection, assistant)
    (version,) = connection.execute(
        "SELECT max(version) + 1 FROM assistant_versions WHERE assistant_id = ?", (current.assistant_id,)
    ).fetchone()
    given = attrs.asdict(change, recurse=False, filter=lambda _, value: value is not None)
    given["metadata"] = {**current.metadata, **(change.metadata or {})}
    changed = attrs.evolve(current, **given, version=version, updated_at=now)
    _version_insert(connection, changed)
    return _become(connection, changed)


def assistant_version_set(
    connection: sqlite3.Connection, assistant: str, version: int | None, now: int
) -> Assistant:
    """Return an assistant to one of its versions, graph included. Raises `NotFound`."""
    current = _require(connection, assistant)
    row = connection.execute(
        f"SELECT {VERSION_COLUMNS} FROM assistant_versions WHERE assistant_id = ? AND version = ?",
        (current.assistant_id, version),
    ).fetchone()
    if row is None:
        raise NotFound(f"Version {version} not found for assistant {current.assistant_id}")
    return _become(connection, attrs.evolve(record(row), created_at=current.created_at, updated_at=now))


def assistant_delete(connection: sqlite3.Connection, assistant: str) -> None:
    """Remove an assistant with its versions and crons; its runs stay. Raises `NotFound`."""
    deleted = connection.execute(
        "DELETE FROM assistants WHERE assistant_id = ? AND NOT hidden", (identifier(assistant),)
    )
    if deleted.rowcount == 0:
        raise NotFound(f"Assistant with ID {assistant} not found")


def _require(connection: sqlite3.Connection, assistant: str) -> Assistant:
    existing = assistant_find(connection, assistant)
    if existing is None:
        raise NotFound(f"Assistant {assistant} not found")
    return existing


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


def search_statement(search: AssistantSearch) -> tuple[str, list[Any]]:
    """Return the SELECT of a search and its parameters. It reads one row more than the limit."""
    conditions = _conditions(search)
    column = "folded(name)" if search.sort_by == "name" else search.sort_by
    direction = "DESC" if search.descending else "ASC"
    sql = (
        f"SELECT {COLUMNS} FROM assistants WHERE {' AND '.join(conditions.terms)} "
        f"ORDER BY {column} {direction}, rowid {direction} LIMIT ? OFFSET ?"
    )
    return sql, [*conditions.parameters, search.limit + 1, search.offset]


def count_statement(search: AssistantSearch) -> tuple[str, list[Any]]:
    """Return the statement that counts all results of a search, and its parameters."""
    conditions = _conditions(search)
    return f"SELECT count(*) FROM assistants WHERE {' AND '.join(conditions.terms)}", conditions.parameters


def versions_statement(
    assistant_id: str, metadata: dict[str, Any], limit: int, offset: int
) -> tuple[str, list[Any]]:
    """Return the SELECT of an assistant's versions, newest first, and its parameters."""
    conditions = filters.matches("metadata", metadata)
    conditions.add("assistant_id = ?", assistant_id)
    sql = (
        f"SELECT {VERSION_COLUMNS} FROM assistant_versions WHERE {' AND '.join(conditions.terms)} "
        "ORDER BY version DESC LIMIT ? OFFSET ?"
    )
    return sql, [*conditions.parameters, limit, offset]


def _conditions(search: AssistantSearch) -> filters.Conditions:
    conditions = filters.matches("metadata", search.metadata)
    conditions.add("NOT hidden")
    if search.graph_id is not None:
        conditions.add("graph_id = ?", search.graph_id)
    if search.name is not None:
        conditions.add("instr(folded(name), folded(?)) > 0", search.name)
    return conditions


# the project's graphs


def system_assistants_sync(
    connection: sqlite3.Connection, graphs: Mapping[str, str | None], now: int
) -> None:
    """
    Store one assistant for each graph of the project, and hide the assistants of all other graphs.

    `graphs` maps graph ids to descriptions. An existing system assistant gets the new description, unless a
    client has changed the assistant.
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
