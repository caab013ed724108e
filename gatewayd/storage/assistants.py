"""The operations on assistants and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.model.caller import Caller


@frozen(kw_only=True)
class AssistantSearch:
    """What `assistants_search` looks for; None means any."""

    metadata: dict[str, Any]
    graph_id: str | None = None
    name: str | None = None
    """Part of the name, compared without regard to case."""
    limit: int = 10
    offset: int = 0
    sort_by: str = "created_at"
    descending: bool = True


class Assistants(Protocol):
    """Operations on assistants."""

    async def system_assistants_sync(self, graphs: Mapping[str, str | None], now: int) -> None:
        """Store one assistant per graph (id to description)."""

    async def assistant_get(self, whose: Caller, assistant: str) -> Assistant | None:
        """Return the assistant with this id or graph id, or None."""

    async def assistant_create(self, whose: Caller, assistant: Assistant, *, do_nothing: bool) -> Assistant:
        """
        Store an assistant, or with `do_nothing` return the one that has its id.

        Raises `Conflict`, `InsufficientStorage`.
        """

    async def assistant_patch(
        self, whose: Caller, assistant: str, change: AssistantChange, now: int
    ) -> Assistant:
        """Change an assistant, as a new version. Raises `NotFound`."""

    async def assistant_version_set(
        self, whose: Caller, assistant: str, version: int | None, now: int
    ) -> Assistant:
        """Make an assistant what it was in one of its versions. Raises `NotFound`."""

    async def assistant_delete(self, whose: Caller, assistant: str) -> None:
        """Remove an assistant with its versions and crons. Raises `NotFound`."""

    async def assistants_search(self, whose: Caller, search: AssistantSearch) -> list[Assistant]:
        """Return up to `limit` + 1 assistants (one more tells that there are more)."""

    async def assistants_count(self, whose: Caller, search: AssistantSearch) -> int:
        """Return how many assistants a search would find without its limits."""

    async def assistant_versions(
        self, whose: Caller, assistant_id: str, *, metadata: dict[str, Any], limit: int, offset: int
    ) -> list[Assistant]:
        """Return versions of an assistant, newest first."""

    async def assistant_threads(self, whose: Caller, assistant_id: str, behind: str, limit: int) -> list[str]:
        """Return ids of threads whose metadata name the assistant, in pages by their order."""
