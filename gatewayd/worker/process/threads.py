"""The pool in which synchronous nodes run, which knows for each run what still executes.

A cancelled task does not stop the thread that it waited for. A run has ended only when its threads have, so
the pool notes the run (`CURRENT`) of every call it is given. A thread of a cancelled run that stays is
interrupted: an exception is raised in it (CPython's PyThreadState_SetAsyncExc). That ends Python code; a call
into C, such as a sleep, ends first.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ctypes
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from attrs import define

T = TypeVar("T")

CURRENT: ContextVar[str] = ContextVar("gatewayd_run", default="")
"""The run on whose behalf code executes."""

POOL_SIZE = 64
"""Threads: blocking nodes of all runs of a worker, several each."""


class RunCancelled(BaseException):
    """Raised in a thread of a cancelled run that does not end by itself."""


@define(eq=False)
class _Call:
    """A call that a run has under way in the pool."""

    thread: int | None = None
    """The thread that executes it, while it does."""


class Pool(concurrent.futures.ThreadPoolExecutor):
    """A thread pool that remembers whose calls are under way."""

    def __init__(self) -> None:
        super().__init__(max_workers=POOL_SIZE, thread_name_prefix="node")
        self._lock = threading.Lock()
        self._under_way: dict[str, dict[concurrent.futures.Future[Any], _Call]] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Start a call; it counts as its run's until it has returned."""
        run_id = CURRENT.get()
        if not run_id:
            return super().submit(fn, *args, **kwargs)
        call = _Call()
        future = super().submit(self._noted, call, fn, *args, **kwargs)
        with self._lock:
            self._under_way.setdefault(run_id, {})[future] = call
        future.add_done_callback(lambda done: self._ended(run_id, done))
        return future

    def _ended(self, run_id: str, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            mine = self._under_way[run_id]
            del mine[future]
            if not mine:
                del self._under_way[run_id]

    def _noted(self, call: _Call, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        with self._lock:
            call.thread = threading.get_ident()
        try:
            return fn(*args, **kwargs)
        finally:
            try:
                self._leave(call)
            except RunCancelled:  # it came in this very moment
                self._leave(call)

    def _leave(self, call: _Call) -> None:
        """
        From here on nothing is raised in this thread for the call; what was, and has not arrived, is taken
        back.
        """
        with self._lock:
            call.thread = None
            _raise_in(threading.get_ident(), None)

    def interrupt(self, run_id: str) -> int:
        """Raise `RunCancelled` in the threads that execute calls of a run; return how many there are."""
        with self._lock:
            threads = [call.thread for call in self._under_way.get(run_id, {}).values() if call.thread]
            for thread in threads:
                _raise_in(thread, RunCancelled)
        return len(threads)

    async def idle(self, run_id: str, patience_s: float) -> None:
        """
        Wait until nothing of a cancelled run executes in the pool; after each `patience_s` what does is
        interrupted.
        """
        loop = asyncio.get_running_loop()
        while left := self._left(run_id):
            ended = asyncio.Event()
            for future in left:
                future.add_done_callback(partial(_call_in, loop, ended.set))
            try:
                async with asyncio.timeout(patience_s):
                    await ended.wait()
            except TimeoutError:
                self.interrupt(run_id)

    def _left(self, run_id: str) -> list[concurrent.futures.Future[Any]]:
        with self._lock:
            return list(self._under_way.get(run_id, ()))


def _call_in(
    loop: asyncio.AbstractEventLoop, call: Callable[[], None], _: concurrent.futures.Future[Any]
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
        loop.call_soon_threadsafe(call)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """
    Have an exception raised in a thread at its next bytecode; None takes back one that has not been raised
    yet.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if kind is None else ctypes.py_object(kind)
    )
