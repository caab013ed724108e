"""The fields of the bodies of requests about assistants."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from gatewayd.api.requests.kinds import START, TEN, Config, SortOrder
from gatewayd.api.requests.parse import AssistantId, Filter, Limit, Object, Offset

AssistantColumn = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "metadata",
    "created_at",
    "updated_at",
    "version",
]


@frozen(kw_only=True)
class AssistantPatch:
    """``PATCH /assistants/{assistant_id}``: what is not given stays as it is; metadata are merged."""

    graph_id: str | None = None
    config: Config | None = None
    context: Object | None = None
    metadata: Object | None = None
    name: str | None = None
    description: str | None = None


@frozen(kw_only=True)
class AssistantCreate(AssistantPatch):
    """``POST /assistants``."""

    graph_id: str
    assistant_id: AssistantId | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"


@frozen(kw_only=True)
class AssistantCount:
    """``POST /assistants/count``."""

    metadata: Filter = field(factory=lambda: Filter({}))
    graph_id: str | None = None
    name: str | None = None


@frozen(kw_only=True)
class AssistantSearch(AssistantCount):
    """``POST /assistants/search``."""

    limit: Limit = TEN
    offset: Offset = START
    sort_by: Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"] | None = None
    sort_order: SortOrder = "desc"
    select: list[AssistantColumn] = field(factory=list)


@frozen(kw_only=True)
class AssistantVersions:
    """``POST /assistants/{assistant_id}/versions``."""

    metadata: Filter = field(factory=lambda: Filter({}))
    limit: Limit = TEN
    offset: Offset = START


@frozen(kw_only=True)
class AssistantLatest:
    """``POST /assistants/{assistant_id}/latest``."""

    version: int | None = None
