"""Keeping the write-ahead log short, also under load and beside readers.

SQLite restarts the log only when all of it has been copied to the database file and no reader uses it. With
overlapping readers that may not happen for hours, and the log grows without limit. So gatewayd brings it
about in two parts:

- A thread with a connection of its own copies new frames into the database file (PASSIVE): once a second
  while there are writes, and at once when the log is too long. It neither waits for others nor makes them
  wait.
- When the log is longer than `LIMIT` and nearly all of it is copied, the writer restarts it between two
  batches (RESTART). Reads that begin now don't need the log, so the writer waits only for reads in progress,
  and at most `PATIENCE_MS`. If one takes longer, the restart is tried again later.

The file is not made shorter than `LIMIT`: on a full disk this space is needed to store deletions and the ends
of runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from attrs import define, field

from gatewayd import loops
from gatewayd.storage.sqlite.engine import failures

log = logging.getLogger(__name__)

LIMIT = 16 << 20
"""Bytes of the log at which it is restarted."""
LONG = 24 << 20
"""Bytes of the log's file at which the thread copies at once."""
NEAR = 1000
"""Frames that may be left to copy when the writer restarts the log: a few milliseconds."""
PATIENCE_MS = 10
PAUSE_S = 1.0
AGAIN_S = 0.1
"""Pause after a reader has prevented a restart."""
WARN = 256 << 20
"""Bytes at which a warning about a very long read is logged."""
WARN_EVERY_S = 60.0

PRAGMAS = (
    f"journal_size_limit = {LIMIT}",
    "wal_autocheckpoint = 0",  # the thread does it: after a long read a checkpoint takes 0.4 s and more
)
"""Of the writing connection."""


@define(eq=False)
class Trimmer:
    """The thread that copies, and what the writer must know of it."""

    damage: failures.Damage
    """Nothing is copied once the database is damaged."""
    loop: loops.Loop = field(factory=lambda: loops.Loop("write-ahead log"), init=False)
    """The thread's health. While it is down, the writer copies."""
    ready: bool = field(default=False, init=False)
    """The log is long enough to be restarted, and copied."""
    restarts: int = field(default=0, init=False)
    _wake: threading.Condition = field(factory=threading.Condition, init=False)
    _dirty: bool = field(default=False, init=False)
    """There are writes that may not be copied yet."""
    _long: bool = field(default=False, init=False)
    _closing: bool = field(default=False, init=False)
    _replaced: bool = field(default=False, init=False)
    """The writer copies, because the thread is down."""
    _copying: threading.Lock = field(factory=threading.Lock, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _not_before: float = field(default=0.0, init=False)
    _warn_after: float = field(default=0.0, init=False)

    def start(self) -> None:
        self._thread = loops.in_thread(self.loop, self._work, lambda: self._closing, self._pause)
        self._thread.start()

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def path(self) -> Path:
        return self.damage.path

    def bytes(self) -> int:
        """Return the length of the log's file."""
        try:
            return os.stat(f"{self.path}-wal").st_size  # noqa: PTH116  once a batch: half the time of Path.stat
        except OSError:
            return 0

    # in the writer's thread

    def after_batch(self, connection: sqlite3.Connection) -> None:
        """Have what was written copied, and restart the log if it is time."""
        if self.loop.down != self._replaced:
            self._replaced = self.loop.down
            connection.execute(f"PRAGMA wal_autocheckpoint = {1000 if self._replaced else 0}")
        long = self.bytes() > LONG
        if not self._dirty or (long and not self._long):
            with self._wake:
                self._dirty, self._long = True, long
                self._wake.notify()
        if self.ready and time.monotonic() >= self._not_before and self._copying.acquire(blocking=False):
            try:
                self._restart(connection)
            finally:
                self._copying.release()

    def _restart(self, connection: sqlite3.Connection) -> None:
        (patience_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        except sqlite3.Error as error:
            busy = True
            log.warning("the write-ahead log could not be copied: %s", self.damage.translated(error))
        finally:
            connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
        if busy:
            self._not_before = time.monotonic() + AGAIN_S
        else:
            self.ready = False
            self.restarts += 1

    # the thread

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closing, seconds)

    def _work(self) -> None:
        # Without the writer's pragmas: it only copies, and the file exists.
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        with contextlib.closing(connection):
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            while self._wait():
                self._copy(connection, LIMIT // page_size)
                self.loop.turned()

    def _wait(self) -> bool:
        """Wait until there is something to copy; False when the trimmer closes."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing, AGAIN_S)
            self._wake.wait_for(lambda: self._dirty or self._closing)
            self._wake.wait_for(lambda: self._long or self._closing, PAUSE_S)
            self._dirty = self._long = False
            return not self._closing

    def _copy(self, connection: sqlite3.Connection, limit: int) -> None:
        if self.damage.found is not None:
            return
        with self._copying:
            try:
                _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:  # the disk is full, perhaps
                log.warning("the write-ahead log could not be copied: %s", self.damage.translated(error))
                self._dirty = True
                return
            self.ready = frames >= limit and frames - copied <= NEAR
            self._dirty = self._dirty or copied < frames
        if copied < frames and self.bytes() > WARN and time.monotonic() > self._warn_after:
            self._warn_after = time.monotonic() + WARN_EVERY_S
            log.warning(
                "the write-ahead log has %d MiB: a reader has kept the database open for long",
                self.bytes() >> 20,
            )
