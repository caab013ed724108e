"""Operations of a start, and on the whole file."""

from __future__ import annotations

import time

from gatewayd.storage.sqlite import boots, invariants
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import written, written_in_boot


class Boots(base.Base):
    """Operations of a start, and on the whole file."""

    __slots__ = ()

    orphans_requeue = written_in_boot(boots.orphans_requeue, promise=True)

    run_find_to_try = written(boots.run_find_to_try)

    runs_cancelled_pending = written(boots.runs_cancelled_pending)

    invariants_check = written(invariants.invariants_check)

    invariants_repair = written(invariants.invariants_repair, promise=True)

    async def trial(self) -> None:
        await self.writer.submit(boots.trial_write, promise=True)
        await self.readers.rows("SELECT max(boot) FROM boots")

    @property
    def damage(self) -> str | None:
        return self.writer.damage.found

    def locked_s(self) -> float:
        since = self.writer.locked_since
        return 0.0 if since is None else time.monotonic() - since

    def lacking_room(self) -> str | None:
        return self.quota.refusal(self.writer.space.used)

    counters = written(boots.counters)
