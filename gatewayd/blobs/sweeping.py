"""A sweep of a family of threads that is under way: what it has met, and how far it has come."""

from __future__ import annotations

from attrs import define, field


@define
class Sweep:
    """How far a sweep has come; changed by its steps."""

    family_id: int
    token: str
    garbage: int
    threads: list[str]
    """Those that are still to be looked at."""
    empty: list[str] = field(factory=list)
    """Those that have no manifest."""
    place: tuple[int, tuple[str | int, ...]] | None = None
    """Source and key of the last row of the first of `threads`, None: it is to be begun."""
    met: bool = False
    """Whether the first of `threads` has a manifest."""
    reached: set[bytes] = field(factory=set)
    unread: list[bytes] = field(factory=list)
    """Reached, and not looked at: may be segments or compounds."""
    after: bytes = b""
    """Blobs up to this hash are done."""
    removed: int = 0
    unsettled: bool = False
    """A step has been executed, and it is not known whether its transaction was kept."""
