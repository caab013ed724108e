"""How often a number lay between which bounds: what Prometheus calls a histogram, as plain numbers."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from attrs import define, field


@define(eq=False)
class Histogram:
    """Counts numbers by their size."""

    bounds: Sequence[float]
    """Upper bounds of the buckets, rising."""
    count: int = 0
    total: float = 0.0
    buckets: list[int] = field(init=False)
    """Numbers that lie between two bounds, and above the last."""

    def __attrs_post_init__(self) -> None:
        self.buckets = [0] * (len(self.bounds) + 1)

    def add(self, number: float) -> None:
        self.count += 1
        self.total += number
        self.buckets[bisect.bisect_left(self.bounds, number)] += 1

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """Yield each bound with the count of numbers up to it; the last bound is ``+Inf``."""
        total = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.buckets, strict=True):
            total += count
            yield bound, float(total)
