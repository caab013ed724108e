"""A database of before the migrations were folded into one, with what its server answered."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    Return a copy of the database: of a server that was killed while a run was in flight.

    `before.sqlite.gz` was made by commit 5209d15 on the project beside it. It has threads with their states,
    copies, interrupts and errors, runs in every status, one in flight and one that waits for it, events,
    blobs, crons of which two have fired, assistants with versions, an item, webhooks that were delivered and
    that are owed, an idempotency key.
    """
    made = tmp_path / "data" / "gatewayd.sqlite"
    made.parent.mkdir()
    made.write_bytes(gzip.decompress((FOLDER / "before.sqlite.gz").read_bytes()))
    return made


@pytest.fixture
def answers() -> Any:
    """Return what the server of before answered on this database after its next start (see `answers`)."""
    return json.loads(gzip.decompress((FOLDER / "answers.json.gz").read_bytes()))
