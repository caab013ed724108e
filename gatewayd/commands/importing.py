"""``gatewayd db import``: the threads of langgraph's SQLite saver, with their history, values, interrupts.

A thread that is there already is passed over by name, so a second import changes nothing and one that was cut
short is continued by repeating it. Threads whose ids are no UUIDs, which the API could not address, get one
that is derived from theirs, always the same; the old one stands in the thread's metadata
(`imported_thread_id`).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from gatewayd import datadir, ids, project, services, settings, tasks
from gatewayd.channel import messages
from gatewayd.errors import BadConfiguration, GatewaydError, RequestError
from gatewayd.storage import offline, store
from gatewayd.supervisor import plan, supervisor, worker

NAMESPACE = uuid.UUID("6d9c3c0e-5f0b-5c7c-9d1d-0f6a7b8d2e41")
"""For ids that are derived from others."""
UUID6_EPOCH = 0x01B21DD213814000


@define
class Imported:
    """What has become of the threads."""

    threads: int = 0
    checkpoints: int = 0
    present: list[str] = field(factory=list)
    """Threads that were there already."""
    failed: dict[str, str] = field(factory=dict)
    """Threads that could not be imported, and why."""

    def lines(self) -> Iterator[str]:
        yield f"imported {self.threads} threads with {self.checkpoints} checkpoints"
        for thread_id in self.present:
            yield f"passed over {thread_id}: there is a thread of this id"
        for thread_id, why in self.failed.items():
            yield f"failed {thread_id}: {why}"


class _NoRuns:
    """The supervisor's listener where there are no runs."""

    def worker_frame(self, source: worker.Worker, frame: list[Any], size: int) -> None:
        """A service worker sends none."""

    def worker_ready(self) -> None:
        """Nothing waits for a place."""

    def worker_withdrew(self, source: worker.Worker, run_id: str, attempt: int) -> None:
        """Never called."""

    def worker_gone(self, source: worker.Worker, runs: dict[str, int], alone: bool) -> None:
        """It had no runs."""


def run(options: settings.Settings, served: project.Project, file: Path, graph_id: str) -> Imported:
    """
    Import all threads of a file for a graph of the project.

    Raises `DataDirBusy` while a daemon has the data directory, and `BadConfiguration`.
    """
    if graph_id not in served.graphs:
        known = ", ".join(served.graphs)
        raise BadConfiguration(f"--graph {graph_id}: {served.path} has no such graph; it has {known}")
    source = offline.LanggraphFile.open(file)
    try:
        with datadir.held(options.data_dir):
            return asyncio.run(_run(options, served, source, graph_id))
    finally:
        source.close()


async def _run(
    options: settings.Settings, served: project.Project, source: offline.LanggraphFile, graph_id: str
) -> Imported:
    storage = await services.open_storage(options)
    try:
        await storage.system_assistants_sync(served.descriptions, _now())
        how = plan.plan_of(options, served, f"http://{options.host}:{options.port}")
        workers = supervisor.Supervisor(attrs.evolve(how, workers=0), storage.read_failed)
        workers.listener = _NoRuns()
        await workers.start()
        try:
            await _loaded(workers)
            return await _import(storage, workers, source, graph_id)
        finally:
            await workers.stop()
    finally:
        await services.close_storage(storage)


async def _loaded(workers: supervisor.Supervisor) -> None:
    waiting = tasks.Group("import")
    loaded: asyncio.Future[Any] = waiting.spawn(workers.service_loaded.wait(), "loaded")
    first: set[asyncio.Future[Any]] = {loaded, workers.failure}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    await waiting.stop()
    if workers.failure.done():
        raise BadConfiguration(workers.failure.result())


async def _import(
    storage: store.Storage,
    workers: supervisor.Supervisor,
    source: offline.LanggraphFile,
    graph_id: str,
) -> Imported:
    done = Imported()
    for thread_id in source.threads():
        target = address(thread_id)
        operation_id = ids.new_id()
        metadata = {"graph_id": graph_id, "assistant_id": ids.system_assistant_id(graph_id)}
        if target != thread_id:
            metadata["imported_thread_id"] = thread_id
        if not await storage.thread_import_begin(target, metadata, operation_id, _now()):
            done.present.append(thread_id)
            continue
        try:
            checkpoints = await _import_thread(storage, workers, source, graph_id, thread_id, operation_id)
        except RequestError as error:  # only this thread has the problem; the others are imported
            done.failed[thread_id] = error.detail
        except GatewaydError as error:
            raise BadConfiguration(f"{error.detail} (imported so far: {done.threads} threads)") from error
        else:
            done.threads += 1
            done.checkpoints += checkpoints
    return done


async def _import_thread(
    storage: store.Storage,
    workers: supervisor.Supervisor,
    source: offline.LanggraphFile,
    graph_id: str,
    thread_id: str,
    operation_id: str,
) -> int:
    target, checkpoints = address(thread_id), 0
    for step in source.steps(thread_id, target):
        for change in step:  # one by one, since a change may be a whole state
            await storage.thread_import_step(target, operation_id, [change])
            checkpoints += change[0] == "put"
    answer = await workers.call("project", {"thread_id": target, "graph_id": graph_id})
    projection = messages.unpack(messages.Projection, answer)
    first, last = source.span(thread_id)
    await storage.thread_import_end(
        target, operation_id, projection.as_state(), made_at(first), made_at(last)
    )
    return checkpoints


def address(thread_id: str) -> str:
    """Return the id under which a thread is imported: its own if it is a UUID, else one derived from it."""
    return ids.parse_uuid(thread_id) or str(uuid.uuid5(NAMESPACE, thread_id))


def made_at(checkpoint_id: str) -> int:
    """Return when a checkpoint was made, in µs: what its id (a UUID of version 6) says, else now."""
    digits = checkpoint_id.replace("-", "")
    if len(digits) != 32 or digits[12] != "6":
        return _now()
    try:
        return (int(digits[:12] + digits[13:16], 16) - UUID6_EPOCH) // 10
    except ValueError:
        return _now()


def _now() -> int:
    return time.time_ns() // 1000
