"""How workers are made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Plan:
    """How workers are made."""

    workers: int
    jobs_per_worker: int
    data_dir: Path
    folder: Path
    environment: Mapping[str, str]
    configuration: dict[str, Any]
    """Sent to each worker first: `orders.Configuration` as a map, without its role."""
    call_deadline_s: float
    max_runs: int = 0
    """Runs given to a run worker after which another takes its place; 0: any number."""
    blocked_s: float = 10.0
    """Seconds for which a run worker's loop may be blocked until another takes its place."""
    memory: int = 0
    """Bytes of memory beyond which a worker is killed; 0: no limit."""
