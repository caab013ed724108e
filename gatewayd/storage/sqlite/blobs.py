"""Sweeping the blobs of families of threads: who has manifests is known here."""

from __future__ import annotations

import sqlite3

from gatewayd.blobs import sweep
from gatewayd.checkpointing import sql as checkpoint_sql

SOURCES = (*checkpoint_sql.SOURCES,)
"""All tables whose rows have manifests."""


def blobs_sweep_begin(connection: sqlite3.Connection, after: int) -> sweep.Sweep | None:
    """Begin with the first family behind `after` that has something to sweep and is at rest; None: there is none."""
    for family_id in sweep.families(connection, after, 1):
        return sweep.begin(connection, family_id)
    return None


def blobs_sweep_step(connection: sqlite3.Connection, begun: sweep.Sweep) -> bool:
    """Go on for a few milliseconds; True when the sweep of this family is over."""
    return sweep.step(connection, begun, SOURCES)
