"""Which URLs webhooks may be sent to."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.errors import Invalid
from gatewayd.model.webhook import WebhookRules
from gatewayd.webhooks import policy

NAMES = {
    "example.com": ["93.184.216.34"],
    "api.example.com": ["93.184.216.34"],
    "lan.example.com": ["192.168.1.9"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
}


async def resolve(host: str, port: int) -> list[str]:
    """Names of the test; addresses and their odd spellings as the system reads them."""
    if host in NAMES:
        return NAMES[host]
    if host.replace(".", "").isdecimal() or ":" in host or host == "localhost":
        return await policy.resolve(host, port)
    raise OSError("no such name")


async def refusal(url: str, private: bool = False, **rules: Any) -> str | None:
    applied = policy.Policy(rules=WebhookRules(**rules), private=private, resolve=resolve)
    try:
        await applied.check(url)
    except Invalid as error:
        return error.detail
    return None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/hook", None),
        ("http://example.com:8080", None),
        ("http://10.1.2.3/", "Webhook host blocked: private IP range"),
        ("http://172.16.0.1/", "Webhook host blocked: private IP range"),
        ("http://192.168.0.1/", "Webhook host blocked: private IP range"),
        ("http://100.64.0.1/", "Webhook host blocked: private IP range"),
        ("http://[fd00::1]/", "Webhook host blocked: private IP range"),
        ("http://lan.example.com", "Webhook host blocked: private IP range"),
        ("ftp://example.com", "Webhook host blocked: scheme 'ftp' not allowed"),
        ("example.com", "Webhook host blocked: scheme '' not allowed"),
        ("http://", "Invalid webhook hostname ''"),
        ("http://localhost/x", "Webhook host blocked: localhost address"),
        ("http://a.localhost/x", "Webhook host blocked: localhost address"),
        ("http://127.0.0.1/x", "Webhook host blocked: loopback IP range"),
        ("http://127.1/x", "Webhook host blocked: loopback IP range"),
        ("http://2130706433/x", "Webhook host blocked: loopback IP range"),
        ("http://[::1]/x", "Webhook host blocked: loopback IP range"),
        ("http://[::ffff:127.0.0.1]/x", "Webhook host blocked: loopback IP range"),
        ("http://[64:ff9b::7f00:1]/x", "Webhook host blocked: loopback IP range"),
        ("http://mapped.example.com", "Webhook host blocked: loopback IP range"),
        ("http://mixed.example.com", "Webhook host blocked: loopback IP range"),
        ("http://169.254.169.254/", "Webhook host blocked: blocked IP range"),
        ("http://0.0.0.0/", "Webhook host blocked: blocked IP range"),
        ("http://224.0.0.1/", "Webhook host blocked: blocked IP range"),
        ("http://192.0.2.1/", "Webhook host blocked: blocked IP range"),
        ("http://[fe80::1]/", "Webhook host blocked: blocked IP range"),
        ("http://nobody.example.com", "Webhook host blocked: DNS resolution failed"),
        ("/relative", f"`webhook`: {policy.RELATIVE}"),
        ("http://example.com:99999", "Webhook URL is invalid: Port out of range 0-65535"),
    ],
)
async def test_by_default(url: str, told: str | None) -> None:
    assert await refusal(url) == told


@pytest.mark.parametrize(
    ("url", "rules", "told"),
    [
        ("http://example.com", {"require_https": True}, "Webhook must use https"),
        ("https://example.com", {"require_https": True}, None),
        ("http://example.com", {"allowed_domains": ("example.com",)}, None),
        ("http://api.example.com", {"allowed_domains": ("example.com",)}, "Webhook domain not allowed"),
        ("http://api.example.com", {"allowed_domains": ("*.example.com",)}, None),
        ("http://example.com", {"allowed_domains": ("*.example.com",)}, "Webhook domain not allowed"),
        ("http://localhost:1", {"allowed_domains": ("localhost",)}, None),
        ("http://127.0.0.1:1", {"loopback": True}, None),
        ("http://localhost:1", {"loopback": True}, None),
        ("http://169.254.169.254", {"loopback": True}, "Webhook host blocked: blocked IP range"),
        ("http://example.com:8080", {"allowed_ports": (443,)}, "Webhook port not allowed"),
        ("https://example.com", {"allowed_ports": (443,)}, None),
        ("https://example.com", {"max_url_length": 10}, "Webhook URL is longer than 10 characters"),
        ("http://10.1.2.3/", {"private": True}, None),
        ("http://172.16.0.1/", {"private": True}, None),
        ("http://192.168.0.1/", {"private": True}, None),
        ("http://100.64.0.1/", {"private": True}, None),
        ("http://[fd00::1]/", {"private": True}, None),
        ("http://lan.example.com", {"private": True}, None),
        ("http://127.0.0.1", {"private": True}, "Webhook host blocked: loopback IP range"),
        (
            "http://lan.example.com",
            {"private": False, "allowed_domains": ("lan.example.com",)},
            None,
        ),
    ],
)
async def test_by_the_operators_rules(url: str, rules: dict[str, Any], told: str | None) -> None:
    assert await refusal(url, **rules) == told
