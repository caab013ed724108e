"""Records as the wire shows them, and the responses that carry them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final, TypeVar

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

import gatewayd
from gatewayd import wire
from gatewayd.model import arguments, state
from gatewayd.model.assistant import Assistant
from gatewayd.model.cron import Cron, LastRun
from gatewayd.model.retention import ThreadTtl
from gatewayd.model.run import CONTEXT_GIVEN, QueuePlace, Run
from gatewayd.model.thread import Thread
from gatewayd.model.webhook import Delivery, without_secrets

T = TypeVar("T")

INTERNAL: Final = frozenset({CONTEXT_GIVEN})
"""Keys of a run's configurable that are our own business."""


def json(value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return data as a response."""
    pieces = wire.pieces(value)
    if len(pieces) == 1:
        return raw(pieces[0], headers)
    return web.Response(body=_Pieces(pieces), headers=headers, content_type="application/json")


class _Pieces(Payload):
    """
    A body that is not put together: with large values in it that would take long, and that much memory again.
    """

    PIECE: Final = 256 * 1024

    def __init__(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        super().__init__(pieces, content_type="application/json")
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it, as fast as the client takes it."""
        for piece in self._value:
            view = memoryview(piece)
            for start in range(0, len(view), self.PIECE):
                await writer.write(bytes(view[start : start + self.PIECE]))
                await writer.drain()
                await asyncio.sleep(0)


def raw(body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return JSON that is already encoded as a response."""
    return web.Response(body=body, headers=headers, content_type="application/json")


def empty(status: int = 204) -> web.Response:
    """Return a response without a body."""
    return web.Response(status=status)


def page(rows: Sequence[dict[str, Any]], *, limit: int, offset: int) -> web.Response:
    """Return up to `limit` rows of a search; one row more says that there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    headers = {"X-Pagination-Total": str(offset + len(rows))}
    if more:
        headers["X-Pagination-Next"] = str(offset + len(shown))
    return json(shown, headers)


def selected(record: dict[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Return the columns that were asked for; none means all."""
    wanted = set(columns)
    return {name: value for name, value in record.items() if name in wanted} if wanted else record


def assistant(record: Assistant) -> dict[str, Any]:
    """Return an assistant as the wire shows it."""
    return {
        "assistant_id": record.assistant_id,
        "graph_id": record.graph_id,
        "config": record.config,
        "context": record.context,
        "metadata": record.metadata,
        "name": record.name,
        "created_at": wire.iso(record.created_at),
        "updated_at": wire.iso(record.updated_at),
        "version": record.version,
        "description": record.description,
    }


def assistant_version(record: Assistant) -> dict[str, Any]:
    """Return a version of an assistant as the wire shows it."""
    return {name: value for name, value in assistant(record).items() if name != "updated_at"}


def thread(record: Thread) -> dict[str, Any]:
    """Return a thread as the wire shows it; its values, which must have been joined, stay encoded."""
    return {
        "thread_id": record.thread_id,
        "created_at": wire.iso(record.created_at),
        "updated_at": wire.iso(record.updated_at),
        "state_updated_at": wire.iso(record.state_updated_at),
        "metadata": record.metadata,
        "status": record.status,
        "config": record.config,
        "values": None if record.values is None else orjson.Fragment(state.text(record.values)),
        "error": record.error,
        "interrupts": record.interrupts or {},
    }


def ttl(record: ThreadTtl) -> dict[str, Any]:
    """Return how long a thread is kept as the wire shows it."""
    return {
        "strategy": record.strategy,
        "ttl_minutes": record.ttl_minutes,
        "expires_at": wire.iso(record.expires_at),
    }


def cron(record: Cron) -> dict[str, Any]:
    """Return a cron as the wire shows it."""
    return {
        "cron_id": record.cron_id,
        "assistant_id": record.assistant_id,
        "thread_id": record.thread_id,
        "user_id": record.user_id,
        "end_time": None if record.end_time is None else wire.iso(record.end_time),
        "schedule": record.schedule,
        "timezone": record.timezone,
        "payload": _with_hidden_secrets(record.payload),
        "next_run_date": None if record.next_run_date is None else wire.iso(record.next_run_date),
        "metadata": record.metadata,
        "on_run_completed": record.on_run_completed,
        "enabled": record.enabled,
        "created_at": wire.iso(record.created_at),
        "updated_at": wire.iso(record.updated_at),
        "last_run": None if record.last_run is None else _last_run(record.last_run),
        "failures": record.failures,
    }


def _last_run(record: LastRun) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "thread_id": record.thread_id,
        "fired_at": wire.iso(record.fired_at),
        "status": record.status,
        "error": record.error,
    }


def run(record: Run, api_url: str, *, full: bool = False) -> dict[str, Any]:
    """
    Return a run as the wire shows it; `api_url` is this server's own address, `full` adds the traceback to
    its error.
    """
    kwargs = _with_hidden_secrets({name: record.kwargs.get(name) for name in arguments.ORDER})
    config = dict(kwargs["config"] or {})
    config["configurable"] = {
        key: value for key, value in (config.get("configurable") or {}).items() if key not in INTERNAL
    }
    if record.attempt:
        config["metadata"] = {**(config.get("metadata") or {}), **_about(record.attempt, api_url)}
    return {
        "run_id": record.run_id,
        "thread_id": record.thread_id,
        "assistant_id": record.assistant_id,
        "metadata": record.metadata,
        "status": record.status,
        "error": _error(record, full=full),
        "kwargs": {**kwargs, "config": config},
        "multitask_strategy": record.multitask_strategy,
        "cancel_reason": record.cancel_reason,
        "created_at": wire.iso(record.created_at),
        "updated_at": wire.iso(record.updated_at),
        "langsmith_session_name": None,
    }


def _with_hidden_secrets(given: dict[str, Any]) -> dict[str, Any]:
    """Return a run's arguments without the secrets of its webhook's URL."""
    url = given.get("webhook")
    return {**given, "webhook": without_secrets(url)} if isinstance(url, str) else given


def _error(record: Run, *, full: bool) -> dict[str, str] | None:
    """Return why a run has failed, as clients may see it (an addition to the reference)."""
    if record.error is None or not full or record.trace is None:
        return record.error
    return {**record.error, "traceback": record.trace}


def queue_place(place: QueuePlace, reason: str | None, blocked_at: str | None) -> dict[str, Any]:
    """
    Return where a run stands in the queue; `blocked_at` is where the worker is that it waits for, file:line.
    """
    return {
        "status": place.status,
        "position": place.position,
        "reason": reason,
        "due_at": wire.iso(place.due_at),
        "holder": place.holder if reason == "thread_busy" else None,
        "blocked_at": blocked_at,
    }


def delivery(record: Delivery) -> dict[str, Any]:
    """Return a webhook and what was tried to deliver it."""
    return {
        "delivery_id": record.delivery_id,
        "run_id": record.run.run_id,
        "thread_id": record.run.thread_id,
        "url": without_secrets(record.url),
        "status": record.status,
        "state": record.state,
        "created_at": wire.iso(record.created_at),
        "next_attempt_at": None if record.due_at is None else wire.iso(record.due_at),
        "attempts": [
            {
                "attempt": each.attempt,
                "started_at": wire.iso(each.started_at),
                "took_ms": each.took_us // 1000,
                "status": each.status,
                "error": each.error,
            }
            for each in record.log
        ],
    }


def _about(attempt: int, api_url: str) -> dict[str, Any]:
    return {
        "run_attempt": attempt,
        "langgraph_version": langgraph_version(),
        "langgraph_api_version": gatewayd.__version__,
        "langgraph_plan": "self-hosted",
        "langgraph_host": "self-hosted",
        "langgraph_api_url": api_url,
    }


@functools.cache
def langgraph_version() -> str:
    """Return the version of the langgraph that workers will import."""
    return metadata.version("langgraph")
