"""What everything that deals with runs stands on, and the hint that a run may be started."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import define, field

from gatewayd import tasks
from gatewayd.runs import counts as counts_
from gatewayd.storage import store
from gatewayd.streams import log as stream_log
from gatewayd.supervisor import supervisor


@define(eq=False)
class Queue:
    """Whether runs may be waiting in the table, and the hint that one may be started."""

    hint: tasks.Hint = field(factory=tasks.Hint, init=False)
    """Given when a due run may be startable."""
    backlogged: bool = field(default=True, init=False)
    """Due runs may be waiting: a slot or a thread that becomes free gives the hint."""

    def waits(self) -> None:
        """A run waits in the table."""
        self.backlogged = True
        self.hint.give()

    def freed(self) -> None:
        """A slot or a thread is free; when nothing waits, the table need not be looked at."""
        if self.backlogged:
            self.hint.give()


@define(eq=False, kw_only=True)
class Engine:
    """Storage, log and workers, with the limits of runs. All parts of the run manager share one."""

    storage: store.Storage
    log: stream_log.Log
    workers: supervisor.Supervisor
    max_retries: int
    """Deaths of its worker without progress after which a run is put aside."""
    cancel_deadline_s: float
    """Seconds that a cancelled run has to end."""
    job_timeout_s: float = 0.0
    """Seconds a run may execute, all its attempts together; 0: for ever."""
    retry_s: float = 0.5
    """Pause before what must be stored, the end of a run for one, is tried again."""
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    """The time, in µs since the epoch."""
    webhooks: tasks.Hint = field(factory=tasks.Hint)
    """Given when the end of a run has been stored that a webhook is to be told of."""
    queue: Queue = field(factory=Queue, init=False)
    counts: counts_.Counts = field(factory=counts_.Counts, init=False)
    tasks: tasks.Group = field(factory=lambda: tasks.Group("run manager"), init=False)
    """What has to be done even if the client that wanted it has left."""
