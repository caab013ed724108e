"""``/store``: the long-term store."""

from __future__ import annotations

from aiohttp import web

from gatewayd.api import keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import NOTHING, TEXT, operation
from gatewayd.api.requests import item_bodies, parse
from gatewayd.api.responses import reply

routes = web.RouteTableDef()


@routes.put("/store/items")
@operation(body=item_bodies.ItemPut, answers=NOTHING)
async def put_item(request: web.Request) -> web.Response:
    """Store an item in the place of another with its key; a `ttl` of null lets it live for ever."""
    given = await parse.json(request)
    body = parse.structure(given, item_bodies.ItemPut)
    await request.app[keys.SERVICES].items.put(
        body.namespace,
        body.key,
        body.value,
        index=body.index,
        ttl=body.ttl,
        for_ever="ttl" in given and body.ttl is None,
    )
    return reply.empty()


@routes.get("/store/items")
@operation(query={"namespace": TEXT, "refresh_ttl": TEXT, "key": TEXT}, answers=shapes.Item | None)
async def get_item(request: web.Request) -> web.Response:
    """Return an item, or null; the labels of its namespace are joined by dots."""
    namespaces = request.query.getall("namespace", [""])
    refresh = request.query.get("refresh_ttl", "").strip().lower()
    found = await request.app[keys.SERVICES].items.get(
        namespaces[-1].split("."),
        request.query.get("key", ""),
        refresh={"true": True, "1": True, "false": False, "0": False}.get(refresh),
    )
    return reply.json(found)


@routes.delete("/store/items")
@operation(body=item_bodies.ItemDelete, answers=NOTHING)
async def delete_item(request: web.Request) -> web.Response:
    """Delete an item, if there is one."""
    body = await parse.body(request, item_bodies.ItemDelete)
    await request.app[keys.SERVICES].items.delete(body.namespace, body.key)
    return reply.empty()


@routes.post("/store/items/search")
@operation(body=item_bodies.ItemSearch, answers=shapes.Items)
async def search_items(request: web.Request) -> web.Response:
    """Find items below a namespace, by their content and by meaning."""
    body = await parse.body(request, item_bodies.ItemSearch)
    found = await request.app[keys.SERVICES].items.search(
        body.namespace_prefix,
        terms=body.filter,
        limit=body.limit,
        offset=body.offset,
        query=body.query,
        refresh=body.refresh_ttl,
    )
    return reply.json({"items": found})


@routes.post("/store/namespaces")
@operation(body=item_bodies.NamespaceSearch, answers=shapes.Namespaces)
async def list_namespaces(request: web.Request) -> web.Response:
    """List the namespaces that have items."""
    body = await parse.body(request, item_bodies.NamespaceSearch)
    found = await request.app[keys.SERVICES].items.namespaces(
        body.prefix, body.suffix, max_depth=body.max_depth, limit=body.limit, offset=body.offset
    )
    return reply.json({"namespaces": found})
