"""The long-term store: one owner, the service worker; run workers reach it by calls through the daemon.

Several processes on one store file block each other, so the file (`AsyncSqliteStore`) is opened by the service worker
only. In a run worker the store is a `RemoteStore`, whose operations travel as JSON: ``{"op": "get" | "put" | "search" |
"list", …}`` with the field names of langgraph's operation types. Replies arrive in the reader thread, so the
synchronous `batch` works in node threads and in the loop's own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
from attrs import define
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from langgraph.store.sqlite.aio import AsyncSqliteStore

from gatewayd.channel import orders
from gatewayd.errors import Unavailable
from gatewayd.worker import link

DEADLINE_S = 30.0


class StoreFailed(RuntimeError):
    """The service worker refused or could not carry out an operation."""


@asynccontextmanager
async def opened(configuration: orders.Configuration, channel: link.Link) -> AsyncIterator[BaseStore]:
    """Yield the store of this worker: the file itself in the service worker, else the way to it."""
    if configuration.role != "service":
        yield RemoteStore(channel)
        return
    async with AsyncSqliteStore.from_conn_string(configuration.store) as store:
        await store.setup()
        yield store


class RemoteStore(BaseStore):
    """The store as a run worker has it."""

    supports_ttl = True

    def __init__(self, channel: link.Link) -> None:
        self._link = channel
        self._numbers = itertools.count(1)
        self._asked: dict[int, concurrent.futures.Future[Any]] = {}

    def replied(self, number: int, ok: bool, payload: Any) -> None:
        """Take a reply, in the reader thread."""
        future = self._asked.pop(number, None)
        if future is None:
            return
        if ok:
            future.set_result(payload)
        else:
            future.set_exception(StoreFailed(str(payload)))

    def _ask(self, ops: Iterable[Op]) -> concurrent.futures.Future[Any]:
        number = next(self._numbers)
        future = self._asked[number] = concurrent.futures.Future()
        self._link.control("ask", number, "store", {"operations": orjson.dumps([_packed(op) for op in ops])})
        return future

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations and wait for them."""
        return _results(self._ask(ops).result(DEADLINE_S))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return _results(await asyncio.wrap_future(self._ask(ops)))
        except TimeoutError:
            raise Unavailable(f"the store did not answer within {DEADLINE_S:g} s") from None


@define
class Answering:
    """The service worker's end."""

    store: BaseStore

    async def batch(self, operations: bytes) -> bytes:
        """Carry out packed operations and return the packed results."""
        results = await self.store.abatch([_unpacked(one) for one in orjson.loads(operations)])
        return orjson.dumps([_result(one) for one in results])


def _packed(op: Op) -> dict[str, Any]:
    match op:
        case GetOp():
            return {"op": "get", **op._asdict()}
        case PutOp():
            return {"op": "put", **op._asdict()}
        case SearchOp():
            return {"op": "search", **op._asdict()}
        case ListNamespacesOp():
            conditions = [[each.match_type, each.path] for each in op.match_conditions or ()]
            return {"op": "list", **op._asdict(), "match_conditions": conditions}


def _unpacked(packed: dict[str, Any]) -> Op:
    fields = dict(packed)
    kind = fields.pop("op")
    for name in ("namespace", "namespace_prefix"):
        if name in fields:
            fields[name] = tuple(fields[name])
    if kind == "get":
        return GetOp(**fields)
    if kind == "put":
        return PutOp(**fields)
    if kind == "search":
        return SearchOp(**fields)
    conditions = [MatchCondition(match_type, tuple(path)) for match_type, path in fields["match_conditions"]]
    return ListNamespacesOp(**{**fields, "match_conditions": tuple(conditions) or None})


def _result(result: Result) -> Any:
    match result:
        case None:
            return None
        case SearchItem():
            return {**result.dict(), "score": result.score}
        case Item():
            return result.dict()
        case _:
            return [_result(one) if isinstance(one, Item) else list(one) for one in result]


def _results(packed: bytes) -> list[Result]:
    return [_revived(one) for one in orjson.loads(packed)]


def _revived(shown: Any) -> Any:
    match shown:
        case None:
            return None
        case dict():
            return _item(shown)
        case _:
            return [_item(one) if isinstance(one, dict) else tuple(one) for one in shown]


def _item(shown: dict[str, Any]) -> Item:
    fields = {
        "value": shown["value"],
        "key": shown["key"],
        "namespace": tuple(shown["namespace"]),
        "created_at": datetime.fromisoformat(shown["created_at"]),
        "updated_at": datetime.fromisoformat(shown["updated_at"]),
    }
    return SearchItem(**fields, score=shown["score"]) if "score" in shown else Item(**fields)
