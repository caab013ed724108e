"""`Storage`: the operations that the rest of the daemon may ask for, on one SQLite file.

Each write is one function run by the writer's thread (see the package); each read is one short statement.
Above this module nobody knows SQL or the driver; a second backend offers the same names and passes the same
tests.
"""

from __future__ import annotations

import logging
from pathlib import Path

from attrs import define

from gatewayd.checkpointing.sqlite import steps
from gatewayd.errors import GatewaydError
from gatewayd.storage import assistants as assistants_
from gatewayd.storage import boots as boots_
from gatewayd.storage import crons as crons_
from gatewayd.storage import events as events_
from gatewayd.storage import operations as operations_
from gatewayd.storage import quota as quota_
from gatewayd.storage import retention as retention_
from gatewayd.storage import runs as runs_
from gatewayd.storage import threads as threads_
from gatewayd.storage import webhooks as webhooks_
from gatewayd.storage.sqlite import (
    admission,
    assistants,
    boots,
    crons,
    invariants,
    merging,
    queue,
    retention,
    runs,
    search,
)
from gatewayd.storage.sqlite.engine import database, failures, space, writing
from gatewayd.storage.sqlite.engine import snapshots as snapshots_

log = logging.getLogger(__name__)

CreatedRun = admission.CreatedRun
Unconfirmed = failures.Unconfirmed
ClaimedRuns = runs.ClaimedRuns
Merged = merging.Merged
ThreadSearch = search.Search
ThreadPage = search.ThreadPage
AssistantSearch = assistants.Search
Violation = invariants.Violation
CronSearch = crons.Search
RunSearch = runs.Search
FiredCron = crons.FiredCron
Queue = queue.Queue
Chain = writing.Chain
CopyPosition = steps.Position
Expired = retention.Expired
Space = space.Space


@define(eq=False)
class Storage(
    boots_.Boots,
    assistants_.Assistants,
    threads_.Threads,
    retention_.Retention,
    operations_.Operations,
    runs_.Runs,
    crons_.Crons,
    webhooks_.Webhooks,
    events_.Events,
):
    """
    One open file and all that can be asked of it. `open` migrates and records the boot; `close` writes what
    is queued.
    """

    @classmethod
    async def open(
        cls,
        path: Path,
        now: int,
        pid: int,
        version: str,
        quota: quota_.Quota | None = None,
    ) -> Storage:
        """
        Open the file, bring it to the newest version and record the start. Raises `BadConfiguration`,
        `InsufficientStorage`.

        `quota` are the limits (default: none).
        """
        writer = writing.Writer(database.opened(path))
        storage = cls(
            path=path,
            writer=writer,
            readers=database.Readers(writer.damage),
            scanner=snapshots_.SnapshotReader(writer.damage),
            boot=0,
            opened_at=now,
            quota=quota or quota_.Quota(path.parent),
        )
        storage.writer.start()
        try:
            await storage.readers.open()
            storage.boot = await storage.writer.submit(boots.boot_begin, now, pid, version, promise=True)
        except BaseException:
            await storage.close(now)
            raise
        return storage

    async def close(self, now: int) -> None:
        """Record the orderly stop and close everything. Later calls of `close` do nothing."""
        boot, self.boot = self.boot, 0
        try:
            if boot:
                await self.writer.submit(boots.boot_end, boot, now)
        except GatewaydError as error:  # the boot will look like one that was killed, which harms nothing
            log.warning("the stop was not recorded: %s", error.detail)
        finally:
            if self.damage is not None:
                await self.writer.close()  # while others have it open, SQLite copies nothing into the file
            await self.scanner.close()
            await self.states.close()
            await self._snapshots.close()
            await self.readers.close()
            await self.writer.close()
