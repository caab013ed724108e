"""The API's description: complete, valid, and true to what the code reads."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import pytest
from attrs import field, frozen

from gatewayd.api.description import openapi, operation, schemas
from gatewayd.api.requests import cron_bodies, kinds, parse, protocol_bodies
from tests.api import reading


@pytest.fixture
async def document(server: Any) -> dict[str, Any]:
    return await server.json("GET", "/openapi.json")


async def test_every_route_is_in_the_document(server, document):
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in server.client.app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert described == routes


async def test_every_operation_has_an_id_of_its_own_a_tag_and_answers(document):
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    ids = [each["operationId"] for each in operations]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document["tags"]}
    for each in operations:
        assert each["tags"][0] in tags
        assert each["summary"]
        assert any(status < "300" for status in each["responses"])


async def test_what_takes_a_body_says_which(document):
    def body(path: str, method: str = "post") -> Any:
        return document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]

    run = {"$ref": "#/components/schemas/RunCreate"}
    for path in ("/runs", "/runs/wait", "/threads/{thread_id}/runs/stream"):
        assert body(path) == run, path
    assert body("/runs/batch") == {"type": "array", "items": run}
    assert body("/runs/crons/{cron_id}", "patch") == {"$ref": "#/components/schemas/CronPatch"}
    assert body("/threads/{thread_id}/commands") == {"$ref": "#/components/schemas/ProtocolCommand"}
    assert body("/threads/{thread_id}/stream/events") == {"$ref": "#/components/schemas/EventFilter"}
    assert body("/store/items", "put") == {"$ref": "#/components/schemas/ItemPut"}
    assert body("/store/items", "delete") == {"$ref": "#/components/schemas/ItemDelete"}
    # What answers a body is not described as read by a GET.
    assert "requestBody" not in document["paths"]["/threads/{thread_id}/history"]["get"]
    without = {
        path
        for path, methods in document["paths"].items()
        if "post" in methods and "requestBody" not in methods["post"]
    }
    assert without == {
        "/threads/{thread_id}/copy",
        "/threads/{thread_id}/runs/{run_id}/cancel",
        "/webhooks/{delivery_id}/redeliver",
    }


async def test_parameters_of_query_and_headers_are_those_that_handlers_read(document):
    def names(path: str, method: str = "get") -> set[str]:
        return {each["name"] for each in document["paths"][path][method]["parameters"]}

    assert names("/threads/{thread_id}/runs") == {"thread_id", "limit", "offset", "status", "select"}
    assert names("/threads/{thread_id}/history") == {"thread_id", "limit", "before", "select"}
    assert names("/threads/{thread_id}/runs/{run_id}/cancel", "post") == {
        "thread_id",
        "run_id",
        "wait",
        "action",
        "reason",
    }
    assert names("/threads/{thread_id}/runs", "post") == {"thread_id", "Idempotency-Key"}
    assert "Last-Event-ID" in names("/threads/{thread_id}/stream")
    assert names("/store/items") == {"namespace", "key", "refresh_ttl"}


async def test_the_graphs_of_the_project_are_named(document):
    search = document["components"]["schemas"]["AssistantSearch"]["properties"]["graph_id"]
    assert search["anyOf"][0]["enum"] == ["chat", "other"]


async def test_every_reference_leads_somewhere(document):
    def references(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


async def test_the_page_loads_nothing_from_elsewhere(server):
    async with server.client.get("/docs") as answer:
        text = await answer.text()
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "openapi.json" in text
    assert "http://" not in text
    assert "https://" not in text


# schemas


@frozen(kw_only=True)
class Inner:
    """A part."""

    name: str


@frozen(kw_only=True)
class Outer:
    """A whole."""

    graph_id: str
    inner: Inner | None = None
    many: list[Inner] = field(factory=list)
    choice: Literal["a", "b"] = "a"
    limit: parse.Limit = kinds.TEN
    anything: Any = None


class Answer(TypedDict):
    """An answer that holds others of its kind."""

    parent: Answer | None
    more: NotRequired[dict[str, int]]


def test_classes_become_components_by_one_rule():
    made = schemas.Schemas(["chat"])
    assert made.of(Outer) == {"$ref": "#/components/schemas/Outer"}
    outer = made.components["Outer"]
    null = {"type": "null"}
    inner = {"$ref": "#/components/schemas/Inner"}
    assert outer["required"] == ["graph_id"]
    assert outer["description"] == "A whole."
    assert outer["properties"] == {
        "graph_id": {"type": "string", "enum": ["chat"]},
        "inner": {"anyOf": [inner, null]},
        "many": {"anyOf": [{"type": "array", "items": inner}, null]},
        "choice": {"anyOf": [{"enum": ["a", "b"]}, null], "default": "a"},
        "limit": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, null], "default": 10},
        "anything": {},
    }
    assert made.components["Inner"]["required"] == ["name"]


def test_a_typed_answer_may_hold_itself():
    made = schemas.Schemas([])
    made.of(Answer)
    answer = made.components["Answer"]
    assert answer["required"] == ["parent"]
    assert answer["properties"]["parent"]["anyOf"][0] == {"$ref": "#/components/schemas/Answer"}


def test_every_named_type_of_the_bodies_has_its_schema():
    named = {
        name
        for module in (parse, kinds)
        for name, kind in vars(module).items()
        if hasattr(kind, "__supertype__") and not name.startswith("_")
    }
    assert named == schemas.KINDS.keys() & named, "its supertype's schema says less than is refused"


def test_what_a_handler_reads_is_found_through_what_it_calls():
    from gatewayd.api.resources import crons

    assert reading.of(crons.create_thread_cron).bodies == [(cron_bodies.CronCreate, False)]


LENIENT = {protocol_bodies.ProtocolCommand, protocol_bodies.EventFilter}
"""Bodies that are not read by the one converter."""


async def test_every_handler_declares_what_it_reads_and_nothing_else(server):
    for method, path, handler in openapi.operations(server.client.app):
        declared, read = operation.OPERATIONS[handler], reading.of(handler)
        assert dict(declared.query) == read.query, path
        assert set(declared.headers) == read.headers, path
        if method != "GET" and declared.body not in LENIENT:
            wanted = read.bodies[0] if read.bodies else (None, False)
            assert (declared.body, declared.many) == wanted, path


def test_a_handler_that_declares_nothing_has_no_description():
    async def undeclared(request: Any) -> Any:
        """Do something."""

    with pytest.raises(KeyError):
        openapi._operation(schemas.Schemas([]), "GET", "/undeclared", undeclared)
