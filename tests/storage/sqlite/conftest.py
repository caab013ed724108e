"""A real database file in every test, and a desk from which the operations on it are asked for."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from gatewayd import ids
from gatewayd.checkpointing import commands
from gatewayd.errors import GatewaydError
from gatewayd.model.cron import Cron, Firing
from gatewayd.model.event import Chunk, Draft, draft
from gatewayd.model.run import Run, RunOutcome, RunRequest
from gatewayd.model.thread import Thread
from gatewayd.storage import opening, store
from gatewayd.storage.sqlite import admission, assistants, boots, crons, events, runs, threads
from gatewayd.storage.sqlite.engine import database, migrate
from tests import making


@define(eq=False)
class Desk:
    """
    Asks for operations one by one, each in a transaction of its own, at a clock that moves with every
    request.
    """

    connection: sqlite3.Connection
    now: int = making.START
    boot: int = 0

    def __attrs_post_init__(self) -> None:
        self.restart()
        assistants.system_assistants_sync(self.connection, {"chat": None, "other": None}, self.now)

    def restart(self) -> None:
        """Begin the next boot on the file."""
        self.boot = boots.boot_begin(self.connection, self.tick(), 1, "test")

    def tick(self) -> int:
        self.now += 1000
        return self.now

    def thread(self, **metadata: Any) -> str:
        thread_id = ids.new_id()
        threads.thread_create(self.connection, thread_id, metadata, False, self.tick())
        return thread_id

    def request(self, thread_id: str | None, **changes: Any) -> RunRequest:
        fields = {"thread_id": thread_id, "if_not_exists": "reject", "received_at": self.tick()}
        return making.run_request(**(fields | changes))

    def admit(self, thread_id: str | None, *, claim: bool = False, **changes: Any) -> admission.CreatedRun:
        return admission.run_create(self.connection, self.request(thread_id, **changes), self.boot, claim)

    def create(self, thread_id: str | None, *, claim: bool = False, **changes: Any) -> str:
        return self.admit(thread_id, claim=claim, **changes).run.run_id

    def claim(
        self, limit: int = 10, suspects: int = 2, except_runs: frozenset[str] = frozenset()
    ) -> list[str]:
        found = runs.runs_claim_due(self.connection, self.boot, self.now, limit, suspects, except_runs)
        return [run.run_id for run in found.taken]

    def requeue(self, run_id: str, attempt: int | None = None, *, died: bool = False) -> Run | None:
        attempt = self.run(run_id).attempt if attempt is None else attempt
        return runs.run_requeue_if_running(self.connection, run_id, attempt, died, self.tick())

    def cancel(self, run_id: str, action: str = "interrupt", message: str = "stop") -> Run | None:
        error = {"error": "UserInterrupt", "message": message}
        return runs.run_cancel_if_active(self.connection, run_id, action, error, self.tick())

    def finish(self, run_id: str, status: Any = "success", attempt: int = 0, **outcome: Any) -> bool:
        thread_id = self.run(run_id).thread_id
        end = making.end(thread_id, run_id, self.now)
        done = RunOutcome(status=status, **outcome)
        ended = runs.run_finish_if_active(self.connection, run_id, attempt, done, end, self.tick())
        return ended is not None

    def draft(self, thread_id: str, run_id: str, items: list[Any]) -> Draft:
        return draft(thread_id, run_id, self.now // 1000, items)

    def emit(self, thread_id: str, run_id: str, *items: Any) -> Chunk:
        made = self.draft(thread_id, run_id, list(items) or [("values", "", 1, b"{}")])
        return events.append(self.connection, made)

    def checkpoint(self, run_id: str, checkpoint_id: str, parent: str | None = None) -> BaseException | None:
        thread_id = self.run(run_id).thread_id
        operation = commands.put(thread_id, "", checkpoint_id, parent, "msgpack", b"state", "{}")
        return self.apply(operation, run_id)

    def write(self, run_id: str, checkpoint_id: str, task_id: str = "task") -> BaseException | None:
        thread_id = self.run(run_id).thread_id
        values = [(0, "channel", 1, "msgpack", run_id.encode())]
        operation = commands.writes(thread_id, "", checkpoint_id, task_id, "path", values)
        return self.apply(operation, run_id)

    def apply(self, operation: list[Any], run_id: str) -> BaseException | None:
        """Apply an operation as the writer does; return why it was refused."""
        self.connection.execute("SAVEPOINT operation")
        try:
            runs.run_checkpoint_apply(self.connection, operation, run_id)
        except GatewaydError as error:
            self.connection.execute("ROLLBACK TO operation")
            return error
        finally:
            self.connection.execute("RELEASE operation")
        return None

    def cron(self, thread_id: str | None = None, **changes: Any) -> Cron:
        """Store a cron that is due a minute from now."""
        fields = {"thread_id": thread_id, "created_at": self.tick()}
        return crons.cron_create(self.connection, making.cron(**(fields | changes)))

    def fire(self, cron: Cron, *, claim: bool = False, **changes: Any) -> crons.FiredCron:
        """Take the cron's date, as the ticker does when it has come."""
        return self.take(self.firing(cron, **changes), claim=claim)

    def firing(self, cron: Cron, **changes: Any) -> Firing:
        """Return what the ticker asks for when the cron's date has come."""
        assert cron.next_run_date is not None
        self.now = max(self.now, cron.next_run_date)
        metadata = {"cron": cron.cron_id}
        fields: dict[str, Any] = {
            "cron_id": cron.cron_id,
            "revision": cron.revision,
            "due": cron.next_run_date,
            "now": self.now,
            "request": self.request(cron.thread_id, assistant=cron.assistant_id, metadata=metadata),
            "next_run_date": cron.next_run_date + 60_000_000,
        }
        return Firing(**(fields | changes))

    def take(self, firing: Firing, *, claim: bool = False) -> crons.FiredCron:
        return crons.cron_fire_if_current(self.connection, firing, self.boot, claim)

    def run(self, run_id: str) -> Run:
        found = runs.run_find(self.connection, run_id)
        assert found is not None
        return found

    def runs(self, thread_id: str) -> dict[str, str]:
        """Run ids of a thread with their statuses."""
        return dict(self.fetch("SELECT run_id, status FROM runs WHERE thread_id = ?", thread_id))

    def look(self, thread_id: str) -> Thread:
        found = threads.thread_find(self.connection, thread_id)
        assert found is not None
        return found

    def holder(self, thread_id: str) -> str | None:
        rows = self.fetch("SELECT holder FROM thread_locks WHERE thread_id = ?", thread_id)
        return rows[0][0] if rows else None

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters).fetchall()

    def rows_of(self, thread_id: str) -> dict[str, int]:
        """
        Number of rows of a thread in every table that goes with threads; what is owed to webhooks does not.
        """
        return {
            table: self.fetch(f"SELECT count(*) FROM {table} WHERE thread_id = ?", thread_id)[0][0]
            for (table,) in self.fetch(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'webhooks'"
            )
            if any(column[1] == "thread_id" for column in self.fetch(f"PRAGMA table_info({table})"))
        }

    def dump(self, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
        return {table: self.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in tables}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gatewayd.sqlite"


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    connection = database.connect(path)
    migrate.migrate(connection, path)
    yield Desk(connection)
    connection.close()


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[store.Storage]:
    opened = await opening.open_storage(path, making.START, os.getpid(), "test")
    await opened.system_assistants_sync({"chat": None, "other": None}, making.START)
    yield opened
    await opened.close(making.START)


@pytest.fixture
def second(path: Path) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Return a function that reads the file as another process would: only what is committed."""
    made: list[sqlite3.Connection] = []

    def fetch(sql: str) -> list[tuple[Any, ...]]:
        if not made:
            made.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        return made[0].execute(sql).fetchall()

    yield fetch
    for connection in made:
        connection.close()
