"""The rows of `assistants`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from gatewayd import ids, wire
from gatewayd.model.thread import Assistant
from gatewayd.storage.sqlite import filters

COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version, created_at, updated_at"
)
SYSTEM = wire.text({"created_by": "system"})


def record(row: tuple[Any, ...]) -> Assistant:
    """Make the record of a row with `COLUMNS`."""
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


def assistant_find(connection: sqlite3.Connection, assistant: str) -> Assistant | None:
    """Return the assistant with this id; a graph id stands for its system assistant."""
    assistant_id = ids.parse_uuid(assistant) or ids.system_assistant_id(assistant)
    row = connection.execute(
        f"SELECT {COLUMNS} FROM assistants WHERE assistant_id = ?", (assistant_id,)
    ).fetchone()
    return record(row) if row else None


def search_statement(
    *,
    metadata: dict[str, Any],
    graph_id: str | None,
    name: str | None,
    limit: int,
    offset: int,
    sort_by: str,
    descending: bool,
) -> tuple[str, list[Any]]:
    """Return the SELECT of a search and its parameters: sorted and cut, one row more than asked."""
    found = filters.matches("metadata", metadata, containment=True)
    if graph_id is not None:
        found.add("graph_id = ?", graph_id)
    if name is not None:
        found.add("instr(lower(name), lower(?)) > 0", name)
    where = f"WHERE {' AND '.join(found.terms)}" if found.terms else ""
    column = "name COLLATE NOCASE" if sort_by == "name" else sort_by
    direction = "DESC" if descending else "ASC"
    sql = (
        f"SELECT {COLUMNS} FROM assistants {where} "
        f"ORDER BY {column} {direction}, rowid {direction} LIMIT ? OFFSET ?"
    )
    return sql, [*found.parameters, limit + 1, offset]


def system_assistants_sync(
    connection: sqlite3.Connection, graphs: Mapping[str, str | None], now: int
) -> None:
    """Store one assistant per graph of the project (id to description); existing ones get the new description."""
    for graph_id, description in graphs.items():
        connection.execute(
            """INSERT INTO assistants (assistant_id, graph_id, name, description, metadata, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT (assistant_id) DO UPDATE SET description = excluded.description
               WHERE description IS NOT excluded.description""",
            (ids.system_assistant_id(graph_id), graph_id, graph_id, description, SYSTEM, now, now),
        )
