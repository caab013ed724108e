"""The life of a worker: its phases, what moves it from one to the next, and what its end means.

A worker::

                 LOADED           RETIRE              DRAIN
      starting ─────────▶ ready ─────────▶ retiring ─────────▶ draining
         │                  │  └────────── DRAIN ──────────────▶  │
         │ UNLOADABLE       │                 │                   │
         ▼                  └────────┬── STOP ┴───────────────────┘
      failed                         ▼
                                 stopping

      from each of these    ── KILL ──▶ killed        from starting and failed also RETIRE, DRAIN and STOP
      from each, and killed ── EXITED ──▶ gone

      LOADED      its frame `loaded`; it takes runs, or answers, from now on
      UNLOADABLE  its frame `failed`; its process ends by itself
      RETIRE      the supervisor replaces it without hurry: it has had its number of runs, or its loop is
                  blocked. It takes no new runs; those that it has may end there for a while
      DRAIN       the supervisor replaces it by a deadline: a reload, a cancel that is not obeyed. Its runs
                  are handed back before their next step, then cancelled, then it is killed
      STOP        nothing is left that must be waited for, or the daemon stops: the process is asked to end.
                  One that still loads has nothing to end in order, so it is killed
      KILL        SIGKILL: a limit of memory, a deadline, a blocked loop, or a socket that has ended
      EXITED      the process has ended, and all that it had sent has been read

An event that the picture does not show for a phase is ignored: it came too late, or twice. The daemon asks
for all of them but LOADED, UNLOADABLE and EXITED.

What its end means is decided by what had been asked of it before, and by why it was killed:

    nothing was asked of it     a death: counted and logged as an error, and its runs are to blame
    retired for a blocked loop  its runs are to blame, for they may have blocked it and then ended it
    anything else was asked     expected: its runs are not to blame
    killed without blame        expected, whatever was asked before: it did not obey, or it was in the way of
                                other runs

A kill with blame (memory, a socket that has ended) changes nothing: the end means what it meant without it.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping
from typing import Final

from attrs import define, field, frozen

from gatewayd.channel import frames


class Phase(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    """The process exists, and loads the project."""
    READY = "ready"
    """It takes runs, or answers questions."""
    RETIRING = "retiring"
    """It gets no new runs; it ends when those that it has have left it."""
    DRAINING = "draining"
    """Its runs have a deadline by which they must have left it."""
    STOPPING = "stopping"
    """It has been asked to end by itself."""
    FAILED = "failed"
    """It could not load the project, and is about to end."""
    KILLED = "killed"
    """SIGKILL has been sent; its end has not been seen yet."""
    GONE = "gone"
    """The process has ended."""


@frozen
class Loaded:
    """It has loaded the project."""


@frozen
class Unloadable:
    """It can't load the project."""

    reason: str


@frozen
class Retire:
    """It is to be replaced, without hurry."""

    reason: str
    blocked: bool = False
    """Because its loop does not turn."""


@frozen
class Drain:
    """It is to be replaced, and its runs have to leave it by a deadline."""

    reason: str


@frozen
class Stop:
    """It is to end by itself: it is not needed any more."""


@frozen
class Kill:
    """It is killed."""

    why: str = ""
    """For people; empty: the way in which the process ends says it."""
    blameless: bool = False
    """Its runs are not to blame for it."""
    blockers: frozenset[str] = frozenset()
    """Runs in whose code its loop was blocked."""


@frozen
class Exited:
    """Its process has ended."""

    code: int
    """As subprocesses tell it; negative: a signal."""


Asked = Unloadable | Retire | Drain | Stop
"""Events after which it is not to go on."""
Event = Loaded | Asked | Kill | Exited

ALIVE: Final = frozenset(Phase) - {Phase.KILLED, Phase.GONE}
LOADED: Final = frozenset({Phase.READY, Phase.RETIRING, Phase.DRAINING, Phase.STOPPING})
"""Phases in which it can answer."""

TRANSITIONS: Final[Mapping[type[Event], Mapping[Phase, Phase]]] = {
    Loaded: {Phase.STARTING: Phase.READY},
    # Its socket for data may end before this frame is read from the other: the reason must not be lost.
    Unloadable: {Phase.STARTING: Phase.FAILED, Phase.KILLED: Phase.KILLED},
    Retire: {
        Phase.STARTING: Phase.KILLED,
        Phase.FAILED: Phase.KILLED,
        Phase.READY: Phase.RETIRING,
    },
    Drain: {
        Phase.STARTING: Phase.KILLED,
        Phase.FAILED: Phase.KILLED,
        Phase.READY: Phase.DRAINING,
        Phase.RETIRING: Phase.DRAINING,
    },
    Stop: {
        Phase.STARTING: Phase.KILLED,
        Phase.FAILED: Phase.KILLED,
        Phase.READY: Phase.STOPPING,
        Phase.RETIRING: Phase.STOPPING,
        Phase.DRAINING: Phase.STOPPING,
    },
    Kill: dict.fromkeys(ALIVE, Phase.KILLED),
    Exited: dict.fromkeys(ALIVE | {Phase.KILLED}, Phase.GONE),
}
"""By event: the phases in which it counts, and to which phase it leads from each."""


@define(eq=False)
class Life:
    """The phase of one worker, and why it ends."""

    phase: Phase = field(default=Phase.STARTING, init=False)
    asked: Asked | None = field(default=None, init=False)
    """The first event after which it was not to go on."""
    kill: Kill | None = field(default=None, init=False)
    exited: Exited | None = field(default=None, init=False)

    def advance(self, event: Event) -> bool:
        """Take an event; return whether it counts in the present phase."""
        after = TRANSITIONS[type(event)].get(self.phase)
        if after is None:
            return False
        self.phase = after
        match event:
            case Loaded():
                pass
            case Kill():
                self.kill = event
            case Exited():
                self.exited = event
            case _:
                self.asked = self.asked or event
        return True

    @property
    def loaded(self) -> bool:
        """Whether it has loaded the project and has not been killed since."""
        return self.phase in LOADED

    @property
    def retired(self) -> bool:
        """Whether another worker takes its place."""
        return isinstance(self.asked, Retire | Drain)

    @property
    def retired_for_block(self) -> bool:
        """Whether another takes its place because its loop does not turn."""
        return isinstance(self.asked, Retire) and self.asked.blocked

    @property
    def reason(self) -> str:
        """Why it is not to go on, for people; empty if nothing was asked of it, or no reason is needed."""
        return "" if self.asked is None or isinstance(self.asked, Stop) else self.asked.reason

    @property
    def expected(self) -> bool:
        """Whether its end is no death: the daemon wants it, or has been told of it."""
        return self.asked is not None or (self.kill is not None and self.kill.blameless)

    @property
    def blames_runs(self) -> bool:
        """Whether the runs that it had at its end may have caused it."""
        if self.kill is not None and self.kill.blameless:
            return False
        return self.asked is None or self.retired_for_block

    @property
    def blockers(self) -> frozenset[str]:
        """Runs in whose code its loop was blocked when it was killed for that."""
        return frozenset() if self.kill is None else self.kill.blockers

    @property
    def killed_from_outside(self) -> bool:
        """Whether it has ended by SIGKILL for no reason that the daemon knows."""
        by_signal = self.exited is not None and self.exited.code == -signal.SIGKILL
        return by_signal and (self.kill is None or not self.kill.why)

    @property
    def how_ended(self) -> str:
        """How it has ended, for people: why it was killed, or its exit code or signal; empty before."""
        if self.kill is not None and self.kill.why:
            return self.kill.why
        return "" if self.exited is None else exit_text(self.exited.code)


def exit_text(code: int) -> str:
    """Return how a process has ended, for people."""
    if code == frames.EXIT_FAILED:
        return f"exit code {code}: its channel failed, see its log"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-code}"
