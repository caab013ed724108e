"""What workers answer and how runs end, as records: packed in one place and unpacked in one place.

A record travels as a map of those of its fields that are not what they are by default. A field that one side
does not know is an error, never passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import attrs
from attrs import field, frozen

from gatewayd.model import state
from gatewayd.model.run import RunOutcome

M = TypeVar("M", bound="Projection | Update")


@frozen(kw_only=True)
class Projection:
    """What storage keeps of a thread's state for searches and lists. States are JSON or manifests."""

    values: bytes | None = None
    """The thread's values; None: there is no checkpoint, or they are not known."""
    result: bytes | None = None
    """What `wait` answers: the output of the graph, with ``__interrupt__`` if there are any."""
    blobs: Sequence[Sequence[Any]] = ()
    """Blobs of both that may not be stored yet."""
    interrupts: dict[str, list[dict[str, Any]]] | None = None
    """By the id of the task that waits; None: not known."""
    next: list[str] | None = None
    """Names of the nodes that come next; None: not known."""
    end_checkpoint_id: str | None = None

    def as_state(self) -> RunOutcome:
        """Return what is stored of a state that no run has made: a success."""
        return RunOutcome(
            status="success",
            values=state.loaded(self.values),
            blobs=self.blobs,
            interrupts=self.interrupts,
            next=self.next,
        )

    def as_end(self, status: Literal["success", "error", "timeout", "interrupted"]) -> RunOutcome:
        """Return what is stored of the end of a run that has left this state."""
        return RunOutcome(
            status=status,
            result=None if status == "error" else state.loaded(self.result),
            values=state.loaded(self.values),
            blobs=self.blobs,
            interrupts=self.interrupts,
            next=self.next,
            end_checkpoint_id=self.end_checkpoint_id,
        )


@frozen(kw_only=True)
class Outcome(Projection):
    """How a run has ended in its worker, and the state that it has left."""

    outcome: Literal["success", "error", "timeout", "cancelled", "drained"]
    """Drained: it was handed back and has not ended."""
    error: dict[str, str] | None = None
    trace: str | None = None
    """Full text and traceback of the exception, for operators."""
    asked: dict[str, str] = field(factory=dict)
    """Interrupt id → namespace in which it was raised."""
    refusal: dict[str, Any] | None = None
    """Why strict answers were refused."""
    quiet: bool = False
    """It had not begun: the thread's projection is not changed."""

    @classmethod
    def of(cls, projection: Projection, **more: Any) -> Outcome:
        """Return the outcome of a run that has left a state."""
        return cls(**attrs.asdict(projection, recurse=False), **more)

    def as_end(self, status: Literal["success", "error", "timeout", "interrupted"]) -> RunOutcome:
        """Return what is stored of the end of the run."""
        return attrs.evolve(
            super().as_end(status),
            error=self.error,
            trace=self.trace,
            asked=self.asked,
            refusal=self.refusal,
            quiet=self.quiet,
        )


@frozen(kw_only=True)
class Update:
    """A state update as it was computed: what is to be stored of it."""

    operations: list[list[Any]]
    """Checkpoint operations (`checkpointing.commands`)."""
    place: dict[str, Any] = field(factory=dict)
    """The new checkpoint's address."""
    event: list[Any] = field(factory=list)
    """What readers of the thread are told: JSON, or manifest, size and blobs."""
    projection: Projection


def pack(message: Projection | Update) -> dict[str, Any]:
    """Return a record as a map for the channel."""
    packed = {
        name: value
        for name, value, default in (
            (attribute.name, getattr(message, attribute.name), attribute.default)
            for attribute in attrs.fields(type(message))
        )
        if value is not default and (value or not isinstance(default, attrs.Factory))  # type: ignore[arg-type]
    }
    if isinstance(message, Update):
        packed["projection"] = pack(message.projection)
    return packed


def unpack(kind: type[M], packed: dict[str, Any]) -> M:
    """Return the record that was packed; raises TypeError when fields are missing or unknown."""
    if issubclass(kind, Update):
        packed = {**packed, "projection": unpack(Projection, packed["projection"])}
    return kind(**packed)
