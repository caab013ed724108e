"""The pool in which synchronous nodes run, which knows for each run what is still executing.

A cancelled task does not stop the thread that it waited for. A run has ended only when its threads have, so the pool
notes the run (`CURRENT`) of every call it is given.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

CURRENT: ContextVar[str] = ContextVar("gatewayd_run", default="")
"""The run on whose behalf code executes."""

POOL_SIZE = 64
"""Threads: blocking nodes of all runs of a worker, several each."""


class Pool(concurrent.futures.ThreadPoolExecutor):
    """A thread pool that remembers whose calls are under way."""

    def __init__(self) -> None:
        super().__init__(max_workers=POOL_SIZE, thread_name_prefix="node")
        self._under_way: dict[str, set[concurrent.futures.Future[Any]]] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Start a call; it counts as its run's until it has returned."""
        future = super().submit(fn, *args, **kwargs)
        if run_id := CURRENT.get():
            mine = self._under_way.setdefault(run_id, set())
            mine.add(future)
            future.add_done_callback(mine.discard)
        return future

    async def idle(self, run_id: str) -> None:
        """Wait until nothing of this run executes in the pool."""
        while mine := {future for future in self._under_way.get(run_id, ()) if not future.done()}:
            await asyncio.wait([asyncio.wrap_future(future) for future in mine])
        self._under_way.pop(run_id, None)
