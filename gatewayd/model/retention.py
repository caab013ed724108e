"""How long threads are kept: the project's settings, and the time to live of a thread."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

TtlStrategy = Literal["delete", "keep_latest"]
"""What happens to an expired thread: it is deleted, or all but its latest states are removed."""

STRATEGIES: Final[tuple[TtlStrategy, ...]] = ("delete", "keep_latest")

MOST_MINUTES: Final = 100 * 366 * 24 * 60.0
"""A century: a thread that is to live longer needs no time to live."""


@frozen(kw_only=True)
class Retention:
    """``checkpointer.ttl`` of langgraph.json: the default of new threads, and the sweep of expired ones."""

    strategy: TtlStrategy = "delete"
    default_ttl: float | None = None
    """Minutes; None: threads without a time to live of their own are kept for ever."""
    sweep_interval_minutes: float = 5.0
    sweep_limit: int = 1000
    """The most threads that one sweep removes."""


@frozen(kw_only=True)
class NewTtl:
    """A client's request for how long a thread is kept after its last activity."""

    strategy: TtlStrategy
    ttl_minutes: float


@frozen(kw_only=True)
class ThreadTtl:
    """How long a thread is kept after its last activity."""

    strategy: TtlStrategy
    ttl_minutes: float
    expires_at: int
    """When it expires if nothing happens on it, in µs. If this is past, the next sweep removes it."""
