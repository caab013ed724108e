"""The checkpointer that graphs run with: puts are operations to the daemon's writer, reads are the worker's
own.

One `Saver` per run. What it promises:

- `put` and `put_writes` return when the operation is queued; with durability "sync" a put returns when it is
  committed.
- A read sees everything that this run has sent: it first waits for the commit of the last operation, then
  reads directly, without another thread (a fraction of a millisecond).
- The synchronous methods work from any thread, the event loop's own included: a subgraph called by `invoke()`
  inside an async node reads there. That is why acknowledgements must reach the sink in another thread.
- If an operation was refused, the next call raises `SinkFailed`, and so the run fails.
- What can't be stored fails the run, too, unless it is `expendable`: a stateless run, which nobody goes back
  to. Of that nothing more is stored from there on, and what was stored is removed in the same operation:
  after a crash it has not begun and starts from its input. (Without one checkpoint alone it would go on from
  an older one.) A question of such a run could not be answered; asking it raises `NotResumable`.

The sink decides when an operation goes on the wire (after the events emitted before it) and tells nothing but
commits.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, cast

from attrs import define, field
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from gatewayd import wire
from gatewayd.blobs import cut, join
from gatewayd.checkpointing import commands, pieces, rows, split
from gatewayd.checkpointing import reader as reading
from gatewayd.errors import GatewaydError
from gatewayd.worker.project import faults
from gatewayd.worker.states import encoding

ERROR, INTERRUPT = "__error__", "__interrupt__"
"""The channel of a task's exception."""

log = logging.getLogger(__name__)

Found = tuple[rows.CheckpointRow, Sequence[rows.WriteRow]]
"""A checkpoint's row and those of its writes that count."""
Page = tuple[Sequence[rows.CheckpointRow], list[Found], dict[str, join.Joiner]]
"""Rows, the same with their writes, and what joins them, by thread."""


class SinkFailed(GatewaydError):
    """An operation of this run was refused or could not be delivered; nothing after it is stored."""


class NotResumable(RuntimeError):
    """A run that can't be resumed has asked a question."""

    def __init__(self, why: encoding.Unstorable) -> None:
        super().__init__(f"the run waits for an answer, but can't go on later: {why}")


class CheckpointSink(Protocol):
    """
    Where a run's operations go. All methods raise `SinkFailed` once an operation of the run was refused.
    """

    def send(self, operation: commands.Operation, /) -> None:
        """Queue an operation, in the order of the calls; from any thread, without waiting."""

    async def committed(self) -> None:
        """Return when everything this run has sent is committed."""

    def committed_blocking(self) -> None:
        """The same for synchronous callers in any thread, the event loop's own included."""


@define
class _Ledger:
    """What a run has sent, shared by the clones that langgraph makes of its saver."""

    sent: int = 0
    settled: int = 0
    """Operations of which this saver has seen the commit."""
    last_root_checkpoint_id: str | None = None
    given_up: encoding.Unstorable | None = None
    """Why nothing more of the run is stored."""
    lock: threading.Lock = field(factory=threading.Lock)
    known: cut.Known = field(factory=set)
    """Blobs of the run's thread that storage has."""
    cutting: threading.RLock = field(factory=threading.RLock)
    """Held while an operation is cut and sent, and while `known` changes."""


class Saver(BaseCheckpointSaver[str]):
    """The checkpointer of one run."""

    def __init__(
        self,
        reader: reading.Reader,
        sink: CheckpointSink,
        *,
        run_id: str,
        durability: str,
        thread_id: str | None = None,
        serde: SerializerProtocol | None = None,
        expendable: bool = False,
    ) -> None:
        """Make the saver of run `run_id` ('' for an operation of the server), durability "sync", "async" or
        "exit".

        `thread_id` is the run's thread: only its checkpoints count for `last_root_checkpoint_id`; None counts
        all. Without a `serde` values are serialised as the reader's are.
        """
        super().__init__(serde=serde or reader.serde)
        self.run_id = run_id
        self.durability = durability
        self.thread_id = thread_id
        self._reader = reader
        self._sink = sink
        self._ledger = _Ledger()
        self._expendable = expendable

    @property
    def sent(self) -> int:
        """Number of operations this run has sent."""
        return self._ledger.sent

    @property
    def given_up(self) -> bool:
        """Whether the run is not stored any more."""
        return self._ledger.given_up is not None

    @property
    def last_root_checkpoint_id(self) -> str | None:
        """Id of the last checkpoint that this run put in the root namespace, or None."""
        return self._ledger.last_root_checkpoint_id

    # Storing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint as a child of the one `config` names; return the config that names it."""
        stored = self._put(config, checkpoint, metadata)
        if self.durability == "sync":
            self._settle_blocking()
        return stored

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint as a child of the one `config` names; return the config that names it."""
        stored = self._put(config, checkpoint, metadata)
        if self.durability == "sync":
            await self._settle()
        return stored

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's (channel, value) pairs on the checkpoint that `config` names."""
        self.put_writes_as(config, writes, task_id, task_path, lambda operation: operation)

    def put_writes_as(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        wrapped: Callable[[commands.Operation], commands.Operation],
    ) -> None:
        """Do so by the operation that `wrapped` makes of the one that stores the writes."""
        place = config["configurable"]
        thread_id = str(place["thread_id"])
        try:
            serialised = [
                (
                    WRITES_IDX_MAP.get(channel, position),
                    channel,
                    *self._serialised(channel, faults.stored(value) if channel == ERROR else value),
                )
                for position, (channel, value) in enumerate(writes)
            ]
        except encoding.Unstorable as error:
            serialised = []
            self._give_up(error)
        if self._ledger.given_up is not None:
            if any(channel == INTERRUPT for channel, _ in writes):
                raise NotResumable(self._ledger.given_up)
            return
        with self._cutting(thread_id) as cutter:
            values = [
                (idx, channel, *pieces.pack(kind, data, cutter)) for idx, channel, kind, data in serialised
            ]
            self._send(
                wrapped(
                    commands.writes(
                        thread_id,
                        place.get("checkpoint_ns", ""),
                        str(place["checkpoint_id"]),
                        task_id,
                        task_path,
                        values,
                        self._carried(thread_id, cutter),
                    )
                )
            )

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's (channel, value) pairs on the checkpoint that `config` names."""
        self.put_writes(config, writes, task_id, task_path)

    # Reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """
        Return the checkpoint that `config` names, else the latest of its thread and namespace, else None.
        """
        self._settle_blocking()
        return self._get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """
        Return the checkpoint that `config` names, else the latest of its thread and namespace, else None.
        """
        await self._settle()
        return self._get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - langgraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """
        Yield checkpoints newest first; without a config those of all threads, without a namespace those of
        all.
        """
        self._settle_blocking()
        yield from self._list(_search(config, filter, before), limit)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - langgraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """
        Yield checkpoints newest first; without a config those of all threads, without a namespace those of
        all.
        """
        await self._settle()
        for found in self._list(_search(config, filter, before), limit):
            yield found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the ancestors of a checkpoint wrote to each channel, and the nearest stored value."""
        self._settle_blocking()
        return self._history(config, channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the ancestors of a checkpoint wrote to each channel, and the nearest stored value."""
        await self._settle()
        return self._history(config, channels)

    # Deleting and copying: these return when they are committed.

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread."""
        self._remove(commands.delete_thread(str(thread_id)))
        self._settle_blocking()

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread."""
        self._remove(commands.delete_thread(str(thread_id)))
        await self._settle()

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints and writes of these runs."""
        self._remove(commands.delete_for_runs(run_ids))
        self._settle_blocking()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints and writes of these runs."""
        self._remove(commands.delete_for_runs(run_ids))
        await self._settle()

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes to a thread that has none."""
        self._send(commands.copy_thread(source_thread_id, target_thread_id))
        self._settle_blocking()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes to a thread that has none."""
        self._send(commands.copy_thread(source_thread_id, target_thread_id))
        await self._settle()

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """
        Delete old checkpoints ("keep_latest": keep each namespace's latest and what it is rebuilt from) or
        all.
        """
        self._settle_blocking()
        self._prune(thread_ids, strategy)
        self._settle_blocking()

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """
        Delete old checkpoints ("keep_latest": keep each namespace's latest and what it is rebuilt from) or
        all.
        """
        await self._settle()
        self._prune(thread_ids, strategy)
        await self._settle()

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a channel version that sorts after `current`; the fraction tells branches apart."""
        # Threads begun with another saver may have whole numbers.
        counted = 0 if current is None else int(str(current).partition(".")[0])
        return f"{counted + 1:032}.{random.random():016}"

    # What the two colours share

    @contextmanager
    def _cutting(self, thread_id: str) -> Iterator[cut.Cutter]:
        """Give the cutter of one operation on a thread, which is sent before the context ends.

        One at a time, since what the next one leaves out because this one has it must be sent later.
        """
        with self._ledger.cutting:
            known = self._known(thread_id)
            cutter = cut.Cutter(known, self._reader.seal, split.long_texts)
            yield cutter
            known.update(cutter.blobs)

    def _carried(self, thread_id: str, cutter: cut.Cutter) -> Sequence[cut.Blob]:
        """Return the blobs that go with an operation; if they are many, the most of them are sent ahead.

        They stay there until their row comes, because the run has the thread's lock; of other threads it has
        not.
        """
        blobs = list(cutter.blobs.values())
        if thread_id == self.thread_id:
            while len(blobs) > commands.PORTION:
                self._send(commands.blobs(thread_id, blobs[: commands.PORTION]))
                del blobs[: commands.PORTION]
        return blobs

    def _give_up(self, why: encoding.Unstorable) -> None:
        """Store nothing more of an expendable run, and remove what was stored; raises `why` for any other."""
        if not self._expendable:
            raise why
        with self._ledger.cutting:
            if self._ledger.given_up is None:
                log.warning("the run is not stored any more and would start again after a restart: %s", why)
                self._remove(commands.delete_for_runs([self.run_id]))
                self._ledger.given_up = why

    def _serialised(self, channel: str, value: Any) -> tuple[str, bytes]:
        """
        Serialise what was written to a channel, or a checkpoint. Raises `Unstorable`, which names the
        channel.
        """
        try:
            return self.serde.dumps_typed(value)
        except encoding.Unstorable as error:
            raise (error.within(channel) if channel else error.of_channels()) from None

    def _known(self, thread_id: str) -> cut.Known:
        """
        Return what storage has of a thread's blobs for certain; of threads whose lock we have not, nothing.
        """
        return self._ledger.known if thread_id == self.thread_id else set()

    def _forget(self) -> None:
        """Rows are about to be removed: their blobs need not stay."""
        with self._ledger.cutting:
            self._ledger.known.clear()

    def _joiner(self, thread_id: str) -> join.Joiner:
        return join.Joiner(thread_id, self._reader, self._reader.seal)

    def _load(self, joiner: join.Joiner, found: Iterable[rows.CheckpointRow | rows.WriteRow]) -> None:
        """Fetch at once what several rows need."""
        joiner.load(filter(None, map(pieces.manifest, found)))
        if joiner.content and joiner.thread_id == self.thread_id:
            with self._ledger.cutting:
                self._ledger.known.update(joiner.content)

    def _remove(self, operation: commands.Operation) -> None:
        """Send an operation that removes rows."""
        self._forget()
        self._send(operation)

    def _send(self, operation: commands.Operation) -> None:
        if self.given_up:  # meanwhile, in another thread
            return
        self._sink.send(operation)
        with self._ledger.lock:
            self._ledger.sent += 1

    async def _settle(self) -> None:
        sent = self._ledger.sent
        if sent > self._ledger.settled:
            await self._sink.committed()
            self._settled(sent)

    def _settle_blocking(self) -> None:
        sent = self._ledger.sent
        if sent > self._ledger.settled:
            self._sink.committed_blocking()
            self._settled(sent)

    def _settled(self, sent: int) -> None:
        with self._ledger.lock:
            self._ledger.settled = max(self._ledger.settled, sent)

    def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> RunnableConfig:
        place = config["configurable"]
        thread_id, checkpoint_ns = place["thread_id"], place.get("checkpoint_ns", "")
        stored = _config(thread_id, checkpoint_ns, checkpoint["id"])
        try:
            kind, blob = self._serialised("", checkpoint)
        except encoding.Unstorable as error:
            kind, blob = "", b""
            self._give_up(error)
        if self.given_up:
            return stored
        parent = place.get("checkpoint_id")
        told = _metadata_text(_told(config, metadata))
        with self._cutting(str(thread_id)) as cutter:
            version, kind, packed = pieces.pack(kind, blob, cutter)
            address = (str(thread_id), checkpoint_ns, checkpoint["id"], parent)
            self._send(
                commands.put(
                    *address, kind, packed, told, version=version, blobs=self._carried(*address[:1], cutter)
                )
            )
        if not checkpoint_ns and self.thread_id in (None, str(thread_id)):
            self._ledger.last_root_checkpoint_id = checkpoint["id"]
        return stored

    def _get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        row = self._row(config)
        if row is None:
            return None
        place = config if config["configurable"].get("checkpoint_id") else None
        try:
            return self._tuple(row, place)
        except join.Missing:  # row and pieces were removed between two reads, or the row says so again
            again = self._row(config)
            return None if again is None else self._tuple(again, place)

    def _row(self, config: RunnableConfig) -> rows.CheckpointRow | None:
        place = config["configurable"]
        thread = (str(place["thread_id"]), place.get("checkpoint_ns", ""))
        if checkpoint_id := place.get("checkpoint_id"):
            return self._row_by_id(*thread, checkpoint_id)
        return self._reader.latest(*thread)

    def _row_by_id(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> rows.CheckpointRow | None:
        return self._reader.by_id(thread_id, checkpoint_ns, checkpoint_id)

    def _write_rows(self, row: rows.CheckpointRow) -> Iterable[rows.WriteRow]:
        return self._reader.writes(row.thread_id, row.checkpoint_ns, row.checkpoint_id)

    def _tuple(self, row: rows.CheckpointRow, config: RunnableConfig | None = None) -> CheckpointTuple:
        joiner = self._joiner(row.thread_id)
        writes = rows.newest(self._write_rows(row))
        self._load(joiner, [row, *writes])
        return self._joined(row, writes, joiner, config)

    def _joined(
        self,
        row: rows.CheckpointRow,
        writes: Sequence[rows.WriteRow],
        joiner: join.Joiner,
        config: RunnableConfig | None = None,
    ) -> CheckpointTuple:
        pending = [self._pending(write, joiner) for write in writes]
        return self._tuple_of(row, self._checkpoint(row, joiner), pending, config)

    def _tuple_of(
        self,
        row: rows.CheckpointRow,
        checkpoint: Checkpoint,
        pending: Sequence[PendingWrite],
        config: RunnableConfig | None,
    ) -> CheckpointTuple:
        parent = row.parent_checkpoint_id
        return CheckpointTuple(
            config or _config(*row[:3]),
            checkpoint,
            json.loads(row.told),
            _config(row.thread_id, row.checkpoint_ns, parent) if parent else None,
            [*pending],
        )

    def _checkpoint(self, row: rows.CheckpointRow, joiner: join.Joiner) -> Checkpoint:
        row = pieces.whole(row, joiner)
        return cast(Checkpoint, self.serde.loads_typed((row.type, row.checkpoint)))

    def _pending(self, write: rows.WriteRow, joiner: join.Joiner) -> PendingWrite:
        write = pieces.whole(write, joiner)
        return write.task_id, write.channel, self.serde.loads_typed((write.type, write.value))

    def _list(self, wanted: reading.Search, limit: int | None) -> Iterator[CheckpointTuple]:
        last: rows.CheckpointRow | None = None
        left = limit
        while left is None or left > 0:
            size = reading.PAGE if left is None else min(left, reading.PAGE)
            page, found, joiners = self._page(wanted, last, size)
            for row, writes in found:
                yield self._joined(row, writes, joiners[row.thread_id])
            if len(page) < size:
                return
            last = page[-1]
            left = None if left is None else left - size

    def _page(self, wanted: reading.Search, last: rows.CheckpointRow | None, size: int) -> Page:
        """
        Read a page, again if some of it was removed meanwhile: then its pieces may have gone before they were
        read.
        """
        try:
            return self._loaded(wanted, last, size)
        except join.Missing:
            return self._loaded(wanted, last, size)

    def _loaded(self, wanted: reading.Search, last: rows.CheckpointRow | None, size: int) -> Page:
        """
        Return the rows of a page, with their writes, and what gives their pieces: those of a thread are read
        once.
        """
        page, found, joiners = self._rows(wanted, last, size)
        for thread_id, joiner in joiners.items():
            mine = [(row, writes) for row, writes in found if row.thread_id == thread_id]
            self._load(joiner, [row for row, _ in mine])
            self._load(joiner, [write for _, writes in mine for write in writes])
        return page, found, joiners

    def _rows(self, wanted: reading.Search, last: rows.CheckpointRow | None, size: int) -> Page:
        """Return the rows of a page, their pieces not read yet."""
        page = self._reader.page(wanted, last, size)
        found: list[Found] = [(row, rows.newest(self._write_rows(row))) for row in page]
        return (
            page,
            found,
            {thread_id: self._joiner(thread_id) for thread_id in {row.thread_id for row in page}},
        )

    def _history(self, config: RunnableConfig, channels: Sequence[str]) -> dict[str, DeltaChannelHistory]:
        collected: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}  # newest first
        seeds: dict[str, Any] = {}
        wanted = set(channels)
        target = self._row(config) if wanted else None
        joiner = self._joiner(str(config["configurable"]["thread_id"]))
        for child_run, parent, checkpoint in self._ancestors(target, wanted, joiner):
            for write in reversed(rows.consumed(self._write_rows(parent), child_run)):
                if write.channel in wanted:
                    collected[write.channel].append(self._pending(write, joiner))
            for channel in wanted.intersection(checkpoint["channel_values"]):
                seeds[channel] = checkpoint["channel_values"][channel]
                wanted.remove(channel)
        history: dict[str, DeltaChannelHistory] = {}
        for channel, pending in collected.items():
            history[channel] = {"writes": pending[::-1]}
            if channel in seeds:
                history[channel]["seed"] = seeds[channel]
        return history

    def _ancestors(
        self, child: rows.CheckpointRow | None, wanted: set[str], joiner: join.Joiner
    ) -> Iterator[tuple[str, rows.CheckpointRow, Checkpoint]]:
        """Yield (run of its child on the path, row, checkpoint) of each ancestor, nearest first, while the
        caller leaves something in `wanted`.
        """
        walked: set[str] = set()
        while child is not None and child.parent_checkpoint_id and wanted:
            walked.add(child.checkpoint_id)
            row = self._row_by_id(child.thread_id, child.checkpoint_ns, child.parent_checkpoint_id)
            # A checkpoint put again below its own descendant makes the chain a loop.
            if row is None or row.checkpoint_id in walked:
                return
            yield child.run_id, row, self._checkpoint(row, joiner)
            child = row

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> None:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy {strategy!r}; known are 'keep_latest' and 'delete'")
        for thread_id in map(str, thread_ids):
            if strategy == "delete":
                self._remove(commands.delete_thread(thread_id))
            else:
                self._remove(commands.prune(thread_id, self.kept(thread_id)))

    def kept(self, thread_id: str) -> Iterator[tuple[str, str, Sequence[str]]]:
        """Yield (namespace, latest checkpoint, ancestors that its delta channels are rebuilt from)."""
        for checkpoint_ns in self._reader.namespaces(thread_id):
            latest = self._row(_config(thread_id, checkpoint_ns))
            if latest is None:
                continue
            once_delta = self._reader.delta_channels(thread_id, checkpoint_ns)
            # What is only missing because it is empty makes the walk longer, never shorter than it must be.
            joiner = self._joiner(thread_id)
            missing = (
                once_delta.difference(self._checkpoint(latest, joiner)["channel_values"])
                if once_delta
                else set()
            )
            ancestors = []
            for _, row, checkpoint in self._ancestors(latest, missing, joiner):
                ancestors.append(row.checkpoint_id)
                missing.difference_update(checkpoint["channel_values"])
            yield checkpoint_ns, latest.checkpoint_id, ancestors


def _config(thread_id: Any, checkpoint_ns: str, checkpoint_id: str | None = None) -> RunnableConfig:
    place = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    if checkpoint_id is not None:
        place["checkpoint_id"] = checkpoint_id
    return {"configurable": place}


def _search(
    config: RunnableConfig | None, metadata: dict[str, Any] | None, before: RunnableConfig | None
) -> reading.Search:
    place = config["configurable"] if config is not None else {}
    wanted = {**(metadata or {})}
    if config is not None and wanted.get("thread_id") == place["thread_id"]:
        del wanted["thread_id"]  # it is not stored, but told of all
    return reading.Search(
        thread_id=str(place["thread_id"]) if config is not None else None,
        checkpoint_ns=place.get("checkpoint_ns"),
        checkpoint_id=place.get("checkpoint_id") or None,
        before=before["configurable"].get("checkpoint_id") if before is not None else None,
        filter=wanted,
    )


OF_CALLER: Final = (
    "langgraph_step",
    "langgraph_node",
    "langgraph_triggers",
    "langgraph_path",
    "langgraph_checkpoint_ns",
    "checkpoint_ns",
)
"""Metadata that langgraph gives to what a node calls."""


def _told(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """
    Return what is stored with a checkpoint: langgraph's choice, and in a subgraph which step of which node
    has called it.

    The thread is not stored, clients are told it on reading (`state.shape`): a copy of the checkpoint is of
    another one.
    """
    told: dict[str, Any] = {**get_checkpoint_metadata(config, metadata)}
    place, about = config["configurable"], config.get("metadata") or {}
    told.update((key, about[key]) for key in OF_CALLER if key in about)
    if place.get("checkpoint_ns") and place.get("checkpoint_map"):
        told["checkpoint_map"] = place["checkpoint_map"]
    return told


def _metadata_text(metadata: dict[str, Any]) -> str:
    try:
        return wire.text(metadata)
    except TypeError:
        # Numbers beyond 64 bits and lone surrogates: plain JSON has a spelling for them, and one row that
        # SQLite can't parse would break every filter.
        plain = json.loads(json.dumps(metadata), parse_constant=lambda _: None)
        return json.dumps(plain, separators=(",", ":"))
