"""The statuses of runs and threads, and the transitions between them.

A run::

                    START                      FINISH
      CREATE ──▶ pending ──▶ running ───────────────▶ success       the graph ended, or stopped at an
                                                                    interrupt
                    ▲           │                     error         it raised, or was put aside
                    └─ REQUEUE ─┘                     timeout       it executed longer than allowed
                    │                                 interrupted   it was cancelled
                    └────────────── FINISH ─────────▶ (a rollback leaves no row)

      CREATE   a request, a cron
      START    the claimer, or the creation itself when thread and worker are free; acquires the thread's lock
      REQUEUE  its worker died, its daemon died, or it was handed back; keeps the lock
      FINISH   its worker's last frame; or the daemon, for a run that no worker has: cancelled before its
               start or while requeued, put aside, fenced off; releases the lock

A transition is one conditional UPDATE (`storage.sqlite.runs`), whose WHERE is the transition's `before`: if
two race, one wins. A requested cancel (`cancel_action`) is not a status: the run stays pending or running
until it has ended. Once a cancel is stored, a FINISH with any other outcome is refused.

A thread has no transitions. Its status is derived by `thread_status`, in the transaction that changes the
status of one of its runs, or its state.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

RunStatus = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]

ACTIVE: Final[frozenset[str]] = frozenset({"pending", "running"})
"""Statuses of a run that has not ended."""
ENDED: Final[frozenset[str]] = frozenset({"success", "error", "timeout", "interrupted"})
FAILED: Final[frozenset[str]] = frozenset({"error", "timeout"})
"""Ends after which the thread is in `error`."""


@frozen
class Transition:
    """A change of a run's status."""

    before: frozenset[str]
    """Statuses in which it is possible; empty: it creates the run."""
    after: frozenset[str]
    """Statuses to which it leads."""


CREATE: Final = Transition(frozenset(), frozenset({"pending"}))
START: Final = Transition(frozenset({"pending"}), frozenset({"running"}))
REQUEUE: Final = Transition(frozenset({"running"}), frozenset({"pending"}))
FINISH: Final = Transition(ACTIVE, ENDED)

TRANSITIONS: Final = (CREATE, START, REQUEUE, FINISH)


def thread_status(*, active: bool, failed: bool, waiting: bool) -> ThreadStatus:
    """
    Return the status of a thread.

    `active`: one of its runs has not ended. `failed`: its last run ended in `FAILED`. `waiting`: its last
    state has next nodes or open interrupts.
    """
    if active:
        return "busy"
    if failed:
        return "error"
    return "interrupted" if waiting else "idle"
