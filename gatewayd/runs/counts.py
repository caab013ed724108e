"""
How many runs were started and how they ended since the start of the server: plain numbers for `/metrics`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from typing import Final

from attrs import define, field

from gatewayd.histogram import Histogram
from gatewayd.model import transitions
from gatewayd.model.run import Run

BUCKETS_MS: Final = (
    10.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    900_000.0,
    3_600_000.0,
    14_400_000.0,
)
"""Upper bounds of the buckets of times: from hundredths of a second to four hours."""

_Histograms = defaultdict[str, Histogram]


def _histograms() -> _Histograms:
    return defaultdict(partial(Histogram, BUCKETS_MS))


@define(eq=False)
class Counts:
    """The numbers; graphs are named by their ids."""

    attempts: Counter[str] = field(factory=Counter)
    """Starts by graph; a run that goes on after a restart or a death has several."""
    ended: Counter[tuple[str, str]] = field(factory=Counter)
    """Ends by graph and status."""
    waited_ms: _Histograms = field(factory=_histograms)
    """From the moment at which a run was due to its first start, by graph."""
    took_ms: _Histograms = field(factory=_histograms)
    """From the first start of a run to its end, by graph."""
    cron_runs_failed: int = 0
    """Runs of crons that ended as errors or timeouts."""

    def start(self, run: Run) -> None:
        """Count an attempt that a worker has been given."""
        self.attempts[run.graph_id] += 1
        if run.attempt == 1 and run.started_at is not None:
            self.waited_ms[run.graph_id].add(max(0, run.started_at - run.created_at) / 1000)

    def end(self, run: Run, status: str, now: int) -> None:
        """Count the end of a run."""
        self.ended[run.graph_id, status] += 1
        if run.started_at is not None:
            self.took_ms[run.graph_id].add(max(0, now - run.started_at) / 1000)
        config = run.kwargs.get("config") or {}
        if status in transitions.FAILED and "cron_id" in (config.get("configurable") or {}):
            self.cron_runs_failed += 1
