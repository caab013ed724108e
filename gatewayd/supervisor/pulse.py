"""Whether a worker's event loop turns: pings, and what is known of a loop that does not answer them.

The supervisor sends a ping to each worker that has loaded the project, one at a time. A worker whose ping is
not answered is *blocked*: code of a run keeps its loop from turning. That ends with the answer, at any time,
so it is no phase of the worker's life; everything that is known of it is forgotten then.
"""

from __future__ import annotations

import time

from attrs import define, field

LATE_S = 0.1
"""A ping that is not answered after this time says that the worker is busy with something else."""


@define(eq=False)
class Block:
    """A loop that does not turn. All moments are in seconds of the monotonic clock."""

    since: float
    stack_asked_at: float | None
    """When the stack was asked for that has not been told yet."""
    place: str = ""
    """Where the loop was seen to be: file:line."""
    examined: bool = False
    """It is being found out whose code it is in, for the worker is to be killed."""


@define(eq=False)
class Pulse:
    """The pings of one worker."""

    pinged_at: float | None = field(default=None, init=False)
    """When the ping was sent that has not been answered."""
    lag_s: float = field(default=0.0, init=False)
    """Seconds that its last answered ping took."""
    block: Block | None = field(default=None, init=False)

    @property
    def late(self) -> bool:
        """Whether the answer to a ping is owed for longer than a turning loop takes."""
        return self.pinged_at is not None and time.monotonic() - self.pinged_at > LATE_S

    def lag(self, now: float) -> float:
        """Return how long the loop takes to answer, in seconds."""
        return self.lag_s if self.pinged_at is None else max(self.lag_s, now - self.pinged_at)

    def answered(self) -> Block | None:
        """Note the answer to a ping; return the block that has ended by it, if there was one."""
        if self.pinged_at is not None:
            self.lag_s = time.monotonic() - self.pinged_at
        block, self.pinged_at, self.block = self.block, None, None
        return block
