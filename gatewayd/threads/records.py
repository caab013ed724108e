"""What can be done with threads beside running graphs on them: their records, their states and their history.

States are computed where the graphs are, in the service worker, and come back as JSON that only passes
through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen

from gatewayd import ids, project, serving, wire
from gatewayd.channel import messages
from gatewayd.errors import NotFound, Rejected
from gatewayd.model import selection
from gatewayd.model.caller import Caller
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.retention import NewTtl, ThreadTtl
from gatewayd.model.run import Run
from gatewayd.model.thread import FirstState, Thread
from gatewayd.storage import store
from gatewayd.supervisor import supervisor

NO_STATE = (
    b'{"values":{},"next":[],"tasks":[],"metadata":null,"created_at":null,"checkpoint":null,'
    b'"parent_checkpoint":null,"interrupts":[],"checkpoint_id":null,"parent_checkpoint_id":null}'
)
"""The state of a thread on which no graph has run."""
NO_GRAPH = "Updates of a thread's state need its graph: set 'graph_id' in the thread's metadata."


@frozen(kw_only=True)
class Threads:
    """The use cases."""

    storage: store.Storage
    workers: supervisor.Supervisor
    graphs: Mapping[str, project.GraphSpec]
    now: Callable[[], int] = lambda: time.time_ns() // 1000

    async def create(
        self,
        whose: Caller,
        thread_id: str | None,
        metadata: dict[str, Any],
        *,
        do_nothing: bool,
        once: Idempotency | None = None,
        ttl: NewTtl | None = None,
        supersteps: Sequence[dict[str, Any]] = (),
    ) -> Thread:
        """
        Store a thread, or with `do_nothing` return the one that has this id.

        `supersteps` are the updates of its state with which it begins, ``{"updates": [{"values", "command",
        "as_node"}]}`` each. A thread that they can't be applied to is not made. Raises `Conflict`, `Invalid`,
        and with them `NotFound` (graph), `Rejected`.
        """
        now = self.now()
        thread_id = thread_id or ids.new_id(now // 1000)
        state = await self._first_state(whose, thread_id, metadata, supersteps) if supersteps else None
        return await self.storage.thread_create(
            whose, thread_id, metadata, do_nothing=do_nothing, now=now, once=once, ttl=ttl, state=state
        )

    async def get(self, whose: Caller, thread_id: str) -> Thread:
        """Return a thread with its values. Raises `NotFound`."""
        return await self.storage.thread_get(whose, thread_id)

    async def ttl(self, whose: Caller, thread_id: str) -> ThreadTtl | None:
        """Return how long a thread is kept; None: for ever."""
        return await self.storage.thread_ttl_get(whose, thread_id)

    async def search(self, whose: Caller, search: store.ThreadSearch) -> store.ThreadPage:
        """Find threads. Raises `Invalid`."""
        return await self.storage.threads_search(whose, search)

    async def count(self, whose: Caller, search: store.ThreadSearch) -> int:
        """Return how many threads a search finds without its limits. Raises `Invalid`."""
        return await self.storage.threads_count(whose, search)

    async def runs(
        self, whose: Caller, thread_id: str, *, status: str | None, limit: int, offset: int
    ) -> list[Run]:
        """Return a thread's runs, latest due time first. Raises `NotFound`."""
        await self.storage.thread_find(whose, thread_id)
        return await self.storage.runs_list(whose, thread_id, status=status, limit=limit, offset=offset)

    async def run(self, whose: Caller, thread_id: str, run_id: str, missing: str) -> Run:
        """Return a run of a thread. Raises `NotFound`: for the thread, or with the text `missing`."""
        run = await self.storage.run_get(whose, thread_id, run_id)
        if run is None:
            await self.storage.thread_find(whose, thread_id)
            raise NotFound(missing)
        return run

    async def _first_state(
        self, whose: Caller, thread_id: str, metadata: dict[str, Any], supersteps: Sequence[dict[str, Any]]
    ) -> FirstState | None:
        """Compute the state that the updates make; None for a thread that there is already."""
        with suppress(NotFound):
            await self.storage.thread_get(whose, thread_id)
            return None
        graph_id = metadata.get("graph_id")
        if graph_id is None:
            raise Rejected(NO_GRAPH)
        serving.require(self.graphs, str(graph_id))
        params = {"thread_id": thread_id, "graph_id": str(graph_id), "supersteps": list(supersteps)}
        answer = await self.workers.call("supersteps", params)
        update = messages.unpack(messages.Update, answer)
        return FirstState(changes=update.operations, projection=update.projection.as_state())

    async def patch(
        self, whose: Caller, thread_id: str, metadata: dict[str, Any], *, ttl: NewTtl | None = None
    ) -> Thread:
        """
        Merge metadata at the top level and set the time to live, if given. Raises `NotFound`, `Invalid`.
        """
        return await self.storage.thread_patch(whose, thread_id, metadata, self.now(), ttl)

    async def storage_of(self, whose: Caller, thread_id: str) -> dict[str, Any]:
        """Return how much of the database a thread's states take (rest.md §4.3). Raises `NotFound`."""
        await self.storage.thread_get(whose, thread_id)
        taken: dict[str, Any] = await self.workers.call("storage", {"thread_id": thread_id})
        return {"thread_id": thread_id, **taken}

    async def state(
        self,
        whose: Caller,
        thread_id: str,
        *,
        checkpoint_id: str | None = None,
        checkpoint_ns: str = "",
        subgraphs: bool = False,
        select: Sequence[str] = (),
    ) -> bytes:
        """
        Return a state as the wire's JSON: the latest, or that of a checkpoint; `select` names parts of it.

        What comes next in the latest one is `__start__` while a run waits that has not begun: a thread
        without anything next counts as idle, and a page would not wait for the run. Raises `NotFound`.
        """
        # Before the state is read: a run that begins in between is seen by one of the two reads.
        waits = checkpoint_id is None and not checkpoint_ns and await self.storage.run_not_begun(thread_id)
        state = await self._state(whose, thread_id, checkpoint_id, checkpoint_ns, subgraphs, select)
        if not waits or wire.loads(state).get("next") != []:
            return state
        return wire.dumps({**wire.loads(state), "next": ["__start__"]})

    async def _state(
        self,
        whose: Caller,
        thread_id: str,
        checkpoint_id: str | None,
        checkpoint_ns: str,
        subgraphs: bool,
        select: Sequence[str],
    ) -> bytes:
        graph_id, settings = await self._graph_of(whose, thread_id)
        if graph_id is None:
            return wire.dumps(selection.selected(wire.loads(NO_STATE), select)) if select else NO_STATE
        params = {
            "thread_id": thread_id,
            "graph_id": graph_id,
            "settings": settings,
            "checkpoint_id": checkpoint_id,
            "checkpoint_ns": checkpoint_ns,
            "subgraphs": subgraphs,
            **({"select": list(select)} if select else {}),
        }
        return bytes(await self.workers.call("state", params))

    async def history(
        self,
        whose: Caller,
        thread_id: str,
        *,
        limit: int,
        before: str | None = None,
        metadata: dict[str, Any] | None = None,
        checkpoint_ns: str = "",
        checkpoint_id: str | None = None,
        select: Sequence[str] = (),
    ) -> bytes:
        """
        Return states as a JSON array, newest first; `before` is a checkpoint's id, `select` names parts of
        each.

        Raises `NotFound`.
        """
        graph_id, settings = await self._graph_of(whose, thread_id)
        if graph_id is None or limit <= 0:
            return b"[]"
        params = {
            "thread_id": thread_id,
            "graph_id": graph_id,
            "settings": settings,
            "limit": limit,
            "before": before,
            "metadata": metadata,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
            **({"select": list(select)} if select else {}),
        }
        return bytes(await self.workers.call("history", params))

    async def _graph_of(self, whose: Caller, thread_id: str) -> tuple[str | None, dict[str, Any]]:
        """
        Return the graph that ran last on the thread, None if none has, and the settings with which it is
        made.

        One that is gone is not found.
        """
        thread = await self.storage.thread_find(whose, thread_id)
        settings: dict[str, Any] = thread.config.get("configurable") or {}
        graph_id = thread.metadata.get("graph_id")
        if graph_id is None:
            return None, settings
        serving.require(self.graphs, str(graph_id))
        return str(graph_id), settings
