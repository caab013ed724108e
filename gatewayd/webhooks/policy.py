"""Which URLs webhooks may be sent to: checked when a run is created, and for each address to connect to.

The messages are those of the reference server. It allows private networks; gatewayd refuses them, like this
machine, unless the operator allows them. A server whose clients may name URLs must not give them access to
the network around it.

A URL is parsed once, by `check_form`, with the library that will connect (yarl, which aiohttp uses). Two
parsers may see two hosts in one text: ``http://🯱27.0.0.¹/`` is loopback by UTS 46 and a name by IDNA 2003.
The sender posts to the parsed URL.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

from attrs import field, frozen
from yarl import URL

from gatewayd.errors import Invalid
from gatewayd.model.webhook import HIDDEN, WebhookRules
from gatewayd.webhooks import networks

RESOLVE_S: Final = 5.0
NUMBER: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\.?")
"""A host that the system reads as an IPv4 address: ``127.1``, ``2130706433``, ``0x7f.1``."""
NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")

BLOCKED: Final = "Webhook host blocked"
SECRETS_HIDDEN: Final = f"`{HIDDEN}` in a webhook URL stands for what an answer has hidden: send the user, the password and the query themselves"
RELATIVE: Final = "Webhook URLs must be absolute: relative ones (to this server itself) are not supported"


class Refused(Exception):
    """Posting to this URL or address is not allowed; the text says why."""


Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError."""
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in addresses]


@frozen(kw_only=True)
class Policy:
    """Applies the operator's rules."""

    rules: WebhookRules = field(factory=WebhookRules)
    private: bool = False
    """Whether receivers may be in private networks."""
    resolve: Resolve = resolve

    async def check(self, url: str, name: str = "webhook") -> None:
        """Raise `Invalid` if a run may not name this URL; `name` is the field's name."""
        try:
            read = self.check_form(url)
            if _hides(read):
                raise Refused(SECRETS_HIDDEN)
            await self._check_host(read)
        except Refused as error:
            raise Invalid(f"`{name}`: {error}" if str(error) == RELATIVE else str(error)) from None

    def check_form(self, url: str) -> URL:
        """
        Parse a URL and check what can be checked without resolving its host. Raises `Refused`.
        """
        if len(url) > self.rules.max_url_length:
            raise Refused(f"Webhook URL is longer than {self.rules.max_url_length} characters")
        if url.startswith("/") or not url:
            raise Refused(RELATIVE)
        try:
            read = URL(url)
            port = read.port
        except ValueError as error:  # its text may repeat the user and the password
            raise Refused(f"Webhook URL is invalid: {'its host' if '@' in str(error) else error}") from None
        if read.scheme not in ("http", "https"):
            raise Refused(f"{BLOCKED}: scheme '{read.scheme}' not allowed")
        if not read.raw_host:
            raise Refused("Invalid webhook hostname ''")
        if port == 0:
            raise Refused("Webhook URL is invalid: port 0")
        if self.rules.require_https and read.scheme != "https":
            raise Refused("Webhook must use https")
        read = read.with_host(_host(read.raw_host))
        host = host_of(read)
        if self.rules.allowed_domains and not self._is_allowed(host):
            raise Refused("Webhook domain not allowed")
        if self.rules.allowed_ports and port not in self.rules.allowed_ports:
            raise Refused("Webhook port not allowed")
        if not self._may_be_here(host) and (host == "localhost" or host.endswith(".localhost")):
            raise Refused(f"{BLOCKED}: localhost address")
        return read

    async def _check_host(self, read: URL) -> None:
        try:
            async with asyncio.timeout(RESOLVE_S):
                addresses = await self.resolve(read.raw_host or "", read.port or 0)
        except (OSError, TimeoutError, UnicodeError):
            raise Refused(f"{BLOCKED}: DNS resolution failed") from None
        for address in addresses:
            self.check_address(host_of(read), address)

    def check_address(self, host: str, address: str) -> None:
        """Raise `Refused` if no connection may be made to this address of `host`."""
        match networks.reach_of(address):
            case "loopback" if not self._may_be_here(host):
                raise Refused(f"{BLOCKED}: loopback IP range")
            case "private" if not (self.private or self._is_allowed(host)):
                raise Refused(f"{BLOCKED}: private IP range")
            case "blocked":
                raise Refused(f"{BLOCKED}: blocked IP range")

    def _may_be_here(self, host: str) -> bool:
        """Whether a host may be this machine."""
        return self.rules.loopback or self._is_allowed(host)

    def _is_allowed(self, host: str) -> bool:
        """Whether a host is named in `allowed_domains`."""
        return any(
            host.endswith(_ascii(domain[1:])) if domain.startswith("*.") else host == _ascii(domain)
            for domain in self.rules.allowed_domains
        )


def host_of(read: URL) -> str:
    """Return the host of a URL as the rules have it: in ASCII, without a dot at the end."""
    return (read.raw_host or "").removesuffix(".")


def _hides(read: URL) -> bool:
    """Whether a URL was copied from an answer, in which its secrets are hidden."""
    values = [value or name for name, value in read.query.items()]
    return HIDDEN in (read.user, *values)


def _host(host: str) -> str:
    """Return a host in the form in which it is checked and connected to. Raises `Refused`."""
    if ":" in host:  # an IPv6 address, which the URL's parser has checked and shortened
        return host.partition("%")[0]
    if NUMBER.fullmatch(host):
        try:
            return socket.inet_ntoa(socket.inet_aton(host.removesuffix(".")))
        except OSError:
            raise Refused(f"{BLOCKED}: DNS resolution failed") from None
    if not NAME.fullmatch(host):
        raise Refused(f"Invalid webhook hostname {host!r}")
    return host


@lru_cache(maxsize=1024)
def _ascii(domain: str) -> str:
    """Return a domain of the rules in the form of hosts; one that no URL can have stays as it is."""
    try:
        read = URL.build(scheme="http", host=domain.strip("[]"))
    except ValueError:
        return domain
    return host_of(read)
