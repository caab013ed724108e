"""What all operations stand on: one open file, its writer and readers, and whether there is room in it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field

from gatewayd.errors import InsufficientStorage, Unreadable
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.state import Parts, State
from gatewayd.model.thread import Thread
from gatewayd.storage import quota as quota_
from gatewayd.storage.retention import Space
from gatewayd.storage.sqlite import idempotency, joined, threads
from gatewayd.storage.sqlite import states as state_rows
from gatewayd.storage.sqlite.engine import database, writing
from gatewayd.storage.sqlite.engine import files as files_
from gatewayd.storage.sqlite.engine import snapshots as snapshots_

log = logging.getLogger(__name__)

T = TypeVar("T")


@define(eq=False)
class Base:
    """One open file."""

    path: Path
    writer: writing.Writer
    readers: database.Readers
    scanner: snapshots_.SnapshotReader
    boot: int
    opened_at: int
    """Moment of this start, in µs."""
    quota: quota_.Quota
    """Asked before anything new is admitted."""
    open_files: files_.Files = field(init=False)
    """Tells whether the files are still those that are open."""
    states: joined.States = field(init=False)
    """Joins whole states."""
    snapshots: snapshots_.SnapshotReader = field(init=False)
    """Reads of rows with their states; apart from `scanner`, which may be busy with a search."""

    def __attrs_post_init__(self) -> None:
        self.scanner.prepare = state_rows.prepare
        self.snapshots = snapshots_.SnapshotReader(self.writer.damage, prepare=state_rows.prepare)
        self.states = joined.States(self.snapshots)
        self.open_files = files_.of_database(self.path)

    @property
    def space(self) -> Space:
        """What the file takes, as of the last write."""
        return self.writer.space

    def read_failed(self, code: int, name: str, text: str) -> BaseException:
        """
        Return our error for what another process has met when it read the file: SQLite's code, name and text.

        Damage is remembered, as if this process had met it.
        """
        return self.writer.damage.met_elsewhere(code, name, text)

    async def room_require(self) -> None:
        """Raise `InsufficientStorage` when there is no room for anything new."""
        await self._require_room()

    async def _require_room(self, once: Idempotency | None = None) -> None:
        """
        Raise `InsufficientStorage` when there is no room for what is to be made.

        A request that has made its thing before makes nothing now and gets its answer.
        """
        refusal = self.quota.refusal(self.writer.space.used)
        if refusal is not None and not await self.writer.submit(idempotency.made, once):
            raise InsufficientStorage(refusal)

    async def _where_deleted(self, make: Callable[[], Awaitable[T]]) -> T:
        """
        Do what makes a thread; if a lot of a deleted one of its id is left, sweep that and do it again.

        It is swept in steps, between which the writer serves others.
        """
        while True:
            try:
                return await make()
            except threads.Unswept as found:
                step = (threads.thread_sweep_step, found.thread_id, threads.SWEPT_ROWS)
                while not await self.writer.submit(*step):
                    pass

    async def _shown(self, found: Thread) -> Thread:
        """Return a thread with its values joined: as it is now, or without any if it has gone since."""
        if not isinstance(found.values, Parts):
            return found
        return await self.snapshots.read(threads.thread_shown, found.thread_id) or evolve(found, values=None)

    async def state_joined(self, thread_id: str, state: State | None) -> bytes | None:
        """
        Return the JSON of a state of this thread; None if there is none, or it can't be read, which is
        logged.
        """
        try:
            return None if state is None else await self.states.joined(thread_id, state)
        except Unreadable as error:
            log.error("a state of thread %s is left out: %s", thread_id, error.detail)
            return None
