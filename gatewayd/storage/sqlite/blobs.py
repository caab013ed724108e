"""Sweeping the blobs of families of threads, with the list of the tables whose rows have manifests."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.blobs.sqlite import sweep, tables
from gatewayd.blobs.sweeping import Sweep
from gatewayd.checkpointing.sqlite import statements
from gatewayd.errors import NotFound
from gatewayd.storage.sqlite import events, runs, threads

SOURCES = (*statements.SOURCES, events.SOURCE, runs.SOURCE, threads.SOURCE)


def blobs_sweep_begin(connection: sqlite3.Connection, after: int) -> Sweep | None:
    """
    Begin to sweep the first family behind `after` that has garbage and no locked thread, or return
    None.
    """
    for family_id in sweep.families(connection, after, 1):
        return sweep.begin(connection, family_id)
    return None


def blobs_sweep_step(connection: sqlite3.Connection, begun: Sweep) -> bool:
    """
    Sweep for a few milliseconds; True when this family is done. The caller settles it after the commit.
    """
    if begun.unsettled:
        return True
    begun.unsettled = True
    return sweep.step(connection, begun, SOURCES)


def parts_store_if_running(
    connection: sqlite3.Connection, thread_id: str, run_id: str, blobs: Sequence[Sequence[Any]]
) -> None:
    """
    Store some of the blobs of a state whose record follows. Raises `NotFound` if the run is not running.

    If the record never comes the blobs are garbage, so the family is marked now.
    """
    row = connection.execute(
        "SELECT 1 FROM runs WHERE run_id = ? AND status = 'running'", (run_id,)
    ).fetchone()
    if row is None:
        raise NotFound("the run is not running any more")
    tables.store(connection, thread_id, blobs, ())
    tables.mark(connection, thread_id)
