"""How workers are made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from gatewayd import datadir, project, settings
from gatewayd.channel import orders


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


def plan_of(options: settings.Settings, served: project.Project, url: str) -> Plan:
    """
    Return how workers are made for this project; `url` is the server's own address.

    The project's environment overrides the shell's, as in the reference.
    """
    configuration = orders.Configuration(
        name="",
        role="",
        database=str((options.data_dir / datadir.DATABASE).absolute()),
        store=str((options.data_dir / datadir.STORE).absolute()),
        folder=str(served.folder),
        search_path=served.search_path(),
        dependencies=list(served.dependencies),
        graphs={graph_id: [spec.path, spec.description] for graph_id, spec in served.graphs.items()},
        log_level=options.log_level,
        log_json=options.log_json,
        log_color=options.log_color,
        log_levels=dict(options.log_levels),
        window=options.run_window,
        backlog=options.run_backlog,
        job_timeout_s=options.job_timeout_s,
        patience_s=options.cancel_deadline_s / 2,
        full_errors=options.error_detail == "full",
        v2_places=options.v2_places,
        call_deadline_s=options.call_deadline_s,
        store_index=None if served.store_index is None else attrs.asdict(served.store_index),
        store_ttl=attrs.asdict(served.store_ttl),
        serde=served.serde,
    )
    return Plan(
        workers=options.workers,
        jobs_per_worker=options.jobs_per_worker,
        data_dir=options.data_dir,
        folder=Path(served.folder),
        environment={**os.environ, **served.env, "LANGGRAPH_API_URL": url},
        configuration=_without_identity(attrs.asdict(configuration)),
        call_deadline_s=options.call_deadline_s,
        max_runs=options.worker_max_runs,
        memory=options.worker_memory,
        blocked_s=options.worker_blocked_s,
    )


def _without_identity(configuration: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in configuration.items() if key not in {"name", "role"}}
