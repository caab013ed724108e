"""``/threads``: the records. States are in `state`, runs in `runs`."""

from __future__ import annotations

from typing import Final

import attrs
from aiohttp import web

from gatewayd import ids
from gatewayd.api import keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import IDEMPOTENCY_KEY, LIST, NOTHING, PREFER, operation
from gatewayd.api.requests import parse, thread_bodies
from gatewayd.api.responses import extract, reply
from gatewayd.errors import Rejected
from gatewayd.storage import store

routes = web.RouteTableDef()

INCOMPLETE: Final = "X-Search-Incomplete"
"""``scanned=N``: a search gave up after N threads, before its page was full. Absent if nothing is missing."""


@routes.post("/threads")
@operation(body=thread_bodies.ThreadCreate, headers=(IDEMPOTENCY_KEY,), answers=shapes.Thread)
async def create_thread(request: web.Request) -> web.Response:
    """Store a thread."""
    body = await parse.body(request, thread_bodies.ThreadCreate)
    created = await request.app[keys.SERVICES].threads.create(
        keys.caller(request),
        body.thread_id,
        body.metadata,
        do_nothing=body.if_exists == "do_nothing",
        once=await parse.once(request),
        ttl=None if body.ttl is None else body.ttl.wanted(),
        supersteps=[attrs.asdict(step) for step in body.supersteps],
    )
    return reply.json(reply.thread(created))


@routes.post("/threads/search")
@operation(body=thread_bodies.ThreadSearch, answers=list[shapes.Thread])
async def search_threads(request: web.Request) -> web.Response:
    """Find threads."""
    body = await parse.body(request, thread_bodies.ThreadSearch)
    paths = extract.paths(body.extract)
    services = request.app[keys.SERVICES]
    search = store.ThreadSearch(
        metadata=body.metadata,
        excluded=body.exclude_metadata,
        values=body.values,
        status=body.status,
        ids=[_thread_id(text) for text in body.ids],
        limit=body.limit,
        offset=body.offset,
        sort_by=body.sort_by or "updated_at",
        descending=body.sort_by is None or body.sort_order == "desc",
        scan=services.settings.search_scan,
        values_shown=not body.select
        or "values" in body.select
        or any(path.column == "values" for path in paths),
    )
    found = await services.threads.search(keys.caller(request), search)
    rows = [reply.selected(reply.thread(record), body.select) for record in found.threads]
    if paths:
        for row, record in zip(rows, found.threads, strict=True):
            row["extracted"] = extract.extracted(record, paths)
    response = reply.page(rows, limit=body.limit, offset=body.offset)
    if found.scanned is not None:
        response.headers[INCOMPLETE] = f"scanned={found.scanned}"
    return response


@routes.post("/threads/count")
@operation(body=thread_bodies.ThreadCount, answers=int)
async def count_threads(request: web.Request) -> web.Response:
    """Count threads."""
    body = await parse.body(request, thread_bodies.ThreadCount)
    services = request.app[keys.SERVICES]
    search = store.ThreadSearch(
        metadata=body.metadata,
        excluded=body.exclude_metadata,
        values=body.values,
        status=body.status,
        scan=services.settings.search_scan,
    )
    return reply.json(await services.threads.count(keys.caller(request), search))


@routes.post("/threads/prune")
@operation(body=thread_bodies.ThreadPrune, answers=shapes.Pruned)
async def prune_threads(request: web.Request) -> web.Response:
    """Delete threads, or what is older than their latest states."""
    body = await parse.body(request, thread_bodies.ThreadPrune)
    pruned = await request.app[keys.SERVICES].changes.prune(
        keys.caller(request), body.thread_ids, body.strategy
    )
    return reply.json({"pruned_count": pruned})


def _thread_id(text: str) -> str:
    canonical = ids.parse_uuid(text)
    if canonical is None:
        raise Rejected(f"Invalid thread ID {text[: parse.SHOWN]}")
    return canonical


@routes.get("/threads/{thread_id:[^/]+}")
@operation(query={"include": LIST}, answers=shapes.Thread)
async def get_thread(request: web.Request) -> web.Response:
    """Return one thread; `include` may name `ttl`."""
    thread_id = parse.path_id(request, "thread")
    threads = request.app[keys.SERVICES].threads
    shown = reply.thread(await threads.get(keys.caller(request), thread_id))
    if "ttl" in parse.listed(request, "include") and (
        ttl := await threads.ttl(keys.caller(request), thread_id)
    ):
        shown["ttl"] = reply.ttl(ttl)
    return reply.json(shown)


@routes.patch("/threads/{thread_id:[^/]+}")
@operation(body=thread_bodies.ThreadPatch, headers=(PREFER,), answers=(shapes.Thread, NOTHING))
async def patch_thread(request: web.Request) -> web.Response:
    """Merge metadata into a thread's, and say how long it is kept; ``Prefer: return=minimal`` is honoured."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, thread_bodies.ThreadPatch)
    patched = await request.app[keys.SERVICES].threads.patch(
        keys.caller(request), thread_id, body.metadata, ttl=None if body.ttl is None else body.ttl.wanted()
    )
    minimal = "return=minimal" in request.headers.get("Prefer", "").replace(" ", "").lower()
    return reply.empty() if minimal else reply.json(reply.thread(patched))


@routes.delete("/threads/{thread_id:[^/]+}")
@operation(answers=NOTHING)
async def delete_thread(request: web.Request) -> web.Response:
    """Delete a thread with its runs and states; a run that executes is stopped."""
    thread_id = parse.path_id(request, "thread")
    await request.app[keys.SERVICES].runs.delete_thread(keys.caller(request), thread_id)
    return reply.empty()


@routes.post("/threads/{thread_id:[^/]+}/copy")
@operation(answers=shapes.Thread)
async def copy_thread(request: web.Request) -> web.Response:
    """Copy a thread with its states, not its runs."""
    thread_id = parse.path_id(request, "thread")
    return reply.json(
        reply.thread(await request.app[keys.SERVICES].changes.copy(keys.caller(request), thread_id))
    )


@routes.get("/threads/{thread_id:[^/]+}/storage")
@operation(answers=parse.Object)
async def get_thread_storage(request: web.Request) -> web.Response:
    """Return how much of the database a thread's states take."""
    thread_id = parse.path_id(request, "thread")
    return reply.json(await request.app[keys.SERVICES].threads.storage_of(keys.caller(request), thread_id))
