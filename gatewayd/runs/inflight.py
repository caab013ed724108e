"""Runs in flight: given to a worker in one attempt, and neither ended nor requeued yet.

The life of a run in one attempt, as the manager sees it:

    EXECUTING ── last frame, or its worker is gone ──▶ ENDING ── end stored, or requeued ──▶ DONE
        │
        ├─ a cancel not obeyed in time ──▶ FENCED ── end stored ──▶ RECORDED ── stopped ──▶ DONE
        │                                     └───── stopped ─────▶ STOPPED ── end stored ──▶ DONE
        └─ row deleted ──▶ DELETED ── stopped ──▶ DONE

*Stopped* means that nothing of it executes any more. Only of a run that is EXECUTING is anything stored. A
run that is deleted while it is FENCED or RECORDED is DELETED from then on; one that is ENDING or STOPPED
ends as it would have, for nothing of it executes. The thread's lock is kept for a run that is fenced off or
deleted until it is DONE, though storage has ended it already.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging

from attrs import define, field

from gatewayd.errors import Damaged, Unavailable
from gatewayd.model.run import Run
from gatewayd.runs import engine
from gatewayd.storage import store
from gatewayd.supervisor import worker

log = logging.getLogger(__name__)


class Phase(enum.Enum):
    """Where a run in flight is in its life."""

    EXECUTING = "executing"
    ENDING = "ending"
    """It has ended in its worker, and what becomes of it is being stored."""
    FENCED = "fenced"
    """Its end is being stored although something of it may still execute."""
    RECORDED = "recorded"
    """Its end is stored; something of it may still execute."""
    STOPPED = "stopped"
    """It was fenced off; nothing of it executes any more, and its end is being stored."""
    DELETED = "deleted"
    """Its row is gone; something of it may still execute."""
    DONE = "done"


class Event(enum.Enum):
    """What happens to a run in flight."""

    ENDED = "its last frame has come, or its worker is gone or has given it back"
    FENCED_OFF = "its end is to be stored although something of it may still execute"
    STORED = "its end is stored"
    STOPPED = "nothing of it executes any more"
    DELETED = "its row is deleted"
    REQUEUED = "it is pending again, or no worker could take it"


_NEXT = {
    (Phase.EXECUTING, Event.ENDED): Phase.ENDING,
    (Phase.EXECUTING, Event.FENCED_OFF): Phase.FENCED,
    (Phase.EXECUTING, Event.DELETED): Phase.DELETED,
    (Phase.ENDING, Event.STORED): Phase.DONE,
    (Phase.FENCED, Event.STORED): Phase.RECORDED,
    (Phase.FENCED, Event.STOPPED): Phase.STOPPED,
    (Phase.FENCED, Event.DELETED): Phase.DELETED,
    (Phase.RECORDED, Event.STOPPED): Phase.DONE,
    (Phase.RECORDED, Event.DELETED): Phase.DELETED,
    (Phase.STOPPED, Event.STORED): Phase.DONE,
    (Phase.DELETED, Event.STOPPED): Phase.DONE,
}
"""What is not in it leaves the phase as it is, but that any run may be requeued."""


@define(eq=False)
class ActiveRun:
    """What the manager knows of a run in flight."""

    run: Run
    source: worker.Worker | None = None
    """The worker that has it; None while one is being found."""
    phase: Phase = field(default=Phase.EXECUTING, init=False)
    keeps_lock: bool = field(default=False, init=False)
    """The thread's lock is to be freed when it is done: it was fenced off or deleted."""
    merging: bool = field(default=False, init=False)
    """A run that waits is to be merged into it."""
    deadline: asyncio.TimerHandle | None = field(default=None, init=False)
    """Fires when a cancel is not obeyed in time."""
    overtime: asyncio.TimerHandle | None = field(default=None, init=False)
    """Fires when the job timeout has passed and the worker has not acted on it."""
    chain: store.Chain = field(factory=store.Chain, init=False)
    """Of this attempt's checkpoint operations: none is stored behind one that could not be."""
    done: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when it is DONE."""

    @property
    def executing(self) -> bool:
        """Whether what its worker sends is stored."""
        return self.phase is Phase.EXECUTING

    @property
    def cancelling(self) -> bool:
        """Whether it is to end by a cancel."""
        return self.run.cancel_action is not None

    def advance(self, event: Event) -> bool:
        """Let something happen to it; tell whether it is DONE by that, and was not before."""
        before = self.phase
        self.phase = Phase.DONE if event is Event.REQUEUED else _NEXT.get((before, event), before)
        self.keeps_lock |= event in {Event.FENCED_OFF, Event.DELETED}
        return self.phase is Phase.DONE is not before


@define(eq=False)
class InFlight:
    """All runs in flight. What happens to one is reported here."""

    engine: engine.Engine
    active: dict[str, ActiveRun] = field(factory=dict, init=False)

    def start(self, run: Run) -> ActiveRun:
        """Note a run that storage has started."""
        active = self.active[run.run_id] = ActiveRun(run)
        return active

    def lost_with(self, source: worker.Worker) -> set[str]:
        """Return the runs of a worker whose result is not waited for any more: fenced off or deleted."""
        return {
            run_id for run_id, active in self.active.items() if active.source is source and active.keeps_lock
        }

    def stored(self, active: ActiveRun | None) -> None:
        """The end of a run is stored; `active` is None for one that no worker had."""
        if active is not None and active.advance(Event.STORED):
            self._finish(active)
        self.engine.queue.freed()

    def stopped(self, active: ActiveRun) -> None:
        """Nothing more of a run executes."""
        if active.advance(Event.STOPPED):
            self._finish(active)

    def requeued(self, active: ActiveRun) -> None:
        """A run is pending again, or no worker could take it."""
        if active.advance(Event.REQUEUED):
            self._finish(active)

    def _finish(self, active: ActiveRun) -> None:
        """A run is not in flight any more: free its slot in the worker, and the thread."""
        run_id = active.run.run_id
        for timer in (active.deadline, active.overtime):
            if timer is not None:
                timer.cancel()
        if self.active.get(run_id) is active:
            del self.active[run_id]
        if active.source is not None:
            self.engine.workers.release(active.source, run_id)
        if active.keeps_lock:
            self._release_lock(active.run)
        active.done.set()

    def _release_lock(self, run: Run) -> None:
        """Release the thread's lock, which was kept because something of the run still executed."""

        def failed(error: BaseException) -> None:
            if isinstance(error, Damaged):  # the next start frees it
                return
            log.error("the thread lock of run %s could not be released, trying again: %s", run.run_id, error)
            asyncio.get_running_loop().call_later(self.engine.retry_s, self._release_lock, run)

        freed = self.engine.queue.freed
        with contextlib.suppress(Unavailable):  # storage is closed: the next start frees it
            self.engine.storage.thread_lock_release(run.thread_id, run.run_id, lambda _: freed(), failed)

    async def empty(self, within_s: float) -> bool:
        """Wait until nothing executes; False when it still does after that time."""
        try:
            async with asyncio.timeout(within_s):
                while self.active:
                    await next(iter(self.active.values())).done.wait()
        except TimeoutError:
            return False
        return True
