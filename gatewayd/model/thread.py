"""Threads, as stored."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from gatewayd.model.run import RunOutcome
from gatewayd.model.state import State
from gatewayd.model.transitions import ThreadStatus


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
    """The last saved state; None until the first is saved."""
    interrupts: dict[str, list[dict[str, Any]]] | None
    """Task id → its interrupts; None until the first state is saved."""
    error: dict[str, str] | None


@frozen(kw_only=True)
class FirstState:
    """The initial states of a new thread, which no run has made."""

    changes: list[list[Any]]
    """Checkpoints and writes (`checkpointing.commands`), in the order in which they are stored."""
    projection: RunOutcome
    """The projection of the last of the states."""
