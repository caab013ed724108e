"""The operations on assistants and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.storage import desk
from gatewayd.storage.sqlite import assistants


class Assistants(desk.Desk):
    """Operations on assistants."""

    __slots__ = ()

    async def system_assistants_sync(self, graphs: Mapping[str, str | None], now: int) -> None:
        """Store one assistant per graph (id to description)."""
        await self.writer.submit(assistants.system_assistants_sync, graphs, now)

    async def assistant_get(self, assistant: str) -> Assistant | None:
        """Return the assistant with this id or graph id, or None."""
        rows = await self.readers.rows(assistants.FIND, (assistants.identifier(assistant),))
        return assistants.record(rows[0]) if rows else None

    async def assistant_create(self, assistant: Assistant, *, do_nothing: bool) -> Assistant:
        """
        Store an assistant, or with `do_nothing` return the one that has its id.

        Raises `Conflict`, `InsufficientStorage`.
        """
        await self._require_room(None)
        return await self.writer.submit(assistants.assistant_create, assistant, do_nothing)

    async def assistant_patch(self, assistant: str, change: AssistantChange, now: int) -> Assistant:
        """Change an assistant, as a new version. Raises `NotFound`."""
        return await self.writer.submit(assistants.assistant_patch, assistant, change, now)

    async def assistant_version_set(self, assistant: str, version: int | None, now: int) -> Assistant:
        """Make an assistant what it was in one of its versions. Raises `NotFound`."""
        return await self.writer.submit(assistants.assistant_version_set, assistant, version, now)

    async def assistant_delete(self, assistant: str) -> None:
        """Remove an assistant with its versions and crons. Raises `NotFound`."""
        await self.writer.submit(assistants.assistant_delete, assistant)

    async def assistants_search(self, search: assistants.Search) -> list[Assistant]:
        """Return up to `limit` + 1 assistants (one more tells that there are more)."""
        sql, parameters = assistants.search_statement(search)
        return [assistants.record(row) for row in await self.readers.rows(sql, parameters)]

    async def assistants_count(self, search: assistants.Search) -> int:
        """Return how many assistants a search would find without its limits."""
        rows = await self.readers.rows(*assistants.count_statement(search))
        return rows[0][0]  # type: ignore[no-any-return]

    async def assistant_versions(
        self, assistant_id: str, *, metadata: dict[str, Any], limit: int, offset: int
    ) -> list[Assistant]:
        """Return versions of an assistant, newest first."""
        sql, parameters = assistants.versions_statement(assistant_id, metadata, limit, offset)
        return [assistants.record(row) for row in await self.readers.rows(sql, parameters)]

    async def assistant_threads(self, assistant_id: str, behind: str, limit: int) -> list[str]:
        """Return ids of threads whose metadata name the assistant, in pages by their order."""
        rows = await self.readers.rows(assistants.THREADS_OF, (assistant_id, behind, limit))
        return [thread_id for (thread_id,) in rows]
