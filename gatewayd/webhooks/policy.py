"""Which URLs webhooks may be sent to: asked at a run's creation, and for each address that is connected to.

The texts are those of the reference server. It allows private networks; here they are refused, like this machine, unless
the operator allows them: a server whose clients may name URLs must not be their way into the network around it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from gatewayd.errors import Invalid
from gatewayd.model.webhook import WebhookRules

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Networks of one's own."""
TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for IPv4 ones (NAT64)."""
RESOLVE_S: Final = 5.0

BLOCKED: Final = "Webhook host blocked"
RELATIVE: Final = "Webhook URLs must be absolute: relative ones (to this server itself) are not supported"


class Refused(Exception):
    """The URL or address may not be posted to; the text says why."""


Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


@frozen(kw_only=True)
class Policy:
    """The operator's rules, applied."""

    rules: WebhookRules = field(factory=WebhookRules)
    private: bool = False
    """Whether receivers may be in private networks."""
    resolve: Resolve = resolve

    async def check(self, url: str, name: str = "webhook") -> None:
        """Raise `Invalid` if a run may not name this URL; `name` is the field."""
        try:
            parts = self.check_form(url)
            await self._check_host(parts)
        except Refused as error:
            raise Invalid(f"`{name}`: {error}" if str(error) == RELATIVE else str(error)) from None

    def check_form(self, url: str) -> SplitResult:
        """Return the parts of a URL that may be posted to as far as its text tells. Raises `Refused`."""
        if len(url) > self.rules.max_url_length:
            raise Refused(f"Webhook URL is longer than {self.rules.max_url_length} characters")
        if url.startswith("/") or not url:
            raise Refused(RELATIVE)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Refused(f"Webhook URL is invalid: {error}") from None
        if parts.scheme not in ("http", "https"):
            raise Refused(f"{BLOCKED}: scheme '{parts.scheme}' not allowed")
        host = parts.hostname or ""
        if not host:
            raise Refused("Invalid webhook hostname ''")
        if self.rules.require_https and parts.scheme != "https":
            raise Refused("Webhook must use https")
        if self.rules.allowed_domains and not self._is_allowed(host):
            raise Refused("Webhook domain not allowed")
        port = port or (443 if parts.scheme == "https" else 80)
        if self.rules.allowed_ports and port not in self.rules.allowed_ports:
            raise Refused("Webhook port not allowed")
        if not self._may_be_here(host) and (host == "localhost" or host.endswith(".localhost")):
            raise Refused(f"{BLOCKED}: localhost address")
        return parts

    async def _check_host(self, parts: SplitResult) -> None:
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(RESOLVE_S):
                addresses = await self.resolve(host, parts.port or 0)
        except (OSError, TimeoutError, UnicodeError):
            raise Refused(f"{BLOCKED}: DNS resolution failed") from None
        for address in addresses:
            self.check_address(host, address)

    def check_address(self, host: str, address: str) -> None:
        """Raise `Refused` if no connection may be made to this address, which `host` stands for."""
        found = _meant(ipaddress.ip_address(address.partition("%")[0]))
        if found.is_loopback:
            if not self._may_be_here(host):
                raise Refused(f"{BLOCKED}: loopback IP range")
        elif any(found in network for network in PRIVATE if network.version == found.version):
            if not (self.private or self._is_allowed(host)):
                raise Refused(f"{BLOCKED}: private IP range")
        elif not found.is_global or found.is_multicast:
            raise Refused(f"{BLOCKED}: blocked IP range")

    def _may_be_here(self, host: str) -> bool:
        """Whether a host may be this machine."""
        return self.rules.loopback or self._is_allowed(host)

    def _is_allowed(self, host: str) -> bool:
        """Whether a host is named in `allowed_domains`."""
        return any(
            host.endswith(domain[1:]) if domain.startswith("*.") else host == domain
            for domain in self.rules.allowed_domains
        )


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, else itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def literal(host: str) -> str | None:
    """Return the address that a host is written as, in any spelling (``127.1``, ``2130706433``), or None for a name."""
    if ":" in host:
        return host
    if host.replace(".", "").isdecimal():
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            raise Refused(f"{BLOCKED}: DNS resolution failed") from None
    return None
