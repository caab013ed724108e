"""Operations on assistants and their versions."""

from __future__ import annotations

from typing import Any

from gatewayd.model.assistant import Assistant
from gatewayd.storage.assistants import AssistantSearch
from gatewayd.storage.sqlite import assistants
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import for_caller, written


class Assistants(base.Base):
    """Operations on assistants."""

    __slots__ = ()

    system_assistants_sync = written(assistants.system_assistants_sync)

    @for_caller
    async def assistant_get(self, assistant: str) -> Assistant | None:
        rows = await self.readers.rows(assistants.FIND, (assistants.identifier(assistant),))
        return assistants.record(rows[0]) if rows else None

    @for_caller
    async def assistant_create(self, assistant: Assistant, *, do_nothing: bool) -> Assistant:
        await self._require_room(None)
        return await self.writer.submit(assistants.assistant_create, assistant, do_nothing)

    assistant_patch = for_caller(written(assistants.assistant_patch))

    assistant_version_set = for_caller(written(assistants.assistant_version_set))

    assistant_delete = for_caller(written(assistants.assistant_delete))

    @for_caller
    async def assistants_search(self, search: AssistantSearch) -> list[Assistant]:
        sql, parameters = assistants.search_statement(search)
        return [assistants.record(row) for row in await self.readers.rows(sql, parameters)]

    @for_caller
    async def assistants_count(self, search: AssistantSearch) -> int:
        rows = await self.readers.rows(*assistants.count_statement(search))
        return rows[0][0]  # type: ignore[no-any-return]

    @for_caller
    async def assistant_versions(
        self, assistant_id: str, *, metadata: dict[str, Any], limit: int, offset: int
    ) -> list[Assistant]:
        sql, parameters = assistants.versions_statement(assistant_id, metadata, limit, offset)
        return [assistants.record(row) for row in await self.readers.rows(sql, parameters)]

    @for_caller
    async def assistant_threads(self, assistant_id: str, behind: str, limit: int) -> list[str]:
        rows = await self.readers.rows(assistants.THREADS_OF, (assistant_id, behind, limit))
        return [thread_id for (thread_id,) in rows]
