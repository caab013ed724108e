"""A run: one execution of a graph on a thread, as its row in storage says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from attrs import field, frozen

from gatewayd.model.idempotency import Idempotency
from gatewayd.model.state import State, loaded
from gatewayd.model.transitions import ACTIVE, RunStatus

CancelAction = Literal["interrupt", "rollback"]
CancelReason = Literal["taken"]
"""taken: the run's input is handed to another run of its thread."""

CONTEXT_GIVEN: Final = "__context_provided__"
"""Key of `configurable`: the request has a context. A note of the server to itself, shown nowhere."""
RESUMING: Final = "__pregel_resuming"
"""
Key of `configurable` that `RemoteGraph` sets when the graph that it is a node of goes on.

The input is then the one of the first time and means "from where you stand": without the key an answered
question would be asked again. It is the only key of langgraph's own that is taken from a client.
"""


SUSPICIONS = 3
"""
Deaths of the daemon without progress after which a run is tried alone; one more, alone, and it is put aside.
"""


@frozen(kw_only=True)
class Run:
    """One row of `runs`; everything that is shown on the wire and what the engine needs beside it."""

    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    status: RunStatus
    created_at: int
    """Due time in µs: moment of the request plus `after_seconds`."""
    updated_at: int
    started_at: int | None
    ended_at: int | None
    metadata: dict[str, Any]
    kwargs: dict[str, Any]
    """The run's arguments in the wire's shape."""
    multitask_strategy: str
    answers: dict[str, Any] | None
    """What `command.resume` answers, by interrupt id, when that was clear at creation."""
    attempt: int
    """Number of starts; clients see it in the `metadata` event."""
    strikes: int
    suspicions: int
    blocked: bool
    """It has blocked its worker until that was killed; cleared by progress, as the strikes are."""
    executed_us: int
    """Time for which its attempts have executed together; the present one counts when it is over."""
    cancel_action: CancelAction | Literal["error"] | None
    """How it is to be ended; "error" after a restart only."""
    cancel_error: dict[str, str] | None
    result: State | None
    """What `wait` and `join` answer; None while the run is active."""
    error: dict[str, str] | None
    log_from: int
    """The run's events have greater numbers."""
    log_to: int | None
    """Number of the run's last event, once it has ended."""
    ephemeral: bool
    """True for a stateless run whose thread goes with it."""
    trace: str | None = None
    """Full text and traceback of what ended it, for operators."""

    @property
    def cancel_reason(self) -> str | None:
        """Why the run was cancelled, as clients are told; None: it was not."""
        if self.cancel_action not in {"interrupt", "rollback"} or self.cancel_error is None:
            return None
        return self.cancel_error["message"]

    @property
    def suspect(self) -> bool:
        """
        Whether it goes on in a worker of its own: it killed or blocked one, or its daemon died again and
        again.
        """
        return self.strikes > 0 or self.suspicions >= SUSPICIONS or self.blocked

    @property
    def active(self) -> bool:
        """Whether the run has not ended."""
        return self.status in ACTIVE


@frozen(kw_only=True)
class RunRequest:
    """What a client asks for, checked but not yet resolved against stored assistants and threads."""

    assistant: str
    """Assistant id (canonical UUID) or graph id."""
    thread_id: str | None
    """None for a stateless run."""
    kwargs: dict[str, Any]
    """The wire's kwargs except `config` and `context`, which are merged with the assistant's."""
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    multitask_strategy: str
    if_not_exists: Literal["create", "reject"]
    after_s: float
    keep_thread: bool
    """Stateless only: on_completion is "keep"."""
    request_id: str | None
    """
    `langgraph_request_id`: the request's x-request-id or a random UUID; None: no request asked for the run.
    """
    received_at: int
    """Moment of the request in µs."""
    once: Idempotency | None = None
    """Marks a request that makes one run however often it comes."""
    auth_user: dict[str, Any] | None = None
    """`langgraph_auth_user`: whoever asks for the run."""
    resumes: bool = False
    """If the thread waits for answers and no run is at work, an input is the answer (protocol v2)."""
    answering: frozenset[str] = frozenset()
    """Interrupts that must be waiting for an answer; one that is not makes `UnknownInterrupt`."""


@frozen(kw_only=True)
class RunOutcome:
    """How a run ended: what is stored in the transaction that ends it."""

    status: Literal["success", "error", "timeout", "interrupted"]
    error: dict[str, str] | None = None
    """Shown by `wait`, the `error` event and as the thread's error."""
    trace: str | None = None
    """Full text and traceback of the exception, for operators."""
    cancel_error: dict[str, str] | None = None
    """Why it was cancelled: what a webhook is told as its error."""
    result: State | None = None
    """What `wait` and `join` answer."""
    values: State | None = None
    """The thread's new values; None leaves the old ones."""
    blobs: Sequence[Sequence[Any]] = ()
    """Blobs ``(hash, kind, body)`` that these two need and storage may not have."""
    interrupts: dict[str, list[dict[str, Any]]] | None = None
    """Task id to interrupts; None leaves the old ones."""
    next: list[str] | None = None
    """Names of the nodes that come next; None: unknown."""
    end_checkpoint_id: str | None = None
    asked: dict[str, str] = field(factory=dict)
    """
    Interrupt id to the namespace in which it was raised (segments joined by "|"), as far as that is known.
    """
    refusal: dict[str, Any] | None = None
    """Why strict answers were refused: `reason`, `interrupt_ids`, `pending_ids`."""
    quiet: bool = False
    """The thread's projection stays as it is: the run had not begun."""
    rollback: bool = False
    """Delete the run, its checkpoints and its writes; the projection is that of the state before it."""
    fenced: bool = False
    """
    Something of the run may still execute: the thread's slot stays its own (see `storage.sqlite.slots`).
    """

    @property
    def obeys(self) -> str:
        """The `cancel_action` that this end carries out, "" if none."""
        if self.rollback:
            return "rollback"
        return {"interrupted": "interrupt", "error": "error"}.get(self.status, "")

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> RunOutcome:
        """
        Make what a thread's row takes of a state that no run has made: without an error, it is a success.
        """
        return cls(
            status="success",
            values=loaded(state["values"]),
            blobs=state.get("blobs", ()),
            interrupts=state["interrupts"],
            next=state["next"],
        )


@frozen(kw_only=True)
class QueuePlace:
    """Where a run stands among those that wait."""

    status: RunStatus
    due_at: int
    """In µs."""
    position: int | None
    """1: it is the next of all pending runs by due time; None: it does not wait."""
    holder: str | None
    """The run or operation that holds the thread at the moment, if that is somebody else."""
    suspect: bool
    """A process died at it: it runs alone."""
