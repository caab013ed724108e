"""Which URLs webhooks may be sent to."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from gatewayd.errors import Invalid
from gatewayd.model.webhook import WebhookRules, without_secrets
from gatewayd.webhooks import networks, policy

NAMES = {
    "example.com": ["93.184.216.34"],
    "api.example.com": ["93.184.216.34"],
    "lan.example.com": ["192.168.1.9"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "example.com.": ["93.184.216.34"],
    "xn--strae-oqa.example.com": ["93.184.216.34"],
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
        ("http://🯱27.0.0.¹/x", "Webhook host blocked: loopback IP range"),
        ("http://127。0。0。1/x", "Webhook host blocked: loopback IP range"),
        ("http://127.0.0.1./x", "Webhook host blocked: loopback IP range"),
        ("http://0x7f.1/x", "Webhook host blocked: loopback IP range"),
        ("http://0177.0.0.01/x", "Webhook host blocked: loopback IP range"),
        ("http://ⓛocalhost/x", "Webhook host blocked: localhost address"),
        ("http://LOCALHOST./x", "Webhook host blocked: localhost address"),
        ("http://lo\tcal\nhost/x", "Webhook host blocked: localhost address"),
        ("http://256.1.1.1/x", "Webhook host blocked: DNS resolution failed"),
        ("http://%6c%6fcalhost/x", "Invalid webhook hostname '%6c%6fcalhost'"),
        ("http://exa mple.com/x", "Invalid webhook hostname 'exa mple.com'"),
        ("http://example..com/x", "Invalid webhook hostname 'example..com'"),
        ("http://example.com:0/x", "Webhook URL is invalid: port 0"),
        ("http://u:p@exa\u2100mple.com/", "Webhook URL is invalid: its host"),
        ("http://[fe80::1%25eth0]/", "Webhook host blocked: blocked IP range"),
        ("http://192.0.0.192/", "Webhook host blocked: blocked IP range"),
        ("http://[64:ff9b:1::5db8:d822]/", "Webhook host blocked: blocked IP range"),
        ("http://[::5db8:d822]/", "Webhook host blocked: blocked IP range"),
        ("http://[::ffff:93.184.216.34]/", "Webhook host blocked: blocked IP range"),
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
        ("http://ExaMple.com.", {"allowed_domains": ("example.com",)}, None),
        ("http://straße.example.com", {"allowed_domains": ("*.example.com",)}, None),
        ("http://xn--strae-oqa.example.com", {"allowed_domains": ("straße.example.com",)}, None),
        ("http://[0:0::1]:1", {"allowed_domains": ("::1",)}, None),
        ("http://2130706433:1", {"allowed_domains": ("127.0.0.1",)}, None),
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


# addresses


@pytest.mark.parametrize(
    ("addresses", "reach"),
    [
        ("1.0.0.0 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255", "public"),
        ("128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255", "public"),
        (
            "192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255",
            "public",
        ),
        ("127.0.0.0 127.0.0.1 127.255.255.255 ::1 ::ffff:7f00:1 64:ff9b::127.0.0.1", "loopback"),
        ("10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 172.16.0.0 172.31.255.255", "private"),
        ("192.168.0.0 192.168.255.255 fc00:: fdff:ffff::1 ::ffff:10.0.0.1 64:ff9b::192.168.0.1", "private"),
        ("0.0.0.0 0.255.255.255 169.254.0.0 169.254.169.254 169.254.255.255", "blocked"),
        ("192.0.0.0 192.0.0.9 192.0.0.192 192.0.0.255 192.0.2.1 192.31.196.1 192.52.193.1", "blocked"),
        ("192.88.99.1 192.175.48.1 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1", "blocked"),
        ("224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255", "blocked"),
        (":: ::2 ::5db8:d822 ::ffff:93.184.216.34 ::ffff:0:93.184.216.34 ::ffff:169.254.169.254", "blocked"),
        ("64:ff9b::169.254.169.254 64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "blocked"),
        ("100:: 100::1 100:0:0:1::1 200::1 1fff:ffff::1 4000::1 5f00::1 fbff::1", "blocked"),
        ("2001:: 2001:1ff:ffff::1 2001:db8::1 2002:: 2002:5db8:d822::1 2620:4f:8000::1", "blocked"),
        ("3fff::1 3fff:fff:ffff::1 fe00::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff02::1", "blocked"),
        ("2000::1 2001:200::1 2001:db7::1 2001:db9::1 2003::1 2606:2800:21f::1 3fff:1000::1", "public"),
        ("64:ff9b::93.184.216.34", "public"),
    ],
)
def test_each_address_is_judged_by_its_network(addresses: str, reach: str) -> None:
    assert {address: networks.reach_of(address) for address in addresses.split()} == dict.fromkeys(
        addresses.split(), reach
    )


def test_each_network_of_the_table_has_its_rfc_and_stands_there_once() -> None:
    assert all(rfc.startswith("RFC ") for _, _, rfc in networks.TABLE)
    read = [ipaddress.ip_network(network) for network, _, _ in networks.TABLE]
    assert len(set(read)) == len(read)


# secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/hook", "https://a.test/hook"),
        ("https://a.test", "https://a.test"),
        ("https://user:pa55@a.test:8443/h@x", "https://***@a.test:8443/h@x"),
        ("https://token@a.test", "https://***@a.test"),
        ("https://u:p@x@a.test/", "https://***@a.test/"),
        ("https://a.test/h?key=s3cret&on=&s3cret#s3cret", "https://a.test/h?key=***&on=&***#***"),
        ("https://a.test?at=x@y", "https://a.test?at=***"),
        ("http:/\t/u:s3cret@a.test", "http://***@a.test"),
    ],
)
def test_what_may_be_a_secret_of_a_url_is_hidden(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "url",
    ["http://***@example.com/", "http://u:new@example.com/?a=1&key=***", "http://example.com/?***"],
)
async def test_a_url_whose_secrets_an_answer_has_hidden_is_not_taken(url: str) -> None:
    assert await refusal(url) == policy.SECRETS_HIDDEN
