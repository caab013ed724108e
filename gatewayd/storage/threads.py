"""The operations on threads."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import field, frozen

from gatewayd.model.caller import Caller
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.retention import NewTtl
from gatewayd.model.thread import FirstState, Thread


@frozen(kw_only=True)
class ThreadSearch:
    """What `threads_search` and `threads_count` look for; None means any."""

    metadata: dict[str, Any] = field(factory=dict)
    excluded: list[dict[str, Any]] = field(factory=list)
    """Threads whose metadata contain any of these are left out."""
    values: dict[str, Any] = field(factory=dict)
    status: str | None = None
    ids: list[str] | None = None
    limit: int = 10
    offset: int = 0
    sort_by: str = "updated_at"
    descending: bool = True
    scan: int = 50_000
    """The most candidates to scan."""
    values_shown: bool = True
    """False: the caller does not need the values of the threads."""


@frozen(kw_only=True)
class ThreadPage:
    """The result of a search."""

    threads: list[Thread]
    """Up to `limit` + 1 of them: one more tells that there are more."""
    scanned: int | None = None
    """
    The number of candidates read, if the scan stopped before the page was full; None if nothing is missing.
    """


@frozen(kw_only=True)
class DeletedThread:
    """What is left to be done when a thread was deleted."""

    active: dict[str, str | None]
    """
    Its active runs, which are to be stopped where they execute: run ids and graph ids, which are None for
    runs that were never started.
    """
    last_seq: int
    """The number that its log has given last."""
    last_ms: int
    """The time of its last event."""


class Threads(Protocol):
    """Operations on threads."""

    async def thread_create(
        self,
        whose: Caller,
        thread_id: str,
        metadata: dict[str, Any],
        *,
        do_nothing: bool,
        now: int,
        once: Idempotency | None = None,
        ttl: NewTtl | None = None,
        state: FirstState | None = None,
    ) -> Thread:
        """
        Store a thread, with its time to live and first state if it has them.

        Raises `Conflict`, `Invalid`, `InsufficientStorage`.
        """

    async def thread_get(self, whose: Caller, thread_id: str) -> Thread:
        """Return the thread, with its values joined. Raises `NotFound`."""

    async def thread_find(self, whose: Caller, thread_id: str) -> Thread:
        """
        Return the thread for those who do not look at its values: they may be in parts. Raises `NotFound`.
        """

    async def thread_patch(
        self, whose: Caller, thread_id: str, metadata: dict[str, Any], now: int, ttl: NewTtl | None = None
    ) -> Thread:
        """Merge metadata, and set the time to live if there is one. Raises `NotFound`, `Invalid`."""

    async def thread_delete(self, whose: Caller, thread_id: str, now: int) -> DeletedThread:
        """Mark the thread deleted and return what is left to be done. Raises `NotFound`."""

    async def threads_search(self, whose: Caller, wanted: ThreadSearch) -> ThreadPage:
        """Find threads; see `sqlite.search`. Raises `Invalid`."""

    async def threads_count(self, whose: Caller, wanted: ThreadSearch) -> int:
        """Return how many threads a search finds without its limits. Raises `Invalid`."""

    async def threads_to_sweep(self, hidden_before: int, limit: int, kept_before: int) -> list[str]:
        """Return ids of threads whose rows may be removed; see `threads.sweep_candidates`."""

    async def thread_sweep_step(self, thread_id: str, rows: int) -> bool:
        """Remove some rows of a thread that is gone; True when nothing is left."""
