"""What the server says about itself, and the conventions of every request."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from gatewayd import errors, project


def look_again(server: Any) -> None:
    """Have the findings of the last look forgotten, as they are after a second."""
    server.services.health._looked_at = float("-inf")


THREAD = "01a2027b-0000-7000-8000-000000000000"


async def test_ok_answers_with_the_references_body(server):
    for path in ("/ok", "/", "/ok?check_db=0", "/ok?check_db=1", "/ok?check_db=7"):
        assert await server.json("GET", path) == {"ok": True, "services": {}}


async def test_ok_with_check_db_says_why_the_project_does_not_answer(server):
    server.workers.trouble = "chat.py: SyntaxError"
    answer = await server.json("GET", "/ok?check_db=1", status=503)
    assert "chat.py: SyntaxError" in answer["detail"]
    assert await server.json("GET", "/ok") == {"ok": True, "services": {}}


async def test_ok_with_check_db_says_why_a_reload_failed_while_the_project_from_before_is_served(server):
    server.services.serving.trouble = "chat.py: SyntaxError"
    answer = await server.json("GET", "/ok?check_db=1")
    told = "the last reload failed: chat.py: SyntaxError"
    warnings = [{"check": "reload", "detail": told}]
    assert answer == {"ok": True, "services": {}, "trouble": told, "warnings": warnings}
    assert await server.json("GET", "/ok") == {"ok": True, "services": {}}
    server.services.serving.become(server.services.project)
    look_again(server)
    assert await server.json("GET", "/ok?check_db=1") == {"ok": True, "services": {}}


async def test_another_project_is_seen_by_every_part_at_once(server):
    served = server.services.project
    with_another = {**served.graphs, "new": project.GraphSpec(graph_id="new", path="./new.py:graph")}
    search = {"graph_id": "new"}
    await server.json("POST", "/assistants/search", search, status=404)
    cors = project.Cors(allow_origins=("https://a.example",))
    server.services.serving.become(attrs.evolve(served, graphs=with_another, cors=cors))
    assert await server.json("POST", "/assistants/search", search) == []
    assert (
        server.services.project.graphs.keys() == server.services.threads.graphs.keys() == with_another.keys()
    )
    assert server.services.cors is cors


async def test_info_has_the_fields_of_the_reference(server):
    info = await server.json("GET", "/info")
    assert set(info) == {"version", "langgraph_py_version", "flags", "host"}
    assert info["host"]["kind"] == "self-hosted"
    assert info["flags"]["assistants"] is True


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nope", 404, "Not Found"),
        ("POST", "/ok", 404, "Not Found"),
        ("OPTIONS", "/ok", 404, "Not Found"),
        ("GET", "/ok/", 404, "Not Found"),
        ("PUT", "/threads", 405, "Method Not Allowed"),
        ("OPTIONS", "/threads", 405, "Method Not Allowed"),
        ("GET", "/ok?check_db=true", 400, "invalid literal for int() with base 10: 'true'"),
        ("GET", "/threads/zz", 422, "Invalid thread ID: must be a UUID"),
        ("GET", f"/threads/{THREAD}", 404, f"Thread with ID {THREAD} not found"),
        ("DELETE", f"/threads/{THREAD}", 404, f"Thread with ID {THREAD} not found"),
        ("PATCH", "/threads/zz", 422, "Invalid thread ID: must be a UUID"),
        ("POST", "/threads", 422, "Invalid JSON in request body"),
        ("POST", "/threads/search", 422, "Invalid JSON in request body"),
        ("GET", f"/threads/{THREAD}/runs/zz", 422, "Invalid run ID: must be a UUID"),
        ("GET", f"/threads/{THREAD}/runs/{THREAD}", 404, f"Thread with ID {THREAD} not found"),
        ("GET", f"/threads/{THREAD}/state", 404, f"Thread with ID {THREAD} not found"),
        ("GET", f"/threads/{THREAD}/history", 404, f"Thread with ID {THREAD} not found"),
        ("GET", f"/threads/{THREAD}/runs", 404, f"Thread with ID {THREAD} not found"),
        ("GET", "/assistants/zz", 422, "Invalid assistant ID: must be a UUID"),
        ("GET", f"/assistants/{THREAD}", 404, "Not Found"),
        ("POST", f"/threads/{THREAD}/runs/{THREAD}/cancel", 404, "No runs found to cancel."),
        ("DELETE", f"/threads/{THREAD}/runs/{THREAD}", 404, "Run not found"),
        ("GET", f"/runs/{THREAD}", 404, "Not Found"),
        (
            "GET",
            f"/threads/{THREAD}/stream?stream_modes=bogus",
            422,
            'Invalid stream mode: bogus is not one of "run_modes", "lifecycle" or "state_update"',
        ),
    ],
)
async def test_errors_are_json_with_status_and_detail_of_the_reference(server, method, path, status, detail):
    assert await server.json(method, path, status=status) == {"detail": detail}


async def test_no_method_on_all_runs_is_taken_for_the_id_of_a_run(server):
    app = server.client.server.app
    paths = {route.resource.canonical for route in app.router.routes() if route.method == "POST"}
    asked = [path for path in paths if path.startswith("/runs/") and path.count("/") == 2]
    assert {"/runs/batch", "/runs/cancel", "/runs/crons", "/runs/search"} <= set(asked)
    for path in asked:
        for method in ("GET", "DELETE", "PUT", "PATCH"):
            async with server.client.request(method, path) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "POST")
                assert await answer.json() == {"detail": "Method Not Allowed"}
    for path in ("/runs/batched", "/runs/join", "/runs/nothing"):
        refused = await server.json("GET", path, status=422)
        assert refused == {"detail": "Invalid run ID: must be a UUID"}


async def test_405_names_the_methods_that_are_allowed(server):
    async with server.client.put("/threads") as answer:
        assert answer.headers["Allow"] == "POST"
    async with server.client.put(f"/threads/{THREAD}") as answer:
        assert answer.headers["Allow"] == "DELETE, GET, HEAD, PATCH"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Invalid("x"), 422),
        (errors.Rejected("x"), 400),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.Unavailable("x"), 503),
        (errors.Unanswered("x"), 504),
    ],
)
async def test_every_error_of_a_worker_has_its_status(server, error, status):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    server.workers.answers["state"] = error
    assert await server.json("GET", f"/threads/{thread_id}/state", status=status) == {"detail": "x"}


async def test_a_bug_is_a_500_in_json_and_is_logged(server, caplog):
    thread_id = await server.thread(metadata={"graph_id": "chat"})
    server.workers.answers["state"] = ZeroDivisionError("bug")
    answer = await server.json("GET", f"/threads/{thread_id}/state", status=500)
    assert answer == {"detail": "Internal Server Error"}
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "body",
    [b"", b"{bad json", b'{"metadata": {"a": "\\ud800"}}', b'{"metadata": NaN}', b"{} x", b'{"a":"\xff"}'],
)
async def test_what_is_no_json_is_refused(server, body):
    async with server.client.post("/threads", data=body) as answer:
        assert (answer.status, await answer.json()) == (422, {"detail": "Invalid JSON in request body"})


async def test_nul_in_strings_is_stored_as_replacement_character(server):
    async with server.client.post("/threads", data=b'{"metadata": {"k\\u0000": "a\\u0000b"}}') as answer:
        made = await answer.json()
    assert made["metadata"] == {"k\ufffd": "a\ufffdb"}
    found = await server.json("POST", "/threads/search", {"metadata": {"k\ufffd": "a\ufffdb"}})
    assert [each["thread_id"] for each in found] == [made["thread_id"]]


async def test_a_body_nested_too_deeply_to_be_stored_is_refused_by_name(server):
    deep = "[" * 250 + "]" * 250
    async with server.client.post("/threads", data=f'{{"metadata": {{"a": {deep}}}}}') as answer:
        assert answer.status == 422
        assert "nested" in (await answer.json())["detail"]
    fine = '[{"a":1}],' * 300
    async with server.client.post("/threads", data=f'{{"metadata": {{"a": [{fine}1]}}}}') as answer:
        assert answer.status == 200


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_limit_is_413_and_names_the_limit(serve, declared):
    server = await serve(max_body_bytes=2048)
    body = json.dumps({"metadata": {"a": "x" * 4000}}).encode()

    async def chunks():
        yield body

    async with server.client.post("/threads", data=body if declared else chunks()) as answer:
        assert answer.status == 413
        assert await answer.json() == {"detail": "Request body too large (limit: 2048 bytes)"}


async def test_content_type_of_a_request_is_not_looked_at(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        async with server.client.post("/threads", data=b"{}", headers={"Content-Type": kind}) as answer:
            assert answer.status == 200


async def test_head_works_wherever_get_does(server):
    thread_id = await server.thread()
    run_id = await server.completed(thread_id)
    for path in (
        "/ok",
        f"/threads/{thread_id}",
        f"/threads/{thread_id}/runs/{run_id}",
        f"/threads/{thread_id}/runs/{run_id}/join",
        f"/threads/{thread_id}/runs/{run_id}/stream",
        f"/threads/{thread_id}/stream",
    ):
        async with server.client.head(path) as answer:
            assert answer.status == 200, path
            assert await answer.read() == b""


async def test_a_trailing_slash_is_redirected_with_the_query_and_an_absolute_location(server):
    for method, path in (("POST", "/threads"), ("GET", f"/threads/{THREAD}"), ("POST", "/threads/search")):
        async with server.client.request(method, f"{path}/?a=1", allow_redirects=False) as answer:
            assert answer.status == 307
            assert answer.headers["Location"] == str(server.client.make_url(f"{path}?a=1"))
    async with server.client.get("/nope/", allow_redirects=False) as answer:
        assert answer.status == 404


async def test_json_has_the_references_content_type_and_varies_by_origin(server):
    async with server.client.get("/ok") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_origins_that_may_call_may_read_everything_and_see_location(server):
    for path in ("/ok", "/nope"):
        async with server.client.get(path, headers={"Origin": "http://localhost:3000"}) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert (
                exposed
                == "x-pagination-total, x-pagination-next, content-location, location, x-search-incomplete"
            )


async def test_a_preflight_is_answered_as_the_reference_does(serve):
    server = await serve(cors_allow_origins=("*",))
    asked = {
        "Origin": "http://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,last-event-id,x-api-key",
    }
    async with server.client.options("/threads/x/runs/stream", headers=asked) as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
        got = answer.headers
        assert got["Access-Control-Allow-Origin"] == "*"
        assert got["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
        assert got["Access-Control-Allow-Headers"] == "content-type,last-event-id,x-api-key"
        assert got["Access-Control-Max-Age"] == "600"
        assert got["Access-Control-Allow-Private-Network"] == "true"


async def test_only_the_named_origins_are_let_in(serve):
    rules = project.Cors(
        allow_origins=("http://good.example",), allow_origin_regex=r"http://.*\.dev", allow_credentials=True
    )
    server = await serve(cors=rules)
    for origin, allowed in (
        ("http://good.example", True),
        ("http://x.dev", True),
        ("http://bad.example", False),
    ):
        async with server.client.get("/ok", headers={"Origin": origin}) as answer:
            assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with server.client.options("/threads", headers=asked) as answer:
            assert answer.status == (200 if allowed else 400)


async def test_an_origin_that_would_break_a_header_does_not(server):
    async with server.client.get("/ok", headers={"Origin": "null"}) as answer:
        assert answer.status == 200


async def test_a_browser_finds_the_docs_at_the_root_and_all_others_what_ok_says(server):
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with server.client.get("/", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert 'href="docs"' in await answer.text()
    assert await server.json("GET", "/") == {"ok": True, "services": {}}


async def test_a_page_of_the_manual_is_shown_as_plain_text(server):
    async with server.client.get("/docs/operating") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert (await answer.text()).startswith("=========\nOperating\n")
    async with server.client.get("/docs") as answer:
        assert '<a href="docs/operating">operating</a>' in await answer.text()
    refused = await server.json("GET", "/docs/nonsense", status=404)
    assert "operating" in refused["detail"]
