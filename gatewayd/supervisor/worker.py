"""
One worker's state in the daemon: what it may take, what it has, and the questions it has not answered yet.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Literal, Protocol

from attrs import define, field

from gatewayd import errors, logs
from gatewayd.channel import refusals
from gatewayd.supervisor import life as lives
from gatewayd.supervisor import link, process
from gatewayd.supervisor import pulse as pulses

log = logging.getLogger(__name__)

Role = Literal["run", "service", "quarantine"]

GONE = "the worker that was to answer has ended; try again"


class Gone(errors.Unavailable):
    """The worker ended before it answered; another one may."""


class WorkerOwner(Protocol):
    """Who is told of a worker's doings (the supervisor)."""

    def frame(self, worker: Worker, frame: list[Any], size: int) -> None:
        """A data frame has arrived."""

    def loaded(self, worker: Worker) -> None:
        """The worker is ready."""

    def failed(self, worker: Worker, message: str, trace: str) -> None:
        """The project could not be loaded."""

    def withdrawn(self, worker: Worker, run_id: str, attempt: int) -> None:
        """The worker has given a run back that it had not begun."""

    def read_failed(self, code: int, name: str, text: str) -> BaseException:
        """Return our error for one of SQLite's that a worker met while it read the database."""

    def turned(self, worker: Worker) -> None:
        """The worker was blocked and is no more."""

    def given(self, worker: Worker) -> None:
        """The worker has been given a run."""

    def gone(self, worker: Worker) -> None:
        """The worker has ended."""

    def asked(self, worker: Worker, number: int, method: str, params: dict[str, Any]) -> None:
        """The worker asks for a call into the service worker."""


@define(eq=False)
class Worker:
    """A worker process from its start to its end."""

    name: str
    role: Role
    capacity: int
    owner: WorkerOwner
    generation: int = 0
    """Which loading of the project it does: 0 that of the start, then one more with every reload."""
    life: lives.Life = field(factory=lives.Life, init=False)
    pulse: pulses.Pulse = field(factory=pulses.Pulse, init=False)
    abandoned: set[str] = field(factory=set, init=False)
    """Runs of it that will never end by themselves, and are not waited for."""
    taken: int = field(default=0, init=False)
    """How many runs it has been given so far."""
    runs: dict[str, int] = field(factory=dict, init=False)
    """Runs given to it, with their attempts."""
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when anything changes that `until` may be waiting for."""
    _begun_at: float = field(factory=time.monotonic, init=False)
    _look: asyncio.Future[str] | None = field(default=None, init=False)
    _looked_at: bool = field(default=False, init=False)
    _process: process.Running | None = field(default=None, init=False)
    _link: link.Link | None = field(default=None, init=False)
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1), init=False)
    _calls: dict[int, asyncio.Future[Any]] = field(factory=dict, init=False)
    _acks: dict[str, tuple[int, int]] = field(factory=dict, init=False)

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def free(self) -> int:
        """How many more runs it may take now."""
        return self.capacity - len(self.runs) if self.takes else 0

    @property
    def takes(self) -> bool:
        """Whether it takes runs as far as it has places for them."""
        return self.life.phase is lives.Phase.READY and self.pulse.block is None

    @property
    def busy(self) -> bool:
        """Whether there is something to wait for: a run that may end, a question that may be answered."""
        return self.life.phase is not lives.Phase.GONE and bool(
            self.runs.keys() - self.abandoned or self._calls
        )

    @property
    def retire_reason(self) -> str | None:
        """Why another takes its place; None if none does."""
        return self.life.reason if self.life.retired else None

    @property
    def loaded(self) -> bool:
        """Whether it has loaded the project, and can answer."""
        return self.life.loaded

    @property
    def leaving(self) -> bool:
        """Whether its replica needs another worker."""
        return self.life.retired or self.life.phase is lives.Phase.GONE

    @property
    def blames_runs(self) -> bool:
        """Whether the runs that it had at its end may have caused it."""
        return self.life.blames_runs

    @property
    def blockers(self) -> frozenset[str]:
        """Runs in whose code its loop was blocked when it was killed for that."""
        return self.life.blockers

    @property
    def how_ended(self) -> str:
        """How its process has ended, for people: an exit code, a signal, or why it was killed."""
        return self.life.how_ended

    @property
    def blocked_since(self) -> float | None:
        """Since when its loop has not turned, in seconds of the monotonic clock; None while it turns."""
        return None if self.pulse.block is None else self.pulse.block.since

    @property
    def place(self) -> str:
        """Where its loop is blocked: file:line; empty if that is not known."""
        return "" if self.pulse.block is None else self.pulse.block.place

    def lag(self, now: float) -> float:
        """Return how long its loop takes to answer, in seconds."""
        return self.pulse.lag(now)

    # its life

    async def start(self, begin: process.Start, order: process.Order, configuration: dict[str, Any]) -> None:
        """Start the process and tell it what to load. It is ready when it says so."""
        self._process = await begin(order)
        if self.life.phase is lives.Phase.KILLED:  # while the process was being started
            self._process.kill()
        self._link = link.Link(self._on_control, self._on_data, self._on_lost)
        try:
            await self._link.open(self._process.control, self._process.data)
        except BaseException:
            self._link.close()
            self._process.control.close()
            self._process.data.close()
            raise
        self._link.control("configure", configuration)

    async def watch(self) -> None:
        """Wait for the process's end and report it, after everything it had sent has been read."""
        assert self._process is not None
        code = await self._process.ended()
        for _ in range(100):  # what is still in the sockets comes before the end of file
            if self._link is None or self._link.lost:
                break
            await asyncio.sleep(0.01)
        self._process.kill()  # its children, if it had any
        if self._link is not None:
            self._link.close()
        self._exited(code)

    def stop(self) -> None:
        """Have the process end by itself; one that has not loaded the project is killed."""
        if self.advance(lives.Stop()) and self.life.phase is lives.Phase.STOPPING:
            self._control("stop")

    def kill(self, why: str = "", *, blameless: bool = False, blockers: frozenset[str] = frozenset()) -> None:
        """End the process at once; `watch` reports it. What the parameters mean: `lives.Kill`."""
        self.advance(lives.Kill(why, blameless, blockers))

    def advance(self, event: lives.Event) -> bool:
        """Take an event of its life; return whether it counts in the present phase."""
        counts = self.life.advance(event)
        if self.life.phase is lives.Phase.KILLED and self._process is not None:
            self._process.kill()
        self._changed.set()
        return counts

    def _exited(self, code: int) -> None:
        if not self.advance(lives.Exited(code)):
            return
        for future in self._calls.values():
            if not future.done():
                future.set_exception(Gone(GONE))
        self._calls.clear()
        self.owner.gone(self)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until a condition on its phase, its runs or its questions holds."""
        while not reached():
            self._changed.clear()
            await self._changed.wait()

    async def until_settled(self) -> None:
        """Wait until it has loaded the project, or is gone without having done so."""
        await self.until(lambda: self.loaded or self.life.phase is lives.Phase.GONE)

    async def until_gone(self) -> None:
        """Wait until the process has ended; the owner of its runs has been told then."""
        await self.until(lambda: self.life.phase is lives.Phase.GONE)

    async def until_leaving(self) -> None:
        """Wait until its replica needs another worker."""
        await self.until(lambda: self.leaving)

    def abandon(self, runs: Collection[str]) -> None:
        """Wait no longer for runs that will never end by themselves."""
        self.abandoned.update(runs)
        self._changed.set()

    def leave(self, run_id: str) -> None:
        """A run has left it."""
        self.runs.pop(run_id, None)
        self._changed.set()

    async def idle(self, within_s: float | None) -> bool:
        """
        Wait until there is nothing to wait for; False when that takes longer. None: as long as it takes.
        """
        try:
            async with asyncio.timeout(within_s):
                await self.until(lambda: not self.busy)
        except TimeoutError:
            return False
        return True

    # what it is told

    def start_run(self, run_id: str, attempt: int, order: dict[str, Any]) -> None:
        self.runs[run_id] = attempt
        self.taken += 1
        self._control("start", order)
        self.owner.given(self)

    def cancel_run(self, run_id: str, attempt: int) -> None:
        """Have a run's task cancelled; `ended` follows."""
        self._control("cancel", run_id, attempt)

    def merge_run(self, run_id: str, attempt: int) -> None:
        """Have a run take, at a step, the input of the run that waits to be merged into it."""
        self._control("merge", run_id, attempt)

    def drain(self, run_id: str | None, reason: str) -> None:
        """Have one run or all handed back before their next step."""
        self._control("drain", run_id, reason)

    def cut(self) -> None:
        """Cancel the runs that have been asked to drain."""
        self._control("cut")

    def ping(self, now: float) -> None:
        """Ask the event loop for a sign of life."""
        self.pulse.pinged_at = now
        self._control("ping", next(self._numbers))

    def ask_stack(self) -> None:
        """Ask the reader thread where the loop is."""
        self._control("stack", next(self._numbers))

    async def look(self, within_s: float) -> str | None:
        """
        Return the run in whose code the loop is ('': in none's); None if no thread of the process can say it.
        """
        look = self._look = asyncio.get_running_loop().create_future()
        self.ask_stack()
        try:
            async with asyncio.timeout(within_s):
                run_id: str = await look
                return run_id
        except TimeoutError:
            return None

    def withdraw(self) -> None:
        """Have the runs given back that the loop has not begun."""
        for run_id, attempt in self.runs.items():
            self._control("withdraw", run_id, attempt)

    def dump(self) -> None:
        """Have the process write its stacks to stderr, which works also when no thread of it can run."""
        if self._process is not None and self.loaded:
            self._process.dump()

    def look_at_loading(self, now: float, limit_s: float) -> None:
        """Ask once where a worker is that loads the project for longer than `limit_s`."""
        if not self._looked_at and now - self._begun_at > limit_s:
            self._looked_at = True
            self.ask_stack()

    def answer(self, number: int, ok: bool, payload: Any) -> None:
        """Answer a call that the worker made."""
        self._control("reply", number, ok, payload)

    def ack(self, run_id: str, attempt: int, n: int) -> None:
        """Note that a frame is committed; sent together by `flush_acks`."""
        self._acks[run_id] = (attempt, n)

    def flush_acks(self) -> None:
        """Send the acknowledgements that have come together."""
        if self._acks:
            if self._link is not None:
                self._link.data("ack", [[run_id, attempt, n] for run_id, (attempt, n) in self._acks.items()])
            self._acks.clear()

    def refuse(self, run_id: str, attempt: int, n: int, why: str) -> None:
        """Say that a frame was not stored."""
        if self._link is not None:
            self._link.data("refuse", run_id, attempt, n, why)

    def pause(self, paused: bool) -> None:
        """Stop or resume reading its data."""
        if self._link is not None:
            self._link.pause(paused)

    async def call(self, method: str, params: dict[str, Any], deadline_s: float) -> Any:
        """
        Ask a question of a worker that is ready, and return the answer.

        Raises `Unanswered` after the deadline, `Unavailable` when the worker ends, and what the worker
        refuses with.
        """
        if not self.loaded:
            raise Gone(GONE)
        number = next(self._numbers)
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline_s):
                self._control("call", number, method, params, deadline_s)
                return await future
        except TimeoutError:
            where = f" (blocked at {self.place})" if self.place else ""
            raise errors.Unanswered(f"{method} got no answer within {deadline_s:.3g} s{where}") from None
        finally:
            self._calls.pop(number, None)
            self._changed.set()

    def _control(self, *frame: Any) -> None:
        if self._link is not None:
            self._link.control(*frame)

    # what it says

    def _on_data(self, frame: list[Any], size: int) -> None:
        self.owner.frame(self, frame, size)

    def _on_control(self, frame: list[Any], _: int) -> None:
        match frame:
            case ["pong", _]:
                self._answered()
            case ["answer", number, ok, payload]:
                self._settle(number, ok, payload)
            case ["read_failed", code, name, text]:
                self.owner.read_failed(code, name, text)
            case ["ask", number, method, params]:
                self.owner.asked(self, number, method, params)
            case ["hello", pid, versions]:
                log.debug("worker %s is process %d, %s", self.name, pid, versions)
            case ["loaded"]:
                self._loaded()
            case ["failed", message, trace]:
                self._unloadable(message, trace)
            case ["stack", _, place, text, run_id]:
                self._seen(place, logs.Whole(text), run_id)
            case ["withdrawn", run_id, attempt]:
                if self.runs.get(run_id) == attempt:
                    self.owner.withdrawn(self, run_id, attempt)
            case _:
                log.error("worker %s sent an unknown frame %r", self.name, frame[:1])

    def _loaded(self) -> None:
        if self.advance(lives.Loaded()):
            self.owner.loaded(self)

    def _unloadable(self, message: str, trace: str) -> None:
        if self.advance(lives.Unloadable(message)):
            self.owner.failed(self, message, trace)

    def _settle(self, number: int, ok: bool, payload: Any) -> None:
        future = self._calls.get(number)
        if future is None or future.done():
            return
        if ok:
            future.set_result(payload)
        else:
            error = refusals.unpack(payload)
            if isinstance(error, errors.ReadFailed):
                future.set_exception(self.owner.read_failed(error.code, error.name, error.detail))
            else:
                future.set_exception(error)

    def _answered(self) -> None:
        block = self.pulse.answered()
        if block is not None:
            blocked_s = time.monotonic() - block.since
            log.warning(
                "worker %s turns again after %.1f s (it was at %s)", self.name, blocked_s, block.place or "?"
            )
            self.owner.turned(self)

    def _seen(self, place: str, text: str, run_id: str) -> None:
        """Take its stack, which was asked for because it does not get on."""
        block = self.pulse.block
        if self._look is not None and not self._look.done():
            self._look.set_result(run_id)
            if block is not None:
                block.place = place
        elif self.life.phase is lives.Phase.STARTING:
            log.warning("worker %s is still loading the project: it is at %s\n%s", self.name, place, text)
        elif block is not None:
            self._blocked(block, place, text)

    def _blocked(self, block: pulses.Block, place: str, text: str) -> None:
        block.place, block.stack_asked_at = place, None
        fields = {"reason": "worker_blocked", "worker": self.name, "place": place, "runs": sorted(self.runs)}
        log.warning(
            "worker %s is blocked at %s: its event loop has not turned for %.1f s\n%s",
            self.name,
            place,
            time.monotonic() - block.since,
            text,
            extra={"fields": fields},
        )

    def _on_lost(self) -> None:
        """A socket has ended: the process is ending or broken; either way it must not go on."""
        self.kill()
