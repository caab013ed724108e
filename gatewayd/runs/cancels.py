"""Cancelling and deleting runs: a stored wish, carried out where the run is, and made true when it is not
obeyed.

A cancel is stored before it is answered. The run's worker is told; until the run's last frame comes, its
puts are accepted. One that does not obey within `cancel_deadline_s`, or whose worker does not end it at the
job timeout, is *fenced off* (`endings`), and its worker is retired: so a bad graph costs its own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import attrs
from attrs import define

from gatewayd import tasks
from gatewayd.errors import NotFound, Unconfirmed
from gatewayd.model.caller import INTERNAL, Caller
from gatewayd.model.event import Item
from gatewayd.model.run import CancelAction, CancelReason, Run
from gatewayd.runs import endings, engine, inflight, waiters
from gatewayd.storage import store
from gatewayd.streams import v2

log = logging.getLogger(__name__)

NO_RUNS = "No runs found to cancel."
NO_MATCH = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, and the runs haven't been "
    "deleted or completed."
)
REQUESTED = "requested via POST /threads/{thread_id}/runs/{run_id}/cancel"


@define(eq=False)
class Cancels:
    """Stops runs and deletes them."""

    engine: engine.Engine
    in_flight: inflight.InFlight
    waiting: waiters.Waiters
    ending: endings.Endings

    async def cancel(
        self,
        whose: Caller,
        thread_id: str,
        run_id: str,
        action: CancelAction,
        why: dict[str, str] | None,
        reason: CancelReason | None = None,
    ) -> Run:
        """
        Store the wish to end a run, and have it carried out. Raises `NotFound`.

        `why` is what the run tells of it instead of the request; a `reason` is put before the request.
        """
        found = await self.engine.storage.run_get(whose, thread_id, run_id)
        if found is None:
            raise NotFound(NO_RUNS)
        kind = "UserInterrupt" if action == "interrupt" else "UserRollback"
        message = f"{action} {REQUESTED}"
        error = why or {"error": kind, "message": message if reason is None else f"{reason}: {message}"}

        try:
            marked = await self.engine.storage.run_cancel_if_active(
                whose, run_id, action, error, self.engine.now()
            )
        except Unconfirmed as unconfirmed:
            if unconfirmed.result is not None:
                self.carry_out(unconfirmed.result)
            raise
        if marked is None:
            raise NotFound(NO_MATCH)
        self.carry_out(marked)
        return marked

    async def cancel_many(
        self,
        whose: Caller,
        chosen: Sequence[tuple[str, str]],
        action: CancelAction,
        reason: CancelReason | None,
    ) -> None:
        """
        Cancel runs, by thread and run; those that have ended are passed over. Raises `NotFound` if all have.
        """
        cancelled = 0
        for thread_id, run_id in chosen:
            with contextlib.suppress(NotFound):
                await self.cancel(whose, thread_id, run_id, action, None, reason)
                cancelled += 1
        if not cancelled:
            raise NotFound(NO_RUNS)

    async def merge(self, whose: Caller, thread_id: str, *, into_running: bool) -> store.Merged:
        """
        Merge a thread's waiting runs into the oldest, and end the others. Raises `NotFound`, `Conflict`.
        """
        try:
            merged = await self.engine.storage.runs_merge_if_alike(
                whose, thread_id, self.engine.now(), into_running=into_running
            )
        except Unconfirmed as unconfirmed:
            self._follow_merge(unconfirmed.result)
            raise
        self._follow_merge(merged)
        return merged

    def _follow_merge(self, merged: store.Merged) -> None:
        for run in merged.ended:
            self.carry_out(run)
        active = None if merged.into is None else self.in_flight.active.get(merged.into)
        if active is not None:
            active.merging = True
            if active.source is not None and active.executing:
                active.source.merge_run(active.run.run_id, active.run.attempt)

    async def merged(self, run_id: str) -> None:
        """A run has taken the input of one that waited, unless that had changed: end what was merged."""
        found = await tasks.until_done(
            lambda: self.engine.storage.run_get_anywhere(INTERNAL, run_id),
            f"what became of run {run_id} could not be read",
            self.engine.retry_s,
        )
        if found is not None and found.active and found.cancel_action is not None:
            self.carry_out(found)

    def carry_out(self, run: Run) -> None:
        """Carry out a stored cancel."""
        active = self.in_flight.active.get(run.run_id)
        if active is not None:
            active.run = attrs.evolve(
                active.run, cancel_action=run.cancel_action, cancel_error=run.cancel_error
            )
            if active.source is not None and active.executing:
                self.stop_active(active)
        elif run.status == "pending":
            self.engine.tasks.spawn(self.ending.end_without_worker(run), f"end {run.run_id}")

    def stop_active(self, active: inflight.ActiveRun) -> None:
        """Have a run's worker cancel it, and look after the deadline whether it has."""
        assert active.source is not None
        active.source.cancel_run(active.run.run_id, active.run.attempt)
        if active.deadline is None:
            loop = asyncio.get_running_loop()
            active.deadline = loop.call_later(self.engine.cancel_deadline_s, self.overdue, active)

    def watch_time(self, active: inflight.ActiveRun) -> None:
        """Look, after the run's time and as long as a cancel may take, whether its worker has ended it."""
        if self.engine.job_timeout_s:
            left_s = (
                max(0.0, self.engine.job_timeout_s - active.run.executed_us / 1e6)
                + self.engine.cancel_deadline_s
            )
            active.overtime = asyncio.get_running_loop().call_later(left_s, self.overtime, active)

    def overdue(self, active: inflight.ActiveRun) -> None:
        """A cancel was not obeyed in time."""
        self._give_up(active, f"did not obey its cancel within {self.engine.cancel_deadline_s:g} s")

    def overtime(self, active: inflight.ActiveRun) -> None:
        """The job timeout has passed and the worker has not ended the run by it: it does not turn."""
        self._give_up(active, f"did not end at its timeout of {self.engine.job_timeout_s:g} s")

    def _give_up(self, active: inflight.ActiveRun, why: str) -> None:
        """Fence a run off, and have its worker end."""
        source = active.source
        if source is None or active.phase not in {inflight.Phase.EXECUTING, inflight.Phase.DELETED}:
            return
        log.error(
            "run %s %s: it is fenced off, and its worker %s is given up",
            active.run.run_id,
            why,
            source.name,
            extra=endings.fields(active.run),
        )
        if active.executing:
            self.ending.fence_off(active)
        self.engine.workers.retire(
            source, f"run {active.run.run_id} {why}", abandoned=self.in_flight.lost_with(source)
        )

    # deleting

    async def delete_run(self, whose: Caller, thread_id: str, run_id: str) -> None:
        """Remove a run's record; if it executes, it is stopped. Raises `NotFound`."""
        found = await self.engine.storage.run_get(whose, thread_id, run_id)
        if found is None:
            raise NotFound("Run not found")

        end = self.engine.log.items(thread_id, run_id, _ended(found.graph_id))
        try:
            deleted = await self.engine.storage.run_delete(
                whose, thread_id, run_id, self.engine.now(), end, self.engine.log.publish
            )
        except Unconfirmed as unconfirmed:
            if unconfirmed.result is not None:
                self._deleted(thread_id, [run_id])
            raise
        if deleted is None:
            raise NotFound("Run not found")
        self._deleted(thread_id, [run_id])

    async def delete_thread(self, whose: Caller, thread_id: str) -> None:
        """Delete a thread with all its runs; those that execute are stopped. Raises `NotFound`."""
        deleted = await self.engine.storage.thread_delete(whose, thread_id, self.engine.now())
        last_event = None
        for run_id, graph_id in deleted.active.items():
            if graph_id is not None:  # stored nowhere, but readers need a number
                last = self.engine.log.items(thread_id, run_id, _ended(graph_id))
                last_event = last.numbered(deleted.last_seq + 1, max(deleted.last_ms, last.time_ms))
        self._deleted(thread_id, list(deleted.active))
        self.engine.log.hub.drop(thread_id, last_event)

    async def delete_thread_if_expired(self, expired: store.Expired) -> bool:
        """
        Delete a thread whose time is over, unless it is in use or has been since; return whether it was.
        """
        gone = await self.engine.storage.thread_delete_if_expired(expired, self.engine.now())
        if gone:
            self._deleted(expired.thread_id, [])
            self.engine.log.hub.drop(expired.thread_id)
        return gone

    def _deleted(self, thread_id: str, run_ids: list[str]) -> None:
        for run_id in run_ids:
            if (active := self.in_flight.active.get(run_id)) is not None:
                executed = active.executing
                active.advance(inflight.Event.DELETED)
                if executed and active.source is not None:
                    self.stop_active(active)  # its lock is free when nothing of it executes any more
            self.waiting.tell(run_id, waiters.DELETED)
        self.engine.log.hub.wake_readers(thread_id)
        self.engine.queue.freed()


def _ended(graph_id: str) -> list[Item]:
    """Return what readers are told of a run that is deleted while it executes."""
    return v2.end_items(graph_id, "interrupted", None, None, None, {})
