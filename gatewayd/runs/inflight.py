"""Runs in flight: given to a worker in one attempt, and neither ended nor requeued yet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from attrs import define, field

from gatewayd.errors import Damaged, Unavailable
from gatewayd.model.run import Run
from gatewayd.storage import store
from gatewayd.supervisor import supervisor, worker

log = logging.getLogger(__name__)


@define(eq=False)
class ActiveRun:
    """What the manager knows of a run that executes."""

    run: Run
    source: worker.Worker | None = None
    """The worker that has it; None while one is being found."""
    ended: bool = False
    """Its last frame has arrived or the worker is gone: later frames are refused."""
    vanished: bool = False
    """Its row was deleted: nothing of it is stored any more, its worker is only waited for."""
    fenced: bool = False
    """It is recorded as ended although something of it may still execute; its worker is only waited for."""
    recorded: bool = True
    """False while the end of a fenced run is being stored."""
    gone: bool = False
    """Nothing of a fenced run executes any more."""
    merging: bool = False
    """A run that waits is to be merged into it."""
    deadline: asyncio.TimerHandle | None = None
    """Fires when a cancel is not obeyed in time."""
    overtime: asyncio.TimerHandle | None = None
    """Fires when the job timeout has passed and the worker has not acted on it."""
    chain: store.Chain = field(factory=store.Chain)
    """Of this attempt's checkpoint operations: none is stored behind one that could not be."""
    done: asyncio.Event = field(factory=asyncio.Event)
    """Set when it is over in this attempt: ended or requeued."""

    @property
    def cancelling(self) -> bool:
        """Whether it is to end by a cancel."""
        return self.run.cancel_action is not None


@define(eq=False)
class InFlight:
    """All runs in flight. What ends one is reported here: `finish`, `left` or `over`."""

    storage: store.Storage
    workers: supervisor.Supervisor
    freed: Callable[[], None]
    """Called when a place or a thread is free."""
    retry_s: float
    """Pause before a slot that could not be freed is tried again."""
    active: dict[str, ActiveRun] = field(factory=dict, init=False)

    def start(self, run: Run) -> ActiveRun:
        """Note a run that storage has started."""
        active = self.active[run.run_id] = ActiveRun(run)
        return active

    def lost_with(self, source: worker.Worker) -> set[str]:
        """Return the runs of a worker for which nobody waits any more: fenced off or deleted."""
        return {
            run_id
            for run_id, each in self.active.items()
            if each.source is source and (each.fenced or each.vanished)
        }

    def over(self, active: ActiveRun | None) -> None:
        """The end of a run is stored; `active` is None for one that no worker had."""
        if active is not None:
            active.recorded = True
            if active.gone or not active.fenced:
                self.finish(active)
        self.freed()

    def left(self, active: ActiveRun) -> None:
        """Nothing more of a run executes that was deleted or fenced off."""
        active.gone = True
        if active.vanished or (active.fenced and active.recorded):
            self.finish(active)

    def finish(self, active: ActiveRun) -> None:
        """A run is not in flight any more: free its place."""
        run_id = active.run.run_id
        active.ended = True
        for timer in (active.deadline, active.overtime):
            if timer is not None:
                timer.cancel()
        if self.active.get(run_id) is active:
            del self.active[run_id]
        if active.source is not None:
            self.workers.release(active.source, run_id)
        if active.vanished or active.fenced:
            self._release_slot(active.run)
        active.done.set()

    def _release_slot(self, run: Run) -> None:
        """Free the slot that was kept because something of the run still executed."""

        def failed(error: BaseException) -> None:
            if isinstance(error, Damaged):  # the next start frees it
                return
            log.error("the slot of run %s could not be freed, trying again: %s", run.run_id, error)
            asyncio.get_running_loop().call_later(self.retry_s, self._release_slot, run)

        with contextlib.suppress(Unavailable):  # storage is closed: the next start frees it
            self.storage.slot_release(run.thread_id, run.run_id, lambda _: self.freed(), failed)

    async def empty(self, within_s: float) -> bool:
        """Wait until nothing executes; False when it still does after that time."""
        try:
            async with asyncio.timeout(within_s):
                while self.active:
                    await next(iter(self.active.values())).done.wait()
        except TimeoutError:
            return False
        return True
