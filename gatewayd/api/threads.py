"""``/threads``: the records. States are in `state`, runs in `runs`."""

from __future__ import annotations

from aiohttp import web

from gatewayd import ids
from gatewayd.api import bodies, keys, parse, reply
from gatewayd.errors import Rejected
from gatewayd.storage import store

routes = web.RouteTableDef()


@routes.post("/threads")
async def create_thread(request: web.Request) -> web.Response:
    """Store a thread."""
    body = await parse.body(request, bodies.ThreadCreate)
    created = await request.app[keys.SERVICES].threads.create(
        body.thread_id,
        body.metadata,
        do_nothing=body.if_exists == "do_nothing",
        once=await parse.once(request),
    )
    return reply.json(reply.thread(created))


@routes.post("/threads/search")
async def search_threads(request: web.Request) -> web.Response:
    """Find threads."""
    body = await parse.body(request, bodies.ThreadSearch)
    search = store.ThreadSearch(
        metadata=body.metadata,
        values=body.values,
        status=body.status,
        ids=[_thread_id(text) for text in body.ids] or None,
        limit=body.limit,
        offset=body.offset,
        sort_by=body.sort_by or "updated_at",
        descending=body.sort_by is None or body.sort_order == "desc",
        values_shown=not body.select or "values" in body.select,
    )
    found = await request.app[keys.SERVICES].storage.threads_search(search)
    rows = [reply.selected(reply.thread(record), body.select) for record in found]
    return reply.page(rows, limit=body.limit, offset=body.offset)


@routes.post("/threads/prune")
async def prune_threads(request: web.Request) -> web.Response:
    """Delete threads, or what is older than their latest states."""
    body = await parse.body(request, bodies.ThreadPrune)
    pruned = await request.app[keys.SERVICES].operations.prune(body.thread_ids, body.strategy)
    return reply.json({"pruned_count": pruned})


def _thread_id(text: str) -> str:
    canonical = ids.parse_uuid(text)
    if canonical is None:
        raise Rejected(f"Invalid thread ID {text[: parse.SHOWN]}")
    return canonical


@routes.get("/threads/{thread_id:[^/]+}")
async def get_thread(request: web.Request) -> web.Response:
    """Return one thread."""
    found = await request.app[keys.SERVICES].storage.thread_get(parse.path_id(request, "thread"))
    return reply.json(reply.thread(found))


@routes.patch("/threads/{thread_id:[^/]+}")
async def patch_thread(request: web.Request) -> web.Response:
    """Merge metadata into a thread's."""
    thread_id = parse.path_id(request, "thread")
    body = await parse.body(request, bodies.ThreadPatch)
    patched = await request.app[keys.SERVICES].threads.patch(thread_id, body.metadata)
    minimal = "return=minimal" in request.headers.get("Prefer", "").replace(" ", "").lower()
    return reply.empty() if minimal else reply.json(reply.thread(patched))


@routes.delete("/threads/{thread_id:[^/]+}")
async def delete_thread(request: web.Request) -> web.Response:
    """Delete a thread with its runs and states; a run that executes is stopped."""
    thread_id = parse.path_id(request, "thread")
    await request.app[keys.SERVICES].runs.delete_thread(thread_id)
    return reply.empty()


@routes.post("/threads/{thread_id:[^/]+}/copy")
async def copy_thread(request: web.Request) -> web.Response:
    """Copy a thread with its states, not its runs."""
    thread_id = parse.path_id(request, "thread")
    return reply.json(reply.thread(await request.app[keys.SERVICES].operations.copy(thread_id)))
