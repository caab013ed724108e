"""Loops that go on as long as the daemon: what keeps one going after an error, and what is known of each.

A loop is a task (`tasks.Group.spawn_forever`) or a thread (`in_thread`). What its body raises is logged,
and the body is called again after a pause that grows while it keeps failing. A body that returns without
being told to has failed, too.

`Loop` holds what health asks: whether the body has failed since it last completed a round of its work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from attrs import define, field

from gatewayd.errors import GatewaydError

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LONGEST_EXPECTED_PAUSE_S: Final = 2.0
"""
Longest pause after an error that we raise on purpose: the database is locked, the disk is full. It may be
over soon.
"""
FORGOTTEN_AFTER_S: Final = 60.0
"""
An error this long after the one before begins a new series: a short pause, and its traceback in the log.
"""
LAST_TRIES: Final = 5
"""Failures in a row after which a thread that has been told to close is given up."""

Turned = Callable[[], None]
"""Called by a body whenever it has completed a round of its work."""


class Ended(Exception):
    """The body of a loop has returned although nothing had told it to."""


@define(eq=False)
class Loop:
    """What is known of one loop."""

    name: str
    essential: bool = False
    """Without it no run is accepted or none is started."""
    failures: int = field(default=0, init=False)
    """Errors since it last completed a round."""
    error: str = field(default="", init=False)
    """The last of them, in a line."""
    dead: bool = field(default=False, init=False)
    """It has ended and will not go on."""
    over: bool = field(default=False, init=False)
    """It has ended as it should."""
    _series: int = field(default=0, init=False)
    """Errors with less than `FORGOTTEN_AFTER_S` from one to the next."""
    _said: str = field(default="", init=False)
    """The last of them."""
    _failed_at: float = field(default=float("-inf"), init=False)

    @property
    def down(self) -> bool:
        """Whether its work is not being done."""
        return self.dead or self.failures > 0

    def turned(self) -> None:
        """Note that a round of its work is complete."""
        if self.failures:
            log.info("the loop %r works again", self.name)
            self.failures, self.error = 0, ""

    def failed(self, error: BaseException) -> float:
        """
        Note and log why its body has ended; return for how many seconds to wait before it is called again.
        """
        now = time.monotonic()
        said = error.detail if isinstance(error, GatewaydError) else f"{type(error).__name__}: {error}"
        if now - self._failed_at > FORGOTTEN_AFTER_S:
            self._series = 0
        repeated = self._series > 0 and said == self._said
        self._series += 1
        self._failed_at = now
        self.failures += 1
        self.error = self._said = said
        expected = isinstance(error, GatewaydError)
        if not repeated:
            log.error("the loop %r failed: %s", self.name, said, exc_info=None if expected else error)
        elif self._series & (self._series - 1) == 0:  # a power of two: rarer the longer it lasts
            log.error("the loop %r has failed %d times in a row: %s", self.name, self._series, said)
        longest_s = LONGEST_EXPECTED_PAUSE_S if expected else LONGEST_PAUSE_S
        return float(min(longest_s, FIRST_PAUSE_S * 2 ** min(self._series - 1, 10)))

    def died(self, error: BaseException | None) -> None:
        """Note that it has ended for good although it should not have."""
        self.dead = True
        self.error = "it has ended" if error is None else f"{type(error).__name__}: {error}"
        log.critical("the loop %r has ended", self.name, exc_info=error)


def in_thread(
    loop: Loop, body: Callable[[], object], closing: Callable[[], bool], pause: Callable[[float], object]
) -> threading.Thread:
    """
    Return a thread, not yet started, that calls `body` until it returns while `closing` is true.

    `pause(seconds)` waits, and returns early when the thread is told to close.
    """

    def work() -> None:
        try:
            while True:
                error: BaseException
                try:
                    body()
                    if closing():
                        loop.over = True
                        return
                    error = Ended("it returned before it was told to")
                except Exception as raised:
                    error = raised
                wait_s = loop.failed(error)
                if closing() and loop.failures > LAST_TRIES:
                    loop.died(error)
                    return
                pause(wait_s)
        except BaseException as error:
            loop.died(error)
            raise

    return threading.Thread(target=work, name=loop.name, daemon=True)
