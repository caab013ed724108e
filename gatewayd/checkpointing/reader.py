"""What a worker reads of stored states: the reads by name, each with what it returns.

The worker knows no statement and no driver: the saver, and what looks at states for clients, are given a
`Reader`. A read sees what is committed at its moment. Two reads may see different states of the database:
what one has listed, another may no longer find.

**What fails.** A read that storage could not execute raises `Failed`, which the daemon translates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import field, frozen

from gatewayd.blobs import join
from gatewayd.blobs.seal import Seal
from gatewayd.checkpointing import rows
from gatewayd.errors import ReadFailed

PAGE = 20
"""Checkpoints of one page of a listing; each may be a whole state."""


class Failed(ReadFailed):
    """Storage could not execute a read."""


class Serde(Protocol):
    """langgraph's serialiser of values, as far as it is called."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the type and the bytes of a value."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value of a type and bytes."""


@frozen(kw_only=True)
class Search:
    """What a listing of checkpoints asks for; None means "any"."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    """Only checkpoints whose id sorts before this one."""
    filter: Mapping[str, Any] = field(factory=dict)
    """
    Metadata key → value that must be equal; a dot in a key steps into an object, None also matches absence.
    """


@frozen
class RunArguments:
    """What a run is called with, where that was too large to be sent with its order."""

    kwargs: bytes
    """Packed (`blobs.codec.column`)."""
    answers: bytes | None
    """To open questions, by interrupt; MessagePack."""


@frozen
class RunToMerge:
    """A pending run whose input another run may take between two of its steps."""

    run_id: str
    updated_at: int
    """µs since the epoch: changed whenever the run is."""
    kwargs: bytes
    """Packed (`blobs.codec.column`)."""


@frozen
class Size:
    """How much of a table belongs to a thread."""

    count: int
    bytes: int


class Reader(join.Blobs, Protocol):
    """Short reads of the database, from any thread, and what it takes to understand what they return."""

    @property
    def serde(self) -> Serde:
        """The serialiser of the stored values."""

    @property
    def seal(self) -> Seal | None:
        """What opens sealed values; None: nothing is sealed."""

    on_failed: Callable[[Failed], None]
    """Called, in any thread, when a read has failed."""

    def close(self) -> None:
        """End reading; may be called twice."""

    def latest(self, thread_id: str, checkpoint_ns: str) -> rows.CheckpointRow | None:
        """Return the newest checkpoint of a namespace."""

    def by_id(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> rows.CheckpointRow | None:
        """Return a checkpoint."""

    def page(self, wanted: Search, after: rows.CheckpointRow | None, limit: int) -> list[rows.CheckpointRow]:
        """Return the `limit` checkpoints that come behind row `after`, newest first."""

    def writes(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> list[rows.WriteRow]:
        """
        Return a checkpoint's writes of all runs, in the order in which langgraph applies them; `rows.newest`
        picks those that count.
        """

    def questions(self, thread_id: str, checkpoint_ns: str) -> list[rows.WriteRow]:
        """Return what tasks of a namespace have asked, answered or not."""

    def namespaces(self, thread_id: str) -> list[str]:
        """Return the namespaces in which a thread has checkpoints."""

    def delta_channels(self, thread_id: str, checkpoint_ns: str) -> set[str]:
        """Return the channels that were delta channels at some checkpoint of a namespace."""

    def newest(self) -> Sequence[tuple[str, int, bytes]]:
        """Return type, format and value of the newest rows that may be sealed: enough to tell a wrong key."""

    def sizes(self, thread_id: str) -> tuple[Size, Size]:
        """Return the sizes of a thread's checkpoints and of its writes, as they are stored."""

    def values_manifest(self, thread_id: str) -> bytes | None:
        """Return the manifest of a thread's values; None: they are not stored in pieces."""

    def run_has_begun(self, run_id: str) -> bool:
        """Tell whether a run has stored a checkpoint or write, in any namespace."""

    def run_arguments(self, run_id: str) -> RunArguments | None:
        """Return what a run is called with; None: there is no such run any more."""

    def run_to_merge(self, thread_id: str, into_run: str) -> RunToMerge | None:
        """Return the run that waits to be merged into another."""
