"""
The writer's thread: operations in one queue, all that wait in one transaction. See the package above for the
rules.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from gatewayd import errors
from gatewayd import loops as loops_
from gatewayd.storage.events import Chain
from gatewayd.storage.retention import Space
from gatewayd.storage.sqlite.engine import failures, numbering, space, syncing, wal

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOW_BATCH_S = 0.25
"""A batch that takes longer is logged: all others waited for it."""
LOCK_TRY_MS = 50
"""How long SQLite waits for another process's lock at each try."""
LOCK_PATIENCE_S = 5.0
"""
How long requests wait for another process's lock, from when it was first met; those that come later wait no
longer.
"""
LOCK_GLANCE_S = 0.2
"""How long a request waits at least."""


class _Entangled(Exception):
    """
    An operation has failed behind rows that it had changed already: its transaction can't be kept as it is.
    """


@define(eq=False)
class Operation:
    """One that waits for its transaction, and what is to be called when it is stored."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    promise: bool
    weight: int
    future: asyncio.Future[Any] | None
    on_stored: Callable[[Any], None] | None
    on_error: Callable[[BaseException], None] | None = None
    on_commit: Callable[[Any], None] | None = None
    chain: Chain | None = None
    result: Any = None
    error: BaseException | None = None
    asked_at: float = field(factory=time.monotonic)

    @property
    def name(self) -> str:
        """The name of its function, for the log."""
        function = self.function
        return function.func.__name__ if isinstance(function, functools.partial) else function.__name__

    def settle(self, loop_closed: bool) -> None:
        """Give the result to its caller; runs in the event loop."""
        committed = self.error is None or isinstance(self.error, errors.Unconfirmed)
        if self.on_stored is not None and committed and not loop_closed:
            self.on_stored(self.result)
        if self.future is None:
            if self.error is not None and self.on_error is not None:
                self.on_error(self.error)
            elif self.error is not None:
                log.error("an unattended operation failed: %s", self.name, exc_info=self.error)
        elif not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.result)


@define(eq=False)
class Writer:
    """The thread that writes. `submit` may be called from the event loop that started it."""

    connection: sqlite3.Connection
    backlog: int = field(default=0, init=False)
    """Weight (bytes) of the operations that have been submitted and not yet settled."""
    batches: int = field(default=0, init=False)
    operations: int = field(default=0, init=False)
    busy_s: float = field(default=0.0, init=False)
    """Seconds that all batches took."""
    longest_s: float = field(default=0.0, init=False)
    """Seconds that the longest of them took."""
    locked_since: float | None = field(default=None, init=False)
    """When another process's lock was met, by time.monotonic(); None: there is none in the way."""
    damage: failures.Damage = field(init=False)
    """What is known of damage to the file; shared with those who read it."""
    loops: list[loops_.Loop] = field(init=False)
    """The threads of the writer, its syncer and its trimmer."""
    _queue: deque[Operation] = field(factory=deque, init=False)
    _wake: threading.Condition = field(factory=threading.Condition, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _closing: bool = field(default=False, init=False)
    _settled: list[Callable[[], None]] = field(factory=list, init=False)
    _trimmer: wal.Trimmer = field(init=False)
    syncer: syncing.Syncer[list[Operation]] = field(init=False)
    space: Space = field(init=False)
    """What the file takes, as of the last batch."""

    @damage.default
    def _make_damage(self) -> failures.Damage:
        return failures.Damage(Path(self.connection.execute("PRAGMA database_list").fetchone()[2]))

    def start(self) -> None:
        """Start the thread; results are delivered into the running event loop."""
        self._loop = asyncio.get_running_loop()
        self.space = space.measure(self.connection)
        self.connection.execute(f"PRAGMA busy_timeout = {LOCK_TRY_MS}")
        self._trimmer = wal.Trimmer(self.damage)
        self.syncer = syncing.Syncer(self.damage.path, self._confirmed)
        self._trimmer.start()
        self.syncer.start()
        loop = loops_.Loop("writer", essential=True)
        self.loops = [loop, self.syncer.loop, self._trimmer.loop]
        self._thread = loops_.in_thread(loop, lambda: self._work(loop.turned), self._over, self._pause)
        self._thread.start()

    def on_settled(self, call: Callable[[], None]) -> None:
        """Call `call` in the event loop after each batch (the channel resumes reading by it)."""
        self._settled.append(call)

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        promise: bool = False,
        on_commit: Callable[[T], None] | None = None,
        on_stored: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        """
        Queue `function(connection, *args)`; the future gets its result after the commit, and the sync of a
        promise.

        `on_commit(result)` of a promise is called in the event loop after the commit already: what may begin
        before the sync. `on_stored(result)` is called as for `post`, before the future has it.
        """
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._put(Operation(function, args, promise, 0, future, on_stored, on_commit=on_commit))
        return future

    def post(
        self,
        function: Callable[..., T],
        *args: Any,
        on_stored: Callable[[T], None],
        weight: int = 0,
        promise: bool = False,
        on_error: Callable[[BaseException], None] | None = None,
        chain: Chain | None = None,
    ) -> None:
        """
        Queue like `submit`; `on_stored(result)` is called in the event loop, before anything queued later is
        settled.

        Behind an operation of a `chain` that failed, none of it is stored: it fails with the same error.
        """
        self._put(Operation(function, args, promise, weight, None, on_stored, on_error, chain=chain))

    def _put(self, operation: Operation) -> None:
        with self._wake:
            if self._closing:
                raise errors.Unavailable("the server is stopping")
            self._queue.append(operation)
            self.backlog += operation.weight
            self._wake.notify()

    async def close(self) -> None:
        """Write what is queued, truncate the WAL and close the connection. May be called twice."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.get_running_loop().run_in_executor(None, thread.join)

    # the thread

    def _over(self) -> bool:
        return self._closing

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closing, seconds)

    def _work(self, turned: loops_.Turned) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                batch = list(self._queue)
                self._queue.clear()
            if batch:
                self._write(batch)
                turned()
            elif self._closing:
                break
        self.syncer.close()
        self._trimmer.close()
        if self.damage.found is None:
            try:
                self.connection.execute("PRAGMA optimize")
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                log.warning("the write-ahead log was not truncated: %s", error)
        self.connection.close()

    def _write(self, batch: list[Operation]) -> None:
        """Run a batch and answer its operations, even if it can't be run."""
        try:
            failure = self._run(batch)
            over = self._given_up(batch) if isinstance(failure, failures.Locked) else batch
        except BaseException as error:
            for operation in batch:
                operation.error = operation.error or error
            self._answer(batch)
            raise
        if over:
            self._answer(over)

    def _given_up(self, batch: list[Operation]) -> list[Operation]:
        """
        Return the operations of a locked-out batch that have waited long enough; the others are queued again,
        in front.

        An operation that no request waits for, such as the events of a run, waits for as long as the lock is
        held: the worker's window bounds it. Requests don't, and once a lock is known to be held for long they
        hardly wait at all.
        """
        now = time.monotonic()
        if self.locked_since is None:
            self.locked_since = now
            log.warning("another process holds the lock of the database; what is to be stored waits")
        over: list[Operation] = []
        kept: list[Operation] = []
        for each in batch:
            patient = each.future is None and not self._closing
            deadline = max(self.locked_since + LOCK_PATIENCE_S, each.asked_at + LOCK_GLANCE_S)
            (kept if patient or now < deadline else over).append(each)
        _renew(kept)
        with self._wake:
            self._queue.extendleft(reversed(kept))
        return over

    def _unlocked(self) -> None:
        if self.locked_since is not None:
            log.warning(
                "the lock of the database was free after %.1f s", time.monotonic() - self.locked_since
            )
            self.locked_since = None

    def _run(self, batch: list[Operation]) -> BaseException | None:
        """
        Run operations in one transaction, or in several if need be; return why none of them is stored, or
        None.
        """
        started = time.perf_counter()
        failure = self._run_together(batch, savepoints=False)
        if isinstance(failure, _Entangled):
            _renew(batch)
            failure = self._run_together(batch, savepoints=True)
        if isinstance(failure, failures.Locked):  # nothing was begun
            return failure
        if isinstance(failure, errors.Damaged):  # reading goes on
            _renew(batch)
            failure = self._run_together(batch, savepoints=True)
        if isinstance(failure, failures.FullDisk) and len(batch) > 1:
            # One that is too large must not take the others with it; their order stays.
            for operation in batch:
                _renew([operation])
                self._run_together([operation], savepoints=True)
                _break([operation])
        else:
            _break(batch)
        self._trim()
        self.batches += 1
        self.operations += len(batch)
        taken = time.perf_counter() - started
        self.busy_s += taken
        self.longest_s = max(self.longest_s, taken)
        if taken > SLOW_BATCH_S:
            names = sorted({operation.name for operation in batch})
            log.warning("a batch of %d operations took %.3f s: %s", len(batch), taken, ", ".join(names))
        return failure

    def _trim(self) -> None:
        """
        Look after the write-ahead log and the counters; what goes wrong there must not become an error of
        what is stored.
        """
        if self.damage.found is not None:
            return
        try:
            self._trimmer.after_batch(self.connection)
            numbering.of(self.connection).shrink(self.connection)
        except Exception as error:
            log.error("the write-ahead log could not be looked after: %s", self.damage.translated(error))

    def _run_together(self, batch: list[Operation], *, savepoints: bool) -> BaseException | None:
        """Run operations in one transaction; return why none of them is stored, or None."""
        execute, before = self.connection.execute, self.space
        read_only = self.damage.found is not None
        whole = {
            operation.chain
            for operation in batch
            if operation.chain is not None and operation.chain.error is None
        }
        try:
            execute(self._begin())
            self._unlocked()
            for operation in batch:
                if savepoints:
                    execute("SAVEPOINT operation")
                    self._run_one(operation, lambda: execute("ROLLBACK TO operation"))
                    execute("RELEASE operation")
                else:
                    self._run_one(operation, None)
            self.space = space.measure(self.connection, self.space)  # dearer outside of a transaction
            if self.damage.found is not None and not read_only:
                raise errors.Damaged(self.damage.found)
            execute("COMMIT")
        except BaseException as error:  # the batch as a whole: nothing of it is stored
            failure = self._translated(error)
            self.space = before
            if self.connection.in_transaction:
                try:
                    self.connection.rollback()
                except sqlite3.Error:  # the next BEGIN fails, then, and so says every caller's error
                    log.exception("a transaction could not be rolled back")
            for chain in whole:
                chain.error = None
            for operation in batch:
                operation.error = operation.error or failure
            return failure
        return None

    def _begin(self) -> str:
        """Return the statement that begins a transaction: one that may write, unless the file is damaged."""
        if self.damage.found is None:
            return "BEGIN IMMEDIATE"
        self.connection.execute("PRAGMA query_only = ON")
        return "BEGIN"

    def _translated(self, error: BaseException) -> BaseException:
        ours = self.damage.translated(error)
        if isinstance(ours, failures.Unusable) and self.damage.found is not None:
            return errors.Damaged(self.damage.found)  # refused by `query_only`
        return ours

    def _run_one(self, operation: Operation, undo: Callable[[], object] | None) -> None:
        """
        Run an operation; if it fails, undo what it has done.

        Without `undo` that is possible only if it has changed nothing (most that fail find out before): else
        raises `_Entangled`.
        """
        if operation.chain is not None and operation.chain.error is not None:
            operation.error = operation.chain.error
            return
        changes = self.connection.total_changes
        try:
            operation.result = operation.function(self.connection, *operation.args)
        except BaseException as error:
            if not self.connection.in_transaction:
                raise  # SQLite itself has rolled everything back (disk full, I/O error)
            if undo is not None:
                undo()
            elif self.connection.total_changes != changes:
                raise _Entangled from error
            operation.error = self._translated(error)
            _break([operation])

    def _answer(self, batch: list[Operation]) -> None:
        """
        Have a batch that was run settled: when the disk has confirmed its promises, and after all those
        before it.

        What may begin before that is told at once.
        """
        if to_tell := [
            operation for operation in batch if operation.on_commit is not None and operation.error is None
        ]:
            self._tell(self._tell_committed, to_tell)
        promise = any(operation.promise and operation.error is None for operation in batch)
        if not self.syncer.take(batch, promise):
            self._deliver(batch)

    def _confirmed(self, batches: list[list[Operation]], error: Exception | None) -> None:
        """The disk has confirmed batches, or not (in the syncer's thread)."""
        batch = [operation for batch in batches for operation in batch]
        if error is not None:
            detail = f"the disk did not confirm what was stored: {error}"
            # It is committed and visible, so `on_stored` is called as ever: a caller that stored it again
            # would find it there and publish nothing. Only the promise itself is not kept.
            for operation in batch:
                if operation.promise and operation.future is not None and operation.error is None:
                    operation.error = errors.Unconfirmed(detail, operation.result)
        self._deliver(batch)

    def _tell_committed(self, batch: list[Operation]) -> None:
        for operation in batch:
            assert operation.on_commit is not None
            try:
                operation.on_commit(operation.result)
            except Exception:
                log.exception("what follows the operation %s failed", operation.name)

    def _deliver(self, batch: list[Operation]) -> None:
        self._tell(self._settle, batch)

    def _tell(self, call: Callable[[list[Operation]], None], batch: list[Operation]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, batch)
        except RuntimeError:  # the loop is closed: no request waits any more
            pass

    def _settle(self, batch: list[Operation]) -> None:
        assert self._loop is not None
        for operation in batch:
            self.backlog -= operation.weight
            try:
                operation.settle(self._loop.is_closed())
            except Exception:
                log.exception("what follows the operation %s failed", operation.name)
        for call in self._settled:
            call()


def _renew(batch: Iterable[Operation]) -> None:
    """Forget how a transaction has ended that is tried in another way."""
    for operation in batch:
        operation.error = operation.result = None


def _break(batch: Iterable[Operation]) -> None:
    """Have nothing stored of a chain behind an operation that failed."""
    for operation in batch:
        if operation.chain is not None and operation.chain.error is None:
            operation.chain.error = operation.error
