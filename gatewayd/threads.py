"""What can be done with threads beside running graphs on them: their records, their states and their history.

States are computed where the graphs are, in the service worker, and come back as JSON that only passes through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from gatewayd import graphs, ids, project
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.thread import Thread
from gatewayd.storage import store
from gatewayd.workers import supervisor

NO_STATE = (
    b'{"values":{},"next":[],"tasks":[],"metadata":null,"created_at":null,"checkpoint":null,'
    b'"parent_checkpoint":null,"interrupts":[],"checkpoint_id":null,"parent_checkpoint_id":null}'
)
"""The state of a thread on which no graph has run."""


@frozen(kw_only=True)
class Threads:
    """The use cases."""

    storage: store.Storage
    workers: supervisor.Supervisor
    graphs: Mapping[str, project.GraphSpec]
    now: Callable[[], int] = lambda: time.time_ns() // 1000

    async def create(
        self,
        thread_id: str | None,
        metadata: dict[str, Any],
        *,
        do_nothing: bool,
        once: Idempotency | None = None,
    ) -> Thread:
        """Store a thread, or with `do_nothing` return the one that has this id. Raises `Conflict`, `Invalid`."""
        now = self.now()
        return await self.storage.thread_create(
            thread_id or ids.new_id(now // 1000), metadata, do_nothing=do_nothing, now=now, once=once
        )

    async def patch(self, thread_id: str, metadata: dict[str, Any]) -> Thread:
        """Merge metadata at the top level. Raises `NotFound`."""
        return await self.storage.thread_patch(thread_id, metadata, self.now())

    async def state(
        self,
        thread_id: str,
        *,
        checkpoint_id: str | None = None,
        checkpoint_ns: str = "",
        subgraphs: bool = False,
    ) -> bytes:
        """Return a state as the wire's JSON: the latest, or that of a checkpoint. Raises `NotFound`."""
        graph_id = await self._graph_of(thread_id)
        if graph_id is None:
            return NO_STATE
        params = {
            "thread_id": thread_id,
            "graph_id": graph_id,
            "checkpoint_id": checkpoint_id,
            "checkpoint_ns": checkpoint_ns,
            "subgraphs": subgraphs,
        }
        return bytes(await self.workers.call("state", params))

    async def history(
        self,
        thread_id: str,
        *,
        limit: int,
        before: str | None = None,
        metadata: dict[str, Any] | None = None,
        checkpoint_ns: str = "",
        checkpoint_id: str | None = None,
    ) -> bytes:
        """Return states as a JSON array, newest first; `before` is a checkpoint's id. Raises `NotFound`."""
        graph_id = await self._graph_of(thread_id)
        if graph_id is None or limit <= 0:
            return b"[]"
        params = {
            "thread_id": thread_id,
            "graph_id": graph_id,
            "limit": limit,
            "before": before,
            "metadata": metadata,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
        return bytes(await self.workers.call("history", params))

    async def _graph_of(self, thread_id: str) -> str | None:
        """Return the graph that ran last on the thread, None if none has; one that is gone is not found."""
        thread = await self.storage.thread_find(thread_id)
        graph_id = thread.metadata.get("graph_id")
        if graph_id is None:
            return None
        graphs.require(self.graphs, str(graph_id))
        return str(graph_id)
