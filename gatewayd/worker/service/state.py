"""What the service worker answers about threads: state, history, and the projection of a run's end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import attrs
from attrs import define
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.types import PregelTask, StateSnapshot

from gatewayd.channel import messages
from gatewayd.checkpointing import commands, reader
from gatewayd.errors import GatewaydError, Rejected
from gatewayd.model import selection
from gatewayd.worker.project import faults, graphs
from gatewayd.worker.states import checkpoints, parts, projection, questions, serialise, showing

log = logging.getLogger(__name__)

Settings = Mapping[str, Any]
"""The `configurable` with which a graph is made."""
NO_SETTINGS: Final[Settings] = MappingProxyType({})


class NoSink:
    """The sink of a saver that only reads."""

    def send(self, operation: commands.Operation, /) -> None:
        """Refuse: reading a state stores nothing."""
        raise checkpoints.SinkFailed(f"{operation[0]} while reading a state")

    async def committed(self) -> None:
        """Nothing was sent."""

    def committed_blocking(self) -> None:
        """Nothing was sent."""


@define(eq=False)
class States:
    """Reads states through the project's graphs."""

    graphs: graphs.Graphs
    reader: reader.Reader
    store: BaseStore | None
    full_errors: bool = False
    """Whether the messages of all errors are shown."""

    async def project(
        self, thread_id: str, graph_id: str, settings: Settings = NO_SETTINGS
    ) -> dict[str, Any]:
        """Return the projection of the thread's latest state (see `projection.of_snapshot`)."""
        config = config_of(thread_id, settings=settings)
        async with self._open(graph_id, config) as graph:
            snapshot = await graph.aget_state(config)
            projected = projection.of_snapshot(
                snapshot,
                partial(questions.tasks_that_ask, thread_id, storage=self.reader),
                parts.States(self.reader, thread_id),
                partial(projection.output_of, graph),
            )
            return messages.pack(projected)

    async def state(
        self,
        thread_id: str,
        graph_id: str,
        checkpoint_id: str | None,
        checkpoint_ns: str,
        subgraphs: bool,
        select: Sequence[str] = (),
        settings: Settings = NO_SETTINGS,
    ) -> bytes:
        """
        Return the JSON of a thread's state, the latest or that of a checkpoint; `select` names parts of it.
        """
        config = config_of(thread_id, checkpoint_ns, checkpoint_id, settings=settings)
        saver = self._showing()
        async with self._open(graph_id, config, saver) as graph:
            with self._refusing():
                snapshot = await graph.aget_state(config, subgraphs=subgraphs)
            return serialise.shown(selection.selected(shape(snapshot, saver.unreadable), select))

    async def history(
        self,
        thread_id: str,
        graph_id: str,
        limit: int,
        before: str | None,
        metadata: dict[str, Any] | None,
        checkpoint_ns: str,
        checkpoint_id: str | None,
        select: Sequence[str] = (),
        settings: Settings = NO_SETTINGS,
    ) -> bytes:
        """Return the JSON of a thread's states, newest first; `select` names parts of each."""
        config = config_of(thread_id, checkpoint_ns, checkpoint_id, settings=settings)
        earlier = config_of(thread_id, checkpoint_ns, before) if before else None
        saver = self._showing()
        async with self._open(graph_id, config, saver) as graph:
            states = graph.aget_state_history(config, filter=metadata, before=earlier, limit=limit)
            with self._refusing():
                found = [
                    selection.selected(shape(snapshot, saver.unreadable), select) async for snapshot in states
                ]
            return serialise.shown(found)

    async def storage(self, thread_id: str) -> dict[str, Any]:
        """
        Return how many bytes a thread's states take: checkpoints and pending writes as they are stored, and
        beside them, part of the checkpoints, the values of channels, each of their versions once.
        """
        stored, writes = self.reader.sizes(thread_id)
        saver, sizes = self._showing(), dict[tuple[str, str, Any], int]()
        async for found in saver.alist({"configurable": {"thread_id": thread_id}}):
            namespace = found.config["configurable"]["checkpoint_ns"]
            values = found.checkpoint["channel_values"]
            for channel, version in found.checkpoint["channel_versions"].items():
                if (key := (namespace, channel, version)) not in sizes:
                    held = channel in values
                    sizes[key] = len(saver.serde.dumps_typed(values[channel])[1]) if held else 0
            await asyncio.sleep(0)  # others ask for something, too
        channels: dict[str, dict[str, int]] = {}
        for (_, channel, _), size in sizes.items():
            sums = channels.setdefault(channel, {"versions": 0, "bytes": 0})
            sums["versions"] += 1
            sums["bytes"] += size
        return {
            "total_bytes": stored.bytes + writes.bytes,
            "checkpoints": attrs.asdict(stored),
            "channel_values": {
                "count": len(sizes),
                "bytes": sum(sizes.values()),
                "by_channel": channels,
            },
            "pending_writes": attrs.asdict(writes),
        }

    async def kept(self, thread_id: str) -> list[list[Any]]:
        """Return what of a thread stays when only its latest states are kept (see `commands.prune`)."""
        return [[ns, latest, [*older]] for ns, latest, older in self._saver().kept(thread_id)]

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """
        Tell it as a refusal when the graph can't make a state of what it has stored: its schema has changed,
        say.
        """
        try:
            yield
        except GatewaydError:
            raise
        except Exception as error:
            log.warning("a state can't be shown: %s", faults.text(error), exc_info=error)
            raise Rejected(faults.refusal(error, full=self.full_errors)) from error

    def _saver(self) -> checkpoints.Saver:
        return checkpoints.Saver(self.reader, NoSink(), run_id="", durability="async")

    def _showing(self) -> showing.Saver:
        return showing.Saver(self.reader, NoSink(), run_id="", durability="async")

    def _open(self, graph_id: str, config: RunnableConfig, saver: checkpoints.Saver | None = None) -> Any:
        return self.graphs.open_for_client(
            graph_id, config, "threads.read", store=self.store, saver=saver or self._saver()
        )


def config_of(
    thread_id: str,
    checkpoint_ns: str = "",
    checkpoint_id: str | None = None,
    *,
    settings: Settings = NO_SETTINGS,
) -> RunnableConfig:
    """
    Return the config that addresses a state: the latest of its namespace, or that of a checkpoint.

    `settings` are the `configurable` of the thread, with which a factory makes the graph that has run on it;
    what of it is an address, or langgraph's own, does not count.
    """
    configurable = {
        key: value for key, value in settings.items() if key not in KEYS and not key.startswith("__")
    }
    configurable |= {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def shape(snapshot: StateSnapshot, unreadable: Container[showing.Place] = ()) -> dict[str, Any]:
    """Return a snapshot in the wire's shape (rest.md §5.1); the values of the `unreadable` are null."""
    checkpoint, parent = place_of(snapshot.config), place_of(snapshot.parent_config)
    return {
        "values": None if showing.place_of(snapshot.config) in unreadable else snapshot.values,
        "next": snapshot.next,
        "tasks": [_task(task, unreadable) for task in snapshot.tasks],
        "metadata": _told(snapshot),
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [projection.shown(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": checkpoint and checkpoint["checkpoint_id"],
        "parent_checkpoint_id": parent and parent["checkpoint_id"],
    }


def _told(snapshot: StateSnapshot) -> dict[str, Any] | None:
    """
    Return a checkpoint's metadata with the thread that it is of: in a copy of a thread that is the copy.
    """
    if snapshot.metadata is None:
        return None
    return {**snapshot.metadata, "thread_id": snapshot.config["configurable"]["thread_id"]}


def _task(task: PregelTask, unreadable: Container[showing.Place]) -> dict[str, Any]:
    state: Any = task.state
    nested = isinstance(state, StateSnapshot)
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": _error(task.error),
        "interrupts": [projection.shown(interrupt) for interrupt in task.interrupts],
        "checkpoint": None if nested or not state else _fields(state["configurable"]),
        "state": shape(state, unreadable) if nested else None,
        "result": task.result,
    }


def _error(error: Any) -> str | None:
    """Return a task's error as text; one that was stored is text already."""
    return error if error is None else faults.short(error if isinstance(error, str) else repr(error))


KEYS = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


def place_of(config: Any) -> dict[str, Any] | None:
    """Return the checkpoint that a config names, None when it names none."""
    if not config or not config["configurable"].get("checkpoint_id"):
        return None
    return _fields(config["configurable"])


def _fields(configurable: dict[str, Any]) -> dict[str, Any]:
    return {key: configurable[key] for key in KEYS if key in configurable}
