"""`Storage`: all that the rest of the daemon may ask of what is stored. What a second backend has to offer.

One Protocol for each noun has the operations with their promises and the records that they take and return;
here they are put together, with what is asked about storage as a whole. `opening` knows which backend there
is. The tests of storage hold for every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from gatewayd import loops as loops_
from gatewayd.model.event import Chunk
from gatewayd.model.state import State
from gatewayd.storage.assistants import Assistants, AssistantSearch
from gatewayd.storage.boots import Boots, Violation
from gatewayd.storage.crons import Crons, CronSearch, FiredCron
from gatewayd.storage.events import Chain, Events
from gatewayd.storage.operations import CopyPosition, Operations
from gatewayd.storage.retention import Expired, Retention, Space
from gatewayd.storage.runs import ClaimedRuns, CreatedRun, DeletedRun, Merged, Queue, Runs, RunSearch
from gatewayd.storage.threads import DeletedThread, ThreadPage, Threads, ThreadSearch
from gatewayd.storage.webhooks import Webhooks

__all__ = [
    "AssistantSearch",
    "Chain",
    "ClaimedRuns",
    "CopyPosition",
    "CreatedRun",
    "CronSearch",
    "DeletedRun",
    "DeletedThread",
    "Expired",
    "FiredCron",
    "Merged",
    "Queue",
    "RunSearch",
    "Space",
    "Storage",
    "ThreadPage",
    "ThreadSearch",
    "Violation",
    "Writes",
]


@frozen(kw_only=True)
class Writes:
    """What was written since the start."""

    transactions: int
    operations: int
    """In these transactions."""
    busy_s: float
    """Seconds that all transactions took."""
    longest_s: float
    """Seconds that the longest of them took."""
    syncs: int
    """How often the disk was asked to confirm."""
    sync_s: float
    """Seconds that this took."""


class Storage(
    Boots,
    Assistants,
    Threads,
    Retention,
    Operations,
    Runs,
    Crons,
    Webhooks,
    Events,
    Protocol,
):
    """What is stored, opened by one start of the daemon."""

    opened_at: int
    """Moment of this start, in µs."""

    @property
    def space(self) -> Space:
        """What is taken of the file, as of the last write."""

    @property
    def files(self) -> Sequence[tuple[str, Path, str]]:
        """The files in which things are stored: name, path, and what is in it."""

    @property
    def backlog(self) -> int:
        """Bytes of what waits to be stored."""

    @property
    def writes(self) -> Writes:
        """What was written since the start."""

    @property
    def loops(self) -> list[loops_.Loop]:
        """The loops that store, which health looks at; others may be added."""

    def on_settled(self, call: Callable[[], None]) -> None:
        """Call `call` in the event loop whenever some of the backlog has been stored."""

    async def room_require(self) -> None:
        """Raise `InsufficientStorage` when there is no room for anything new."""

    def read_failed(self, code: int, name: str, text: str) -> BaseException:
        """
        Return our error for what a worker has met when it read: the driver's code, name and text.

        Damage is remembered, as if this process had met it.
        """

    async def state_joined(self, thread_id: str, state: State | None) -> bytes | None:
        """
        Return the JSON of a state of this thread; None if there is none, or it can't be read, which is
        logged.
        """

    def changed_files(self) -> list[str]:
        """Return what has happened to the files behind storage's back, a sentence each."""

    def states_take(self, chunk: Chunk) -> None:
        """Keep the pieces of whole states that came with a chunk: readers will ask for them."""

    async def close(self, now: int) -> None:
        """Record the orderly stop, store what waits, and close. Later calls do nothing."""
