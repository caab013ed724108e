"""What is done once for each start of the daemon, and looking whether all is well."""

from __future__ import annotations

import time
from collections.abc import Mapping

from gatewayd.model.run import Run
from gatewayd.storage import desk
from gatewayd.storage.sqlite import boots, invariants


class Boots(desk.Desk):
    """Operations of a start, and on the whole file."""

    __slots__ = ()

    async def orphans_requeue(self, now: int, policies: Mapping[str, str], default: str) -> list[Run]:
        """
        Make the running runs of earlier boots pending again, by graph id or default policy; return them.
        """
        return await self.writer.submit(
            boots.orphans_requeue, self.boot, now, policies, default, promise=True
        )

    async def run_find_to_try(self) -> Run | None:
        """Return the pending run that is to be tried alone before others start; None if there is none."""
        return await self.writer.submit(boots.run_find_to_try)

    async def runs_cancelled_pending(self) -> list[Run]:
        """Return pending runs whose cancel was stored before the stop."""
        return await self.writer.submit(boots.runs_cancelled_pending)

    async def invariants_check(self, *, whole: bool) -> list[invariants.Violation]:
        """
        Return what is wrong with the tables: in the rows of active runs, or in all (slow, for a quiet file).
        """
        return await self.writer.submit(invariants.invariants_check, whole)

    async def invariants_repair(self, now: int) -> list[invariants.Violation]:
        """Derive anew what is derived and wrong in the rows of active runs; return what was and is wrong."""
        return await self.writer.submit(invariants.invariants_repair, now, promise=True)

    async def trial(self) -> None:
        """
        Make a cheap write that the disk confirms, and a cheap read. Raises `Unavailable`,
        `InsufficientStorage`.
        """
        await self.writer.submit(boots.trial_write, promise=True)
        await self.readers.rows("SELECT max(boot) FROM boots")

    @property
    def damage(self) -> str | None:
        """
        The first sign of damage to the file; from then on nothing is written to it. None: there was none.
        """
        return self.writer.damage.found

    def locked_s(self) -> float:
        """
        Return for how many seconds another process has been seen to hold the lock of the file; 0: it does
        not.
        """
        since = self.writer.locked_since
        return 0.0 if since is None else time.monotonic() - since

    def lacking_room(self) -> str | None:
        """Say why nothing new is admitted for want of room; None: there is room."""
        return self.quota.refusal(self.writer.space.used)

    async def counters(self) -> dict[str, int]:
        return await self.writer.submit(boots.counters)
