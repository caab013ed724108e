"""Pages of strangers at the server's door: nothing is done for them, and they are told what to set."""

from __future__ import annotations

import ipaddress
import json

import aiohttp
import pytest

BODY = json.dumps({"assistant_id": "chat", "input": {}})
STRANGER = {"Origin": "https://evil.test"}


async def detail(answer, status):
    assert answer.status == status, await answer.text()
    assert "Access-Control-Allow-Origin" not in answer.headers
    return (await answer.json())["detail"]


async def threads(server):
    return await server.json("POST", "/threads/count", {})


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({**STRANGER, "Content-Type": "text/plain"}, 403, "set CORS_ALLOW_ORIGINS=https://evil.test"),
        ({**STRANGER, "Content-Type": "application/json"}, 403, "set CORS_ALLOW_ORIGINS=https://evil.test"),
        ({"Origin": "null", "Content-Type": "text/plain"}, 403, "that CORS_ALLOW_ORIGINS lists"),
        ({"Host": ""}, 403, "names no host"),
        ({"Host": ":2024"}, 403, "a name that GATEWAYD_HOSTS lists"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "call the server with fetch"),
        ({"Host": "evil.test:2024", "Origin": "http://evil.test:2024"}, 403, "set GATEWAYD_HOSTS=evil.test"),
        ({"X-Forwarded-For": "203.0.113.5"}, 403, "set GATEWAYD_TRUSTED_PROXIES=127.0.0.1"),
    ],
)
async def test_a_strangers_request_does_nothing_and_is_logged_once(server, caplog, headers, status, told):
    for _ in range(3):
        async with server.client.post("/runs", data=BODY, headers=headers) as answer:
            assert told in await detail(answer, status)
    assert await server.json("GET", "/ok") == {"ok": True, "services": {}}
    assert await threads(server) == 0
    assert server.worker.orders == {}
    logged = [record.getMessage() for record in caplog.records if "is refused" in record.getMessage()]
    assert len(logged) == 1
    assert told in logged[0]


async def test_a_preflight_and_its_request_are_logged_once_together(server, caplog):
    asked = {**STRANGER, "Access-Control-Request-Method": "POST"}
    async with server.client.options("/threads", headers=asked) as answer:
        assert (await detail(answer, 400)).startswith("Disallowed CORS origin: Pages of https://evil.test")
    async with server.client.post("/threads", json={}, headers=STRANGER) as answer:
        await detail(answer, 403)
    assert len([record for record in caplog.records if "is refused" in record.getMessage()]) == 1


async def test_the_log_is_not_filled_by_ever_new_strangers(server, caplog):
    for number in range(120):
        async with server.client.post("/threads", headers={"Origin": f"https://{number}.test"}) as answer:
            assert answer.status == 403
    assert len([record for record in caplog.records if "is refused" in record.getMessage()]) == 100


@pytest.mark.parametrize(
    "path", ["/threads/{}/runs/{}/join", "/threads/{}/runs/{}/stream", "/runs/{}/stream"]
)
async def test_a_get_that_may_cancel_a_run_is_refused(server, path):
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    url = path.format(*(thread_id, run_id)[-path.count("{}") :])
    for headers in (STRANGER, {"Sec-Fetch-Site": "cross-site"}):
        async with server.client.get(f"{url}?cancel_on_disconnect=1", headers=headers) as answer:
            await detail(answer, 403)
    assert server.worker.cancelled == []


async def test_a_websocket_of_a_stranger_is_refused_before_its_handshake(serve):
    server = await serve(cors_allow_origins=("https://front.example",))
    path = f"/threads/{await server.thread()}/stream/events"
    for headers in ({"Origin": "https://evil.test"}, {"Origin": "null"}, {"Host": "evil.test"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await server.client.ws_connect(path, headers=headers)
        assert refused.value.status == 403
    for headers in ({}, {"Origin": "http://localhost:3000"}, {"Origin": "https://front.example"}):
        async with server.client.ws_connect(path, headers=headers) as socket:
            await socket.send_json(
                {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"]}}
            )
            assert (await socket.receive_json())["type"] == "success"


async def test_pages_of_this_machine_and_of_the_servers_names_work(serve):
    server = await serve(hosts=("agents.example.com",))
    for origin in ("http://localhost:3000", "http://127.0.0.1:5173", "https://agents.example.com"):
        page = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Host": "agents.example.com:2024"}
        asked = {**page, "Access-Control-Request-Method": "POST"}
        async with server.client.options("/threads", headers=asked) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
        async with server.client.post("/threads", json={}, headers=page) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
        async with server.client.post("/threads", data=b"{}", headers=page) as answer:
            assert answer.status == 415
            assert "Content-Type: application/json" in (await answer.json())["detail"]
    assert await threads(server) == 3


async def test_a_name_that_the_server_listens_on_is_its_own(serve):
    server = await serve(host="box.lan")
    async with server.client.get("/ok", headers={"Host": "box.lan:2024"}) as answer:
        assert answer.status == 200


async def test_only_a_trusted_proxy_passes_requests_from_elsewhere_on(serve):
    server = await serve(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))
    async with server.client.post("/threads", json={}, headers={"X-Forwarded-For": "203.0.113.5"}) as answer:
        assert answer.status == 200
