"""Dispatch: which run starts next, and giving it to a worker.

A run may start when it is due, its thread has no other, and a worker has a slot free. What is due is what
the table says (`storage.runs_claim_due`: the oldest first, one a thread); `claimer` looks at it when it is
woken by a hint (a run was created, a slot or a thread has become free) or by the clock. A run that is
created while a slot and its thread are free is started in the same transaction, without waiting for the
claimer: `reserved` promises it the slot.

A *suspect* run, at which a worker has died or was blocked, gets a worker of its own. While a run is on trial
(`trials`), no other starts.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from attrs import define, field

from gatewayd import loops, tasks, wire
from gatewayd.model import event
from gatewayd.model.event import Item
from gatewayd.model.run import CONTEXT_GIVEN, Run
from gatewayd.runs import cancels, endings, engine, inflight, trials
from gatewayd.streams import v2
from gatewayd.supervisor import worker

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
"""Even without a hint the table is looked at this often."""


@define(eq=False)
class Dispatch:
    """Starts runs, and makes those pending again that a worker has not ended."""

    engine: engine.Engine
    in_flight: inflight.InFlight
    ending: endings.Endings
    cancelling: cancels.Cancels
    trial: trials.Trial
    settling: set[str] = field(factory=set, init=False)
    """Runs of dead workers whose fate is being decided; they are not to be started."""
    stopping: bool = field(default=False, init=False)
    _reserved: int = field(default=0, init=False)

    def slots(self) -> int:
        """Return the free slots for ordinary runs that are not promised to any."""
        none = self.stopping or self.trial.run_id is not None
        return 0 if none else self.engine.workers.free() - self._reserved

    @contextlib.contextmanager
    def reserved(self, slots: int) -> Iterator[None]:
        """Promise free slots to runs that are being started in storage."""
        self._reserved += slots
        try:
            yield
        finally:
            self._reserved -= slots

    # what is due

    async def claimer(self, turned: loops.Turned = lambda: None) -> None:
        """Start due runs as slots become free, until the server stops. To be called again after an error."""
        wait_s = 0.0
        while not self.stopping:
            await self.engine.queue.hint.wait(wait_s)
            wait_s = await self.claim_due()
            turned()

    async def claim_due(self) -> float:
        """Start what can be started now; return how long nothing more will be due, in seconds."""
        queue, now = self.engine.queue, self.engine.now
        limit, suspects = max(0, self.slots()), self.engine.workers.free_quarantines()
        only = self.trial.run_id
        if only is not None and only in self.in_flight.active:
            return LONGEST_WAIT_S  # its end gives the hint
        queue.backlogged = True  # a slot that is freed while the table is looked at must give the hint
        with self.reserved(limit):
            claimed = await self.engine.storage.runs_claim_due(now(), limit, suspects, self.settling, only)
        if only is not None and not claimed.taken and suspects:
            self.trial.end()  # it was cancelled or deleted
        queue.backlogged = claimed.left or queue.hint.given
        for run in claimed.taken:
            self.start(run)
        return tasks.seconds_until(claimed.next_due, now(), LONGEST_WAIT_S)

    # giving it to a worker

    def start(self, run: Run) -> None:
        """Give a run that storage has started to a worker."""
        active = self.in_flight.start(run)
        self.trial.begin(active)
        if run.suspect:
            self.engine.tasks.spawn(self._start_alone(active), f"dispatch {run.run_id}")
        else:
            self._send(active, self.engine.workers.take())

    async def _start_alone(self, active: inflight.ActiveRun) -> None:
        """Give a suspect run to a worker of its own, which is started for it."""
        log.warning(
            "run %s runs alone: it has blocked its worker before"
            if active.run.blocked
            else "run %s runs alone: a process died at it before",
            active.run.run_id,
            extra=endings.fields(active.run),
        )
        self._send(active, await self.engine.workers.take_quarantine(active.run.run_id))

    def _send(self, active: inflight.ActiveRun, source: worker.Worker | None) -> None:
        run = active.run
        if source is None or not source.loaded or self.stopping:
            if source is not None:
                self.engine.workers.release(source, run.run_id)
            self.engine.tasks.spawn(self.requeue(active, died=False), f"requeue {run.run_id}")
            return
        active.source = source
        if not active.executing:  # deleted while a worker was being started
            self.in_flight.stopped(active)
            return
        source.start_run(run.run_id, run.attempt, _order(run))
        self.engine.counts.start(run)
        # Told here and not by the worker: the first that clients see need not wait for its turn.
        start = self.engine.log.items(run.thread_id, run.run_id, _start_items(run))
        self.engine.log.append(start, chain=active.chain)
        self.cancelling.watch_time(active)
        if active.merging:
            source.merge_run(run.run_id, run.attempt)
        if active.cancelling:
            self.cancelling.stop_active(active)

    async def requeue(self, active: inflight.ActiveRun, *, died: bool, blocked: bool = False) -> Run | None:
        """
        Make a run pending again; return it, None: it was not running any more. One that is being cancelled is
        ended.
        """
        run = active.run
        requeued = await tasks.until_done(
            lambda: self.engine.storage.run_requeue_if_running(
                run.run_id, run.attempt, died=died, now=self.engine.now(), blocked=blocked
            ),
            f"run {run.run_id} could not be made pending",
            self.engine.retry_s,
        )
        self.in_flight.requeued(active)
        if requeued is not None and requeued.cancel_action is not None:
            await self.ending.end_without_worker(requeued)
        else:
            self.engine.queue.waits()
        return requeued


def _start_items(run: Run) -> list[Item]:
    """Return the events of a run's start, those of both protocols."""
    data = wire.dumps({"run_id": run.run_id, "attempt": run.attempt})
    begun = v2.start_items(run.graph_id, run.attempt, list(run.answers or ()))
    return [("metadata", "", event.V1 | event.THREAD, data), *begun]


def _order(run: Run) -> dict[str, Any]:
    """Return what the worker gets of a run (`channel.orders.RunOrder` as a map)."""
    large = ("input", "command")
    stored = any(wire.has_raw(run.kwargs.get(name)) for name in large) or wire.has_raw(run.answers)
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "graph_id": run.graph_id,
        "attempt": run.attempt,
        "kwargs": run.kwargs | dict.fromkeys(large) if stored else run.kwargs,
        "metadata": run.metadata,
        "answers": None if stored else run.answers,
        "stored": stored,
        "executed_s": run.executed_us / 1e6,
        "context_given": bool(run.kwargs["config"]["configurable"].get(CONTEXT_GIVEN)),
    }
