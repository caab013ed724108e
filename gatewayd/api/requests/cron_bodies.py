"""Bodies of requests about crons."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from gatewayd.api.requests import parse
from gatewayd.api.requests.kinds import (
    START,
    TEN,
    AssistantName,
    Config,
    CronInput,
    Moment,
    Nodes,
    SortOrder,
    StreamModes,
    WebhookUrl,
    refuse,
)
from gatewayd.api.requests.parse import Filter, Limit, Object, Offset

CronColumn = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "on_run_completed",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "user_id",
    "payload",
    "next_run_date",
    "metadata",
    "enabled",
    "last_run",
    "failures",
]


@frozen(kw_only=True)
class CronPatch:
    """``PATCH /runs/crons/{cron_id}``: what is not given stays as it is."""

    schedule: str | None = None
    timezone: str | None = None
    end_time: Moment | None = None
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None
    input: CronInput | None = None
    config: Config | None = None
    context: Object | None = None
    metadata: Object | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    stream_mode: StreamModes | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    feedback_keys: list[str] | None = None
    webhook: WebhookUrl | None = None
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = None
    command: Any = None
    checkpoint: Any = None
    checkpoint_id: Any = None
    after_seconds: Any = None
    priority: Any = None

    def __attrs_post_init__(self) -> None:
        for name in ("command", "checkpoint", "checkpoint_id", "after_seconds", "priority"):
            refuse(name, getattr(self, name))


@frozen(kw_only=True)
class CronCreate(CronPatch):
    """``POST /runs/crons`` and ``POST /threads/{thread_id}/runs/crons``."""

    assistant_id: AssistantName
    schedule: str


@frozen(kw_only=True)
class CronCount:
    """``POST /runs/crons/count``."""

    assistant_id: AssistantName | None = None
    thread_id: parse.ThreadId | None = None
    enabled: bool | None = None
    metadata: Filter = field(factory=lambda: Filter({}))


@frozen(kw_only=True)
class CronSearch(CronCount):
    """``POST /runs/crons/search``."""

    limit: Limit = TEN
    offset: Offset = START
    sort_by: (
        Literal[
            "cron_id",
            "assistant_id",
            "thread_id",
            "next_run_date",
            "end_time",
            "created_at",
            "updated_at",
        ]
        | None
    ) = None
    sort_order: SortOrder = "desc"
    select: list[CronColumn] = field(factory=list)
