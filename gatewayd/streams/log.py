"""Each thread's log: what arrives is stored, and what is stored is published.

Storage gives the numbers, in the transaction that stores the events (`storage.sqlite.engine.numbering`):
from 1, in the order in which they are stored, none twice. An event's time is that of its arrival; within a
thread it never falls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from gatewayd.model import event
from gatewayd.model.event import Chunk, Draft, Item
from gatewayd.model.state import Parts
from gatewayd.storage import store
from gatewayd.streams import hub


@define(eq=False)
class Log:
    """Has events stored, and publishes what is committed."""

    storage: store.Storage
    hub: hub.Hub
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    events: int = field(default=0, init=False)
    """Events that were stored and published."""
    event_bytes: int = field(default=0, init=False)
    """Their size."""

    def draft(
        self,
        thread_id: str,
        run_id: str,
        count: int,
        packed: bytes,
        parts: Sequence[Parts] = (),
        blobs: Sequence[Sequence[Any]] = (),
    ) -> Draft:
        """Return packed records that have come now, with their whole states."""
        return Draft(thread_id, run_id, count, self.now_ms(), packed, parts, blobs)

    def items(self, thread_id: str, run_id: str, items: Sequence[Item]) -> Draft:
        """Return records that the daemon itself has made, without whole states."""
        return event.draft(thread_id, run_id, self.now_ms(), items)

    def append(
        self,
        draft: Draft,
        on_commit: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = lambda _: None,
        chain: store.Chain | None = None,
    ) -> None:
        """
        Have events stored, then published; `on_commit` is called after both, or `on_error` if they were not
        stored.

        With `chain` they are not stored behind anything of their run that was not.
        """

        def publish(chunk: Chunk) -> None:
            self.publish(chunk)
            on_commit()

        self.storage.events_append(draft, publish, on_error, chain)

    def publish(self, chunk: Chunk) -> None:
        """Show committed events to the thread's readers. To be called in the order of the commits."""
        self.events += chunk.last_seq - chunk.first_seq + 1
        self.event_bytes += chunk.size
        self.hub.publish(chunk)
