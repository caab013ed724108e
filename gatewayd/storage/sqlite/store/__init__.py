"""`SqliteStore`: storage's operations on one SQLite file.

Each write is one function run by the writer's thread (see `gatewayd.storage`), each read one short
statement on a read-only connection, or a function on a snapshot. Operations that are nothing but such a
function are bound to their names (`binding`); the others, which make records of rows or ask for room first,
are methods, in a class for each noun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define

from gatewayd import loops as loops_
from gatewayd.errors import GatewaydError
from gatewayd.model.event import Chunk
from gatewayd.storage import quota as quota_
from gatewayd.storage import store
from gatewayd.storage.sqlite import boots as boot_rows
from gatewayd.storage.sqlite.engine import database, snapshots, writing
from gatewayd.storage.sqlite.store import assistants as assistants_
from gatewayd.storage.sqlite.store import boots as boots_
from gatewayd.storage.sqlite.store import crons as crons_
from gatewayd.storage.sqlite.store import events as events_
from gatewayd.storage.sqlite.store import operations as operations_
from gatewayd.storage.sqlite.store import retention as retention_
from gatewayd.storage.sqlite.store import runs as runs_
from gatewayd.storage.sqlite.store import threads as threads_
from gatewayd.storage.sqlite.store import webhooks as webhooks_

log = logging.getLogger(__name__)


@define(eq=False)
class SqliteStore(
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
    """One open file and all that can be asked of it."""

    @classmethod
    async def open(
        cls,
        path: Path,
        now: int,
        pid: int,
        version: str,
        quota: quota_.Quota | None = None,
    ) -> store.Storage:
        """See `gatewayd.storage.opening`."""
        writer = writing.Writer(database.opened(path))
        opened = cls(
            path=path,
            writer=writer,
            readers=database.Readers(writer.damage),
            scanner=snapshots.SnapshotReader(writer.damage),
            boot=0,
            opened_at=now,
            quota=quota or quota_.Quota(path.parent),
        )
        opened.writer.start()
        try:
            await opened.readers.open()
            opened.boot = await opened.writer.submit(boot_rows.boot_begin, now, pid, version, promise=True)
        except BaseException:
            await opened.close(now)
            raise
        return opened

    @property
    def files(self) -> Sequence[tuple[str, Path, str]]:
        database_file = ("database", self.path, "the database")
        items = self.quota.store
        return [database_file] if items is None else [database_file, ("store", items, "the long-term store")]

    @property
    def backlog(self) -> int:
        return self.writer.backlog

    @property
    def writes(self) -> store.Writes:
        writer = self.writer
        return store.Writes(
            transactions=writer.batches,
            operations=writer.operations,
            busy_s=writer.busy_s,
            longest_s=writer.longest_s,
            syncs=writer.syncer.syncs,
            sync_s=writer.syncer.busy_s,
        )

    @property
    def loops(self) -> list[loops_.Loop]:
        return self.writer.loops

    def on_settled(self, call: Callable[[], None]) -> None:
        self.writer.on_settled(call)

    def changed_files(self) -> list[str]:
        return self.open_files.changed()

    def states_take(self, chunk: Chunk) -> None:
        self.states.take(chunk)

    async def close(self, now: int) -> None:
        boot, self.boot = self.boot, 0
        try:
            if boot:
                await self.writer.submit(boot_rows.boot_end, boot, now)
        except GatewaydError as error:  # the boot will look like one that was killed, which harms nothing
            log.warning("the stop was not recorded: %s", error.detail)
        finally:
            if self.damage is not None:
                await self.writer.close()  # while others have it open, SQLite copies nothing into the file
            await self.scanner.close()
            await self.states.close()
            await self.snapshots.close()
            await self.readers.close()
            await self.writer.close()
