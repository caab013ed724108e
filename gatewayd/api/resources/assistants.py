"""``/assistants``."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gatewayd.api import keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import FLAG, NOTHING, TEXT, operation
from gatewayd.api.requests import assistant_bodies as bodies
from gatewayd.api.requests import parse
from gatewayd.api.responses import reply
from gatewayd.errors import Invalid
from gatewayd.model.assistant import AssistantChange
from gatewayd.storage import store

routes = web.RouteTableDef()


@routes.post("/assistants")
@operation(body=bodies.AssistantCreate, answers=shapes.Assistant)
async def create_assistant(request: web.Request) -> web.Response:
    """Store an assistant."""
    body = await parse.body(request, bodies.AssistantCreate)
    created = await request.app[keys.SERVICES].assistants.create(
        keys.caller(request), body.assistant_id, _wanted(body), do_nothing=body.if_exists == "do_nothing"
    )
    return reply.json(reply.assistant(created))


def _wanted(body: bodies.AssistantPatch) -> AssistantChange:
    return AssistantChange(
        graph_id=body.graph_id,
        name=body.name,
        description=body.description,
        config=body.config,
        context=body.context,
        metadata=body.metadata,
    )


@routes.post("/assistants/search")
@operation(body=bodies.AssistantSearch, answers=list[shapes.Assistant])
async def search_assistants(request: web.Request) -> web.Response:
    """Find assistants."""
    body = await parse.body(request, bodies.AssistantSearch)
    search = store.AssistantSearch(
        **_filter(body),
        limit=body.limit,
        offset=body.offset,
        sort_by=body.sort_by or "created_at",
        descending=body.sort_by is None or body.sort_order == "desc",
    )
    found = await request.app[keys.SERVICES].assistants.search(keys.caller(request), search)
    rows = [reply.selected(reply.assistant(record), body.select) for record in found]
    return reply.page(rows, limit=body.limit, offset=body.offset)


@routes.post("/assistants/count")
@operation(body=bodies.AssistantCount, answers=int)
async def count_assistants(request: web.Request) -> web.Response:
    """Count assistants."""
    body = await parse.body(request, bodies.AssistantCount)
    return reply.json(
        await request.app[keys.SERVICES].assistants.count(
            keys.caller(request), store.AssistantSearch(**_filter(body))
        )
    )


def _filter(body: bodies.AssistantCount) -> dict[str, Any]:
    return {"metadata": body.metadata, "graph_id": body.graph_id, "name": body.name}


@routes.get("/assistants/{assistant_id:[^/]+}")
@operation(answers=shapes.Assistant)
async def get_assistant(request: web.Request) -> web.Response:
    """Return one assistant, by its id or its graph's."""
    return reply.json(
        reply.assistant(
            await request.app[keys.SERVICES].assistants.get(keys.caller(request), _named(request))
        )
    )


@routes.patch("/assistants/{assistant_id:[^/]+}")
@operation(body=bodies.AssistantPatch, answers=shapes.Assistant)
async def patch_assistant(request: web.Request) -> web.Response:
    """Change an assistant, as a new version."""
    services = request.app[keys.SERVICES]
    assistant_id = services.assistants.identifier(_named(request))
    body = await parse.body(request, bodies.AssistantPatch)
    return reply.json(
        reply.assistant(await services.assistants.patch(keys.caller(request), assistant_id, _wanted(body)))
    )


@routes.delete("/assistants/{assistant_id:[^/]+}")
@operation(query={"delete_threads": FLAG}, answers=NOTHING)
async def delete_assistant(request: web.Request) -> web.Response:
    """Remove an assistant with its versions and crons; with `delete_threads` also the threads of its runs."""
    services = request.app[keys.SERVICES]
    assistant_id = services.assistants.identifier(_named(request))
    await services.assistants.delete(
        keys.caller(request), assistant_id, delete_threads=parse.flag(request, "delete_threads")
    )
    return reply.empty()


@routes.post("/assistants/{assistant_id:[^/]+}/versions")
@operation(body=bodies.AssistantVersions, answers=list[shapes.Assistant])
async def list_assistant_versions(request: web.Request) -> web.Response:
    """Return the versions of an assistant, newest first."""
    body = await parse.body(request, bodies.AssistantVersions)
    found = await request.app[keys.SERVICES].assistants.versions(
        keys.caller(request), _named(request), metadata=body.metadata, limit=body.limit, offset=body.offset
    )
    return reply.json([reply.assistant_version(record) for record in found])


@routes.post("/assistants/{assistant_id:[^/]+}/latest")
@operation(body=bodies.AssistantLatest, answers=shapes.Assistant)
async def set_latest_assistant_version(request: web.Request) -> web.Response:
    """Make an assistant what it was in one of its versions."""
    body = await parse.body(request, bodies.AssistantLatest)
    changed = await request.app[keys.SERVICES].assistants.set_version(
        keys.caller(request), _named(request), body.version
    )
    return reply.json(reply.assistant(changed))


@routes.get("/assistants/{assistant_id:[^/]+}/graph")
@operation(query={"xray": TEXT}, answers=parse.Object)
async def get_assistant_graph(request: web.Request) -> web.Response:
    """
    Return the drawing of an assistant's graph; `xray` is how many levels of graphs inside it shows, true:
    all.
    """
    xray = _xray(request.query.get("xray", "false"))
    return reply.raw(
        await request.app[keys.SERVICES].assistants.graph(keys.caller(request), _named(request), xray=xray)
    )


def _xray(text: str) -> bool | int:
    if (word := text.strip().lower()) in {"true", "false", ""}:
        return word == "true"
    # Six digits are more levels than any graph has.
    if not (word.isascii() and word.isdigit() and int(word[:6]) > 0):
        raise Invalid("Invalid xray value")
    return int(word[:6])


@routes.get("/assistants/{assistant_id:[^/]+}/schemas")
@operation(answers=parse.Object)
async def get_assistant_schemas(request: web.Request) -> web.Response:
    """Return the schemas of an assistant's graph: its input, output, state, config and context."""
    return reply.raw(
        await request.app[keys.SERVICES].assistants.schemas(keys.caller(request), _named(request))
    )


@routes.get("/assistants/{assistant_id:[^/]+}/subgraphs")
@operation(query={"recurse": FLAG}, answers=parse.Object)
async def get_assistant_subgraphs(request: web.Request) -> web.Response:
    """
    Return the schemas of the graphs inside an assistant's graph; with `recurse` also of those inside them.
    """
    return await _subgraphs(request, None)


@routes.get("/assistants/{assistant_id:[^/]+}/subgraphs/{namespace:.+}")
@operation(query={"recurse": FLAG}, answers=parse.Object)
async def get_assistant_subgraphs_by_namespace(request: web.Request) -> web.Response:
    """Return the schemas of one of the graphs inside an assistant's graph."""
    return await _subgraphs(request, request.match_info["namespace"])


async def _subgraphs(request: web.Request, namespace: str | None) -> web.Response:
    return reply.raw(
        await request.app[keys.SERVICES].assistants.subgraphs(
            keys.caller(request), _named(request), namespace=namespace, recurse=parse.flag(request, "recurse")
        )
    )


def _named(request: web.Request) -> str:
    return request.match_info["assistant_id"]
