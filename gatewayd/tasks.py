"""Tasks with an owner, a name and an end. `asyncio.create_task` appears in this module only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from attrs import define, field

log = logging.getLogger(__name__)

T = TypeVar("T")


@define(eq=False)
class Group:
    """The tasks of one owner. An error that nobody awaits is logged; `stop` ends what is left."""

    owner: str
    _tasks: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _stopped: bool = field(default=False, init=False)

    def spawn(self, work: Coroutine[Any, Any, T], name: str, *, awaited: bool = False) -> asyncio.Task[T]:
        """Start a task; after `stop` it is refused. With `awaited` its error is its caller's to see."""
        if self._stopped:
            work.close()
            raise RuntimeError(f"{self.owner} has been stopped")
        task = asyncio.create_task(work, name=f"{self.owner}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard if awaited else self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the task %r failed", task.get_name(), exc_info=error)

    async def join(self) -> None:
        """Wait until all present tasks have ended by themselves."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Cancel what runs and wait until it has ended. May be called twice."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await self.join()


async def until_done(work: Callable[[], Awaitable[T]], what: str, retry_s: float) -> T:
    """
    Do what nobody would do again, however often it fails (the disk is full): until it is done, or this is cancelled.

    `what` is the line that the log gets at each failure.
    """
    while True:
        try:
            return await work()
        except Exception as error:
            log.error("%s, trying again: %s", what, error)
            await asyncio.sleep(retry_s)
