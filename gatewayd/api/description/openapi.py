"""``/openapi.json`` and ``/docs``: the API's description, made from the routes, and a page that shows it.

Each route is an operation: its id is the handler's name, its description the handler's docstring, its
parameters, body and answers what is declared at the handler (`operation`). The page is our own and loads
nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

from aiohttp import hdrs, web

import gatewayd
from gatewayd import manual
from gatewayd.api import keys
from gatewayd.api.description import operation as operations_
from gatewayd.api.description import schemas, shapes
from gatewayd.api.description.operation import Answer, operation
from gatewayd.api.requests import parse
from gatewayd.api.responses import reply
from gatewayd.errors import NotFound

routes = web.RouteTableDef()

TAGS: Final = (
    ("Assistants", "Graphs with a configuration"),
    ("Threads", "Conversations, their states and histories"),
    ("Thread Runs", "Runs on a thread"),
    ("Stateless Runs", "Runs on a thread of their own, which goes with them"),
    ("Crons", "Runs by the clock"),
    ("Store", "The long-term store"),
    ("Streaming", "Protocol v2"),
    ("Webhooks", "What was sent when runs ended"),
    ("System", "What the server says about itself"),
)
PARAMETER: Final = re.compile(r"\{([^}]+)\}")
DOCUMENTS: Final = web.AppKey("documents", dict)
"""The documents that were made, by the graphs they name."""


@routes.get("/openapi.json")
@operation(answers=parse.Object)
async def get_openapi(request: web.Request) -> web.Response:
    """Describe the API as OpenAPI 3.1."""
    graphs = tuple(sorted(request.app[keys.SERVICES].project.graphs))
    made = request.app[DOCUMENTS]
    if graphs not in made:
        made.clear()  # those of projects from before a reload
        made[graphs] = await asyncio.to_thread(document, request.app, list(graphs))
    return reply.json(made[graphs])


@routes.get("/docs")
@operation(answers=Answer(str, content_type="text/html"))
async def get_docs(_: web.Request) -> web.Response:
    """Show the description of the API to people."""
    page = resources.files("gatewayd.api.description").joinpath("docs.html").read_text("utf-8")
    links = " · ".join(f'<a href="docs/{topic}">{topic}</a>' for topic in manual.TOPICS)
    page = page.replace("<!-- manual -->", links)
    return web.Response(text=page, content_type="text/html", charset="utf-8")


@routes.get("/docs/{topic:[^/]+}")
@operation(answers=Answer(str, content_type="text/plain"))
async def get_manual_page(request: web.Request) -> web.Response:
    """Show a page of the manual, as plain text."""
    topic = request.match_info["topic"]
    if topic not in manual.TOPICS:
        raise NotFound(f"There is no page {topic!r} in the manual; there are: {', '.join(manual.TOPICS)}")
    return web.Response(text=manual.page(topic), content_type="text/plain", charset="utf-8")


def document(app: web.Application, graphs: list[str]) -> dict[str, Any]:
    """Return the description of an application's routes."""
    made = schemas.Schemas(graphs)
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for method, path, handler in operations(app):
        operation = _operation(made, method, path, handler)
        while operation["operationId"] in ids:
            operation["operationId"] += "_"
        ids.add(operation["operationId"])
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gatewayd",
            "version": gatewayd.__version__,
            "description": inspect.getdoc(gatewayd),
        },
        "tags": [{"name": name, "description": description} for name, description in TAGS],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(made.components.items()))},
    }


def operations(app: web.Application) -> Iterator[tuple[str, str, Any]]:
    """Yield method, path and handler of every route; HEAD is what GET is."""
    for route in app.router.routes():
        if route.method != hdrs.METH_HEAD and route.resource is not None:
            yield route.method, route.resource.canonical, route.handler


def _operation(made: schemas.Schemas, method: str, path: str, handler: Any) -> dict[str, Any]:
    declared = operations_.OPERATIONS[handler]
    text = inspect.getdoc(handler) or handler.__name__
    summary, _, more = text.partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": handler.__name__,
        "tags": [_tag(path)],
        "summary": summary.replace("\n", " "),
        "parameters": [*_parameters(path, declared)],
        "responses": _responses(made, path, declared),
    }
    if more:
        operation["description"] = more
    kind: Any = declared.body
    if kind is not None:
        schema = made.of(list[kind] if declared.many else kind)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(path: str, declared: operations_.Operation) -> Iterator[dict[str, Any]]:
    for name in PARAMETER.findall(path):
        is_uuid = name in {"thread_id", "run_id", "cron_id", "delivery_id"}
        schema = schemas.UUID if is_uuid else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, schema in declared.query.items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}
    for name in sorted(declared.headers):
        yield {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _responses(made: schemas.Schemas, path: str, declared: operations_.Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for answer in declared.answers:
        response = responses.setdefault(str(answer.status), {"description": "Done"})
        if answer.kind is not None:
            content = response.setdefault("content", {})
            content[answer.content_type] = {"schema": made.of(answer.kind)}
    error = {"content": {"application/json": {"schema": made.of(shapes.Error)}}}
    body, query, named = declared.body is not None, bool(declared.query), "{" in path
    for status, description, when in (
        ("400", "Well-formed, but refused for what it means", body or query),
        ("404", "What the request names does not exist", named or body),
        ("409", "Clashes with the present state", body or path.endswith("/copy")),
        ("413", "The body is too large", body),
        ("422", "A field is wrong; the detail names it", body or query or named),
        ("503", "Not now; try again", True),
        ("504", "A worker did not answer in time; the detail names what hung", True),
    ):
        if when and status == "400" and declared.refusal is not None:
            responses[status] = {
                "description": description,
                "content": {"application/json": {"schema": made.of(declared.refusal)}},
            }
        elif when:
            responses[status] = {"description": description, **error}
    return responses


def _tag(path: str) -> str:
    first, _, rest = path.removeprefix("/").partition("/")
    if "crons" in path.split("/"):
        return "Crons"
    if "webhooks" in path.split("/"):
        return "Webhooks"
    if first == "threads":
        if rest.endswith(("/stream/events", "/commands")):
            return "Streaming"
        return "Thread Runs" if "/runs" in rest else "Threads"
    known = {"assistants": "Assistants", "runs": "Stateless Runs", "store": "Store"}
    return known.get(first, "System")
