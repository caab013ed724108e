"""What answers look like: the wire's records as types."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from gatewayd.api.requests.parse import Object

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]


class Error(TypedDict):
    """What is wrong."""

    detail: str


class Assistant(TypedDict, total=False):
    """A graph with a configuration; a search may have asked for some fields only."""

    assistant_id: str
    graph_id: str
    config: Object
    context: Object
    metadata: Object
    name: str
    created_at: str
    updated_at: str
    version: int
    description: str | None


class Thread(TypedDict, total=False):
    """A conversation; a search may have asked for some fields only."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: Object
    status: ThreadStatus
    config: Object
    values: Any
    error: Object | None
    interrupts: dict[str, list[Object]]


class Checkpoint(TypedDict, total=False):
    """The address of a checkpoint."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None
    checkpoint_map: Object | None


class Task(TypedDict):
    """A step of a node that is next, or that has been done since the checkpoint."""

    id: str
    name: str
    path: list[Any]
    error: str | None
    interrupts: list[Object]
    checkpoint: Checkpoint | None
    state: ThreadState | None
    result: Any


class ThreadState(TypedDict):
    """A thread's state at a checkpoint."""

    values: Any
    next: list[str]
    tasks: list[Task]
    metadata: Object | None
    created_at: str | None
    checkpoint: Checkpoint | None
    parent_checkpoint: Checkpoint | None
    interrupts: list[Object]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class StateUpdated(TypedDict):
    """The checkpoint that an update has made."""

    checkpoint: Checkpoint
    configurable: Checkpoint
    checkpoint_id: str


class Run(TypedDict, total=False):
    """A run; a list may have asked for some fields only."""

    run_id: str
    thread_id: str
    assistant_id: str
    metadata: Object
    status: RunStatus
    error: Object | None
    kwargs: Object
    multitask_strategy: str
    cancel_reason: str | None
    created_at: str
    updated_at: str
    langsmith_session_name: str | None


class MergedRun(Run, total=False):
    """The run into which others were merged."""

    merged: list[str]


class QueuePlace(TypedDict):
    """Where a run stands in the queue."""

    status: RunStatus
    position: int | None
    reason: str | None
    due_at: str
    holder: str | None
    blocked_at: str | None


class LastRun(TypedDict):
    """The run that a cron made last."""

    run_id: str
    thread_id: str
    fired_at: str
    status: RunStatus | None
    error: Object | None


class Cron(TypedDict, total=False):
    """A schedule; a search may have asked for some fields only."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    end_time: str | None
    schedule: str
    timezone: str | None
    payload: Object
    next_run_date: str | None
    metadata: Object
    on_run_completed: str | None
    enabled: bool
    created_at: str
    updated_at: str
    last_run: LastRun | None
    failures: int


class WebhookAttempt(TypedDict):
    """One try to deliver a webhook."""

    attempt: int
    started_at: str
    took_ms: int
    status: int | None
    error: str | None


class WebhookDelivery(TypedDict):
    """A webhook and what was tried to deliver it."""

    delivery_id: str
    run_id: str
    thread_id: str
    url: str
    status: str
    state: str
    created_at: str
    next_attempt_at: str | None
    attempts: list[WebhookAttempt]


class Item(TypedDict):
    """An item of the long-term store."""

    namespace: list[str]
    key: str
    value: Object
    created_at: str
    updated_at: str
    score: NotRequired[float | None]


class Items(TypedDict):
    """Items that were found."""

    items: list[Item]


class Namespaces(TypedDict):
    """Namespaces that have items."""

    namespaces: list[list[str]]


class Pruned(TypedDict):
    """How many threads were pruned."""

    pruned_count: int


class Health(TypedDict):
    """That the server answers."""

    ok: bool
    services: NotRequired[Object]
    trouble: NotRequired[str]


class Info(TypedDict):
    """Versions, and what is supported."""

    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: Object
