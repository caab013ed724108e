"""What the service worker answers about threads: state, history, and the projection of a run's end."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.types import PregelTask, StateSnapshot

from gatewayd.checkpointing import operations
from gatewayd.worker import checkpoints, graphs, parts, projection, reader, resume, serialise


class NoSink:
    """The sink of a saver that only reads."""

    def send(self, operation: operations.Operation, /) -> None:
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

    async def project(self, thread_id: str, graph_id: str) -> dict[str, Any]:
        """Return the projection of the thread's latest state (see `projection.of_snapshot`)."""
        config = config_of(thread_id)
        async with self._open(graph_id, config) as graph:
            snapshot = await graph.aget_state(config)
            return projection.of_snapshot(
                snapshot,
                partial(resume.tasks_that_ask, thread_id, storage=self.reader),
                parts.States(self.reader, thread_id),
            )

    async def state(
        self, thread_id: str, graph_id: str, checkpoint_id: str | None, checkpoint_ns: str, subgraphs: bool
    ) -> bytes:
        """Return the JSON of a thread's state, the latest or that of a checkpoint."""
        config = config_of(thread_id, checkpoint_ns, checkpoint_id)
        async with self._open(graph_id, config) as graph:
            return serialise.dumps(shape(await graph.aget_state(config, subgraphs=subgraphs)))

    async def history(
        self,
        thread_id: str,
        graph_id: str,
        limit: int,
        before: str | None,
        metadata: dict[str, Any] | None,
        checkpoint_ns: str,
        checkpoint_id: str | None,
    ) -> bytes:
        """Return the JSON of a thread's states, newest first."""
        config = config_of(thread_id, checkpoint_ns, checkpoint_id)
        earlier = config_of(thread_id, checkpoint_ns, before) if before else None
        async with self._open(graph_id, config) as graph:
            states = graph.aget_state_history(config, filter=metadata, before=earlier, limit=limit)
            return serialise.dumps([shape(snapshot) async for snapshot in states])

    async def kept(self, thread_id: str) -> list[list[Any]]:
        """Return what of a thread stays when only its latest states are kept (see `operations.prune`)."""
        return [[ns, latest, [*older]] for ns, latest, older in self._saver().kept(thread_id)]

    def _saver(self) -> checkpoints.Saver:
        return checkpoints.Saver(self.reader, NoSink(), run_id="", durability="async")

    def _open(self, graph_id: str, config: RunnableConfig) -> Any:
        return self.graphs.open(
            graph_id, config=config, access_context="threads.read", store=self.store, saver=self._saver()
        )


def config_of(thread_id: str, checkpoint_ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    """Return the config that addresses a state: the latest of its namespace, or that of a checkpoint."""
    configurable = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def shape(snapshot: StateSnapshot) -> dict[str, Any]:
    """Return a snapshot in the wire's shape (rest.md §5.1)."""
    checkpoint, parent = place_of(snapshot.config), place_of(snapshot.parent_config)
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [projection.shown(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": checkpoint and checkpoint["checkpoint_id"],
        "parent_checkpoint_id": parent and parent["checkpoint_id"],
    }


def _task(task: PregelTask) -> dict[str, Any]:
    state: Any = task.state
    nested = isinstance(state, StateSnapshot)
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": _error(task.error),
        "interrupts": [projection.shown(interrupt) for interrupt in task.interrupts],
        "checkpoint": None if nested or not state else _fields(state["configurable"]),
        "state": shape(state) if nested else None,
        "result": task.result,
    }


def _error(error: Any) -> str | None:
    """Return a task's error as text; one that was stored is text already."""
    return error if error is None or isinstance(error, str) else repr(error)


KEYS = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


def place_of(config: Any) -> dict[str, Any] | None:
    """Return the checkpoint that a config names, None when it names none."""
    if not config or not config["configurable"].get("checkpoint_id"):
        return None
    return _fields(config["configurable"])


def _fields(configurable: dict[str, Any]) -> dict[str, Any]:
    return {key: configurable[key] for key in KEYS if key in configurable}
