"""What can be asked about assistants: which there are, what a client's name for one means, and what their
graphs are.

The `config` and `context` of an assistant are two spellings of one thing: what `config.configurable` says,
`context` says too, and the other way round. Graphs are described where they are, in the service worker.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import frozen

from gatewayd import ids, project, serving
from gatewayd.errors import Invalid, NotFound, Rejected, Unavailable
from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.model.caller import Caller
from gatewayd.runs import manager
from gatewayd.storage import store
from gatewayd.supervisor import supervisor

PAGE = 200
"""Threads of an assistant that are looked up at once."""
UNTITLED = "Untitled"
BOTH = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)


@frozen(kw_only=True)
class Assistants:
    """The use cases. A graph's id is accepted wherever an assistant's id is."""

    storage: store.Storage
    workers: supervisor.Supervisor
    graphs: Mapping[str, project.GraphSpec]
    """The project's graphs by id."""
    runs: manager.RunManager
    now: Callable[[], int] = lambda: time.time_ns() // 1000

    def identifier(self, assistant: str) -> str:
        """Return the id of the assistant that a path names: by its id or its graph's. Raises `Invalid`."""
        canonical = (
            ids.system_assistant_id(assistant) if assistant in self.graphs else ids.parse_uuid(assistant)
        )
        if canonical is None:
            raise Invalid("Invalid assistant ID: must be a UUID")
        return canonical

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

    async def get(self, whose: Caller, assistant: str) -> Assistant:
        """Return the assistant. Raises `Invalid` for what is no id, and `NotFound`."""
        found = await self.storage.assistant_get(whose, self.identifier(assistant))
        if found is None:
            raise NotFound("Not Found")
        return found

    async def create(
        self, whose: Caller, assistant_id: str | None, wanted: AssistantChange, *, do_nothing: bool
    ) -> Assistant:
        """
        Store an assistant, or with `do_nothing` return the one that has this id.

        Raises `NotFound` (graph), `Rejected` (config and context), `Conflict`.
        """
        assert wanted.graph_id is not None
        serving.require(self.graphs, wanted.graph_id)
        config, context = coupled(wanted.config, wanted.context)
        now = self.now()
        assistant = Assistant(
            assistant_id=assistant_id or str(uuid.uuid4()),
            graph_id=wanted.graph_id,
            name=wanted.name or UNTITLED,
            description=wanted.description,
            config=config or {},
            context=context or {},
            metadata=wanted.metadata or {},
            version=1,
            created_at=now,
            updated_at=now,
        )
        return await self.storage.assistant_create(whose, assistant, do_nothing=do_nothing)

    async def patch(self, whose: Caller, assistant: str, change: AssistantChange) -> Assistant:
        """Change what is given, as a new version. Raises `Invalid`, `NotFound`, `Rejected`."""
        assistant_id = self.identifier(assistant)
        if change.graph_id is not None:
            serving.require(self.graphs, change.graph_id)
        config, context = coupled(change.config, change.context)
        change = attrs.evolve(change, config=config or None, context=context)
        return await self.storage.assistant_patch(whose, assistant_id, change, self.now())

    async def versions(
        self, whose: Caller, assistant: str, *, metadata: dict[str, Any], limit: int, offset: int
    ) -> list[Assistant]:
        """Return versions, newest first. Raises `Invalid`, `NotFound`."""
        assistant_id = self.identifier(assistant)
        if await self.storage.assistant_get(whose, assistant_id) is None:
            raise NotFound(f"Assistant {assistant_id} not found")
        return await self.storage.assistant_versions(
            whose, assistant_id, metadata=metadata, limit=limit, offset=offset
        )

    async def set_version(self, whose: Caller, assistant: str, version: int | None) -> Assistant:
        """Make an assistant what it was in one of its versions. Raises `Invalid`, `NotFound`."""
        return await self.storage.assistant_version_set(
            whose, self.identifier(assistant), version, self.now()
        )

    async def search(self, whose: Caller, search: store.AssistantSearch) -> list[Assistant]:
        """
        Return up to `limit` + 1 assistants (one more tells that there are more). Raises `NotFound` (graph).
        """
        if search.graph_id is not None:
            serving.require(self.graphs, search.graph_id)
        return await self.storage.assistants_search(whose, search)

    async def count(self, whose: Caller, search: store.AssistantSearch) -> int:
        """Return how many assistants a search would find without its limits. Raises `NotFound` (graph)."""
        if search.graph_id is not None:
            serving.require(self.graphs, search.graph_id)
        return await self.storage.assistants_count(whose, search)

    async def delete(self, whose: Caller, assistant_id: str, *, delete_threads: bool) -> None:
        """
        Remove an assistant with its versions and crons; with `delete_threads` also the threads that it has
        run on last.

        That takes as many steps as there are threads. What is left after a crash can be deleted by the next
        request. Runs that were made of the assistant stay otherwise. Raises `NotFound`.
        """
        work = self._delete(whose, assistant_id, delete_threads)
        await self.runs.carried(work, f"delete assistant {assistant_id}")

    async def _delete(self, whose: Caller, assistant_id: str, delete_threads: bool) -> None:
        if await self.storage.assistant_get(whose, assistant_id) is None:
            raise NotFound(f"Assistant with ID {assistant_id} not found")
        # The threads go first: if this is cut short, the client can ask for it again.
        if delete_threads:
            await self._delete_threads_of(whose, assistant_id)
        await self.storage.assistant_delete(whose, assistant_id)

    async def _delete_threads_of(self, whose: Caller, assistant_id: str) -> None:
        behind = ""
        while thread_ids := await self.storage.assistant_threads(whose, assistant_id, behind, PAGE):
            for thread_id in thread_ids:
                if self.runs.stopping:
                    raise Unavailable("the server is stopping")
                with contextlib.suppress(NotFound):  # it has been deleted since
                    await self.runs.delete_thread(whose, thread_id)
            behind = thread_ids[-1]

    # their graphs

    async def graph(self, whose: Caller, assistant: str, *, xray: bool | int) -> bytes:
        """
        Return the JSON of the graph's drawing, with `xray` levels of graphs inside (true: all). Raises
        `NotFound`.
        """
        return await self._described(whose, "graph", assistant, xray=xray)

    async def schemas(self, whose: Caller, assistant: str) -> bytes:
        """Return the JSON of the graph's schemas. Raises `Invalid`, `NotFound`."""
        return await self._described(whose, "schemas", assistant)

    async def subgraphs(
        self, whose: Caller, assistant: str, *, namespace: str | None, recurse: bool
    ) -> bytes:
        """
        Return the JSON of the schemas of graphs inside by namespace; of one only if it is named. Raises
        `NotFound`.
        """
        return await self._described(whose, "subgraphs", assistant, namespace=namespace, recurse=recurse)

    async def _described(self, whose: Caller, method: str, assistant: str, **params: Any) -> bytes:
        found = await self.get(whose, assistant)
        configurable = {
            **(found.config.get("configurable") or {}),
            "assistant_id": found.assistant_id,
            "graph_id": found.graph_id,
        }
        config = {**found.config, "configurable": configurable}
        return bytes(
            await self.workers.call(method, {"graph_id": found.graph_id, "config": config, **params})
        )


def coupled(
    config: dict[str, Any] | None, context: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """
    Return config and context with what is said in one of them said in both. Raises `Rejected` if both say
    something.
    """
    configurable = (config or {}).get("configurable")
    if configurable and context:
        raise Rejected(BOTH)
    if context:
        return {**(config or {}), "configurable": context}, context
    return config, configurable or context
