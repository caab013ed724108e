"""Syncing the write-ahead log in a thread beside the writer. Committed work waits in order for the disk.

A commit takes a fraction of a millisecond, a sync some milliseconds. The writer goes on during a sync; one
sync confirms everything that was committed before it began.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from attrs import define, field

from gatewayd import loops

log = logging.getLogger(__name__)

T = TypeVar("T")

SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Writes a file's content to the disk; macOS has no fdatasync."""

SLOW_SYNC_S = 0.5
"""A sync that takes longer is logged, since requests wait for it."""


@define(eq=False)
class Syncer(Generic[T]):
    """The thread that syncs, and the committed work that waits for it."""

    path: Path
    """Of the database."""
    confirmed: Callable[[list[T], Exception | None], None]
    """Called in the thread with committed work, in order, and the error if the disk did not confirm it."""
    syncs: int = field(default=0, init=False)
    busy_s: float = field(default=0.0, init=False)
    """Seconds that all syncs took."""
    loop: loops.Loop = field(factory=lambda: loops.Loop("sync", essential=True), init=False)
    """The thread's health."""
    _queue: deque[tuple[T, bool]] = field(factory=deque, init=False)
    _wake: threading.Condition = field(factory=threading.Condition, init=False)
    _working: bool = field(default=False, init=False)
    """Work taken from the queue is not confirmed yet."""
    _closing: bool = field(default=False, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _log_file: int | None = field(default=None, init=False)

    def start(self) -> None:
        self._thread = loops.in_thread(self.loop, self._work, lambda: self._closing, self._pause)
        self._thread.start()

    def close(self) -> None:
        """Confirm what waits, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._log_file is not None:
            os.close(self._log_file)
            self._log_file = None

    def take(self, committed: T, promise: bool) -> bool:
        """
        Queue committed work that the disk must confirm (`promise`), or that must not overtake such work.

        False if neither holds: the caller can report it at once.
        """
        with self._wake:
            if not (promise or self._queue or self._working):
                return False
            self._queue.append((committed, promise))
            self._wake.notify()
            return True

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closing, seconds)

    def _work(self) -> None:
        while True:
            with self._wake:
                self._working = False
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                waiting = list(self._queue)
                self._queue.clear()
                self._working = True
            try:
                self._confirm(waiting)
            except Exception as error:
                self.confirmed([committed for committed, _ in waiting], error)
                raise
            self.loop.turned()

    def _confirm(self, waiting: list[tuple[T, bool]]) -> None:
        """Confirm work taken from the queue; what has been reported is removed from `waiting`."""
        first = next((n for n, (_, promise) in enumerate(waiting) if promise), len(waiting))
        reported, waiting[:first] = waiting[:first], []
        if reported:  # committed during the sync before, and needs none itself
            self.confirmed([committed for committed, _ in reported], None)
        if waiting:
            error = self._sync()
            reported, waiting[:] = waiting[:], []
            self.confirmed([committed for committed, _ in reported], error)

    def _sync(self) -> OSError | None:
        started = time.perf_counter()
        try:
            if self._log_file is None:
                self._log_file = os.open(f"{self.path}-wal", os.O_RDWR)
            SYNC(self._log_file)
        except OSError as error:
            log.critical("what is stored may not survive the loss of power: %s", error)
            return error
        finally:
            taken = time.perf_counter() - started
            self.syncs += 1
            self.busy_s += taken
            if taken > SLOW_SYNC_S:
                log.warning("the disk took %.3f s to confirm what was stored", taken)
        return None
