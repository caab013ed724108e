"""Changing a thread's state without executing its graph (``POST /threads/{thread_id}/state``), up to the
storing.

The service worker only computes. What langgraph puts and writes is collected and goes back with the answer,
and the daemon stores all of it in one transaction, or nothing: so neither a crash nor a deadline leaves half
an update, and a call that is asked a second time does no harm.

langgraph reads what it has just put (a fork with values is two supersteps, the state after the update is read
through the same saver), so the saver lays what is collected over what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any

from attrs import define, field
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.types import StateUpdate

from gatewayd import wire
from gatewayd.blobs import cut, join
from gatewayd.channel import messages
from gatewayd.checkpointing import commands, reader, rows
from gatewayd.errors import GatewaydError, Rejected
from gatewayd.worker.project import faults, graphs
from gatewayd.worker.service import state
from gatewayd.worker.states import checkpoints, parts, projection, questions
from gatewayd.worker.states.commands import command_of

Key = tuple[str, str, str]
"""Thread, namespace and id of a checkpoint."""


@define(eq=False)
class Collected:
    """A saver's sink that keeps what it is sent, in order and as the rows that will come of it."""

    changes: list[commands.Operation] = field(factory=list)
    checkpoints: dict[Key, rows.CheckpointRow] = field(factory=dict)
    writes: dict[Key, dict[tuple[str, int], rows.WriteRow]] = field(factory=dict)
    blobs: list[cut.Blob] = field(factory=list)

    def send(self, operation: commands.Operation, /) -> None:
        """Keep a put or writes; an update has no other operations."""
        match operation:
            case ["put", thread_id, checkpoint_ns, checkpoint_id, parent, version, *rest]:
                key = (thread_id, checkpoint_ns, checkpoint_id)
                self.checkpoints[key] = rows.CheckpointRow(*key, parent, rows.OPERATION, version, *rest[:3])
                blobs = rest[3:]
            case ["writes", thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, values, *blobs]:
                mine = self.writes.setdefault((thread_id, checkpoint_ns, checkpoint_id), {})
                stamp = time.time_ns()
                for idx, *rest in values:
                    row = rows.WriteRow(task_id, idx, rows.OPERATION, stamp, task_path, *rest)
                    if idx < 0 or (task_id, idx) not in mine:
                        mine[task_id, idx] = row
            case ["blobs", _, *blobs]:
                pass
            case _:
                raise checkpoints.SinkFailed(f"{operation[0]} while a state is updated")
        self.blobs += (cut.Blob(*blob) for carried in blobs for blob in carried)
        self.changes.append(operation)

    async def committed(self) -> None:
        """What is collected can be read at once."""

    def committed_blocking(self) -> None:
        """What is collected can be read at once."""

    def latest(self, thread_id: str, checkpoint_ns: str) -> rows.CheckpointRow | None:
        """Return the newest checkpoint of a namespace that was put here."""
        mine = (row for key, row in self.checkpoints.items() if key[:2] == (thread_id, checkpoint_ns))
        return max(mine, key=lambda row: row.checkpoint_id, default=None)

    def over(self, key: Key, stored: Iterable[rows.WriteRow]) -> Iterator[rows.WriteRow]:
        """
        Yield a checkpoint's writes as they will be once these are stored, by the rules of `changes.apply`.
        """
        mine = dict(self.writes.get(key, {}))
        merged = []
        for row in stored:
            place = (row.task_id, row.idx)
            if row.run_id == rows.OPERATION and place in mine:
                if row.idx < 0:
                    continue
                del mine[place]
            merged.append(row)
        merged += mine.values()
        yield from sorted(merged, key=lambda row: (row.task_path, row.task_id, row.idx, row.stamp))


class Saver(checkpoints.Saver):
    """A saver that reads what it has collected before what is stored."""

    def __init__(self, reader: reader.Reader, collected: Collected, thread_id: str) -> None:
        super().__init__(reader, collected, run_id=rows.OPERATION, durability="async", thread_id=thread_id)
        self._collected = collected

    def _joiner(self, thread_id: str) -> join.Joiner:
        joiner = super()._joiner(thread_id)
        joiner.take(self._collected.blobs)
        return joiner

    def _row(self, config: RunnableConfig) -> rows.CheckpointRow | None:
        found = super()._row(config)
        place = config["configurable"]
        if place.get("checkpoint_id"):
            return found
        own = self._collected.latest(str(place["thread_id"]), place.get("checkpoint_ns", ""))
        if own is None or (found is not None and found.checkpoint_id > own.checkpoint_id):
            return found
        return own

    def _row_by_id(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> rows.CheckpointRow | None:
        own = self._collected.checkpoints.get((thread_id, checkpoint_ns, checkpoint_id))
        return own or super()._row_by_id(thread_id, checkpoint_ns, checkpoint_id)

    def _write_rows(self, row: rows.CheckpointRow) -> Iterator[rows.WriteRow]:
        return self._collected.over(row[:3], super()._write_rows(row))


Change = Callable[[graphs.AnyPregel, RunnableConfig], Awaitable[RunnableConfig]]
"""Updates a state and returns the new checkpoint's address."""


def _state_update(update: dict[str, Any]) -> StateUpdate:
    command = update.get("command")
    values: Any = update.get("values") if command is None else command_of(command)  # a node may return both
    return StateUpdate(values=values, as_node=update["as_node"])


@define(eq=False)
class Updates:
    """Computes updates through the project's graphs."""

    graphs: graphs.Graphs
    reader: reader.Reader
    store: BaseStore | None
    full_errors: bool

    async def update(
        self,
        thread_id: str,
        graph_id: str,
        values: Any,
        as_node: str | None,
        place: dict[str, Any],
        settings: state.Settings = state.NO_SETTINGS,
    ) -> dict[str, Any]:
        """
        Compute the update of a state; `place` are `checkpoint_ns`, `checkpoint_id`, `checkpoint_map` as far
        as given, and `settings` those with which the thread's graph is made.

        Returns a `messages.Update`; its projection is that of the thread's root, whatever namespace was
        changed. Raises `Rejected` for what the graph does not accept, and `NotFound`.
        """
        given = wire.opened(values)

        async def change(graph: graphs.AnyPregel, config: RunnableConfig) -> RunnableConfig:
            return await graph.aupdate_state(config, given, as_node=as_node)

        return await self._computed(thread_id, graph_id, place, settings, change)

    async def supersteps(
        self, thread_id: str, graph_id: str, supersteps: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """
        Compute the state of a thread that is to be made, from its ``updates``: what a node has returned each.

        Returns and raises what `update` does.
        """
        steps = [[_state_update(wire.opened(update)) for update in step["updates"]] for step in supersteps]

        async def change(graph: graphs.AnyPregel, config: RunnableConfig) -> RunnableConfig:
            return await graph.abulk_update_state(config, steps)

        return await self._computed(thread_id, graph_id, {}, state.NO_SETTINGS, change)

    async def _computed(
        self, thread_id: str, graph_id: str, place: dict[str, Any], settings: state.Settings, change: Change
    ) -> dict[str, Any]:
        collected = Collected()
        saver = Saver(self.reader, collected, thread_id)
        root = state.config_of(thread_id, settings=settings)
        configurable = {**root["configurable"], **place}
        config: RunnableConfig = {"configurable": configurable, "metadata": {"graph_id": graph_id}}
        async with self.graphs.open_for_client(
            graph_id, config, "threads.update", store=self.store, saver=saver
        ) as graph:
            try:
                made = state.place_of(await change(graph, config)) or {}
                after = await graph.aget_state(
                    state.config_of(thread_id, made["checkpoint_ns"], settings=settings)
                )
                shown = state.shape(after)
                asking = partial(questions.tasks_that_ask, thread_id, storage=self.reader)
                states = parts.States(self.reader, thread_id)
                output = partial(projection.output_of, graph)
                projected = projection.of_snapshot(await graph.aget_state(root), asking, states, output)
                data = states.shown({"state": shown, "thread_id": thread_id})
                event = [data] if isinstance(data, bytes) else list(data)
            except GatewaydError:
                raise
            except Exception as error:
                raise Rejected(faults.refusal(error, full=self.full_errors)) from error
        update = messages.Update(operations=collected.changes, place=made, event=event, projection=projected)
        return messages.pack(update)
