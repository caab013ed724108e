"""How long threads are kept, as the project asks for it and as a thread has it."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

TtlStrategy = Literal["delete", "keep_latest"]
"""What becomes of a thread whose time is over: it is deleted, or all but its latest states are removed."""

STRATEGIES: Final[tuple[TtlStrategy, ...]] = ("delete", "keep_latest")

MOST_MINUTES: Final = 100 * 366 * 24 * 60.0
"""A century: what is to live longer needs no time to live."""


@frozen(kw_only=True)
class Retention:
    """``checkpointer.ttl``: what new threads get, and how often and how many threads are looked at."""

    strategy: TtlStrategy = "delete"
    default_ttl: float | None = None
    """Minutes; None: threads are kept for ever unless they say otherwise."""
    sweep_interval_minutes: float = 5.0
    sweep_limit: int = 1000
    """Threads that are dealt with in one sweep."""


@frozen(kw_only=True)
class NewTtl:
    """How long a client wants a thread to be kept after its last activity."""

    strategy: TtlStrategy
    ttl_minutes: float


@frozen(kw_only=True)
class ThreadTtl:
    """How long a thread is kept after its last activity."""

    strategy: TtlStrategy
    ttl_minutes: float
    expires_at: int
    """When its time is over if nothing happens on it, in µs; in the past: at the next sweep."""
