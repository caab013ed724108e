"""Runs (executions of a graph on a thread): as stored, as requested, as ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from attrs import field, frozen

from gatewayd.model.idempotency import Idempotency
from gatewayd.model.state import State
from gatewayd.model.transitions import ACTIVE, RunStatus

CancelAction = Literal["interrupt", "rollback"]
CancelReason = Literal["taken"]
"""taken: another run of the thread takes over the run's input."""

CONTEXT_GIVEN: Final = "__context_provided__"
"""Key of `configurable`: the request has a context. It is internal, and not shown to clients."""
RESUMING: Final = "__pregel_resuming"
"""
Key of `configurable` that `RemoteGraph` sets when the graph in which it is a node resumes.

The input is then that of the first call, and means "continue". Without the key an answered interrupt would be
raised again. It is the only internal key of langgraph that is accepted from clients.
"""


SUSPICIONS = 3
"""Deaths of the daemon without progress after which a run executes alone; one more, and it is put aside."""


@frozen(kw_only=True)
class Run:
    """One row of `runs`: what the wire shows, and what the engine needs in addition."""

    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    status: RunStatus
    created_at: int
    """When it is due, in µs: the time of the request plus `after_seconds`."""
    updated_at: int
    started_at: int | None
    ended_at: int | None
    metadata: dict[str, Any]
    kwargs: dict[str, Any]
    """The run's arguments in the wire's shape."""
    multitask_strategy: str
    answers: dict[str, Any] | None
    """The answers of `command.resume` by interrupt id, if the ids were clear at creation."""
    attempt: int
    """Number of starts; clients see it in the `metadata` event."""
    strikes: int
    suspicions: int
    blocked: bool
    """It has blocked its worker until that was killed. Progress clears it, as it clears the strikes."""
    executed_us: int
    """Total execution time of its ended attempts."""
    cancel_action: CancelAction | Literal["error"] | None
    """How it is to be ended; "error" only after a restart."""
    cancel_error: dict[str, str] | None
    result: State | None
    """What `wait` and `join` return; None while the run is active."""
    error: dict[str, str] | None
    log_from: int
    """The run's events have greater numbers."""
    log_to: int | None
    """Number of the run's last event, once it has ended."""
    ephemeral: bool
    """True for a stateless run whose thread goes with it."""
    trace: str | None = None
    """Full text and traceback of the exception that ended it, for operators."""

    @property
    def cancel_reason(self) -> str | None:
        """Why the run was cancelled, as clients see it; None: it was not."""
        if self.cancel_action not in {"interrupt", "rollback"} or self.cancel_error is None:
            return None
        return self.cancel_error["message"]

    @property
    def suspect(self) -> bool:
        """
        Whether it must execute in a worker of its own: it killed or blocked one, or the daemon died
        repeatedly.
        """
        return self.strikes > 0 or self.suspicions >= SUSPICIONS or self.blocked

    @property
    def active(self) -> bool:
        """Whether the run has not ended."""
        return self.status in ACTIVE


@frozen(kw_only=True)
class RunRequest:
    """A client's request, checked but not yet resolved against stored assistants and threads."""

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
    """The key of an idempotent request, which creates one run however often it is sent."""
    auth_user: dict[str, Any] | None = None
    """`langgraph_auth_user`: the user who requests the run."""
    resumes: bool = False
    """If the thread waits for answers and has no active run, the input is the answer (protocol v2)."""
    answering: frozenset[str] = frozenset()
    """Interrupts that must wait for an answer; `UnknownInterrupt` is raised for one that does not."""


@frozen(kw_only=True)
class RunOutcome:
    """How a run ended: what is stored in the transaction that ends it."""

    status: Literal["success", "error", "timeout", "interrupted"]
    error: dict[str, str] | None = None
    """Shown by `wait`, the `error` event and as the thread's error."""
    trace: str | None = None
    """Full text and traceback of the exception, for operators."""
    cancel_error: dict[str, str] | None = None
    """Why it was cancelled; webhooks show it as the error."""
    result: State | None = None
    """What `wait` and `join` answer."""
    values: State | None = None
    """The thread's new values; None leaves the old ones."""
    blobs: Sequence[Sequence[Any]] = ()
    """Blobs ``(hash, kind, body)`` of `result` and `values` that may not be stored yet."""
    interrupts: dict[str, list[dict[str, Any]]] | None = None
    """Task id to interrupts; None leaves the old ones."""
    next: list[str] | None = None
    """Names of the nodes that come next; None: unknown."""
    end_checkpoint_id: str | None = None
    asked: dict[str, str] = field(factory=dict)
    """
    Interrupt id → namespace in which it was raised (segments joined by "|"), as far as known.
    """
    refusal: dict[str, Any] | None = None
    """Why strict answers were refused: `reason`, `interrupt_ids`, `pending_ids`."""
    quiet: bool = False
    """The thread's projection is not changed, because the run had not begun."""
    rollback: bool = False
    """Delete the run, its checkpoints and its writes; the projection is that of the state before it."""
    fenced: bool = False
    """Something of the run may still execute, so it keeps the thread's lock."""

    @property
    def obeys(self) -> str:
        """The `cancel_action` that this end carries out, or ""."""
        if self.rollback:
            return "rollback"
        return {"interrupted": "interrupt", "error": "error"}.get(self.status, "")


@frozen(kw_only=True)
class QueuePlace:
    """A run's place in the queue."""

    status: RunStatus
    due_at: int
    """When it is due, in µs."""
    position: int | None
    """1 for the first of all pending runs in due order; None: it does not wait."""
    holder: str | None
    """The other run or operation that has the thread's lock, if any."""
    suspect: bool
    """A process died while executing it, so it executes alone."""
