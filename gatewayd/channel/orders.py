"""What the daemon tells a run worker about a run that it is to execute.

An order says everything that storage knows about the run; where it goes on is not in it: the worker reads
that from the checkpoints. It is plain JSON data, so that the daemon can make it without knowing langgraph.
"""

from __future__ import annotations

from typing import Any

from attrs import field, fields, frozen


@frozen(kw_only=True)
class RunOrder:
    """One start of one run."""

    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    attempt: int
    """Number of this start; 1 for the first."""
    kwargs: dict[str, Any]
    """`input`, `command`, `config`, `context`, `stream_mode`, … in the wire's shape of `run.kwargs`."""
    metadata: dict[str, Any]
    """The run's own metadata (assistant, thread and request already merged)."""
    answers: dict[str, Any] | None = None
    """Interrupt id → answer: what the run's `command.resume` was bound to when the run was created."""
    executed_s: float = 0.0
    """Seconds for which earlier attempts have executed."""
    stored: bool = False
    """`input`, `command` and `answers` are large, and left out: they are read from the run's row."""
    context_given: bool = False
    """
    Whether the request had a `context`: then the configurable shows only what the graph's context schema
    knows.
    """


@frozen(kw_only=True)
class Configuration:
    """What a worker is to be: the first frame it gets."""

    name: str
    """For logs: run-1, service, quarantine-…"""
    role: str
    """run, quarantine or service."""
    database: str
    """Path of the SQLite file, which the worker only reads."""
    store: str
    """Path of the long-term store's file, which the service worker owns."""
    folder: str
    """The project's folder; graph paths are relative to it."""
    search_path: list[str]
    """Appended to sys.path."""
    dependencies: list[str] = field(factory=list)
    """As in langgraph.json: what is hinted at when a module is missing."""
    graphs: dict[str, list[str | None]]
    """Graph id to [path, description]."""
    log_level: str
    log_json: bool
    log_color: bool
    log_levels: dict[str, str] = field(factory=dict)
    """Levels of single loggers, by name."""
    window: int
    """Bytes that a run may have sent and not yet had acknowledged."""
    backlog: int
    """Bytes of events that one step of a run may pile up beyond its window."""
    job_timeout_s: float
    """Seconds a run may execute, all its attempts together; 0: for ever."""
    patience_s: float
    """Seconds that the threads of a cancelled run have before they are interrupted."""
    call_deadline_s: float = 30.0
    """Seconds a call into the service worker may take."""
    store_index: dict[str, Any] | None = None
    """`model.items.StoreIndex` as a map, if the store has one."""
    store_ttl: dict[str, Any] = field(factory=dict)
    """`model.items.StoreTtl` as a map."""
    serde: dict[str, Any] = field(factory=dict)
    """`project.Project.serde`: options of langgraph's serialiser that are not its defaults."""
    full_errors: bool = False
    """Show clients the messages of all exceptions."""
    v2_places: bool = False
    """Tell clients of protocol v2 the parents and steps of checkpoints."""


_NAMES = tuple(each.name for each in fields(RunOrder))


def plain(order: RunOrder) -> dict[str, Any]:
    """Return the order as JSON data (one level: the dicts within are shared, not copied)."""
    return {name: getattr(order, name) for name in _NAMES}


def parse(data: dict[str, Any]) -> RunOrder:
    """Return the order that `plain` made; raises TypeError when fields are missing or unknown."""
    return RunOrder(**data)
