"""The listing of checkpoints: one page of `rows.CheckpointRow`, newest first, filtered in SQL.

A page ends at a key and the next begins behind it, so no cursor is open while others write.
"""

from __future__ import annotations

import re
from typing import Any

from gatewayd import wire
from gatewayd.checkpointing import rows
from gatewayd.checkpointing.reader import Search
from gatewayd.checkpointing.sqlite import statements

_BARE = re.compile(r"[a-zA-Z0-9_.-]+")


def page(wanted: Search, after: rows.CheckpointRow | None, limit: int) -> tuple[str, list[Any]]:
    """Return statement and parameters of the `limit` checkpoints that come after row `after`."""
    clauses: list[str] = []
    params: list[Any] = []
    for clause, value in (
        ("thread_id = ?", wanted.thread_id),
        ("checkpoint_ns = ?", wanted.checkpoint_ns),
        ("checkpoint_id = ?", wanted.checkpoint_id),
        ("checkpoint_id < ?", wanted.before),
    ):
        if value is not None:
            clauses.append(clause)
            params.append(value)
    for key, value in wanted.filter.items():
        clauses.append(f"json_extract({statements.METADATA}, ?) IS ?")
        params += [_path(key), _comparable(value)]
    if after is not None:
        clauses.append("(checkpoint_id, thread_id, checkpoint_ns) < (?, ?, ?)")
        params += [after.checkpoint_id, after.thread_id, after.checkpoint_ns]
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    # The page is chosen by rowid first: a sorter would otherwise carry every state of the thread.
    statement = (
        f"SELECT {rows.CHECKPOINT} FROM checkpoints WHERE rowid IN "
        f"(SELECT rowid FROM checkpoints {where} {_ORDER} LIMIT ?) {_ORDER}"
    )
    return statement, [*params, limit]


_ORDER = "ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC"


def _path(key: str) -> str:
    """Return the JSON path of a metadata key; raises ValueError for a key that SQLite has no path for."""
    if _BARE.fullmatch(key):
        return f"$.{key}"
    if '"' in key:
        raise ValueError(f"metadata can't be filtered by the key {key!r}: it contains a quote")
    return f'$."{key}"'


def _comparable(value: Any) -> Any:
    """
    Return a filter value as `json_extract` shows it: booleans as 0 and 1, objects and lists as compact JSON.
    """
    if value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, dict | list | tuple):
        return wire.text(value)
    return str(value)
