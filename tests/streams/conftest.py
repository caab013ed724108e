"""A log on a real database, and readings of it that stop where the test wants."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gatewayd.model.event import Chunk, pack
from gatewayd.storage import opening, store
from gatewayd.storage.sqlite.engine import numbering
from gatewayd.streams import hub, log

THREAD = "thread"


@define(eq=False)
class Gated:
    """
    Storage as the hub sees it: with `stopping` every reading stops before it looks and before it answers.
    """

    storage: store.Storage
    stopping: bool = False
    reads: int = 0
    gone_to: int = 0
    """Number up to which events are not kept any more."""
    losses: dict[str, tuple[int, int]] = field(factory=dict)
    """Runs that have lost events: up to which number, and their attempts."""
    _stops: list[asyncio.Future[None]] = field(factory=list)
    _arrived: asyncio.Event = field(factory=asyncio.Event)

    async def events_page(self, thread_id: str, after: int, run_id: str | None = None) -> list[Chunk]:
        self.reads += 1
        await self._stop()
        found = await self.storage.events_page(thread_id, max(after, self.gone_to), run_id)
        await self._stop()
        return found

    async def events_gap(self, thread_id: str, after: int) -> int | None:
        return self.gone_to if self.gone_to > after else None

    async def run_events_gap(self, thread_id: str, run_id: str, after: int) -> tuple[int, int] | None:
        lost = self.losses.get(run_id)
        return lost if lost is not None and lost[0] > after else None

    async def _stop(self) -> None:
        if self.stopping:
            stop = asyncio.get_running_loop().create_future()
            self._stops.append(stop)
            self._arrived.set()
            await stop

    async def stopped(self) -> None:
        """Wait until a reading has stopped."""
        while not self._stops:
            self._arrived.clear()
            await self._arrived.wait()

    def go(self) -> bool:
        """Let the reading that has stopped first go on; False if there is none."""
        if not self._stops:
            return False
        self._stops.pop(0).set_result(None)
        return True

    def release(self) -> None:
        """Stop nothing any more."""
        self.stopping = False
        while self.go():
            pass


@define(eq=False)
class Bench:
    """Producer of one thread's log."""

    storage: store.Storage
    gated: Gated
    hub: hub.Hub
    log: log.Log
    stored: list[Chunk] = field(factory=list)
    published: int = 0

    async def store(
        self, run_id: str = "run", size: int = 10, records: int = 1, thread_id: str = THREAD
    ) -> Chunk:
        """Store a chunk without showing it to anybody."""
        packed = pack([("values", "", 1, b"x" * size)] * records)
        committed: asyncio.Future[Chunk] = asyncio.get_running_loop().create_future()
        draft = self.log.draft(thread_id, run_id, records, packed)
        self.storage.events_append(draft, committed.set_result, committed.set_exception)
        chunk = await committed
        self.stored.append(chunk)
        return chunk

    async def jump(self, thread_id: str = THREAD) -> None:
        """Have the numbers of a thread jump, as a start does when a run was cut off."""
        await self.storage.writer.submit(
            lambda connection: numbering.of(connection).jump(connection, thread_id)
        )

    def publish(self) -> None:
        """Show what was committed first and not yet shown."""
        self.hub.publish(self.stored[self.published])
        self.published += 1

    async def emit(self, **options: Any) -> Chunk:
        """Do both."""
        chunk = await self.store(**options)
        assert self.published == len(self.stored) - 1
        self.publish()
        return chunk

    def cursor(self, after: int = 0, run_id: str | None = None, thread_id: str = THREAD) -> hub.Cursor:
        return hub.Cursor(self.hub, thread_id, after, run_id)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    storage = await opening.open_storage(tmp_path / "gatewayd.sqlite", 0, os.getpid(), "test")
    gated = Gated(storage)
    made = hub.Hub(gated)  # type: ignore[arg-type]
    yield Bench(storage, gated, made, log.Log(storage, made))
    await storage.close(0)
