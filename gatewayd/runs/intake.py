"""Intake: what comes from workers. Their runs' frames are stored, and their deaths are dealt with.

When more waits for the writer than `BACKLOG_HIGH`, workers' data is not read until it is less than
`BACKLOG_LOW`: their windows fill, and graphs that emit faster than the disk writes are made to wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field

from gatewayd.channel import messages
from gatewayd.model.run import Run, RunOutcome
from gatewayd.model.state import Parts
from gatewayd.runs import cancels, dispatch, endings, engine, inflight
from gatewayd.supervisor import worker

log = logging.getLogger(__name__)

BACKLOG_HIGH = 32 << 20
"""Bytes waiting for the writer above which workers' data is not read."""
BACKLOG_LOW = 16 << 20


@define(eq=False)
class Intake:
    """What the supervisor tells of its workers (`supervisor.WorkerEvents`), and the writer of its backlog."""

    engine: engine.Engine
    in_flight: inflight.InFlight
    ending: endings.Endings
    cancelling: cancels.Cancels
    dispatch: dispatch.Dispatch
    _paused: bool = field(default=False, init=False)

    def worker_ready(self) -> None:
        """A slot may be free."""
        self.engine.queue.freed()

    def worker_frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        """Store what a run has produced; frames of runs that this worker does not have are refused."""
        kind, run_id, attempt, n = frame[:4]
        active = self._of(source, run_id, attempt)
        if active is None or not active.executing:
            if kind != "ended":
                source.refuse(run_id, attempt, n, "the run is not executed by this worker any more")
            elif active is not None:
                self.in_flight.stopped(active)
            return

        def on_commit(_: object = None) -> None:
            source.ack(run_id, attempt, n)

        def on_error(error: BaseException) -> None:
            # The run fails at its next saver call, rather than wait for ever.
            source.refuse(run_id, attempt, n, str(error))

        storage, thread_id = self.engine.storage, active.run.thread_id
        match frame:
            case ["events", _, _, _, count, packed, *more]:
                parts, blobs = more or ((), ())
                states = [Parts(*part) for part in parts]
                draft = self.engine.log.draft(thread_id, run_id, count, packed, states, blobs)
                self.engine.log.append(draft, on_commit, on_error, active.chain)
            case ["parts", _, _, _, blobs]:
                storage.parts_store_if_running(thread_id, run_id, blobs, size, on_commit, on_error)
            case ["checkpoint", _, _, _, operation]:
                settled = partial(self._checkpointed, operation, on_commit, on_error)
                storage.checkpoint_apply(operation, run_id, size, settled, active.chain)
            case ["ended", _, _, _, outcome]:
                self._ended(active, messages.unpack(messages.Outcome, outcome))
        if not self._paused and storage.backlog > BACKLOG_HIGH:
            self._paused = True
            self.engine.workers.pause(True)

    def _of(self, source: worker.Worker, run_id: str, attempt: int) -> inflight.ActiveRun | None:
        """Return the run in flight, if this worker has it in this attempt."""
        active = self.in_flight.active.get(run_id)
        mine = active is not None and active.source is source and active.run.attempt == attempt
        return active if mine else None

    def _checkpointed(
        self,
        operation: list[Any],
        on_commit: Callable[[], None],
        on_error: Callable[[BaseException], None],
        error: BaseException | None,
    ) -> None:
        """A checkpoint operation is stored, or could not be."""
        if error is not None:
            on_error(error)
            return
        if operation[0] == "merge":  # the run has taken the input of one that waited
            merged = operation[1]
            self.engine.tasks.spawn(self.cancelling.merged(merged), f"end {merged}")
        on_commit()

    def _ended(self, active: inflight.ActiveRun, outcome: messages.Outcome) -> None:
        """A run's last frame: end it, or requeue it if it was handed back."""
        run = active.run
        active.advance(inflight.Event.ENDED)
        cut_at_a_stop = outcome.outcome == "cancelled" and run.cancel_action is None
        if outcome.outcome == "drained" or cut_at_a_stop:
            self._requeue(active)
        else:
            self.ending.end(active, outcome)

    def _requeue(self, active: inflight.ActiveRun) -> None:
        again = self.dispatch.requeue(active, died=False)
        self.engine.tasks.spawn(again, f"requeue {active.run.run_id}")

    def worker_withdrew(self, source: worker.Worker, run_id: str, attempt: int) -> None:
        """Requeue a run that its blocked worker has not begun."""
        active = self._of(source, run_id, attempt)
        if active is None:
            return
        if active.executing:
            active.advance(inflight.Event.ENDED)
            self._requeue(active)
        else:
            self.in_flight.stopped(active)

    def worker_gone(self, source: worker.Worker, runs: dict[str, int], alone: bool) -> None:
        """Requeue the runs of a dead worker, or end those that are to be."""
        for run_id in runs:
            active = self.in_flight.active.get(run_id)
            if active is None or active.source is not source:
                continue
            if active.executing:
                active.advance(inflight.Event.ENDED)
                after = self._after_death(active, source.blames_runs, alone)
                self.engine.tasks.spawn(after, f"after the death of {source.name}")
            else:
                self.in_flight.stopped(active)

    async def _after_death(self, active: inflight.ActiveRun, died: bool, alone: bool) -> None:
        run_id, settling = active.run.run_id, self.dispatch.settling
        settling.add(run_id)  # before it is pending: the last death is not followed by another start
        try:
            blocked = active.source is not None and run_id in active.source.blockers
            requeued = await self.dispatch.requeue(active, died=died, blocked=blocked)
            if requeued is not None and died and alone and requeued.strikes >= self.engine.max_retries:
                await self._put_aside(requeued, active.source.how_ended if active.source is not None else "")
        finally:
            settling.discard(run_id)
            self.engine.queue.waits()

    async def _put_aside(self, run: Run, how: str) -> None:
        """End a run at which its process has died too often, the last time as `how` says."""
        if run.cancel_action is not None:
            return  # it has been ended already
        message = (
            f"The process that executed the run died {run.strikes} times without progress (the last time: {how}); "
            "the run was put aside"
        )
        log.error("run %s is put aside: %s", run.run_id, message, extra=endings.fields(run))
        error = {"error": "WorkerDied", "message": message}
        await self.ending.end_without_worker(run, RunOutcome(status="error", error=error))

    def backlog_changed(self) -> None:
        """The writer has settled a batch: tell workers what is stored, and read their data again."""
        self.engine.workers.flush_acks()
        if self._paused and self.engine.storage.backlog < BACKLOG_LOW:
            self._paused = False
            self.engine.workers.pause(False)
