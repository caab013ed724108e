"""A run in the air: given to a worker in one attempt, not yet ended or parked."""

from __future__ import annotations

import asyncio

from attrs import define, field

from gatewayd.model.run import Run
from gatewayd.workers import worker


@define(eq=False)
class Flight:
    """What the manager knows of a run that executes."""

    run: Run
    source: worker.Worker | None = None
    """The worker that has it; None while one is being found."""
    ended: bool = False
    """Its last frame has arrived or the worker is gone: later frames are refused."""
    vanished: bool = False
    """Its row was deleted: nothing of it is stored any more, its worker is only waited for."""
    fenced: bool = False
    """It is recorded as ended although something of it may still execute; its worker is only waited for."""
    recorded: bool = True
    """False while the end of a fenced run is being stored."""
    gone: bool = False
    """Nothing of a fenced run executes any more."""
    deadline: asyncio.TimerHandle | None = None
    """Fires when a cancel is not obeyed in time."""
    overtime: asyncio.TimerHandle | None = None
    """Fires when the job timeout has passed and the worker has not acted on it."""
    landed: asyncio.Event = field(factory=asyncio.Event)
    """Set when it is over in this attempt: ended or parked."""

    @property
    def cancelling(self) -> bool:
        """Whether it is to end by a cancel."""
        return self.run.cancel_action is not None
