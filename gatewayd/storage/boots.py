"""What is done once for each start of the daemon, and looking whether all is well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import frozen

from gatewayd.model.run import Run


@frozen
class Violation:
    """A row that breaks an invariant."""

    invariant: str
    """Name of the invariant, a key of `ACTIVE` or `WHOLE`."""
    subject: str
    """Id of the thread or run."""

    def __str__(self) -> str:
        return f"{self.invariant}: {self.subject}"


class Boots(Protocol):
    """Operations of a start, and on the whole file."""

    async def orphans_requeue(self, now: int, policies: Mapping[str, str], default: str) -> list[Run]:
        """
        Make the running runs of earlier boots pending again, by graph id or default policy; return them.
        """

    async def run_find_to_try(self) -> Run | None:
        """Return the pending run that is to be tried alone before others start; None if there is none."""

    async def runs_cancelled_pending(self) -> list[Run]:
        """Return pending runs whose cancel was stored before the stop."""

    async def invariants_check(self, *, whole: bool) -> list[Violation]:
        """
        Return what is wrong with the tables: in the rows of active runs, or in all (slow, for a quiet file).
        """

    async def invariants_repair(self, now: int) -> list[Violation]:
        """Derive again what is derived and wrong in the rows of active runs; return what was and is wrong."""

    async def trial(self) -> None:
        """
        Make a cheap write that the disk confirms, and a cheap read. Raises `Unavailable`,
        `InsufficientStorage`.
        """

    @property
    def damage(self) -> str | None:
        """
        The first sign of damage to the file; from then on nothing is written to it. None: there was none.
        """

    def locked_s(self) -> float:
        """
        Return for how many seconds another process has been seen to hold the lock of the file; 0: it does
        not.
        """

    def lacking_room(self) -> str | None:
        """Say why nothing new is admitted for want of room; None: there is room."""

    async def counters(self) -> dict[str, int]: ...
