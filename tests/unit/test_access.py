"""Which requests are answered without authentication: headers and the verdict on them."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from gatewayd import project
from gatewayd.api import access

NAMED = access.Rules(
    hosts=frozenset({"agents.example.com", "192.168.1.5"}),
    cors=project.Cors(
        allow_origins=("https://front.example",), allow_origin_regex=r"https://.*\.preview\.example"
    ),
)
NOTHING = access.Rules()
STAR = access.Rules(cors=project.Cors(allow_origins=("*",)))
LOCAL = "127.0.0.1:2024"


def verdict(rules: access.Rules, method: str = "GET", **asked: Any) -> int | None:
    headers = CIMultiDict({"Host": LOCAL})
    facts = {name: asked.pop(name) for name in ("acts", "has_body", "peer", "peer_trusted") if name in asked}
    for name, value in asked.items():
        headers[name.replace("_", "-")] = value
    found = access.judge(rules, access.Asked(method=method, headers=headers, **facts))
    return None if found is None else found.status


# Host


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:2024", "LOCALHOST.", "a.localhost:1", "127.0.0.1", "127.0.0.1:2024", "[::1]:2024", "[::1]",
        "192.168.1.9:2024", "8.8.8.8", "[2001:db8::1]:2024", "0.0.0.0:2024", "agents.example.com", "Agents.Example.com.:8443",
    ],
)  # fmt: skip
def test_loopback_names_addresses_and_the_servers_own_names_are_answered(host: str) -> None:
    assert verdict(NAMED, "POST", Host=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:2024", "localhost.evil.test", "127.0.0.1.evil.test", "xlocalhost", "a.agents.example.com",
     "2130706433", "127.1", "agents.example.com@evil.test", "evil.test#127.0.0.1", "127.0.0.1 evil.test"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_any_other_name_is_refused_whatever_is_asked(host: str, method: str) -> None:
    assert verdict(NAMED, method, Host=host) == 403


@pytest.mark.parametrize("host", ["", " ", ":2024", ".", "[]", "[]:2024"])
@pytest.mark.parametrize("rules", [NOTHING, NAMED, access.Rules(hosts=frozenset({""}))])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_host_header_that_names_no_host_is_refused_and_told_what_to_send(
    host: str, rules: access.Rules, method: str
) -> None:
    refusal = access.judge(rules, access.Asked(method=method, headers=CIMultiDict({"Host": host})))
    assert refusal is not None
    assert refusal.status == 403
    assert "GATEWAYD_HOSTS" in refusal.detail


def test_a_second_host_is_judged_too_and_none_at_all_is_no_browsers_request() -> None:
    twice = CIMultiDict([("Host", LOCAL), ("Host", "evil.test")])
    assert access.judge(NOTHING, access.Asked(method="GET", headers=twice)).status == 403
    assert access.judge(NOTHING, access.Asked(method="POST", headers=CIMultiDict())) is None


# Origin


@pytest.mark.parametrize(
    ("origin", "rules", "allowed"),
    [
        ("http://localhost:3000", NOTHING, True),
        ("https://localhost", NOTHING, True),
        ("http://app.localhost:5173", NOTHING, True),
        ("http://127.0.0.1:3000", NOTHING, True),
        ("http://127.9.9.9", NOTHING, True),
        ("http://[::1]:3000", NOTHING, True),
        ("http://localhost:3000", NAMED, True),
        ("http://agents.example.com", NAMED, True),
        ("https://agents.example.com:8443", NAMED, True),
        ("http://192.168.1.5:3000", NAMED, True),
        ("https://front.example", NAMED, True),
        ("https://x.preview.example", NAMED, True),
        ("https://front.example:444", NAMED, False),
        ("http://front.example", NAMED, False),
        ("https://x.preview.example.evil.test", NAMED, False),
        ("http://192.168.1.6:3000", NAMED, False),
        ("https://front.example", NOTHING, False),
        ("https://evil.test", NAMED, False),
        ("http://localhost.evil.test", NAMED, False),
        ("http://evil.test/localhost", NAMED, False),
        ("http://user@localhost", NAMED, False),
        ("chrome-extension://localhost", NAMED, False),
        ("file://localhost", NAMED, False),
        ("localhost", NAMED, False),
        ("", NAMED, False),
        ("null", NAMED, False),
        ("null", access.Rules(cors=project.Cors(allow_origins=("null",))), False),
        ("null", access.Rules(cors=project.Cors(allow_origin_regex=".*")), False),
        ("null", STAR, True),
        ("https://evil.test", STAR, True),
    ],
)
def test_an_origin_decides_what_acts(origin: str, rules: access.Rules, allowed: bool) -> None:
    told = None if allowed else 403
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert verdict(rules, method, Origin=origin) == told
    assert verdict(rules, "GET", Origin=origin, acts=True) == told
    assert verdict(rules, "HEAD", Origin=origin, acts=True) == told
    assert verdict(rules, "OPTIONS", Origin=origin, Access_Control_Request_Method="POST") == (told and 400)
    assert verdict(rules, "GET", Origin=origin) is None  # what its page can't read


def test_a_page_of_the_servers_own_address_may_call_and_none_of_another_port_or_of_a_rebound_name() -> None:
    assert verdict(NOTHING, "POST", Host="10.0.0.7:2024", Origin="http://10.0.0.7:2024") is None
    assert verdict(NOTHING, "POST", Host="10.0.0.7:2024", Origin="http://10.0.0.7:3000") == 403
    assert verdict(NOTHING, "POST", Host="10.0.0.7", Origin="http://10.0.0.7") is None
    assert verdict(NOTHING, "POST", Host="10.0.0.7", Origin="https://10.0.0.7") == 403
    authenticated = access.Rules(anonymous=False)
    assert verdict(authenticated, "POST", Host="evil.test", Origin="http://evil.test") == 403


@pytest.mark.parametrize(
    ("site", "told"), [("cross-site", 403), ("same-site", None), ("same-origin", None), ("none", None)]
)
def test_a_request_of_another_site_is_refused_if_it_acts_without_an_origin(
    site: str, told: int | None
) -> None:
    assert verdict(NOTHING, "POST", Sec_Fetch_Site=site) == told
    assert verdict(NOTHING, "GET", Sec_Fetch_Site=site, acts=True) == told
    assert verdict(NOTHING, "GET", Sec_Fetch_Site=site) is None
    assert verdict(STAR, "POST", Sec_Fetch_Site=site) is None
    assert verdict(NOTHING, "POST", Sec_Fetch_Site=site, Origin="http://localhost:3000") is None


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("application/json", None),
        ("Application/JSON; charset=utf-8", None),
        ("application/merge-patch+json", None),
        ("text/plain", 415),
        ("text/plain; x=application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_a_body_of_a_page_must_be_declared_as_json(kind: str, told: int | None) -> None:
    page = {"Origin": "http://localhost:3000", "Content_Type": kind}
    assert verdict(NOTHING, "POST", has_body=True, **page) == told
    assert verdict(NOTHING, "POST", **page) is None
    assert verdict(NOTHING, "POST", has_body=True, Content_Type=kind) is None


# proxies


@pytest.mark.parametrize(
    ("header", "value", "told"),
    [
        ("X-Forwarded-For", "203.0.113.5", 403),
        ("X-Forwarded-For", "127.0.0.1, 203.0.113.5", 403),
        ("X-Forwarded-For", "192.168.1.9", 403),
        ("X-Forwarded-For", "unknown", 403),
        ("X-Forwarded-For", "127.0.0.1", None),
        ("X-Forwarded-For", "::1, ::ffff:127.0.0.1, 127.0.0.1:4711, [::1]:80", None),
        ("X-Forwarded-For", "", None),
        ("X-Forwarded-Host", "agents.example.com", 403),
        ("X-Forwarded-Host", "localhost:3000", None),
        ("X-Forwarded-Host", "localhost:3000, evil.test", 403),
        ("X-Real-IP", "203.0.113.5", 403),
        ("X-Real-IP", "127.0.0.1", None),
        ("X-Forwarded-Proto", "https", None),
        ("Forwarded", "for=203.0.113.5", 403),
        ("Forwarded", 'for="[2001:db8::1]:4711";proto=https', 403),
        ("Forwarded", "proto=http; Host=agents.example.com", 403),
        ("Forwarded", "for=127.0.0.1, for=_hidden", 403),
        ("Forwarded", 'for=127.0.0.1;host=localhost:3000;by=10.0.0.1;proto=http, for="[::1]"', None),
    ],
)
def test_what_came_through_a_proxy_from_elsewhere_is_refused_without_authentication(
    header: str, value: str, told: int | None
) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert verdict(NAMED, method, **{header: value}) == told
    assert verdict(NAMED, "POST", peer_trusted=True, **{header: value}) is None
    assert verdict(access.Rules(anonymous=False), "POST", **{header: value}) is None


def test_a_trusted_proxy_opens_neither_names_nor_origins() -> None:
    assert verdict(NOTHING, "POST", peer_trusted=True, Host="agents.example.com") == 403
    assert verdict(NOTHING, "POST", peer_trusted=True, Origin="https://evil.test") == 403


# what is told


@pytest.mark.parametrize(
    ("rules", "headers", "what_to_set"),
    [
        (NOTHING, {"Host": "box.lan:2024"}, "set GATEWAYD_HOSTS=box.lan if"),
        (NOTHING, {"Origin": "https://a.example"}, "set CORS_ALLOW_ORIGINS=https://a.example to"),
        (
            access.Rules(cors_section=True),
            {"Origin": "https://a.example"},
            "http.cors.allow_origins of langgraph.json",
        ),
        (
            NOTHING,
            {"Origin": "null"},
            "serve the page over http from this machine, or from an origin that CORS_ALLOW_ORIGINS",
        ),
        (
            access.Rules(cors_section=True),
            {"Origin": "null"},
            "that http.cors.allow_origins of langgraph.json lists",
        ),
        (NOTHING, {"Sec-Fetch-Site": "cross-site"}, "CORS_ALLOW_ORIGINS or http.cors in langgraph.json"),
        (NOTHING, {"Origin": "http://localhost:1"}, "set the header Content-Type: application/json"),
        (NOTHING, {"X-Forwarded-For": "203.0.113.5"}, "set GATEWAYD_TRUSTED_PROXIES=10.0.0.1 if"),
    ],
)
def test_a_refusal_says_what_to_set(rules: access.Rules, headers: dict[str, str], what_to_set: str) -> None:
    asked = access.Asked(method="POST", headers=CIMultiDict(headers), has_body=True, peer="10.0.0.1")
    assert what_to_set in access.judge(rules, asked).detail
