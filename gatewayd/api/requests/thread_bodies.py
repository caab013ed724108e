"""Bodies of requests about threads and their states."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from gatewayd.api.requests import parse
from gatewayd.api.requests.kinds import (
    ONE,
    START,
    TEN,
    Before,
    Command,
    Extract,
    Place,
    SortOrder,
    StatePart,
    StateValues,
)
from gatewayd.api.requests.parse import Filter, Filters, Limit, Object, Offset
from gatewayd.model.retention import NewTtl

ThreadColumn = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "status",
    "values",
    "interrupts",
]


@frozen(kw_only=True)
class Ttl:
    """How long a thread is kept after its last activity; without `ttl` as long as others."""

    ttl: float | None = None
    """Minutes."""
    strategy: Literal["delete", "keep_latest"] = "delete"

    def wanted(self) -> NewTtl | None:
        """Return what is asked for, None: nothing."""
        return None if self.ttl is None else NewTtl(strategy=self.strategy, ttl_minutes=self.ttl)


@frozen(kw_only=True)
class SuperstepUpdate:
    """What one node has returned in a superstep."""

    as_node: str
    values: StateValues | None = None
    command: Command | None = None


@frozen(kw_only=True)
class Superstep:
    """Updates that are applied to a state together."""

    updates: list[SuperstepUpdate]


@frozen(kw_only=True)
class ThreadCreate:
    """``POST /threads``."""

    thread_id: parse.ThreadId | None = None
    metadata: Object = field(factory=dict)
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Ttl | None = None
    supersteps: list[Superstep] = field(factory=list)


@frozen(kw_only=True)
class ThreadPatch:
    """``PATCH /threads/{thread_id}``."""

    metadata: Object = field(factory=dict)
    ttl: Ttl | None = None


@frozen(kw_only=True)
class ThreadCount:
    """``POST /threads/count``."""

    metadata: Filter = field(factory=lambda: Filter({}))
    exclude_metadata: Filters = field(factory=lambda: Filters([]))
    values: Filter = field(factory=lambda: Filter({}))
    status: Literal["idle", "busy", "interrupted", "error"] | None = None


@frozen(kw_only=True)
class ThreadSearch(ThreadCount):
    """``POST /threads/search``."""

    ids: list[str] = field(factory=list)
    limit: Limit = TEN
    offset: Offset = START
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: SortOrder = "desc"
    select: list[ThreadColumn] = field(factory=list)
    extract: Extract = field(factory=lambda: Extract({}))


@frozen(kw_only=True)
class StatePatch:
    """``PATCH /threads/{thread_id}/state``."""

    metadata: Object = field(factory=dict)


@frozen(kw_only=True)
class StateAt:
    """``POST /threads/{thread_id}/state/checkpoint``."""

    checkpoint: Object
    subgraphs: bool = False
    select: list[StatePart] = field(factory=list)


@frozen(kw_only=True)
class StateUpdate:
    """``POST /threads/{thread_id}/state``."""

    values: StateValues | None = None
    as_node: str | None = None
    checkpoint: Place = field(factory=lambda: Place({}))
    checkpoint_id: parse.CheckpointId | None = None


@frozen(kw_only=True)
class ThreadPrune:
    """``POST /threads/prune``."""

    thread_ids: list[parse.ThreadId]
    strategy: Literal["delete", "keep_latest"] = "delete"


@frozen(kw_only=True)
class History:
    """``POST /threads/{thread_id}/history``."""

    limit: Limit = ONE
    before: Before | None = None
    metadata: Filter | None = None
    checkpoint: Object = field(factory=dict)
    select: list[StatePart] = field(factory=list)
