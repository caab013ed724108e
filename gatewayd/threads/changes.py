"""What changes a thread's state beside its runs: updates of the state, copies, prunes.

Each locks the thread for its duration, like a run. So none works on a state that a run is about to change:
while a run is running, or has begun and waits for a worker, it is refused (409, naming the run). A run that
has not begun does not have the lock. A state update is refused beside it, too; other operations are not, and
a run that is created while an operation works stays pending, starts when that is over, and sees what it has
left. Operations on one thread wait for each other, first come, first served: two quick updates both
succeed.

State update
    The service worker computes it and gives back everything that is to be stored; one transaction stores
    checkpoints, writes, the thread's projection and the event, and releases the lock. Before it there is
    nothing, after it all.
Copy
    In steps, invisible until the last one (see `storage.sqlite.operations`).
Prune
    "delete" is what DELETE does, for each thread. "keep_latest" removes in steps what is older than the
    latest checkpoint of each namespace; threads that a run is working on are left as they are, and not
    counted.

What happens on each failure
    The worker fails, or does not answer in time: the lock is freed, nothing was stored.
    The client leaves: the operation is carried through.
    The thread is deleted: the operation has lost the lock, stores nothing more and ends with "not found".
    The daemon dies: the next boot releases the locks of operations; the sweeper removes a half copy; what a
    prune has removed was to go anyway.
    The lock can't be freed (disk full): it is tried again until it can.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from attrs import define, field

from gatewayd import ids, project, serving
from gatewayd.channel import messages
from gatewayd.errors import Conflict, NotFound, Rejected, Unavailable
from gatewayd.model import event
from gatewayd.model.caller import Caller
from gatewayd.model.event import Chunk, Draft
from gatewayd.model.state import Parts
from gatewayd.model.thread import Thread
from gatewayd.runs import manager
from gatewayd.storage import store
from gatewayd.streams import log as stream_log
from gatewayd.supervisor import supervisor

log = logging.getLogger(__name__)

NO_GRAPH = (
    "Thread '{}' has no assigned graph ID: no run has been made on it yet. Make a run, or set 'graph_id' in the "
    "thread's metadata, before its state is updated."
)


@define(eq=False, kw_only=True)
class Changes:
    """Changes threads, one change of a thread after the other."""

    runs: manager.RunManager
    storage: store.Storage
    log: stream_log.Log
    workers: supervisor.Supervisor
    graphs: Mapping[str, project.GraphSpec]
    """The project's graphs by id."""
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    _turns: weakref.WeakValueDictionary[str, asyncio.Lock] = field(
        factory=weakref.WeakValueDictionary, init=False
    )
    """By thread; a lock lives as long as it is held or waited for."""

    @property
    def changing(self) -> list[str]:
        """The threads that a change is being made to."""
        return list(self._turns)

    # state updates

    async def update_state(
        self, whose: Caller, thread_id: str, *, values: Any, as_node: str | None, place: dict[str, Any]
    ) -> dict[str, Any]:
        """
        Change a state as if `as_node` had returned `values`, and return the new checkpoint's address.

        `place` says which state: `checkpoint_ns`, `checkpoint_id`, `checkpoint_map`, each if given; default
        is the latest of the root. Raises `NotFound`, `Conflict`, `Rejected`, `Unavailable`, `Unanswered`.
        """
        work = self._update_state(whose, thread_id, {"values": values, "as_node": as_node, "place": place})
        return await self.runs.carried(work, f"update the state of {thread_id}")

    async def _update_state(self, whose: Caller, thread_id: str, asked: dict[str, Any]) -> dict[str, Any]:
        operation_id = ids.new_id()
        async with self._turn(thread_id, operation_id):
            thread = await self.storage.thread_lock_acquire_for_operation(
                whose, thread_id, operation_id, unless_pending=True
            )
            graph_id = thread.metadata.get("graph_id")
            if graph_id is None:
                raise Rejected(NO_GRAPH.format(thread_id))
            serving.require(self.graphs, str(graph_id))
            settings = thread.config.get("configurable") or {}
            params = {"thread_id": thread_id, "graph_id": str(graph_id), "settings": settings, **asked}
            answer = await self.workers.call("update", params)
            update = messages.unpack(messages.Update, answer)
            await self._store(thread_id, operation_id, update)
            return update.place

    async def _store(self, thread_id: str, operation_id: str, update: messages.Update) -> None:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(chunk: Chunk) -> None:  # in the order of the commits, as all who publish
            self.log.publish(chunk)
            settle(None)

        def settle(error: BaseException | None) -> None:
            if stored.done():  # the server is stopping
                return
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)

        self.storage.state_update_if_held(
            thread_id,
            operation_id,
            update.operations,
            update.projection.as_state(),
            self._told(thread_id, *update.event),
            self.now(),
            done,
            settle,
        )
        await stored

    def _told(
        self, thread_id: str, data: bytes, size: int | None = None, blobs: Sequence[Sequence[Any]] = ()
    ) -> Draft:
        """Return the event of an update; with `size`, the data is the manifest of a state in parts."""
        if size is None:
            return self.log.items(thread_id, "", [(event.STATE_UPDATE, "", event.THREAD, data)])
        packed = event.pack([(event.STATE_UPDATE, "", event.THREAD, 0)])
        return self.log.draft(thread_id, "", 1, packed, [Parts(data, size)], blobs)

    # copies

    async def copy(self, whose: Caller, thread_id: str) -> Thread:
        """
        Copy a thread with its states, not its runs; return the copy.

        Beside a run that executes it is the thread up to its last checkpoint. Raises `NotFound`, `Conflict`.
        """
        return await self.runs.carried(self._copy(whose, thread_id), f"copy {thread_id}")

    async def _copy(self, whose: Caller, thread_id: str) -> Thread:
        storage, operation_id, target = self.storage, ids.new_id(), ids.new_id()
        async with self._turn(thread_id, operation_id):
            if (
                copy := await storage.thread_copy_beside_run(whose, thread_id, target, self.now())
            ) is not None:
                return copy
            await storage.thread_copy_begin(whose, thread_id, target, operation_id, self.now())
            position = None
            while position := await storage.thread_copy_step(thread_id, target, operation_id, position):
                pass
            return await storage.thread_copy_end(thread_id, target, operation_id, self.now())

    # deletion

    async def delete_if_expired(self, expired: store.Expired) -> bool:
        """Delete a thread whose time is over, unless it is in use; return whether it was deleted."""
        return await self.runs.delete_thread_if_expired(expired)

    # prunes

    async def prune(
        self, whose: Caller, thread_ids: Sequence[str], strategy: Literal["delete", "keep_latest"]
    ) -> int:
        """
        Delete threads, or all but their latest states; return of how many. Those that don't exist are
        skipped.
        """
        return await self.runs.carried(self._prune(whose, thread_ids, strategy), "prune threads")

    async def _prune(self, whose: Caller, thread_ids: Sequence[str], strategy: str) -> int:
        pruned = 0
        for thread_id in dict.fromkeys(thread_ids):
            if self.runs.stopping:
                raise Unavailable("the server is stopping")
            try:
                if strategy == "delete":
                    await self.runs.delete_thread(whose, thread_id)
                else:
                    await self.keep_latest(whose, thread_id)
            except (NotFound, Conflict) as error:
                log.info("thread %s is not pruned: %s", thread_id, error.detail)
            else:
                pruned += 1
        return pruned

    async def keep_latest(self, whose: Caller, thread_id: str) -> None:
        """
        Remove in steps all but the latest states of a thread. Raises `NotFound`, and `Conflict` while a run
        is in flight.
        """
        operation_id = ids.new_id()
        async with self._turn(thread_id, operation_id):
            await self.storage.thread_lock_acquire_for_operation(whose, thread_id, operation_id)
            kept = await self.workers.call("kept", {"thread_id": thread_id})
            while True:
                done = await self.storage.thread_prune_step(thread_id, operation_id, kept)
                if done == len(kept):
                    break
                kept = kept[done:]

    # the lock

    @asynccontextmanager
    async def _turn(self, thread_id: str, operation_id: str) -> AsyncIterator[None]:
        """
        Wait until no other operation works on the thread; at the end nothing is held by this one.

        The last step of an operation releases the lock with what it stores. This is what follows when an
        operation has not come to it, and the hint for the runs that wait.
        """
        turn = self._turns.get(thread_id)
        if turn is None:
            turn = self._turns[thread_id] = asyncio.Lock()
        async with turn:
            try:
                yield
            except BaseException:
                self._release(operation_id)
                raise
            self.runs.thread_freed()

    def _release(self, operation_id: str) -> None:
        """Free what the operation may still hold."""

        def failed(error: BaseException) -> None:
            log.error("a thread could not be freed, trying again: %s", error)
            asyncio.get_running_loop().call_later(self.runs.engine.retry_s, self._release, operation_id)

        try:
            self.storage.thread_locks_release(operation_id, lambda _: self.runs.thread_freed(), failed)
        except Unavailable:
            pass  # storage is closed; the next boot frees it
