"""The run manager: everything that is done with runs, for those above. See the package."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TypeVar

from attrs import define, field

from gatewayd import loops, tasks
from gatewayd.errors import Unavailable
from gatewayd.model.caller import Caller
from gatewayd.model.cron import Firing
from gatewayd.model.run import CancelAction, CancelReason, QueuePlace, Run, RunRequest
from gatewayd.runs import admission, cancels, dispatch, endings, inflight, intake, recovery, trials, waiters
from gatewayd.runs import counts as counts_
from gatewayd.runs import engine as engine_
from gatewayd.storage import store

log = logging.getLogger(__name__)

T = TypeVar("T")


@define(eq=False, init=False)
class RunManager:
    """Owner of all runs that execute; its parts share one `engine.Engine`."""

    engine: engine_.Engine
    in_flight: inflight.InFlight
    waiting: waiters.Waiters
    ending: endings.Endings
    cancelling: cancels.Cancels
    dispatch: dispatch.Dispatch
    admissions: admission.Admissions
    intake: intake.Intake
    _requests: tasks.Group = field(factory=lambda: tasks.Group("requests"))
    """Short work in storage that requests wait for."""

    def __init__(self, engine: engine_.Engine) -> None:
        """Make the parts, and listen to the engine's workers and writer."""
        self.engine = engine
        self._requests = tasks.Group("requests")
        self.in_flight = inflight.InFlight(engine)
        self.waiting = waiters.Waiters(engine.storage)
        self.ending = endings.Endings(engine, self.in_flight, self.waiting)
        self.cancelling = cancels.Cancels(engine, self.in_flight, self.waiting, self.ending)
        trial = trials.Trial(engine)
        self.dispatch = dispatch.Dispatch(engine, self.in_flight, self.ending, self.cancelling, trial)
        self.admissions = admission.Admissions(
            engine, self.in_flight, self.waiting, self.cancelling, self.dispatch
        )
        self.intake = intake.Intake(engine, self.in_flight, self.ending, self.cancelling, self.dispatch)
        engine.workers.listener = self.intake
        engine.storage.on_settled(self.intake.backlog_changed)

    @property
    def active(self) -> Mapping[str, inflight.ActiveRun]:
        """The runs in flight, by id."""
        return self.in_flight.active

    @property
    def counts(self) -> counts_.Counts:
        """How many runs were started, and how they ended."""
        return self.engine.counts

    @property
    def stopping(self) -> bool:
        """Whether no run is admitted or started any more."""
        return self.dispatch.stopping

    async def carried(self, work: Coroutine[None, None, T], name: str) -> T:
        """
        Do something to its end, even if the request that wanted it is cancelled. Raises `Unavailable` while
        the server is stopping.

        Else a run started in storage would never be given to a worker, a stored cancel never carried out.
        """
        if self.stopping:
            work.close()
            raise Unavailable("the server is stopping")
        return await asyncio.shield(self._requests.spawn(work, name, awaited=True))

    # new runs

    async def create(
        self,
        whose: Caller,
        request: RunRequest,
        *,
        follow: bool = False,
        begins: Callable[[str], None] = lambda _: None,
    ) -> admission.Admission:
        """
        Admit a run; it is stored when this returns, and already on its way if its thread and a worker are
        free.

        `begins` is called with the run's id before anything comes of it.
        Raises `NotFound`, `Conflict`, `Invalid`, and `Unavailable` while the server is stopping.
        """
        return await self.carried(self.admissions.create(whose, request, follow, begins), "create a run")

    async def create_all(self, whose: Caller, requests: Sequence[RunRequest]) -> list[admission.Admission]:
        """Admit all of several runs, or none. Raises what `create` raises."""
        return await self.carried(self.admissions.create_all(whose, requests), "create runs")

    async def fire(self, firing: Firing) -> store.FiredCron:
        """
        Take one date of a cron and admit its run like any other; all of it is stored when this returns.

        Raises `Unavailable` while the server is stopping.
        """
        return await self.carried(self.admissions.fire(firing), f"fire cron {firing.cron_id}")

    async def claimer(self, turned: loops.Turned = lambda: None) -> None:
        """Start due runs as slots become free, until the server stops. To be called again after an error."""
        await self.dispatch.claimer(turned)

    def thread_freed(self) -> None:
        """An operation has left its thread: a run may have waited for that."""
        self.engine.queue.freed()

    async def queue_place(
        self, whose: Caller, thread_id: str, run_id: str
    ) -> tuple[QueuePlace, str | None, str | None]:
        """See `admission.Admissions.queue_place`."""
        return await self.admissions.queue_place(whose, thread_id, run_id)

    # records

    async def get(self, whose: Caller, thread_id: str, run_id: str) -> Run | None:
        """Return a run of this thread, or None."""
        return await self.engine.storage.run_get(whose, thread_id, run_id)

    async def find(self, whose: Caller, run_id: str) -> Run | None:
        """Return a run of any thread, or None."""
        return await self.engine.storage.run_get_anywhere(whose, run_id)

    async def search(self, whose: Caller, search: store.RunSearch) -> list[Run]:
        """Return runs of all threads, latest request first."""
        return await self.engine.storage.runs_search(whose, search)

    async def queue(self) -> store.Queue:
        """Return how many runs wait and execute."""
        return await self.engine.storage.runs_queue(self.engine.now())

    async def result(self, thread_id: str, ended: waiters.Ended) -> bytes | None:
        """Return the JSON of what a run has left; None: nothing, or it can't be read."""
        return await self.engine.storage.state_joined(thread_id, ended.result)

    # their ends

    async def wait(self, whose: Caller, thread_id: str, run_id: str) -> waiters.Ended:
        """Wait for the end of a run, or tell at once how it ended. Raises `NotFound`."""
        return await self.waiting.wait(whose, thread_id, run_id)

    def following(
        self, whose: Caller, thread_id: str, run_id: str
    ) -> contextlib.AbstractAsyncContextManager[asyncio.Future[waiters.Ended]]:
        """Provide a future of the end of a run, which is not missed from then on. Raises `NotFound`."""
        return self.waiting.following(whose, thread_id, run_id)

    async def over(self, whose: Caller, thread_id: str, run_id: str) -> waiters.Ended:
        """Wait until a run has ended, or is not there, and nothing of it executes any more."""
        # Of a run that was rolled back or deleted something may execute all the same.
        ended = await self.waiting.wait_anyhow(whose, thread_id, run_id)
        active = self.active.get(run_id)
        if active is not None and active.run.thread_id == thread_id:
            await active.done.wait()
        return ended

    async def cancel(
        self,
        whose: Caller,
        thread_id: str,
        run_id: str,
        action: CancelAction,
        *,
        why: dict[str, str] | None = None,
        reason: CancelReason | None = None,
    ) -> Run:
        """
        Store the wish to end a run and carry it out; nothing of it executes when `over` returns. Raises
        `NotFound`.

        `why` is what the run's `cancel_reason` is made of (default: the request's sentence, with `reason`
        before it).
        """
        work = self.cancelling.cancel(whose, thread_id, run_id, action, why, reason)
        return await self.carried(work, f"cancel {run_id}")

    async def cancel_these(
        self,
        whose: Caller,
        thread_id: str,
        run_ids: Sequence[str],
        action: CancelAction,
        *,
        reason: CancelReason | None,
    ) -> None:
        """
        Cancel some runs of a thread; those that have ended are passed over. Raises `NotFound`: all have.
        """
        chosen = [(thread_id, run_id) for run_id in run_ids]
        await self.carried(self.cancelling.cancel_many(whose, chosen, action, reason), "cancel runs")

    async def cancel_all(
        self, whose: Caller, status: str | None, action: CancelAction, *, reason: CancelReason | None
    ) -> None:
        """Cancel all active runs, or those of a status. Raises `NotFound` if there are none."""
        chosen = await self.engine.storage.runs_active(whose, status)
        await self.carried(self.cancelling.cancel_many(whose, chosen, action, reason), "cancel runs")

    async def merge(self, whose: Caller, thread_id: str, *, into_running: bool = False) -> store.Merged:
        """
        Merge a thread's waiting runs into the oldest of them, and that into the run that executes if it is to
        be.

        Raises `NotFound`, `Conflict`, `Unavailable`.
        """
        work = self.cancelling.merge(whose, thread_id, into_running=into_running)
        return await self.carried(work, f"merge the runs of {thread_id}")

    async def delete_run(self, whose: Caller, thread_id: str, run_id: str) -> None:
        """Remove a run's record; if it executes, it is stopped. Raises `NotFound`."""
        await self.carried(self.cancelling.delete_run(whose, thread_id, run_id), f"delete run {run_id}")

    async def delete_thread(self, whose: Caller, thread_id: str) -> None:
        """Delete a thread with all its runs; those that execute are stopped. Raises `NotFound`."""
        await self.carried(self.cancelling.delete_thread(whose, thread_id), f"delete thread {thread_id}")

    async def delete_thread_if_expired(self, expired: store.Expired) -> bool:
        """Delete a thread whose time is over, unless something works on it; tell whether."""
        work = self.cancelling.delete_thread_if_expired(expired)
        return await self.carried(work, f"delete thread {expired.thread_id}")

    # start and stop

    async def recover(self, policies: Mapping[str, str] | None = None, default: str = "resume") -> int:
        """Make orphans of earlier boots pending again; return how many there were (see `recovery`)."""
        return await recovery.recover(self.engine, self.dispatch.trial, policies or {}, default)

    async def end_cancelled(self) -> None:
        """End the runs whose cancel an earlier boot had stored and not carried out (see `recovery`)."""
        await recovery.end_cancelled(self.engine, self.ending)

    async def idle(self) -> None:
        """Wait until no run is in flight, and nothing is being done for one."""
        while self.active:
            await next(iter(self.active.values())).done.wait()
        await self.engine.tasks.join()

    async def stop(self, drain_s: float) -> None:
        """
        Admit nothing more and have every run handed back; returns when none executes. May be called twice.
        """
        self.dispatch.stopping = True
        self.engine.queue.hint.give()
        self.engine.workers.drain("shutdown")
        await self._requests.join()  # what they have started in storage is requeued, not left behind
        if not await self.in_flight.empty(drain_s):
            self.engine.workers.cut()
            if not await self.in_flight.empty(self.engine.cancel_deadline_s):
                log.error("%d runs did not stop in time; their workers are killed", len(self.active))
        await self.close()

    async def close(self) -> None:
        """End what is under way where it is, without handing anything back."""
        await self._requests.stop()
        await self.engine.tasks.stop()
