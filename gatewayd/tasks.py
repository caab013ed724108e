"""Tasks with an owner, a name and an end, and what they wait for.

No other module starts tasks, with one exception: a worker's process starts its main task itself, on a loop
that it drives (`worker.main`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from attrs import define, field

from gatewayd import loops as loops_

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_RETRY_S = 30.0
"""Longest pause between two tries of what must be done."""


@define(eq=False)
class Hint:
    """
    Wakes a loop before its time, because something may be due now.

    What is due says the table that the loop then looks at. So a hint too many costs a look, and a lost one
    costs the longest time that the loop waits.
    """

    _event: asyncio.Event = field(factory=asyncio.Event, init=False)

    def give(self) -> None:
        """Wake the loop, or spare it the next wait if it is busy."""
        self._event.set()

    @property
    def given(self) -> bool:
        """Whether a hint has been given since the loop last took one."""
        return self._event.is_set()

    def take(self) -> bool:
        """Take the hint back, if it has been given; return whether it had been."""
        given = self.given
        self._event.clear()
        return given

    async def wait(self, within_s: float | None = None) -> None:
        """Wait until the hint is given, or `within_s` seconds have passed, and take it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._event.wait()
        self.take()


def seconds_until(moment: int | None, now: int, longest_s: float) -> float:
    """
    Return for how many seconds a loop is to wait until a moment, `longest_s` at most; both times in µs.

    None: no moment is known.
    """
    return longest_s if moment is None else min(longest_s, max(0.0, (moment - now) / 1e6))


@define(eq=False)
class Group:
    """The tasks of one owner. An error of a task that is not awaited is logged; `stop` ends what is left."""

    owner: str
    loops: list[loops_.Loop] = field(factory=list)
    """Its loops are added to this list, which may be shared with other groups."""
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

    def spawn_forever(
        self,
        make: Callable[[loops_.Turned], Coroutine[Any, Any, object]],
        name: str,
        *,
        essential: bool = False,
        until: Callable[[], bool] = lambda: False,
        once: bool = False,
    ) -> loops_.Loop:
        """
        Start a loop that is meant to live as long as its owner, and return what is known of it.

        `make(turned)` makes its body, and makes it again, after a growing pause, whenever it has raised or
        returned. The body calls `turned` whenever it has completed a round of its work. It ends when it
        raises or returns while `until` is true, and with `once` when it returns.
        """
        loop = loops_.Loop(f"{self.owner}: {name}", essential)
        task = self.spawn(_forever(loop, make, until, once), name, awaited=True)
        self.loops.append(loop)

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if self._stopped or loop.over:
                self.loops.remove(loop)
            else:  # it stays in the list: health tells of it
                loop.died(error)

        task.add_done_callback(ended)
        return loop

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


async def _forever(
    loop: loops_.Loop,
    make: Callable[[loops_.Turned], Coroutine[Any, Any, object]],
    until: Callable[[], bool],
    once: bool,
) -> None:
    """Call the body of a loop again and again."""
    while True:
        error: BaseException
        try:
            await make(loop.turned)
            error = loops_.Ended("it returned")
        except Exception as raised:
            error = raised
        except asyncio.CancelledError as raised:
            # Of a future that the body waited for, unless this task itself was cancelled.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = raised
        if until() or (once and isinstance(error, loops_.Ended)):
            loop.over = True
            return
        await asyncio.sleep(loop.failed(error))


async def until_done(work: Callable[[], Awaitable[T]], what: str, retry_s: float) -> T:
    """
    Do what would not be tried again elsewhere until it is done, however often it fails (the disk is full), or
    this is cancelled.

    `what` is the line that the log gets at each failure. The pause between two tries grows.
    """
    pause_s = retry_s
    while True:
        try:
            return await work()
        except Exception as error:
            log.error("%s, trying again: %s", what, error)
            await asyncio.sleep(pause_s)
            pause_s = max(retry_s, min(pause_s * 2, LONGEST_RETRY_S))
