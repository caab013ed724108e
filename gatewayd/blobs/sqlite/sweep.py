"""Freeing the blobs of a family that no manifest reaches: mark, then remove, in steps of a few milliseconds.

A sweep begins only while no thread of the family is locked, and is given up as soon as one is, or as anything
was stored in the family: its marks might not be complete then. It begins again later; marking has changed
nothing. A sweep is given up, too, when its last step was rolled back with its transaction: it may have seen
what is not so.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gatewayd.blobs import cut
from gatewayd.blobs.sweeping import Sweep

if TYPE_CHECKING:
    import sqlite3

STEP_S: Final = 0.004
"""For how long a step goes on taking more; what it takes at a time needs less than a millisecond or two."""
ROWS: Final = 50
"""Rows with manifests, or segments and compounds, looked at at a time."""
BLOBS: Final = 100
"""Blobs looked at at a time, when they are removed."""


def _alone(column: bytes) -> tuple[bytes]:
    return (column,)


@frozen
class Source:
    """A table whose rows have manifests."""

    table: str
    """Its name, if need be with the index to use."""
    key: tuple[str, ...]
    """Columns that, with the thread before them, are the table's key."""
    first: tuple[str | int, ...]
    """A key that sorts before all."""
    manifest: str
    """The column."""
    where: str
    """Which rows have one."""
    manifests: Callable[[bytes], Iterable[bytes]] = _alone
    """Returns the manifests that the column has: mostly it is one."""

    def page(self) -> str:
        """Return the statement that reads (key …, manifest). Parameters: thread_id, key …, limit."""
        key = ", ".join(self.key)
        marks = ", ".join("?" * len(self.key))
        return (
            f"SELECT {key}, {self.manifest} FROM {self.table} WHERE thread_id = ? AND ({key}) > ({marks}) "
            f"AND {self.where} ORDER BY {key} LIMIT ?"
        )


def families(connection: sqlite3.Connection, after: int, limit: int) -> list[int]:
    """Return families behind `after` that have something to sweep and no locked thread."""
    found = connection.execute(
        f"""SELECT family_id FROM families WHERE garbage > 0 AND family_id > ? AND NOT {_TAKEN}
            ORDER BY family_id LIMIT ?""",
        (after, limit),
    )
    return [family_id for (family_id,) in found]


_TAKEN = """EXISTS (SELECT 1 FROM thread_families JOIN thread_locks USING (thread_id)
                WHERE thread_families.family_id = families.family_id)"""


def begin(connection: sqlite3.Connection, family_id: int) -> Sweep | None:
    """Begin a sweep; None if a thread of the family is locked, or there is nothing to sweep."""
    token = uuid.uuid4().hex
    row = connection.execute(
        f"UPDATE families SET sweep = ? WHERE family_id = ? AND garbage > 0 AND NOT {_TAKEN} RETURNING garbage",
        (token, family_id),
    ).fetchone()
    if row is None:
        return None
    threads = connection.execute("SELECT thread_id FROM thread_families WHERE family_id = ?", (family_id,))
    return Sweep(family_id, token, row[0], [thread_id for (thread_id,) in threads])


def step(connection: sqlite3.Connection, sweep: Sweep, sources: Sequence[Source]) -> bool:
    """Go on with a sweep for about `STEP_S`; True when it is over: done, or given up."""
    until = time.perf_counter() + STEP_S
    held = connection.execute(
        f"SELECT 1 FROM families WHERE family_id = ? AND sweep = ? AND NOT {_TAKEN}",
        (sweep.family_id, sweep.token),
    ).fetchone()
    if held is None:
        return True
    while time.perf_counter() < until:
        if sweep.unread:
            _follow(connection, sweep)
        elif sweep.threads:
            _read(connection, sweep, sources)
        elif not _remove(connection, sweep):
            _end(connection, sweep)
            return True
    return False


def _read(connection: sqlite3.Connection, sweep: Sweep, sources: Sequence[Source]) -> None:
    """Take the hashes out of the next rows of the first thread."""
    thread_id = sweep.threads[0]
    number, key = sweep.place or (0, sources[0].first)
    rows = connection.execute(sources[number].page(), (thread_id, *key, ROWS)).fetchall()
    for row in rows:
        sweep.met = True
        for manifest in sources[number].manifests(row[-1]):
            for address in cut.references(manifest):
                _reach(sweep, address)
    if len(rows) == ROWS:
        sweep.place = (number, rows[-1][:-1])
    elif number + 1 < len(sources):
        sweep.place = (number + 1, sources[number + 1].first)
    else:
        if not sweep.met:
            sweep.empty.append(thread_id)
        del sweep.threads[0]
        sweep.place, sweep.met = None, False


def _reach(sweep: Sweep, address: bytes) -> None:
    if address not in sweep.reached:
        sweep.reached.add(address)
        sweep.unread.append(address)


def _follow(connection: sqlite3.Connection, sweep: Sweep) -> None:
    """
    Look at blobs that were reached: the children of segments are reached, too, and the texts of compounds.
    """
    looked_at = sweep.unread[-ROWS:]
    del sweep.unread[-ROWS:]
    marks = ", ".join("?" * len(looked_at))
    found = connection.execute(
        f"""SELECT kind, body FROM blobs WHERE family_id = ? AND hash IN ({marks})
            AND kind IN ({cut.SEGMENT}, {cut.COMPOUND})""",
        (sweep.family_id, *looked_at),
    )
    for kind, body in found:
        if kind == cut.COMPOUND:
            sweep.reached.update(cut.references(body))  # below texts there is nothing
            continue
        for address in cut.split(body):
            _reach(sweep, address)


def _remove(connection: sqlite3.Connection, sweep: Sweep) -> bool:
    """Remove those of the next blobs that were not reached; False when there are no more."""
    rows = connection.execute(
        "SELECT hash, blob_id FROM blobs WHERE family_id = ? AND hash > ? ORDER BY hash LIMIT ?",
        (sweep.family_id, sweep.after, BLOBS),
    ).fetchall()
    doomed = [(blob_id,) for address, blob_id in rows if address not in sweep.reached]
    connection.executemany("DELETE FROM blobs WHERE blob_id = ?", doomed)
    sweep.removed += len(doomed)
    if rows:
        sweep.after = rows[-1][0]
    return len(rows) == BLOBS


def _end(connection: sqlite3.Connection, sweep: Sweep) -> None:
    """Take off threads that have no manifest, then the family itself if it has no thread."""
    connection.executemany(
        "DELETE FROM thread_families WHERE thread_id = ?", [(thread_id,) for thread_id in sweep.empty]
    )
    connection.execute(
        """UPDATE families SET sweep = NULL, garbage = iif(garbage = ?, 0, garbage) WHERE family_id = ?""",
        (sweep.garbage, sweep.family_id),
    )
    connection.execute(
        """DELETE FROM families WHERE family_id = ? AND garbage = 0
               AND NOT EXISTS (SELECT 1 FROM thread_families WHERE thread_families.family_id = families.family_id)""",
        (sweep.family_id,),
    )
