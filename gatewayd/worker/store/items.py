"""The long-term store: one owner, the service worker; run workers reach it by calls through the daemon.

Several processes on one store file block each other, so the file (`itemfile`) is opened by the service worker
only. In a run worker the store is a `RemoteStore`, whose operations travel as JSON: ``{"op": "get" | "put" |
"search" | "list", …}`` with the field names of langgraph's operation types. Replies arrive in the reader
thread, so the synchronous `batch` works in node threads and in the loop's own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
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

from gatewayd import tasks
from gatewayd.channel import orders
from gatewayd.errors import Rejected
from gatewayd.model import items
from gatewayd.worker.process import link
from gatewayd.worker.project import faults
from gatewayd.worker.store import embeddings, itemfile

log = logging.getLogger(__name__)

DEADLINE_S = 30.0
EMBEDDING_SHARE = 0.9
"""Of a call's deadline: so that the answer can still say that it was the embedding that hung."""


class StoreFailed(RuntimeError):
    """The service worker refused or could not carry out an operation."""


def embedder(configuration: orders.Configuration) -> embeddings.Embedder | None:
    """Load the project's embedding, if this is the worker that embeds. Raises `LoadError`."""
    if configuration.role != "service" or configuration.store_index is None:
        return None
    deadline_s = configuration.call_deadline_s * EMBEDDING_SHARE
    return embeddings.load(_index(configuration.store_index), Path(configuration.folder), deadline_s)


def _index(plain: dict[str, Any]) -> items.StoreIndex:
    return items.StoreIndex(**{**plain, "fields": tuple(plain["fields"])})


@asynccontextmanager
async def opened(
    configuration: orders.Configuration, channel: link.Link, embedding: embeddings.Embedder | None
) -> AsyncIterator[BaseStore]:
    """Yield the store of this worker: the file itself in the service worker, else the way to it."""
    ttl = items.StoreTtl(**configuration.store_ttl)
    if configuration.role != "service":
        yield RemoteStore(channel, ttl)
        return
    paths = ("$",) if configuration.store_index is None else _index(configuration.store_index).fields
    file = itemfile.ItemFile(configuration.store, embedder=embedding, fields=paths, ttl=ttl)
    file.open()
    background = tasks.Group("store")
    background.spawn_forever(partial(itemfile.sweeper, file), "sweep items")
    try:
        yield file
    finally:
        await background.stop()
        file.close()


class RemoteStore(BaseStore):
    """The store as a run worker has it."""

    supports_ttl = True

    def __init__(self, channel: link.Link, ttl: items.StoreTtl) -> None:
        self.ttl_config = itemfile.ttl_config(ttl)
        self._link = channel
        self._numbers = itertools.count(1)
        self._asked: dict[int, concurrent.futures.Future[Any]] = {}

    def replied(self, number: int, ok: bool, payload: Any) -> None:
        """Take a reply, in the reader thread."""
        future = self._asked.pop(number, None)
        # Who has asked may be cancelled at any moment. From here on the future can't be, so the answer is no
        # error.
        if future is None or not future.set_running_or_notify_cancel():
            return
        if ok:
            future.set_result(payload)
        else:
            future.set_exception(StoreFailed(str(payload)))

    def _ask(self, ops: Iterable[Op]) -> concurrent.futures.Future[Any]:
        number = next(self._numbers)
        future = self._asked[number] = concurrent.futures.Future()
        packed = orjson.dumps([_packed(op) for op in ops])
        self._link.control("ask", number, "store", {"operations": packed, "from_node": True})
        return future

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations and wait for them."""
        try:
            answer = self._ask(ops).result(DEADLINE_S)
        except concurrent.futures.TimeoutError:
            raise _late() from None
        return _results(answer)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await asyncio.wrap_future(self._ask(ops))
        except TimeoutError:
            raise _late() from None
        return _results(answer)


@define
class Answering:
    """The service worker's end."""

    store: BaseStore

    async def batch(self, operations: bytes, from_node: bool = False) -> bytes:
        """
        Carry out packed operations and return the packed results.

        Raises `Rejected` for what can't be done; what goes wrong for a node is returned, to be raised there.
        """
        try:
            results = await self.store.abatch(
                [_unpacked(operation) for operation in orjson.loads(operations)]
            )
        except Exception as error:
            if from_node:
                return orjson.dumps(_failure(error))
            if isinstance(error, ValueError):
                raise Rejected(str(error)) from error
            raise
        return orjson.dumps([_result(result) for result in results])


def _packed(op: Op) -> dict[str, Any]:
    match op:
        case GetOp():
            return {"op": "get", **op._asdict()}
        case PutOp():
            return {"op": "put", **op._asdict()}
        case SearchOp():
            return {"op": "search", **op._asdict()}
        case ListNamespacesOp():
            conditions = [[condition.match_type, condition.path] for condition in op.match_conditions or ()]
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
            return [_result(entry) if isinstance(entry, Item) else list(entry) for entry in result]


def _results(packed: bytes) -> list[Result]:
    """Return what was answered; raises what was raised there."""
    answer = orjson.loads(packed)
    if isinstance(answer, dict):
        raise _revived_failure(answer)
    return [_revived(result) for result in answer]


def _late() -> TimeoutError:
    return TimeoutError(f"the store did not answer within {DEADLINE_S:g} s")


def _failure(error: Exception) -> dict[str, Any]:
    """Return an exception of the store as a map: its classes from its own to its last base, and its text."""
    log.warning("an operation of a node on the store failed: %s", faults.text(error), exc_info=error)
    kinds = [[kind.__module__, kind.__qualname__] for kind in type(error).__mro__ if kind is not object]
    plain = len(error.args) == 1 and isinstance(error.args[0], str)
    return {"kinds": kinds, "text": faults.text(Exception(error.args[0]) if plain else error)}


def _revived_failure(failure: dict[str, Any]) -> Exception:
    """
    Make the exception again, of its own class, or of the nearest base that is known here and can be made of a
    text.

    Only classes of modules that are loaded already are looked for.
    """
    for module, name in failure["kinds"]:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            with contextlib.suppress(Exception):
                return kind(failure["text"])
    return StoreFailed(failure["text"])


def _revived(shown: Any) -> Any:
    match shown:
        case None:
            return None
        case dict():
            return _item(shown)
        case _:
            return [_item(entry) if isinstance(entry, dict) else tuple(entry) for entry in shown]


def _item(shown: dict[str, Any]) -> Item:
    fields = {
        "value": shown["value"],
        "key": shown["key"],
        "namespace": tuple(shown["namespace"]),
        "created_at": datetime.fromisoformat(shown["created_at"]),
        "updated_at": datetime.fromisoformat(shown["updated_at"]),
    }
    return SearchItem(**fields, score=shown["score"]) if "score" in shown else Item(**fields)
