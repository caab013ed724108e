"""Runs in the air: given to a worker in one attempt, not yet ended or parked; and how they land."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from attrs import define, field

from gatewayd.errors import Damaged, Unavailable
from gatewayd.model.run import Run
from gatewayd.storage import store
from gatewayd.streams import log as stream_log
from gatewayd.workers import supervisor, worker

log = logging.getLogger(__name__)


@define(eq=False)
class Flight:
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
    landed: asyncio.Event = field(factory=asyncio.Event)
    """Set when it is over in this attempt: ended or parked."""

    @property
    def cancelling(self) -> bool:
        """Whether it is to end by a cancel."""
        return self.run.cancel_action is not None


@define(eq=False)
class Air:
    """All flights. Whoever ends one reports it here: `land`, `left` or `over`."""

    storage: store.Storage
    log: stream_log.Log
    workers: supervisor.Supervisor
    freed: Callable[[], None]
    """Called when a place or a thread is free."""
    retry_s: float
    """Pause before a slot that could not be freed is tried again."""
    flights: dict[str, Flight] = field(factory=dict, init=False)

    def take_off(self, run: Run) -> Flight:
        """Note a run that storage has started."""
        here = self.flights[run.run_id] = Flight(run)
        return here

    def lost_with(self, source: worker.Worker) -> set[str]:
        """Return the runs of a worker for which nobody waits any more: fenced off or deleted."""
        return {
            run_id
            for run_id, each in self.flights.items()
            if each.source is source and (each.fenced or each.vanished)
        }

    def over(self, run: Run, here: Flight | None) -> None:
        """The end of a run is stored; `here` is None for one that no worker had."""
        if here is None:
            self.log.close(run.thread_id)
        else:
            here.recorded = True
            if here.gone or not here.fenced:
                self.land(here)
        self.freed()

    def left(self, here: Flight) -> None:
        """Nothing more of a run executes that was deleted or fenced off."""
        here.gone = True
        if here.vanished or (here.fenced and here.recorded):
            self.land(here)

    def land(self, here: Flight) -> None:
        """A flight is over: free its place."""
        run_id = here.run.run_id
        here.ended = True
        for timer in (here.deadline, here.overtime):
            if timer is not None:
                timer.cancel()
        if self.flights.get(run_id) is here:
            del self.flights[run_id]
            self.log.close(here.run.thread_id)
        if here.source is not None:
            self.workers.release(here.source, run_id)
        if here.vanished or here.fenced:
            self._release_slot(here.run)
        here.landed.set()

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
                while self.flights:
                    await next(iter(self.flights.values())).landed.wait()
        except TimeoutError:
            return False
        return True
