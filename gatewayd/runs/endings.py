"""Ending runs: what is stored at the end of one, however it comes about.

A run ends with its worker's last frame; or without a worker, when it was cancelled before its start or while
requeued, or is put aside; or while something of it still executes, when it is fenced off. In each case one
transaction stores all of it (`storage.sqlite.runs.run_finish_if_active`), posted to the writer and repeated
until it is stored, even if the client that wanted it has left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs
from attrs import define, field

from gatewayd import tasks, wire
from gatewayd.channel import messages
from gatewayd.errors import Damaged, GatewaydError, NotFound, Rejected, Unavailable
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.model.event import Chunk, Item
from gatewayd.model.run import Run, RunOutcome
from gatewayd.runs import engine, inflight, waiters
from gatewayd.streams import v2

log = logging.getLogger(__name__)

LONGEST_RETRY_S = 5.0
"""Longest pause before the end of a run is tried again."""

ENDS: Final[Mapping[str, Literal["success", "error", "timeout", "interrupted"]]] = {
    "success": "success",
    "error": "error",
    "timeout": "timeout",
    "cancelled": "interrupted",
}
"""The status of a run by how it ended in its worker, if no cancel was stored."""

TIMEOUT = {"error": "TimeoutError", "message": ""}


@define(eq=False)
class Endings:
    """Stores how runs end."""

    engine: engine.Engine
    in_flight: inflight.InFlight
    waiting: waiters.Waiters
    _ending: dict[str, Run] = field(factory=dict, init=False)
    """Runs without a worker that are being ended, as their latest cancel has left them."""

    def end(self, active: inflight.ActiveRun, outcome: messages.Outcome) -> None:
        """A run's last frame has said how it ended."""
        run = active.run
        if run.cancel_action == "rollback":
            self.engine.tasks.spawn(self._roll_back(active), f"roll back {run.run_id}")
        elif run.cancel_action is not None:  # the stored cancel counts, not what the graph made of it
            self.finish(run, as_cancelled(run, outcome.as_end("interrupted")), active)
        else:
            self.finish(run, outcome.as_end(ENDS[outcome.outcome]), active)

    def finish(
        self,
        run: Run,
        outcome: RunOutcome,
        active: inflight.ActiveRun | None,
        *,
        computed: bool = False,
    ) -> None:
        """
        Post the end of a run to the writer, with its last events. `computed`: its state has been computed
        again already.

        The `error` event is stored with the end it tells of, so that a cancel that was stored first leaves
        neither.
        """
        failure: list[Item] = []
        if outcome.status == "error":
            failure = [("error", "", event.V1 | event.THREAD, wire.dumps(outcome.error))]
        data = wire.dumps({"status": "run_done", "run_id": run.run_id})
        last: Item = (event.END, "", event.THREAD, data)
        ends = v2.end_items(
            run.graph_id,
            outcome.status,
            outcome.error,
            outcome.interrupts,
            outcome.next,
            outcome.asked,
            outcome.refusal,
        )
        attempt = run.attempt if active is not None else 0
        tries = 0

        def on_commit(chunk: Chunk | None) -> None:
            if chunk is None:
                self.engine.tasks.spawn(
                    self._refused(run, outcome, active), f"look what became of {run.run_id}"
                )
                return
            self.engine.log.publish(chunk)
            status = "deleted" if outcome.rollback else outcome.status
            self.waiting.tell(
                run.run_id, waiters.Ended(status=status, result=outcome.result, error=outcome.error)
            )
            self.engine.counts.end(run, outcome.status, self.engine.now())
            log.info("run %s ended: %s", run.run_id, outcome.status, extra=fields(run))
            if run.kwargs.get("webhook"):
                self.engine.webhooks.give()
            self.in_flight.stored(active)

        def on_error(error: BaseException) -> None:
            nonlocal tries
            if isinstance(error, Rejected):
                again = self._again(run, outcome, active, computed=computed)
                self.engine.tasks.spawn(again, f"end {run.run_id}")
                return
            if isinstance(error, Damaged):  # nothing is stored any more before the next start
                log.error("run %s ends at the next start: the database is damaged", run.run_id)
                self.in_flight.stored(active)
                return
            log.error("the end of run %s could not be stored, trying again: %s", run.run_id, error)
            # More and more seldom: a disk may be full for hours, and the log be on the same one.
            pause_s = max(self.engine.retry_s, min(self.engine.retry_s * 2**tries, LONGEST_RETRY_S))
            tries = min(tries + 1, 10)
            asyncio.get_running_loop().call_later(pause_s, post)

        def post() -> None:
            end = self.engine.log.items(run.thread_id, run.run_id, [*failure, *ends, last])
            try:
                self.engine.storage.run_finish_if_active(
                    run.run_id, attempt, outcome, end, self.engine.now(), on_commit, on_error
                )
            except Unavailable:
                log.warning("run %s ends at the next start: storage is closed", run.run_id, extra=fields(run))

        post()

    async def _again(
        self,
        run: Run,
        outcome: RunOutcome,
        active: inflight.ActiveRun | None,
        *,
        computed: bool,
    ) -> None:
        """
        End a run whose last state can't be stored: some of its pieces went with an event that was not stored.

        The state is computed again, with all its pieces; if that was done already, the old values stay.
        """
        log.error("the state at the end of run %s lacks pieces", run.run_id, extra=fields(run))
        found = RunOutcome(status="success") if computed else await self._projection(run)
        result = found.result if outcome.result is not None else None
        whole = attrs.evolve(outcome, values=found.values, result=result, blobs=found.blobs)
        self.finish(run, whole, active, computed=True)

    async def _refused(self, run: Run, outcome: RunOutcome, active: inflight.ActiveRun | None) -> None:
        """
        A run's end was not taken: it has ended already or was deleted, or a cancel had been stored before.
        """
        latest = await tasks.until_done(
            lambda: self.engine.storage.run_get_anywhere(INTERNAL, run.run_id),
            f"what became of run {run.run_id} could not be read",
            self.engine.retry_s,
        )
        if latest is None or not latest.active or (active is not None and latest.attempt != run.attempt):
            self.in_flight.stored(active)
            return
        cancelled = await self.cancelled(latest)
        self.finish(latest, attrs.evolve(cancelled, fenced=outcome.fenced), active)

    async def _roll_back(self, active: inflight.ActiveRun) -> None:
        """Undo a run that was cancelled for rollback and executes no more."""
        outcome = await self._undone(active.run)
        self.finish(active.run, outcome, active)

    async def _undone(self, run: Run) -> RunOutcome:
        await tasks.until_done(
            lambda: self.engine.storage.run_checkpoints_delete(run.run_id),
            f"run {run.run_id} could not be undone",
            self.engine.retry_s,
        )
        projection = await self._projection(run)
        return attrs.evolve(projection, status="interrupted", rollback=True, cancel_error=run.cancel_error)

    async def _projection(self, run: Run) -> RunOutcome:
        """Have the service worker compute the thread's state; if it can't, the old values stay."""
        try:
            answer = await self.engine.workers.call("project", _place(run))
        except GatewaydError as error:
            log.warning("the state of thread %s could not be computed: %s", run.thread_id, error.detail)
            return RunOutcome(status="interrupted")
        return messages.unpack(messages.Projection, answer).as_end("interrupted")

    # without a worker

    async def end_without_worker(self, run: Run, outcome: RunOutcome | None = None) -> None:
        """
        End a pending run that no worker has: cancelled, or put aside with `outcome`.

        One that had never started leaves its thread as it was. Of several calls for a run the strongest
        cancel counts.
        """
        earlier = self._ending.get(run.run_id)
        self._ending[run.run_id] = run
        if earlier is not None:
            return  # the call under way takes the newer word
        try:
            final = await self._unattended(run, outcome)
            if (latest := self._ending[run.run_id]).cancel_action != run.cancel_action:
                final = await self._unattended(latest, outcome)
        finally:
            del self._ending[run.run_id]
        self.finish(run, final, None)

    async def _unattended(self, run: Run, outcome: RunOutcome | None) -> RunOutcome:
        """Return how a run ends that no worker has."""
        if run.attempt == 0:
            left = RunOutcome(status="interrupted", quiet=True)
            return await self._undone_unbegun(run, left) if run.cancel_action == "rollback" else left
        if outcome is None or run.cancel_action is not None:
            return await self.cancelled(run)
        projection = await self._projection(run)
        return attrs.evolve(projection, status=outcome.status, error=outcome.error)

    async def _undone_unbegun(self, run: Run, left: RunOutcome) -> RunOutcome:
        """
        Return how a run ends that is undone before it has begun: who waits for it gets the thread's values.
        """
        try:
            values = (await self.engine.storage.thread_get(INTERNAL, run.thread_id)).values
        except NotFound:  # it has just been deleted
            values = None
        return attrs.evolve(left, rollback=True, result=b"{}" if values is None else values)

    async def cancelled(self, run: Run) -> RunOutcome:
        """Return how a cancelled run ends whose worker does not say it."""
        if run.cancel_action == "rollback":
            return await self._undone(run)
        return as_cancelled(run, await self._projection(run))

    # while something of it executes

    def fence_off(self, active: inflight.ActiveRun) -> None:
        """
        Record a run as ended although something of it still executes; its frames are refused from now on.
        """
        active.advance(inflight.Event.FENCED_OFF)
        self.engine.tasks.spawn(self._record_fenced(active), f"fence off {active.run.run_id}")

    async def _record_fenced(self, active: inflight.ActiveRun) -> None:
        if active.cancelling:
            outcome = await self.cancelled(active.run)
        else:
            projection = await self._projection(active.run)
            outcome = attrs.evolve(projection, status="timeout", error=TIMEOUT)
        self.finish(active.run, attrs.evolve(outcome, fenced=True), active)


def as_cancelled(run: Run, left: RunOutcome) -> RunOutcome:
    """
    Return the end of a run that was cancelled, and not for rollback; `left` is the state that it has left.
    """
    if run.cancel_action == "error":
        return attrs.evolve(left, status="error", error=run.cancel_error)
    return attrs.evolve(left, status="interrupted", error=None, trace=None, cancel_error=run.cancel_error)


def _place(run: Run) -> dict[str, Any]:
    """Return which state is to be read, and the settings with which the run's graph was made."""
    settings = (run.kwargs.get("config") or {}).get("configurable") or {}
    return {"thread_id": run.thread_id, "graph_id": run.graph_id, "settings": settings}


def fields(run: Run) -> dict[str, Any]:
    """Name a run in a line of the log."""
    return {"fields": {"run_id": run.run_id, "thread_id": run.thread_id, "attempt": run.attempt}}
