"""How many requests were answered, with what, and how soon: plain numbers, made into metrics when they are
asked for.

A request counts when the head of its response goes out, so that a stream counts at its beginning. Paths are
those of the routes, not of the requests, and what has no route counts under an empty path: their number is
bounded.
"""

from __future__ import annotations

import time
from typing import Final

from aiohttp import hdrs, web
from attrs import define, field

from gatewayd.histogram import Histogram

BUCKETS_MS: Final = (
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
    30000.0,
)
"""Upper bounds of the buckets of the times."""

STARTED: Final = web.RequestKey("started", float)
"""When a request was seen, in the monotonic clock's seconds."""


@define(eq=False)
class Counts:
    """All requests since the start, by method, path and status."""

    answered: dict[tuple[str, str, int], Histogram] = field(factory=dict)
    """Milliseconds until the answer began."""

    def add(self, request: web.Request, status: int) -> None:
        """Count an answer whose head goes out now."""
        took_ms = (time.monotonic() - request.get(STARTED, time.monotonic())) * 1000
        key = (request.method if request.method in hdrs.METH_ALL else "OTHER", path_of(request), status)
        histogram = self.answered.get(key)
        if histogram is None:
            histogram = self.answered[key] = Histogram(BUCKETS_MS)
        histogram.add(took_ms)


COUNTS: Final = web.AppKey("counts", Counts)


def path_of(request: web.Request) -> str:
    """Return the path of a request's route, "" if it has none."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
