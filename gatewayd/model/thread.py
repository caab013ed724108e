"""Threads and assistants as their rows in storage say."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from gatewayd.model.state import State
from gatewayd.model.states import ThreadStatus


@frozen(kw_only=True)
class Thread:
    """One row of `threads`."""

    thread_id: str
    status: ThreadStatus
    created_at: int
    updated_at: int
    state_updated_at: int
    metadata: dict[str, Any]
    config: dict[str, Any]
    values: State | None
    """The last saved state; None until the first."""
    interrupts: dict[str, list[dict[str, Any]]] | None
    """Task id to its interrupts; None until the first state save."""
    error: dict[str, str] | None


@frozen(kw_only=True)
class Assistant:
    """One row of `assistants`."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    version: int
    created_at: int
    updated_at: int
