"""Trials: a run at which the daemon has died again and again is executed with nothing beside it for a while.

A daemon takes all runs down with it, so its deaths say nothing of a single one of them, unless that one was
alone. After `SUSPICIONS` deaths during which it got nowhere, a run is tried: at the next boot it starts
before all others, and they wait until it has ended, or for some time. If the daemon dies again while it is
the only run that executes, the boot after puts it aside (`storage.sqlite.boots`). If not, the others start
beside it, and nothing is held against it.
"""

from __future__ import annotations

import asyncio
import logging

from attrs import define, field

from gatewayd.model.run import SUSPICIONS, Run
from gatewayd.runs import engine, inflight

log = logging.getLogger(__name__)

TRIAL_S = 30.0
"""Time that the others wait for a run's first trial; as much more at each further one, …"""
LONGEST_TRIAL_S = 300.0
"""… up to this."""


@define(eq=False)
class Trial:
    """The one trial of this boot."""

    engine: engine.Engine
    run_id: str | None = field(default=None, init=False)
    """The run for which all others wait; None when there is none."""

    def choose(self, run: Run) -> None:
        """Have all others wait until this run, which is pending, has been tried."""
        self.run_id = run.run_id

    def begin(self, active: inflight.ActiveRun) -> None:
        """A run is given to a worker: if it is the one, its time runs."""
        if active.run.run_id != self.run_id:
            return
        within_s = min(TRIAL_S * (1 + active.run.suspicions - SUSPICIONS), LONGEST_TRIAL_S)
        log.warning(
            "run %s is tried alone: the daemon died %d times at it; the others wait for %g s at most",
            active.run.run_id,
            active.run.suspicions,
            within_s,
            extra={"fields": {"run_id": active.run.run_id, "thread_id": active.run.thread_id}},
        )
        self.engine.tasks.spawn(self._watch(active, within_s), f"try {active.run.run_id}")

    async def _watch(self, active: inflight.ActiveRun, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await active.done.wait()
        except TimeoutError:
            pass
        self.end()

    def end(self) -> None:
        """Let the others start."""
        self.run_id = None
        self.engine.queue.waits()
