"""The connections to the one file: the writer's thread with group commit, and the readers.

The writer's thread is the only place that writes. See the package's docstring for the rules.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from attrs import define, field

from gatewayd import errors
from gatewayd.checkpointing import sql as checkpoint_sql
from gatewayd.storage import migrate
from gatewayd.storage.sqlite import space, wal

log = logging.getLogger(__name__)

T = TypeVar("T")

MINIMUM = (3, 38, 0)
"""RETURNING, STRICT and ->> are used."""

PRAGMAS = (
    "page_size = 4096",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    *wal.PRAGMAS,
    "cache_size = -32768",
    "temp_store = MEMORY",
)
"""Of the writing connection; page size and auto_vacuum count for a new file only."""

SLOW_BATCH_S = 0.25
"""A batch that takes longer is logged: everybody else waited for it."""


SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Brings a file's content to the disk; macOS has no fdatasync."""

UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,  # a quota, a limit for the size of files
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,  # no room for the index of the write-ahead log
    }
)
"""SQLite's codes for a file that can't be written or can't grow."""


class Unconfirmed(errors.InsufficientStorage):
    """What was asked for is stored, but the disk has not confirmed it; `result` is what there is to follow from it."""

    def __init__(self, detail: str, result: Any) -> None:
        super().__init__(detail)
        self.result = result


class FullDisk(errors.InsufficientStorage):
    """The file system has no room for what should be stored; nothing of it was."""


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the writing connection with the pragmas of design §3; transactions are begun by hand.

    Raises `BadConfiguration` if the file is none of ours, before anything in it is changed.
    """
    if sqlite3.sqlite_version_info < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise errors.BadConfiguration(
            f"SQLite {sqlite3.sqlite_version} is too old: at least {wanted} is needed"
        )
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        migrate.refuse_foreign(connection, path)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        checkpoint_sql.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def opened(path: Path) -> sqlite3.Connection:
    """Open the writing connection and bring the file to the newest version. Raises `BadConfiguration` and `FullDisk`."""
    try:
        connection = connect(path)
        try:
            migrate.migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise _translated(error) from error
    return connection


@define(eq=False)
class Chain:
    """Operations of which none is stored behind one that failed; the writer's thread alone looks at it."""

    error: BaseException | None = field(default=None, init=False)
    """Of the first that failed."""


@define(eq=False)
class _Operation:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    promise: bool
    weight: int
    future: asyncio.Future[Any] | None
    done: Callable[[Any], None] | None
    failed: Callable[[BaseException], None] | None = None
    early: Callable[[Any], None] | None = None
    chain: Chain | None = None
    result: Any = None
    error: BaseException | None = None

    def settle(self, loop_closed: bool) -> None:
        """Give the result to whoever waits; runs in the event loop."""
        if self.done is not None and self.error is None and not loop_closed:
            self.done(self.result)
        if self.future is None:
            if self.error is not None and self.failed is not None:
                self.failed(self.error)
            elif self.error is not None:
                log.error("an unattended operation failed: %s", self.function.__name__, exc_info=self.error)
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
    _queue: deque[_Operation] = field(factory=deque, init=False)
    _wake: threading.Condition = field(factory=threading.Condition, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _closing: bool = field(default=False, init=False)
    _path: Path = field(init=False)
    _log_file: int | None = field(default=None, init=False)
    """Descriptor of the write-ahead log, for syncing."""
    _settled: list[Callable[[], None]] = field(factory=list, init=False)
    _trimmer: wal.Trimmer | None = field(default=None, init=False)
    space: space.Space = field(init=False)
    """What the file takes, as of the last batch."""

    def start(self) -> None:
        """Start the thread; results are delivered into the running event loop."""
        self._loop = asyncio.get_running_loop()
        self.space = space.measure(self.connection)
        self._path = Path(self.connection.execute("PRAGMA database_list").fetchone()[2])
        self._trimmer = wal.Trimmer(self._path)
        self._trimmer.start()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def on_settled(self, call: Callable[[], None]) -> None:
        """Call `call` in the event loop after each batch (the channel resumes reading by it)."""
        self._settled.append(call)

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        promise: bool = False,
        early: Callable[[T], None] | None = None,
        done: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        """
        Queue `function(connection, *args)`; the future gets its result after the commit, and the sync of a promise.

        `early(result)` of a promise is called in the event loop after the commit already: what may begin before the sync.
        `done(result)` is called as for `post`, before the future has it.
        """
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._put(_Operation(function, args, promise, 0, future, done, early=early))
        return future

    def post(
        self,
        function: Callable[..., T],
        *args: Any,
        done: Callable[[T], None],
        weight: int = 0,
        promise: bool = False,
        failed: Callable[[BaseException], None] | None = None,
        chain: Chain | None = None,
    ) -> None:
        """
        Queue like `submit`; `done(result)` is called in the event loop, before anything queued later is settled.

        Behind an operation of a `chain` that failed, none of it is stored: it fails with the same error.
        """
        self._put(_Operation(function, args, promise, weight, None, done, failed, chain=chain))

    def _put(self, operation: _Operation) -> None:
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

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                batch = list(self._queue)
                self._queue.clear()
            if batch:
                self._run(batch)
                self._deliver(batch)
            elif self._closing:
                break
        if self._trimmer is not None:
            self._trimmer.close()
        try:
            self.connection.execute("PRAGMA optimize")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.warning("the write-ahead log was not truncated: %s", error)
        if self._log_file is not None:
            os.close(self._log_file)
        self.connection.close()

    def _run(self, batch: list[_Operation]) -> None:
        started = time.perf_counter()
        failure = self._run_together(batch)
        if isinstance(failure, FullDisk) and len(batch) > 1:
            # One that is too large must not take the others with it; their order stays.
            for operation in batch:
                operation.error = operation.result = None
                self._run_together([operation])
                _break([operation])
        else:
            _break(batch)
        self.space = space.measure(self.connection, self.space)
        if self._trimmer is not None:
            self._trimmer.after_batch(self.connection)
        self.batches += 1
        self.operations += len(batch)
        taken = time.perf_counter() - started
        self.busy_s += taken
        self.longest_s = max(self.longest_s, taken)
        if taken > SLOW_BATCH_S:
            names = sorted({operation.function.__name__ for operation in batch})
            log.warning("a batch of %d operations took %.3f s: %s", len(batch), taken, ", ".join(names))

    def _run_together(self, batch: list[_Operation]) -> BaseException | None:
        """Run operations in one transaction; return why none of them is stored, or None."""
        execute = self.connection.execute
        whole = {each.chain for each in batch if each.chain is not None and each.chain.error is None}
        try:
            execute("BEGIN IMMEDIATE")
            for operation in batch:
                self._run_one(operation)
            execute("COMMIT")
        except BaseException as error:  # the batch as a whole: nothing of it is stored
            failure = _translated(error)
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
        if any(operation.promise for operation in batch):
            self._keep_promises(batch)
        return None

    def _keep_promises(self, batch: list[_Operation]) -> None:
        """Have a committed batch survive the loss of power, as synchronous=FULL would; meanwhile what may begins."""
        if early := [each for each in batch if each.early is not None and each.error is None]:
            self._tell(self._begin, early)
        try:
            if self._log_file is None:
                self._log_file = os.open(f"{self._path}-wal", os.O_RDWR)
            SYNC(self._log_file)
        except OSError as error:
            log.critical("what is stored may not survive the loss of power: %s", error)
            detail = f"the disk did not confirm what was stored: {error}"
            # It is committed, and everybody sees it: `done` is called as ever (who would store it anew would find it
            # done, and tell nobody), only who waits for the promise itself does not get it.
            for operation in batch:
                if operation.promise and operation.future is not None and operation.error is None:
                    operation.error = Unconfirmed(detail, operation.result)

    def _begin(self, batch: list[_Operation]) -> None:
        for operation in batch:
            assert operation.early is not None
            try:
                operation.early(operation.result)
            except Exception:
                log.exception("what follows the operation %s failed", operation.function.__name__)

    def _run_one(self, operation: _Operation) -> None:
        if operation.chain is not None and operation.chain.error is not None:
            operation.error = operation.chain.error
            return
        execute = self.connection.execute
        execute("SAVEPOINT operation")
        try:
            operation.result = operation.function(self.connection, *operation.args)
        except BaseException as error:
            if not self.connection.in_transaction:
                raise  # SQLite itself has rolled everything back (disk full, I/O error)
            execute("ROLLBACK TO operation")
            operation.error = _translated(error)
            _break([operation])
        execute("RELEASE operation")

    def _deliver(self, batch: list[_Operation]) -> None:
        self._tell(self._settle, batch)

    def _tell(self, call: Callable[[list[_Operation]], None], batch: list[_Operation]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, batch)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    def _settle(self, batch: list[_Operation]) -> None:
        assert self._loop is not None
        for operation in batch:
            self.backlog -= operation.weight
            try:
                operation.settle(self._loop.is_closed())
            except Exception:
                log.exception("what follows the operation %s failed", operation.function.__name__)
        for call in self._settled:
            call()


WriterFactory = Callable[[sqlite3.Connection], Writer]
"""Makes the writer of an open connection."""


def _break(batch: Iterable[_Operation]) -> None:
    """Have nothing stored of a chain behind an operation that failed."""
    for operation in batch:
        if operation.chain is not None and operation.chain.error is None:
            operation.chain.error = operation.error


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in UNWRITABLE:
        full = FullDisk(f"the disk is full ({error}): nothing was stored; try again when there is room")
        full.__cause__ = error
        return full
    return error


@define(eq=False)
class Readers:
    """Read-only connections, handed out in turn; each query is one short read of a whole small result."""

    path: Path
    count: int = 2
    _connections: list[aiosqlite.Connection] = field(factory=list, init=False)
    _turn: int = field(default=0, init=False)

    async def open(self) -> None:
        """Open the connections; the file must exist."""
        for _ in range(self.count):
            connection = await aiosqlite.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)
            await connection.execute("PRAGMA query_only = ON")
            await connection.execute("PRAGMA busy_timeout = 5000")
            await connection.execute("PRAGMA cache_size = -16384")
            self._connections.append(connection)

    async def rows(
        self, sql: str, parameters: Iterable[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return all rows of one statement."""
        self._turn = (self._turn + 1) % len(self._connections)
        rows = await self._connections[self._turn].execute_fetchall(sql, parameters)
        return rows  # type: ignore[return-value]  # without a row factory rows are tuples

    async def close(self) -> None:
        """Close the connections; their threads end."""
        while self._connections:
            await self._connections.pop().close()
