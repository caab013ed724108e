"""``/assistants``."""

from __future__ import annotations

from aiohttp import web

from gatewayd.api import bodies, keys, parse, reply

routes = web.RouteTableDef()


@routes.post("/assistants/search")
async def search_assistants(request: web.Request) -> web.Response:
    """Find assistants."""
    body = await parse.body(request, bodies.AssistantSearch)
    found = await request.app[keys.SERVICES].assistants.search(
        metadata=body.metadata,
        graph_id=body.graph_id,
        name=body.name,
        limit=body.limit,
        offset=body.offset,
        sort_by=body.sort_by or "created_at",
        descending=body.sort_by is None or body.sort_order == "desc",
    )
    rows = [reply.selected(reply.assistant(record), body.select) for record in found]
    return reply.page(rows, limit=body.limit, offset=body.offset)


@routes.get("/assistants/{assistant_id:[^/]+}")
async def get_assistant(request: web.Request) -> web.Response:
    """Return one assistant, by its id or its graph's."""
    found = await request.app[keys.SERVICES].assistants.get(request.match_info["assistant_id"])
    return reply.json(reply.assistant(found))
