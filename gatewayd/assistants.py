"""What can be asked about assistants: which there are, and what a client's name for one means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gatewayd import graphs, ids, project
from gatewayd.errors import Invalid, NotFound
from gatewayd.model.thread import Assistant
from gatewayd.storage import store


@frozen(kw_only=True)
class Assistants:
    """The use cases. A graph's id is accepted wherever an assistant's id is."""

    storage: store.Storage
    graphs: Mapping[str, project.GraphSpec]
    """The project's graphs by id."""

    async def get(self, assistant: str) -> Assistant:
        """Return the assistant. Raises `Invalid` for what is no id, and `NotFound`."""
        if ids.parse_uuid(assistant) is None and assistant not in self.graphs:
            raise Invalid("Invalid assistant ID: must be a UUID")
        found = await self.storage.assistant_get(assistant)
        if found is None:
            raise NotFound("Not Found")
        return found

    def reference(self, assistant: str) -> str:
        """Return what a run's `assistant_id` names: a canonical id or a graph id. Raises `Invalid`."""
        if assistant in self.graphs:
            return assistant
        canonical = ids.parse_uuid(assistant)
        if canonical is None:
            known = ", ".join(self.graphs)
            raise Invalid(
                f"Invalid assistant: {assistant!r}. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {known}"
            )
        return canonical

    async def search(
        self,
        *,
        metadata: dict[str, Any],
        graph_id: str | None,
        name: str | None,
        limit: int,
        offset: int,
        sort_by: str,
        descending: bool,
    ) -> list[Assistant]:
        """Return up to `limit` + 1 assistants (one more tells that there are more). Raises `NotFound`."""
        if graph_id is not None:
            graphs.require(self.graphs, graph_id)
        return await self.storage.assistants_search(
            metadata=metadata,
            graph_id=graph_id,
            name=name,
            limit=limit,
            offset=offset,
            sort_by=sort_by,
            descending=descending,
        )
