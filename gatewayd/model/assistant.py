"""Assistants as their rows in storage say."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Assistant:
    """
    What an assistant is now, or was in one of its versions: one row of `assistants` or `assistant_versions`.
    """

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    version: int
    created_at: int
    """Of the assistant; of a version: when it was made."""
    updated_at: int


@frozen(kw_only=True)
class AssistantChange:
    """What a client wants changed; None: nothing."""

    graph_id: str | None = None
    name: str | None = None
    description: str | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    """Merged at the top level; the others replace."""
