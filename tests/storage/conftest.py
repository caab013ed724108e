"""Storage as every backend has to keep it: real files, a clock that moves, and one operation after the other.

`sqlite/` beside these tests has what is promised of SQLite's own tables, files and statements.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gatewayd import ids
from gatewayd.checkpointing import commands
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.caller import INTERNAL
from gatewayd.model.cron import Cron, Firing
from gatewayd.model.event import Chunk, Draft, draft
from gatewayd.model.run import Run, RunOutcome, RunRequest
from gatewayd.model.thread import Thread
from gatewayd.storage import opening, store
from tests import making


@define(eq=False)
class Asked:
    """
    The operations of storage, each called as a function that returns when it is done.

    The caller is INTERNAL. What an operation tells by `on_stored` and `on_error` is returned and raised.
    """

    runner: asyncio.Runner
    storage: store.Storage

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self._ask, name)

    def _ask(self, name: str, *args: Any, **named: Any) -> Any:
        parameters = inspect.signature(getattr(store.Storage, name)).parameters
        caller = (INTERNAL,) if "whose" in parameters else ()
        return self.runner.run(self._done(name, "on_stored" in parameters, *caller, *args, **named))

    async def _done(self, name: str, calls_back: bool, *args: Any, **named: Any) -> Any:
        operation = getattr(self.storage, name)
        if not calls_back:
            return await operation(*args, **named)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if "chain" in named:  # it tells its failure by `on_stored`, too
            operation(*args, done.set_result, **named)
        else:
            operation(*args, done.set_result, done.set_exception, **named)
        return await done


@define(eq=False)
class Desk:
    """Storage at one boot after the other; the clock moves with every request."""

    path: Path
    runner: asyncio.Runner
    now: int = making.START
    _boots: list[store.Storage] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()
        self.ask.system_assistants_sync({"chat": None, "other": None}, self.now)

    @property
    def storage(self) -> store.Storage:
        return self._boots[-1]

    @property
    def ask(self) -> Asked:
        return Asked(self.runner, self.storage)

    def restart(self) -> None:
        """Begin the next boot, as after the death of the daemon: the boot before has not ended."""
        self._boots.append(self.runner.run(opening.open_storage(self.path, self.tick(), os.getpid(), "test")))

    def close(self) -> None:
        while self._boots:
            self.runner.run(self._boots.pop().close(self.now))

    def tick(self) -> int:
        self.now += 1000
        return self.now

    # what is made

    def thread(self, **metadata: Any) -> str:
        thread_id = ids.new_id()
        self.ask.thread_create(thread_id, metadata, do_nothing=False, now=self.tick())
        return thread_id

    def request(self, thread_id: str | None, **changes: Any) -> RunRequest:
        fields = {"thread_id": thread_id, "if_not_exists": "reject", "received_at": self.tick()}
        return making.run_request(**(fields | changes))

    def admit(self, thread_id: str | None, *, claim: bool = False, **changes: Any) -> store.CreatedRun:
        created: store.CreatedRun = self.ask.run_create(self.request(thread_id, **changes), claim=claim)
        return created

    def create(self, thread_id: str | None, *, claim: bool = False, **changes: Any) -> str:
        return self.admit(thread_id, claim=claim, **changes).run.run_id

    def cron(self, thread_id: str | None = None, **changes: Any) -> Cron:
        """Store a cron that is due a minute from now."""
        fields = {"thread_id": thread_id, "created_at": self.tick()}
        created: Cron = self.ask.cron_create(making.cron(**(fields | changes)))
        return created

    # what happens to it

    def claim(self, limit: int = 10, suspects: int = 2, except_runs: Collection[str] = ()) -> list[str]:
        return [run.run_id for run in self.ask.runs_claim_due(self.now, limit, suspects, except_runs).taken]

    def requeue(self, run_id: str, attempt: int | None = None, *, died: bool = False) -> Run | None:
        attempt = self.run(run_id).attempt if attempt is None else attempt
        requeued: Run | None = self.ask.run_requeue_if_running(run_id, attempt, died=died, now=self.tick())
        return requeued

    def cancel(self, run_id: str, action: str = "interrupt", message: str = "stop") -> Run | None:
        error = {"error": "UserInterrupt", "message": message}
        cancelled: Run | None = self.ask.run_cancel_if_active(run_id, action, error, self.tick())
        return cancelled

    def end(self, run_id: str, outcome: RunOutcome, attempt: int = 0) -> Chunk | None:
        """End a run; return its last events, None if it was not ended."""
        last = making.end(self.run(run_id).thread_id, run_id, self.now)
        ended: Chunk | None = self.ask.run_finish_if_active(run_id, attempt, outcome, last, self.tick())
        return ended

    def finish(self, run_id: str, status: Any = "success", attempt: int = 0, **outcome: Any) -> bool:
        return self.end(run_id, RunOutcome(status=status, **outcome), attempt) is not None

    def delete(self, thread_id: str, run_id: str) -> store.DeletedRun | None:
        last = making.end(thread_id, run_id, self.now)
        deleted: store.DeletedRun | None = self.ask.run_delete(
            thread_id, run_id, self.tick(), last, lambda _: None
        )
        return deleted

    def draft(self, thread_id: str, run_id: str, items: list[Any]) -> Draft:
        return draft(thread_id, run_id, self.now // 1000, items)

    def emit(self, thread_id: str, run_id: str, *items: Any) -> Chunk:
        made = self.draft(thread_id, run_id, list(items) or [("values", "", 1, b"{}")])
        chunk: Chunk = self.ask.events_append(made)
        return chunk

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
        """Apply one of a run's checkpoint operations; return why it was refused."""
        refusal: BaseException | None = self.ask.checkpoint_apply(operation, run_id, 1, chain=store.Chain())
        return refusal

    def fire(self, cron: Cron, *, claim: bool = False, **changes: Any) -> store.FiredCron:
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

    def take(self, firing: Firing, *, claim: bool = False) -> store.FiredCron:
        fired: store.FiredCron = self.ask.cron_fire_if_current(firing, claim=claim)
        return fired

    # what can be seen of it

    def run(self, run_id: str) -> Run:
        found = self.stored(run_id)
        assert found is not None
        return found

    def stored(self, run_id: str) -> Run | None:
        found: Run | None = self.ask.run_get_anywhere(run_id)
        return found

    def runs(self, thread_id: str) -> dict[str, str]:
        """Run ids of a thread with their statuses."""
        listed = self.ask.runs_list(thread_id, status=None, limit=1000, offset=0)
        return {run.run_id: run.status for run in listed}

    def look(self, thread_id: str) -> Thread:
        found: Thread = self.ask.thread_get(thread_id)
        return found

    def exists(self, thread_id: str) -> bool:
        return bool(self.ask.threads_count(store.ThreadSearch(ids=[thread_id])))

    def events(self, thread_id: str, after: int = 0, run_id: str | None = None) -> list[Chunk]:
        found: list[Chunk] = []
        while page := self.ask.events_page(thread_id, found[-1].last_seq if found else after, run_id):
            found += page
        return found

    def holder(self, thread_id: str) -> str | None:
        """Return the run that holds the thread's lock, or "operation" for any operation."""
        try:
            self.ask.thread_lock_acquire_for_operation(thread_id, "looks who holds it")
        except Conflict as conflict:
            return conflict.detail.partition("in-flight runs: [")[2].removesuffix("]") or "operation"
        except NotFound:
            return None
        self.ask.thread_locks_release("looks who holds it")
        return None

    def image(self, thread_id: str) -> tuple[Any, ...]:
        """Return all that can be seen of a thread."""
        chunks = [
            (chunk.run_id, chunk.first_seq, chunk.last_seq, chunk.packed) for chunk in self.events(thread_id)
        ]
        runs = self.ask.runs_list(thread_id, status=None, limit=1000, offset=0)
        return self.look(thread_id), runs, chunks, self.holder(thread_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gatewayd.sqlite"


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    with asyncio.Runner() as runner:
        made = Desk(path, runner)
        yield made
        made.close()


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[store.Storage]:
    opened = await opening.open_storage(path, making.START, os.getpid(), "test")
    await opened.system_assistants_sync({"chat": None, "other": None}, making.START)
    yield opened
    await opened.close(making.START)
