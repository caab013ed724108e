"""Admitting a run: composing it, applying the multitask strategy to the thread's other runs, storing its row.

A run that can start at once is stored as running. Its columns are then those that `runs._start` sets on runs
that start later.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

import attrs

from gatewayd import ids, wire
from gatewayd.blobs import codec
from gatewayd.errors import Conflict, NotFound, UnknownInterrupt
from gatewayd.model.assistant import Assistant
from gatewayd.model.run import CONTEXT_GIVEN, RESUMING, Run, RunRequest
from gatewayd.model.thread import Thread
from gatewayd.storage.runs import CreatedRun
from gatewayd.storage.sqlite import assistants, events, idempotency, runs, thread_locks, threads

INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")
"""langgraph's interrupt ids: xxh3-128 in hex. A resume map has only such keys."""

NOT_FOUND = "Thread or assistant not found: there is no {} '{}'."
ALREADY_RUNNING = (
    "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
)


def run_create(connection: sqlite3.Connection, request: RunRequest, boot: int, claim: bool) -> CreatedRun:
    """
    Admit a run: resolve assistant and thread, apply the multitask strategy, store the run.

    With `claim` it is started in the same transaction if it is due and its thread is free. A repeat of an
    idempotent request creates nothing. Raises `NotFound` (assistant or thread), `Conflict` (strategy reject
    on a busy thread), and `Invalid` for an idempotency key of another request.
    """
    if (made_before := idempotency.find(connection, request.once, Run)) is not None:
        return CreatedRun(run=made_before, started=False, cancelled=[], repeated=True)
    assistant = assistants.assistant_find(connection, request.assistant)
    if assistant is None:
        raise NotFound(NOT_FOUND.format("assistant", request.assistant))
    thread, made = _thread_for(connection, request)
    active = [] if made else runs.select(connection, runs.ACTIVE_ON_THREAD, (thread.thread_id,))
    if active and request.multitask_strategy == "reject":
        raise Conflict(ALREADY_RUNNING)
    request = _as_answer(request, thread, active)
    run_id = ids.new_id(request.received_at // 1000)
    superseding = request.multitask_strategy in {"interrupt", "rollback"}
    cancelled = _supersede(connection, active, run_id, request) if superseding else []
    run = _composed(run_id, request, assistant, thread, made, events.last_seq(connection, thread.thread_id))
    idempotency.record(connection, request.once, run, request.received_at)
    started = claim and request.after_s <= 0 and (superseding or not active)
    if started and thread_locks.thread_lock_acquire_for_run(connection, run.thread_id, run_id, boot):
        run = attrs.evolve(run, status="running", attempt=1, started_at=request.received_at)
    _insert(connection, run, request.received_at, boot)
    _thread_busy(connection, thread, assistant, request)
    return CreatedRun(run=run, started=run.status == "running", cancelled=cancelled)


def _as_answer(request: RunRequest, thread: Thread, active: list[Run]) -> RunRequest:
    """
    Return the request with its input as the answer, if the thread waits for one. Raises `UnknownInterrupt`.
    """
    if not request.resumes and not request.answering:
        return request
    pending = {item["id"] for items in (thread.interrupts or {}).values() for item in items}
    for interrupt_id in sorted(request.answering):
        if interrupt_id not in pending or any(interrupt_id in (run.answers or {}) for run in active):
            raise UnknownInterrupt(f"Unknown or already-consumed interrupt: {interrupt_id}")
    if request.answering or active or not pending or request.kwargs.get("input") is None:
        return request
    command = {"resume": request.kwargs["input"]}
    return attrs.evolve(request, kwargs={**request.kwargs, "input": None, "command": command})


def runs_create_all(
    connection: sqlite3.Connection, requests: Sequence[RunRequest], boot: int, claim: int
) -> list[CreatedRun]:
    """
    Admit several runs, or none if one of them can't be admitted; at most `claim` of them start at once.
    """
    created: list[CreatedRun] = []
    for request in requests:
        created.append(run_create(connection, request, boot, claim > 0))
        claim -= created[-1].started
    return created


def _thread_for(connection: sqlite3.Connection, request: RunRequest) -> tuple[Thread, bool]:
    if request.thread_id is not None:
        existing = threads.thread_find(connection, request.thread_id)
        if existing is not None:
            return existing, False
        if request.if_not_exists == "reject":
            raise NotFound(NOT_FOUND.format("thread", request.thread_id))
    thread_id = request.thread_id or ids.new_id(request.received_at // 1000)
    ephemeral = request.thread_id is None and not request.keep_thread
    metadata = _without_ids({**(request.config.get("metadata") or {}), **request.metadata})
    made = threads.thread_insert(connection, thread_id, metadata, request.received_at, ephemeral=ephemeral)
    return made, True


def _composed(
    run_id: str, request: RunRequest, assistant: Assistant, thread: Thread, made: bool, log_from: int
) -> Run:
    """Merge assistant, thread and request (rest.md §6.1: config, context and metadata, low to high)."""
    metadata = {**assistant.metadata, **thread.metadata}
    if not made:
        metadata["graph_id"] = assistant.graph_id
    metadata |= {**(request.config.get("metadata") or {}), **request.metadata}
    metadata = {**_without_ids(metadata), "assistant_id": assistant.assistant_id}
    given = {key: value for key, value in request.config.items() if key != "configurable"}
    base = {key: value for key, value in assistant.config.items() if key != "configurable"}
    configurable = dict(assistant.config.get("configurable") or {})
    configurable |= {
        key: value
        for key, value in (request.config.get("configurable") or {}).items()
        if key == RESUMING or not key.startswith("__")
    }
    if request.context:
        context = {**assistant.context, **request.context}
        configurable |= context | {CONTEXT_GIVEN: True}
    else:
        context = {key: value for key, value in configurable.items() if key not in CHECKPOINT_KEYS}
        context = {**assistant.context, **context}
    identity = (request.auth_user or {}).get("identity")
    configurable |= {
        "langgraph_auth_user": request.auth_user,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
        "langgraph_request_id": request.request_id,
        "__request_start_time_ms__": request.received_at // 1000,
        "__after_seconds__": request.after_s,
        "run_id": run_id,
        "thread_id": thread.thread_id,
        "graph_id": assistant.graph_id,
        "assistant_id": assistant.assistant_id,
        "user_id": identity or configurable.get("user_id", ""),  # tools keep their memories by it
    }
    config: dict[str, Any] = {**base, **given, "configurable": configurable, "metadata": metadata}
    return Run(
        run_id=run_id,
        thread_id=thread.thread_id,
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        status="pending",
        created_at=request.received_at + max(0, int(request.after_s * 1_000_000)),
        updated_at=request.received_at,
        started_at=None,
        ended_at=None,
        metadata=metadata,
        kwargs={**request.kwargs, "config": config, "context": context},
        multitask_strategy=request.multitask_strategy,
        answers=_answers(request.kwargs.get("command"), thread),
        attempt=0,
        strikes=0,
        suspicions=0,
        blocked=False,
        executed_us=0,
        cancel_action=None,
        cancel_error=None,
        result=None,
        error=None,
        log_from=log_from,
        log_to=None,
        ephemeral=request.thread_id is None and not request.keep_thread,
    )


def _without_ids(metadata: dict[str, Any]) -> dict[str, Any]:
    """
    Return a client's metadata without the ids that only the server sets.

    If the state's metadata have the same `run_id`, langgraph takes the run for one that continues, and
    ignores its input.
    """
    return {key: value for key, value in metadata.items() if key not in OWN_IDS}


OWN_IDS = frozenset({"run_id", "thread_id", "assistant_id"})
CHECKPOINT_KEYS = frozenset({"checkpoint_id", "checkpoint_ns", "checkpoint_map", RESUMING})
"""Keys of `configurable` that address a state; they are not settings."""


def _answers(command: dict[str, Any] | None, thread: Thread) -> dict[str, Any] | None:
    """Bind `command.resume` to the interrupts it answers, so that it can never answer a later one."""
    resume = (command or {}).get("resume")
    if resume is None:
        return None
    if isinstance(resume, dict) and resume and all(INTERRUPT_ID.fullmatch(key) for key in resume):
        return resume
    pending = {item["id"] for items in (thread.interrupts or {}).values() for item in items}
    return {pending.pop(): resume} if len(pending) == 1 else None


def _insert(connection: sqlite3.Connection, run: Run, now: int, boot: int) -> None:
    starts = run.status == "running"  # then the columns are those that `runs._start` sets
    connection.execute(
        """INSERT INTO runs (run_id, thread_id, assistant_id, graph_id, status, attempt, boot, attempt_at, started_at,
               created_at, submitted_at, updated_at, metadata, kwargs, kwargs_packed, multitask_strategy, answers,
               log_from, webhook)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            run.run_id,
            run.thread_id,
            run.assistant_id,
            run.graph_id,
            run.status,
            run.attempt,
            boot if starts else None,
            now if starts else None,
            run.started_at,
            run.created_at,
            now,
            now,
            wire.text(run.metadata),
            "{}",
            codec.column(wire.packed(run.kwargs), hasty=True),
            run.multitask_strategy,
            None if run.answers is None else wire.packed(run.answers).decode(),
            run.log_from,
            run.kwargs.get("webhook"),
        ),
    )


def _thread_busy(
    connection: sqlite3.Connection, thread: Thread, assistant: Assistant, request: RunRequest
) -> None:
    metadata = {**thread.metadata, "graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    config: dict[str, Any] = {
        **assistant.config,
        **request.config,
        "configurable": assistant.config.get("configurable") or {},
    }
    if config.get("metadata"):
        config["metadata"] = _without_ids(config["metadata"])
    connection.execute(
        "UPDATE threads SET status = 'busy', updated_at = ?, metadata = ?, config = ? WHERE thread_id = ?",
        (request.received_at, wire.text(metadata), wire.text(config), thread.thread_id),
    )


def _supersede(
    connection: sqlite3.Connection, active: list[Run], run_id: str, request: RunRequest
) -> list[Run]:
    """
    Mark the thread's active runs as cancelled (strategies interrupt and rollback); return them as marked.
    """
    action = request.multitask_strategy
    error = {
        "error": "UserInterrupt" if action == "interrupt" else "UserRollback",
        "message": f"superseded by run {run_id} (multitask_strategy={action})",
    }
    marked = (
        runs.run_cancel_if_active(connection, victim.run_id, action, error, request.received_at)
        for victim in active
    )
    return [victim for victim in marked if victim is not None]
