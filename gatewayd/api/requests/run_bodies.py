"""Bodies of requests about runs.

Accepted, because clients send it and nothing depends on it: `feedback_keys` (there is no LangSmith to ask for
URLs), `langsmith_tracer`, `on_completion` on a thread that is kept. `checkpoint_during` false is the old
spelling of durability "exit". Everything else that is not honoured is refused by its name, never dropped.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from gatewayd.api.requests import parse
from gatewayd.api.requests.kinds import (
    NOW,
    START,
    TEN,
    AssistantName,
    Command,
    Config,
    Delay,
    Nodes,
    Place,
    StreamModes,
    WebhookUrl,
    refuse,
)
from gatewayd.api.requests.parse import Limit, Object, Offset
from gatewayd.errors import Invalid

RunColumn = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "metadata",
    "status",
    "error",
    "kwargs",
    "multitask_strategy",
    "cancel_reason",
    "created_at",
    "updated_at",
    "langsmith_session_name",
]


@frozen(kw_only=True)
class CancelRuns:
    """``POST /runs/cancel``: a status, or runs of one thread."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: parse.ThreadId | None = None
    run_ids: list[str] | None = None

    def __attrs_post_init__(self) -> None:
        named = self.thread_id is not None and self.run_ids is not None
        half = (self.thread_id is None) != (self.run_ids is None)
        if half or named == (self.status is not None):
            raise Invalid("Either `status`, or `thread_id` and `run_ids`, must be given")


@frozen(kw_only=True)
class MergeRuns:
    """``POST /threads/{thread_id}/runs/merge``."""

    into: Literal["running"] | None = None
    """running: the thread's run that executes is to take the input at a step."""


@frozen(kw_only=True)
class RunSearch:
    """``POST /runs/search``."""

    status: Literal["pending", "running", "success", "error", "timeout", "interrupted"] | None = None
    assistant_id: AssistantName | None = None
    thread_id: parse.ThreadId | None = None
    limit: Limit = TEN
    offset: Offset = START
    select: list[RunColumn] = field(factory=list)


@frozen(kw_only=True)
class RunCreate:
    """A run, in all its spellings: on a thread or stateless; background, stream or wait."""

    assistant_id: AssistantName
    input: Any = None
    command: Command | None = None
    config: Config = field(factory=lambda: Config({}))
    context: Object = field(factory=dict)
    metadata: Object = field(factory=dict)
    checkpoint: Place = field(factory=lambda: Place({}))
    checkpoint_id: parse.CheckpointId | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    stream_mode: StreamModes = field(factory=lambda: StreamModes(["values"]))
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    feedback_keys: list[str] | None = None
    webhook: WebhookUrl | None = None
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = "enqueue"
    if_not_exists: Literal["create", "reject"] = "reject"
    after_seconds: Delay = NOW
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Any = "delete"
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = None
    strict_resume: bool = False
    langsmith_tracer: Any = None
    stream_namespaces: Any = None
    priority: Any = None

    def __attrs_post_init__(self) -> None:
        for name in ("priority", "stream_namespaces"):
            refuse(name, getattr(self, name))
