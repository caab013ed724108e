"""`Storage`: the operations that the rest of the daemon may ask for, on one SQLite file.

Each write is one function run by the writer's thread (see the package); each read is one short statement. Above this
module nobody knows SQL or the driver; a second backend offers the same names and passes the same tests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from gatewayd import wire
from gatewayd.blobs import cut, sweep
from gatewayd.blobs.join import Missing
from gatewayd.checkpointing import convert
from gatewayd.checkpointing import sql as checkpoint_sql
from gatewayd.errors import InsufficientStorage, NotFound
from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.model.cron import Cron, Firing
from gatewayd.model.event import Chunk
from gatewayd.model.idempotency import Idempotency
from gatewayd.model.retention import NewTtl, ThreadTtl, TtlStrategy
from gatewayd.model.run import QueuePlace, Run, RunOutcome, RunRequest
from gatewayd.model.state import Parts, State
from gatewayd.model.thread import FirstState, Thread
from gatewayd.model.webhook import Attempt, Delivery
from gatewayd.storage import room as room_
from gatewayd.storage import states as states_
from gatewayd.storage.sqlite import (
    assistants,
    blobs,
    boots,
    creation,
    crons,
    database,
    events,
    idempotency,
    imports,
    invariants,
    operations,
    queue,
    retention,
    runs,
    search,
    slots,
    space,
    threads,
    webhooks,
)
from gatewayd.storage.sqlite import scanner as scanner_
from gatewayd.storage.sqlite import states as state_rows

log = logging.getLogger(__name__)

RUN_LOG_END = (
    "SELECT runs.ended_at IS NULL, runs.log_to FROM runs JOIN threads USING (thread_id) "
    "WHERE runs.run_id = ? AND runs.thread_id = ? AND threads.deleted_at IS NULL"
)
RUNS_ACTIVE = (
    "SELECT runs.thread_id, runs.run_id FROM runs JOIN threads USING (thread_id) "
    "WHERE runs.ended_at IS NULL AND runs.status IN (?, ?) AND threads.deleted_at IS NULL"
)

EVENT_PAGE_BYTES = 256 * 1024
"""What one reader of the log holds at most, beside a single larger chunk."""
EVENT_PAGE_CHUNKS = 200

Created = runs.Created
Unconfirmed = database.Unconfirmed
Claimed = runs.Claimed
ThreadSearch = search.Search
ThreadsFound = search.Found
AssistantSearch = assistants.Search
Violation = invariants.Violation
CronSearch = crons.Search
Fired = crons.Fired
Queue = queue.Queue
Chain = database.Chain
CopyPosition = checkpoint_sql.Position
Expired = retention.Expired
Space = space.Space
SEQUENCE_JUMP = boots.SEQUENCE_JUMP


@define(eq=False)
class Storage:
    """One open file. `open` migrates and records the boot; `close` writes what is queued."""

    path: Path
    writer: database.Writer
    readers: database.Readers
    scanner: scanner_.Scanner
    boot: int
    opened_at: int
    """Moment of this start, in µs."""
    room: room_.Room
    """Asked before anything new is admitted."""
    states: states_.States = field(init=False)
    """Joins whole states."""
    _snapshots: scanner_.Scanner = field(init=False)
    """Reads of rows with their states; apart from `scanner`, which may be busy with a search."""

    def __attrs_post_init__(self) -> None:
        self.scanner.prepare = state_rows.prepare
        self._snapshots = scanner_.Scanner(self.path, prepare=state_rows.prepare)
        self.states = states_.States(self._snapshots)

    @classmethod
    async def open(
        cls,
        path: Path,
        now: int,
        pid: int,
        version: str,
        writer: database.WriterFactory = database.Writer,
        room: room_.Room | None = None,
    ) -> Storage:
        """
        Open the file, bring it to the newest version and record the start. Raises `BadConfiguration`, `InsufficientStorage`.

        `writer` makes the writer; `room` are the limits (default: none).
        """
        connection = database.opened(path)
        storage = cls(
            path=path,
            writer=writer(connection),
            readers=database.Readers(path),
            scanner=scanner_.Scanner(path),
            boot=0,
            opened_at=now,
            room=room or room_.Room(path.parent),
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
        except database.FullDisk as error:  # the boot will look like one that was killed, which harms nothing
            log.warning("the stop was not recorded: %s", error.detail)
        finally:
            await self.scanner.close()
            await self._snapshots.close()
            await self.readers.close()
            await self.writer.close()

    # boots

    async def orphans_park(self, now: int, policies: Mapping[str, str], default: str) -> list[Run]:
        """Make the running runs of earlier boots pending again, by graph id or default policy; return them."""
        return await self.writer.submit(boots.orphans_park, self.boot, now, policies, default, promise=True)

    async def runs_cancelled_pending(self) -> list[Run]:
        """Return pending runs whose cancel was stored before the stop."""
        return await self.writer.submit(boots.runs_cancelled_pending)

    async def invariants_check(self, *, whole: bool) -> list[Violation]:
        """Return what is wrong with the tables: in the rows of active runs, or in all (slow, for a quiet file)."""
        return await self.writer.submit(invariants.invariants_check, whole)

    async def invariants_repair(self, now: int) -> list[Violation]:
        """Derive anew what is derived and wrong in the rows of active runs; return what was and is wrong."""
        return await self.writer.submit(invariants.invariants_repair, now, promise=True)

    async def counters(self) -> dict[str, int]:
        """Return n_pending and n_running."""
        return await self.writer.submit(boots.counters)

    # room

    @property
    def space(self) -> Space:
        """What the file takes, as of the last write."""
        return self.writer.space

    async def _require_room(self, once: Idempotency | None = None) -> None:
        """
        Raise `InsufficientStorage` when there is no room for what is to be made.

        A request that has made its thing before makes nothing now and gets its answer.
        """
        lacking = self.room.lacking(self.writer.space.used)
        if lacking is not None and not await self.writer.submit(idempotency.made, once):
            raise InsufficientStorage(lacking)

    async def vacuum_step(self, keep: int) -> bool:
        """Give some free pages back to the file system, but for `keep` bytes; True when no more are to go."""
        return await self.writer.submit(space.vacuum_step, keep)

    # assistants

    async def system_assistants_sync(self, graphs: Mapping[str, str | None], now: int) -> None:
        """Store one assistant per graph (id to description)."""
        await self.writer.submit(assistants.system_assistants_sync, graphs, now)

    async def assistant_get(self, assistant: str) -> Assistant | None:
        """Return the assistant with this id or graph id, or None."""
        rows = await self.readers.rows(assistants.FIND, (assistants.identifier(assistant),))
        return assistants.record(rows[0]) if rows else None

    async def assistant_create(self, assistant: Assistant, *, do_nothing: bool) -> Assistant:
        """
        Store an assistant, or with `do_nothing` return the one that has its id.

        Raises `Conflict`, `InsufficientStorage`.
        """
        await self._require_room(None)
        return await self.writer.submit(assistants.assistant_create, assistant, do_nothing)

    async def assistant_patch(self, assistant: str, change: AssistantChange, now: int) -> Assistant:
        """Change an assistant, as a new version. Raises `NotFound`."""
        return await self.writer.submit(assistants.assistant_patch, assistant, change, now)

    async def assistant_version_set(self, assistant: str, version: int | None, now: int) -> Assistant:
        """Make an assistant what it was in one of its versions. Raises `NotFound`."""
        return await self.writer.submit(assistants.assistant_version_set, assistant, version, now)

    async def assistant_delete(self, assistant: str) -> None:
        """Remove an assistant with its versions and crons. Raises `NotFound`."""
        await self.writer.submit(assistants.assistant_delete, assistant)

    async def assistants_search(self, search: AssistantSearch) -> list[Assistant]:
        """Return up to `limit` + 1 assistants (one more tells that there are more)."""
        sql, parameters = assistants.search_statement(search)
        return [assistants.record(row) for row in await self.readers.rows(sql, parameters)]

    async def assistants_count(self, search: AssistantSearch) -> int:
        """Return how many assistants a search would find without its limits."""
        rows = await self.readers.rows(*assistants.count_statement(search))
        return rows[0][0]  # type: ignore[no-any-return]

    async def assistant_versions(
        self, assistant_id: str, *, metadata: dict[str, Any], limit: int, offset: int
    ) -> list[Assistant]:
        """Return versions of an assistant, newest first."""
        sql, parameters = assistants.versions_statement(assistant_id, metadata, limit, offset)
        return [assistants.record(row) for row in await self.readers.rows(sql, parameters)]

    async def assistant_threads(self, assistant_id: str, behind: str, limit: int) -> list[str]:
        """Return ids of threads whose metadata name the assistant, in pages by their order."""
        rows = await self.readers.rows(assistants.THREADS_OF, (assistant_id, behind, limit))
        return [thread_id for (thread_id,) in rows]

    # threads

    async def thread_create(
        self,
        thread_id: str,
        metadata: dict[str, Any],
        *,
        do_nothing: bool,
        now: int,
        once: Idempotency | None = None,
        ttl: NewTtl | None = None,
        state: FirstState | None = None,
    ) -> Thread:
        """
        Store a thread, with its time to live and first state if it has them.

        Raises `Conflict`, `Invalid`, `InsufficientStorage`.
        """
        await self._require_room(once)
        return await self._shown(
            await self.writer.submit(
                creation.thread_create_with, thread_id, metadata, do_nothing, now, once, ttl, state
            )
        )

    async def _shown(self, found: Thread) -> Thread:
        """Return a thread with its values joined: as it is now, or without any if it has gone meanwhile."""
        if not isinstance(found.values, Parts):
            return found
        return await self._snapshots.read(threads.thread_shown, found.thread_id) or evolve(found, values=None)

    async def thread_get(self, thread_id: str) -> Thread:
        """Return the thread, with its values joined. Raises `NotFound`."""
        found = await self._snapshots.read(threads.thread_shown, thread_id)
        if found is None:
            raise NotFound(f"Thread with ID {thread_id} not found")
        return found

    async def thread_find(self, thread_id: str) -> Thread:
        """Return the thread for those who do not look at its values: they may be in parts. Raises `NotFound`."""
        rows = await self.readers.rows(threads.FIND, (thread_id,))
        if not rows:
            raise NotFound(f"Thread with ID {thread_id} not found")
        return threads.record(rows[0])

    async def thread_patch(
        self, thread_id: str, metadata: dict[str, Any], now: int, ttl: NewTtl | None = None
    ) -> Thread:
        """Merge metadata, and set the time to live if there is one. Raises `NotFound`, `Invalid`."""
        if ttl is not None:
            return await self._shown(
                await self.writer.submit(creation.thread_patch_with, thread_id, metadata, now, ttl)
            )
        return await self._shown(await self.writer.submit(threads.thread_patch, thread_id, metadata, now))

    async def thread_delete(self, thread_id: str, now: int) -> dict[str, str | None]:
        """Mark the thread deleted and return its active runs and their graphs. Raises `NotFound`."""
        return await self.writer.submit(threads.thread_delete, thread_id, now)

    async def threads_search(self, wanted: ThreadSearch) -> ThreadsFound:
        """Find threads; see `sqlite.search`. Raises `Invalid`."""
        return await self.scanner.read(search.threads_search, wanted)

    async def threads_count(self, wanted: ThreadSearch) -> int:
        """Return how many threads a search finds, whatever its limits. Raises `Invalid`."""
        return await self.scanner.read(search.threads_count, wanted)

    async def threads_to_sweep(self, hidden_before: int, limit: int) -> list[str]:
        """Return ids of threads whose rows may be removed."""
        return await self.writer.submit(threads.sweep_candidates, hidden_before, limit)

    async def thread_sweep_step(self, thread_id: str, rows: int) -> bool:
        """Remove some rows of a thread that is gone; True when nothing is left."""
        return await self.writer.submit(threads.thread_sweep_step, thread_id, rows)

    # how long threads are kept

    async def thread_ttl_set(
        self, thread_id: str, strategy: TtlStrategy | None, ttl_minutes: float | None
    ) -> None:
        """Give a thread its time to live, or with None keep it for ever. Raises `Invalid`, `NotFound`."""
        await self.writer.submit(retention.thread_ttl_set, thread_id, strategy, ttl_minutes)

    async def thread_ttl_get(self, thread_id: str) -> ThreadTtl | None:
        """Return how long a thread is kept; None: for ever, or there is no such thread."""
        rows = await self.readers.rows(retention.TTL, (thread_id,))
        return retention.record(rows[0]) if rows else None

    async def default_ttl_set(self, strategy: TtlStrategy | None, ttl_minutes: float | None) -> None:
        """Say what threads get that are created from now on; None: they are kept for ever."""
        await self.writer.submit(retention.default_ttl_set, strategy, ttl_minutes)

    async def threads_expired(self, now: int, behind: Expired | None, limit: int) -> list[Expired]:
        """Return threads whose time is over and nobody works on them, in pages behind the last of the page before."""
        place = (0, "") if behind is None else (behind.expired_at, behind.thread_id)
        rows = await self.readers.rows(retention.EXPIRED, (now, *place, limit))
        return [Expired(*row) for row in rows]

    async def thread_delete_if_expired(self, expired: Expired, now: int) -> bool:
        """Mark a thread deleted if its time is still over and nobody works on it."""
        return await self.writer.submit(retention.thread_delete_if_expired, expired, now)

    async def thread_keep_latest_done(self, expired: Expired) -> None:
        """Note that all but the latest states of a thread are removed."""
        await self.writer.submit(retention.thread_keep_latest_done, expired)

    async def blobs_sweep_begin(self, after: int) -> sweep.Sweep | None:
        """Begin to sweep the first family of threads behind `after` that is at rest and has garbage; None: none has."""
        return await self.writer.submit(blobs.blobs_sweep_begin, after)

    async def blobs_sweep_step(self, begun: sweep.Sweep) -> bool:
        """Go on with a sweep for a few milliseconds; True when it is over."""
        return await self.writer.submit(blobs.blobs_sweep_step, begun)

    async def conversion_next(self) -> convert.Found | None:
        """Return the next row of an older version that is to be converted (see `checkpointing.convert`)."""
        return await self.writer.submit(convert.next_row)

    async def conversion_store(self, thread_id: str, some: Sequence[cut.Blob]) -> None:
        """Store some of the blobs of a row that is being converted."""
        await self.writer.submit(convert.store_some, thread_id, some)

    async def conversion_finish(self, found: convert.Found, manifest: bytes) -> None:
        """Put the manifest into the row."""
        await self.writer.submit(convert.finish, found, manifest)

    # operations on threads, which hold the slot meanwhile

    async def slot_take_for_operation(self, thread_id: str, operation_id: str) -> Thread:
        """Take the slot and return the thread. Raises `NotFound`, and `Conflict` while a run has it."""
        return await self.writer.submit(slots.slot_take_for_operation, thread_id, operation_id, self.boot)

    def slots_release(
        self, operation_id: str, done: Callable[[None], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Free what an operation still holds; `done` after the commit, else `failed`."""
        self.writer.post(slots.slots_release, operation_id, done=done, failed=failed)

    def state_update_if_held(
        self,
        thread_id: str,
        operation_id: str,
        changes: list[list[Any]],
        projection: RunOutcome,
        chunk: Chunk,
        now: int,
        done: Callable[[None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Store a state update (see `operations.state_update_if_held`); `done` after the commit, else `failed`."""
        self.writer.post(
            operations.state_update_if_held,
            thread_id,
            operation_id,
            changes,
            projection,
            chunk,
            now,
            done=done,
            failed=failed,
            promise=True,
        )

    async def thread_copy_begin(self, source: str, target: str, operation_id: str, now: int) -> None:
        """Take the source's slot and make an invisible target. Raises `NotFound`, `Conflict`, `InsufficientStorage`."""
        await self._require_room()
        await self.writer.submit(operations.thread_copy_begin, source, target, operation_id, self.boot, now)

    async def thread_copy_step(
        self, source: str, target: str, operation_id: str, after: CopyPosition | None
    ) -> CopyPosition | None:
        """Copy some rows behind `after` and return how far it went; None when nothing is left. Raises `NotFound`."""
        return await self.writer.submit(operations.thread_copy_step, source, target, operation_id, after)

    async def thread_copy_end(self, source: str, target: str, operation_id: str, now: int) -> Thread:
        """Show the finished copy and free the slots. Raises `NotFound`."""
        return await self._shown(
            await self.writer.submit(
                operations.thread_copy_end, source, target, operation_id, now, promise=True
            )
        )

    async def thread_prune_step(self, thread_id: str, operation_id: str, kept: list[list[Any]]) -> int:
        """Remove some old checkpoints; return how many namespaces are done with, all: the slot is free. Raises `NotFound`."""
        return await self.writer.submit(operations.thread_prune_step, thread_id, operation_id, kept)

    # threads from elsewhere

    async def thread_import_begin(
        self, thread_id: str, metadata: dict[str, Any], operation_id: str, now: int
    ) -> bool:
        """Make an invisible thread; False: there is one already. Raises `InsufficientStorage`."""
        await self._require_room()
        return await self.writer.submit(
            imports.thread_import_begin, thread_id, metadata, operation_id, self.boot, now
        )

    async def thread_import_step(self, thread_id: str, operation_id: str, changes: list[list[Any]]) -> None:
        """Store some of its checkpoints and writes."""
        await self.writer.submit(imports.thread_import_step, thread_id, operation_id, changes)

    async def thread_import_end(
        self, thread_id: str, operation_id: str, projection: RunOutcome, created_at: int, updated_at: int
    ) -> None:
        """Show it."""
        await self.writer.submit(
            imports.thread_import_end,
            thread_id,
            operation_id,
            projection,
            created_at,
            updated_at,
            promise=True,
        )

    # runs

    async def run_create(
        self, request: RunRequest, *, claim: bool, early: Callable[[Created], None] | None = None
    ) -> Created:
        """
        Admit a run; see `runs.run_create`. Raises `NotFound`, `Conflict`, `InsufficientStorage`.

        `early` is called when the run is stored and not yet synced.
        """
        await self._require_room(request.once)
        return await self.writer.submit(runs.run_create, request, self.boot, claim, promise=True, early=early)

    async def runs_create_all(
        self,
        requests: Sequence[RunRequest],
        *,
        claim: int,
        early: Callable[[list[Created]], None] | None = None,
    ) -> list[Created]:
        """Admit all or none; see `runs.runs_create_all`. Raises what `run_create` raises; `early` as there."""
        await self._require_room(requests[0].once if requests else None)
        return await self.writer.submit(
            runs.runs_create_all, requests, self.boot, claim, promise=True, early=early
        )

    async def run_queue_place(self, thread_id: str, run_id: str) -> QueuePlace | None:
        """Return where a run of this thread stands among those that wait, or None."""
        rows = await self.readers.rows(runs.QUEUE_PLACE, (run_id, thread_id))
        if not rows:
            return None
        status, due_at, position, holder, suspect = rows[0]
        return QueuePlace(
            status=status, due_at=due_at, position=position, holder=holder, suspect=bool(suspect)
        )

    async def idempotency_sweep_step(self, before: int, rows: int) -> int:
        """Forget some requests that are older than `before`; return how many."""
        return await self.writer.submit(idempotency.idempotency_sweep_step, before, rows)

    async def run_get(self, thread_id: str, run_id: str) -> Run | None:
        """Return a run of this thread, or None."""
        rows = await self.readers.rows(
            f"{runs.SELECT} WHERE runs.run_id = ? AND runs.thread_id = ? AND threads.deleted_at IS NULL",
            (run_id, thread_id),
        )
        return runs.record(rows[0]) if rows else None

    async def run_get_anywhere(self, run_id: str) -> Run | None:
        """Return the run whatever its thread, or None."""
        rows = await self.readers.rows(
            f"{runs.SELECT} WHERE runs.run_id = ? AND threads.deleted_at IS NULL", (run_id,)
        )
        return runs.record(rows[0]) if rows else None

    async def runs_list(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        """Return a thread's runs, latest due time first."""
        sql, parameters = runs.list_statement(thread_id, status, limit, offset)
        return [runs.record(row) for row in await self.readers.rows(sql, parameters)]

    async def run_log_end(self, thread_id: str, run_id: str) -> tuple[bool, int | None] | None:
        """Return whether a run is active and the number of its last event; None: there is no such run."""
        rows = await self.readers.rows(RUN_LOG_END, (run_id, thread_id))
        return (bool(rows[0][0]), rows[0][1]) if rows else None

    async def runs_queue(self, now: int) -> Queue:
        """Return how many runs wait and execute."""
        (row,) = await self.readers.rows(queue.QUEUE, {"now": now})
        return queue.of_row(row)

    async def runs_active(self, status: str | None) -> list[tuple[str, str]]:
        """Return thread and run ids of all pending and running runs, or of those with one of these statuses."""
        statuses = ("pending", "running") if status is None else (status, status)
        rows = await self.readers.rows(RUNS_ACTIVE, statuses)
        return [(thread_id, run_id) for thread_id, run_id in rows]

    async def runs_claim_due(
        self, now: int, limit: int, suspects: int, besides: Collection[str] = ()
    ) -> Claimed:
        """Start due runs whose thread is free, none of `besides`."""
        return await self.writer.submit(
            runs.runs_claim_due, self.boot, now, limit, suspects, frozenset(besides)
        )

    async def run_park_if_running(self, run_id: str, attempt: int, *, died: bool, now: int) -> Run | None:
        """Make a running run pending again; None if it is not running in that attempt."""
        return await self.writer.submit(runs.run_park_if_running, run_id, attempt, died, now)

    async def run_cancel_if_active(
        self,
        run_id: str,
        action: str,
        error: dict[str, str],
        now: int,
    ) -> Run | None:
        """Store the wish to end a run; None if it has ended. Raises `Unconfirmed`."""
        return await self.writer.submit(runs.run_cancel_if_active, run_id, action, error, now, promise=True)

    async def run_delete(
        self,
        thread_id: str,
        run_id: str,
        now: int,
        end: Chunk,
        published: Callable[[Chunk], None],
    ) -> Run | None:
        """Remove a run's row and return it as it was; `published` if its end is stored."""

        def done(run: Run | None) -> None:
            if run is not None and runs.deletion_is_told(run):
                published(end)

        return await self.writer.submit(runs.run_delete, thread_id, run_id, now, end, promise=True, done=done)

    def run_finish_if_active(
        self,
        run_id: str,
        attempt: int,
        outcome: RunOutcome,
        end: Chunk,
        now: int,
        done: Callable[[bool], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """End a run (see `runs.run_finish_if_active`); `done` after the commit, else `failed`."""
        self.writer.post(
            runs.run_finish_if_active,
            run_id,
            attempt,
            outcome,
            end,
            now,
            done=done,
            failed=failed,
            promise=True,
        )

    def slot_release(
        self,
        thread_id: str,
        holder: str,
        done: Callable[[None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Free a thread's slot if this is its holder."""
        self.writer.post(slots.slot_release, thread_id, holder, done=done, failed=failed)

    async def run_checkpoints_delete(self, run_id: str) -> None:
        """Remove the checkpoints and writes that a run has made (the first half of a rollback)."""
        await self.writer.submit(checkpoint_sql.run_delete, run_id, promise=True)

    # crons

    async def cron_create(self, cron: Cron) -> Cron:
        """Store a cron, with its assistant resolved. Raises `NotFound` (assistant or thread)."""
        return await self.writer.submit(crons.cron_create, cron, promise=True)

    async def cron_find(self, cron_id: str) -> Cron | None:
        """Return the cron, or None."""
        rows = await self.readers.rows(crons.FIND, (cron_id,))
        return crons.record(rows[0]) if rows else None

    async def cron_update_if_current(self, cron: Cron) -> bool:
        """Store what has changed of the cron as it was at its revision; False if it has moved on or is gone."""
        return await self.writer.submit(crons.cron_update_if_current, cron, promise=True)

    async def cron_delete(self, cron_id: str) -> bool:
        """Remove a cron; False if there is none."""
        return await self.writer.submit(crons.cron_delete, cron_id, promise=True)

    async def cron_fire_if_current(
        self, firing: Firing, *, claim: bool, early: Callable[[Fired], None] | None = None
    ) -> Fired:
        """
        Take one date of a cron; see `crons.cron_fire_if_current`. Raises `InsufficientStorage`.

        `early` as for `run_create`.
        """
        if firing.request is not None:
            await self._require_room()
        return await self.writer.submit(
            crons.cron_fire_if_current, firing, self.boot, claim, promise=True, early=early
        )

    async def crons_due(self, now: int, limit: int, besides: Collection[str] = ()) -> list[Cron]:
        """Return up to `limit` crons that are due, the longest due first, none of `besides`."""
        rows = await self.readers.rows(crons.DUE, (now, wire.text(list(besides)), limit))
        return [crons.record(row) for row in rows]

    async def crons_next_date(self, now: int) -> int | None:
        """Return the first date after `now` at which a cron fires, None if there is none."""
        date: int | None = (await self.readers.rows(crons.NEXT, (now,)))[0][0]
        return date

    async def crons_search(self, wanted: CronSearch) -> list[Cron]:
        """Return up to `limit` + 1 crons (one more tells that there are more)."""
        return await self.scanner.read(crons.crons_search, wanted)

    async def crons_count(self, wanted: CronSearch) -> int:
        """Return how many crons a search finds, whatever its limits."""
        return await self.scanner.read(crons.crons_count, wanted)

    # webhooks

    async def webhooks_due(self, now: int, limit: int, besides: Collection[str] = ()) -> list[Delivery]:
        """Return what is owed and due, the longest due first, but for some hosts (as in URLs); without their logs."""
        parameters = (now, wire.text(list(besides)), limit)
        return [webhooks.record(row) for row in await self.readers.rows(webhooks.DUE, parameters)]

    async def webhooks_next_due(self, now: int) -> int | None:
        """Return when the next webhook is due that is not yet."""
        return (await self.readers.rows(webhooks.NEXT_DUE, (now,)))[0][0]  # type: ignore[no-any-return]

    async def webhook_values(self, run: Run) -> bytes | None:
        """Return the JSON of what a run has left: its result, or its thread's values; None when both are gone."""
        return await self._snapshots.read(webhooks.webhook_values, run)

    async def state_joined(self, thread_id: str, state: State | None) -> bytes | None:
        """Return the JSON of a state of this thread; None if there is none, or it has been removed meanwhile."""
        try:
            return None if state is None else await self.states.joined(thread_id, state)
        except Missing:
            return None

    async def webhook_attempt_end(
        self, delivery_id: str, made: Attempt, due_at: int | None, *, delivered: bool
    ) -> bool:
        """Note how an attempt has ended; see `webhooks.webhook_attempt_end`."""
        return await self.writer.submit(webhooks.webhook_attempt_end, delivery_id, made, due_at, delivered)

    async def webhook_owe_again(self, delivery_id: str, now: int) -> None:
        """Make a webhook owed again. Raises `NotFound`, `Conflict`."""
        await self.writer.submit(webhooks.webhook_owe_again, delivery_id, now, promise=True)

    async def webhook_get(self, delivery_id: str) -> Delivery:
        """Return a webhook with its log. Raises `NotFound`."""
        rows = await self.readers.rows(webhooks.ONE, (delivery_id,))
        if not rows:
            raise NotFound(f"Webhook {delivery_id} not found")
        return await self._with_log(webhooks.record(rows[0]))

    async def webhooks_of_run(self, thread_id: str, run_id: str) -> list[Delivery]:
        """Return a run's webhooks with their logs; a run that is gone may have some."""
        rows = await self.readers.rows(webhooks.OF_RUN, (run_id, thread_id))
        return [await self._with_log(webhooks.record(row)) for row in rows]

    async def _with_log(self, delivery: Delivery) -> Delivery:
        rows = await self.readers.rows(webhooks.LOG, (delivery.delivery_id,))
        return evolve(delivery, log=tuple(webhooks.attempt(row) for row in rows))

    async def webhooks_sweep_step(self, before: int, rows: int) -> int:
        """Forget some webhooks that are not owed any more; return how many."""
        return await self.writer.submit(webhooks.webhooks_sweep_step, before, rows)

    # what comes from workers: posted in the order of arrival, `done` runs after the commit

    def events_append(
        self,
        chunk: Chunk,
        done: Callable[[None], None],
        failed: Callable[[BaseException], None],
        chain: Chain | None = None,
    ) -> None:
        """Store a chunk of events; `failed` if it was not stored, or something before it in `chain` was not."""
        self.writer.post(events.append, chunk, done=done, failed=failed, weight=chunk.weight, chain=chain)

    def parts_store_if_running(
        self,
        thread_id: str,
        run_id: str,
        some: Sequence[Sequence[Any]],
        weight: int,
        done: Callable[[None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Store blobs of a state whose record follows."""
        self.writer.post(
            blobs.parts_store_if_running, thread_id, run_id, some, done=done, failed=failed, weight=weight
        )

    def checkpoint_apply(
        self,
        operation: list[Any],
        run_id: str,
        weight: int,
        done: Callable[[BaseException | None], None],
        chain: Chain,
    ) -> None:
        """
        Apply one of a run's checkpoint operations; `done` gets the error if it was not stored.

        With `chain` none is stored behind one that was not: what follows in its history would hang in the air.
        """
        self.writer.post(
            runs.run_checkpoint_apply, operation, run_id, done=done, failed=done, weight=weight, chain=chain
        )

    async def events_page(self, thread_id: str, after: int, run_id: str | None = None) -> list[Chunk]:
        """Return the next chunks behind `after`, of one run or of all, `EVENT_PAGE_BYTES` at most or one chunk."""
        parameters = {
            "thread_id": thread_id,
            "run_id": run_id,
            "after": after,
            "bytes": EVENT_PAGE_BYTES,
            "chunks": EVENT_PAGE_CHUNKS,
        }
        statement = events.PAGE if run_id is None else events.PAGE_OF_RUN
        return [events.chunk(row) for row in await self.readers.rows(statement, parameters)]

    async def chunk_joined(self, chunk: Chunk, kinds: Container[str] | None = None) -> Chunk:
        """
        Return a chunk whose records can be seen: with its whole states joined, those of records of some kinds or of all.

        Records with other states are left out.
        """
        if not chunk.parts:
            return chunk
        found: dict[int, bytes] = {}
        for number in chunk.needed(kinds):
            state = await self.state_joined(chunk.thread_id, chunk.parts[number])
            if state is None:
                log.error("a state in the log of thread %s was removed while it was read", chunk.thread_id)
            else:
                found[number] = state
        return chunk.whole(found)

    async def events_replay_start(self, thread_id: str, since: int) -> int | None:
        """Return the number of the first event of the thread's runs that are active or ended since then (µs)."""
        rows = await self.readers.rows(events.REPLAY_START, {"thread_id": thread_id, "since": since})
        return rows[0][0]  # type: ignore[no-any-return]

    async def runs_over_before_the_last(self, thread_id: str, after: int) -> list[str]:
        """Return the runs of a thread that have ended behind a number, but for the one that ended last."""
        return [
            run_id for (run_id,) in await self.readers.rows(events.OVER_BEFORE_THE_LAST, (thread_id, after))
        ]

    async def events_gap(self, thread_id: str, after: int) -> int | None:
        """Return up to which number a thread's events behind `after` are not kept any more; None: they are."""
        rows = await self.readers.rows(events.GAP, (thread_id, after))
        return rows[0][0] if rows else None

    async def run_events_gap(self, thread_id: str, run_id: str, after: int) -> tuple[int, int] | None:
        """Return the same of one run, and its attempt."""
        rows = await self.readers.rows(events.GAP_OF_RUN, (run_id, thread_id, after))
        return (rows[0][0], rows[0][1]) if rows else None

    async def threads_to_prune(
        self, before: int, behind: tuple[int, str], limit: int
    ) -> list[tuple[int, str]]:
        """Return threads that may have events of runs that ended before then (µs), in pages by the pair returned."""
        rows = await self.readers.rows(events.TO_PRUNE, (before, *behind, limit))
        return [(since, thread_id) for since, thread_id in rows]

    async def thread_events_prune_step(self, thread_id: str, before: int, rows: int) -> bool:
        """Remove some of a thread's events of runs that ended before then (µs); True when no more may go now."""
        return await self.writer.submit(events.prune_step, thread_id, before, rows)

    async def events_last(self, thread_id: str) -> tuple[int, int]:
        """Return number and time (ms) of the thread's newest event; zeros when there is none."""
        rows = await self.readers.rows(events.LAST, (thread_id,))
        return (rows[0][0], rows[0][1]) if rows else (0, 0)
