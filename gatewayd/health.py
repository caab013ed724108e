"""What is wrong with the server: checks that yield findings, for probes and operators.

A finding is *fatal* if the server does not accept runs because of it, or does not start them; a probe may
take a server with such findings out of service. The others are warnings: a server that serves is not to be
restarted because of them.

The checks are plain functions of the parts that they look at, so that a command can use those that need no
running daemon. `Health` makes all of them for a running one, at most once a second, however many ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final

from attrs import define, field, frozen

from gatewayd import loops, serving
from gatewayd import tasks as tasks_
from gatewayd.errors import GatewaydError
from gatewayd.storage import store
from gatewayd.supervisor import supervisor

KEPT_S: Final = 1.0
"""How long findings are told again before it is looked again."""
TRIAL_S: Final = 2.0
"""How long storage may take to store something and read something."""
LOCKED_S: Final = 1.0
"""How long another process may hold the database's lock."""
NO_WORKER_S: Final = 30.0
"""How long there may be no worker that takes runs: it loads the project, perhaps."""
FAILURES: Final = 2
"""
Errors of a loop in a row from which on it counts as down; after the first one it has not been called again
yet.
"""
GIVEN_UP_S: Final = 24 * 3600.0
"""How far back webhooks are counted that could not be delivered."""


@frozen
class Finding:
    """Something that is not as it should be."""

    check: str
    """What was looked at, in a word that stays the same."""
    detail: str
    """A sentence for the operator."""
    fatal: bool
    """The server accepts no runs, or starts none."""


def of_loops(known: Iterable[loops.Loop]) -> Iterator[Finding]:
    """Look for loops that have ended or keep failing."""
    for loop in known:
        if loop.down:
            lasting = loop.dead or loop.failures >= FAILURES
            detail = f"the loop {loop.name!r} is down: {loop.error}"
            yield Finding("loops", detail, fatal=loop.essential and lasting)


def of_files(changed: Iterable[str]) -> Iterator[Finding]:
    """Look whether the database's files are still those that are open."""
    for change in changed:
        yield Finding(
            "files", f"{change}: what is stored now is lost at the next start; restart the server", fatal=True
        )


def of_room(lacking: str | None) -> Iterator[Finding]:
    """Look whether anything new is admitted."""
    if lacking is not None:
        yield Finding("room", lacking, fatal=True)


def of_integrity(damage: str | None) -> Iterator[Finding]:
    """Look whether the database was found to be damaged."""
    if damage is not None:
        yield Finding("integrity", damage, fatal=True)


def of_lock(locked_s: float) -> Iterator[Finding]:
    """Look whether another process keeps the database from being written."""
    if locked_s > LOCKED_S:
        detail = f"another process has held the lock of the database for {locked_s:.0f} s"
        yield Finding("lock", detail, fatal=True)


def of_workers(workers: supervisor.Supervisor, now: float) -> Iterator[Finding]:
    """Look whether there is a worker that takes runs, and one that answers."""
    if workers.trouble:
        yield Finding("project", f"the project is not loaded: {workers.trouble}", fatal=True)
    if (idle_s := workers.not_taking_s()) > NO_WORKER_S:
        yield Finding("workers", f"no worker has been taking runs for {idle_s:.0f} s", fatal=True)
    for process in workers.processes:
        if process.blocked_since is not None:
            where = f" at {process.place}" if process.place else ""
            detail = f"worker {process.name} has been blocked{where} for {now - process.blocked_since:.0f} s"
            yield Finding("workers", detail, fatal=False)


def of_reload(trouble: str | None) -> Iterator[Finding]:
    """Look whether the project that is served is the one on the disk."""
    if trouble:
        yield Finding("reload", f"the last reload failed: {trouble}", fatal=False)


async def of_storage(storage: store.Storage) -> AsyncIterator[Finding]:
    """Look whether something can be stored and read."""
    try:
        async with asyncio.timeout(TRIAL_S):
            await storage.trial()
    except TimeoutError:
        yield Finding("storage", f"nothing could be stored within {TRIAL_S:g} s", fatal=True)
    except GatewaydError as error:
        yield Finding("storage", f"nothing can be stored or read: {error.detail}", fatal=True)
    except Exception as error:
        yield Finding(
            "storage", f"nothing can be stored or read: {type(error).__name__}: {error}", fatal=True
        )


async def of_webhooks(storage: store.Storage, now: int) -> AsyncIterator[Finding]:
    """Look for webhooks that could not be delivered."""
    try:
        given_up = await storage.webhooks_given_up(now - int(GIVEN_UP_S * 1e6))
    except GatewaydError:  # `of_storage` tells why
        return
    if given_up:
        detail = f"{given_up} webhooks of the last {GIVEN_UP_S / 3600:g} hours could not be delivered"
        yield Finding("webhooks", detail, fatal=False)


@define(eq=False)
class Health:
    """The findings about a running daemon."""

    storage: store.Storage
    workers: supervisor.Supervisor
    serving: serving.Serving
    loops: list[loops.Loop]
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    _found: list[Finding] = field(factory=list, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)
    _looking: asyncio.Task[list[Finding]] | None = field(default=None, init=False)
    _tasks: tasks_.Group = field(factory=lambda: tasks_.Group("health"), init=False)

    async def findings(self) -> list[Finding]:
        """Return what is wrong now, or was a moment ago."""
        if time.monotonic() - self._looked_at < KEPT_S:
            return self._found
        if self._looking is None:
            self._looking = self._tasks.spawn(self._look(), "look", awaited=True)
        return await asyncio.shield(self._looking)  # several wait for it; one of them may leave

    async def _look(self) -> list[Finding]:
        try:
            found = [*self._standing()]
            if not any(
                finding.check in {"lock", "integrity"} for finding in found
            ):  # nothing can be stored then
                found += [finding async for finding in of_storage(self.storage)]
            found += [finding async for finding in of_webhooks(self.storage, self.now())]
            self._found, self._looked_at = found, time.monotonic()
            return found
        finally:
            self._looking = None

    def _standing(self) -> Iterator[Finding]:
        """What is known without asking anything."""
        yield from of_integrity(self.storage.damage)
        yield from of_lock(self.storage.locked_s())
        yield from of_files(self.storage.changed_files())
        yield from of_room(self.storage.lacking_room())
        yield from of_loops(self.loops)
        yield from of_workers(self.workers, time.monotonic())
        yield from of_reload(self.serving.trouble)
