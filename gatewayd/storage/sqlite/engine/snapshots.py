"""Reads of several statements on one snapshot, in threads of their own, since they may take long."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from attrs import define, field

from gatewayd.storage.sqlite.engine import failures

T = TypeVar("T")


@define(eq=False)
class SnapshotReader:
    """Runs functions of a read-only connection, each in one read transaction."""

    damage: failures.Damage
    count: int = 2
    on_statement: Callable[[str], None] | None = None
    """Called with every statement; for tests."""
    prepare: Callable[[sqlite3.Connection], None] | None = None
    """Called with every connection that is opened."""
    _pool: ThreadPoolExecutor = field(init=False)
    _local: threading.local = field(factory=threading.local, init=False)
    _connections: list[sqlite3.Connection] = field(factory=list, init=False)

    @_pool.default
    def _make_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.count, thread_name_prefix="scanner")

    async def read(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """
        Return `function(connection, *args, **named)`. Raises `Unavailable` if the database can't be read now.
        """
        work = functools.partial(function, **named) if named else function
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work, *args)

    def _read(self, function: Callable[..., T], *args: Any) -> T:
        with self.damage.translating():
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                return function(connection, *args)
            finally:
                if connection.in_transaction:  # an I/O error may have ended it
                    connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(
                f"file:{self.damage.path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._connections.append(connection)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("PRAGMA cache_size = -16384")
            if self.prepare is not None:
                self.prepare(connection)
            connection.set_trace_callback(self.on_statement)
        return connection

    async def close(self) -> None:
        """Wait for what is being read and close the connections. May be called twice."""
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        while self._connections:
            self._connections.pop().close()
