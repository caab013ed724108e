"""Assistants, as stored."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Assistant:
    """
    An assistant, or one of its versions: a row of `assistants` or `assistant_versions`.
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
    """When the assistant was created; of a version, when the version was."""
    updated_at: int


@frozen(kw_only=True)
class AssistantChange:
    """A client's changes of an assistant; None: unchanged."""

    graph_id: str | None = None
    name: str | None = None
    description: str | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    """Merged at the top level; all other fields are replaced."""
