"""Whose connection it is: the address for which connections are counted, where it is known.

A client's address is that of its connection, unless that comes from this machine or from a proxy of
``GATEWAYD_TRUSTED_PROXIES``: then it is what the proxy says in ``X-Forwarded-For``. Proxies append to that
header, so it is read from its end, past proxies that are trusted themselves; what stands before the first
that is not was written by the client and may be a lie. Where nothing is told the address is unknown.

An IPv6 client usually has a whole /64, so all addresses of one count as one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PREFIX: Final = 64
"""Bits of an IPv6 address that say whose it is."""


@define(eq=False)
class Addresses:
    """Which addresses stand for clients, and which for proxies."""

    trusted: Sequence[Network] = ()
    local: Callable[[Address], bool] = lambda address: address.is_loopback
    """Whether an address is this machine's own; tests have their own opinion."""

    def of_peer(self, peername: Any) -> str | None:
        """
        Return what a connection counts for by its own address; None: others may be behind it, or nothing is
        known.
        """
        address = _peer(peername)
        return None if address is None or self._passes_on(address) else key(address)

    def of_request(self, peername: Any, forwarded_for: Iterable[str]) -> str | None:
        """
        Return what a request counts for by its ``X-Forwarded-For``, if its connection is from one that may
        say so.
        """
        address = _peer(peername)
        if address is None or not self._passes_on(address):
            return None
        for hop in reversed(",".join(forwarded_for).split(",")):
            told = parsed(hop)
            if told is None:
                return None
            if not self._passes_on(told):
                return key(told)
        return None

    def _passes_on(self, address: Address) -> bool:
        return self.local(address) or any(address in network for network in self.trusted)


def key(address: Address) -> str:
    """Return what an address counts as."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> PREFIX << PREFIX, PREFIX)))


def parsed(text: str) -> Address | None:
    """Return an address as proxies write it, with or without brackets and port; None if it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return _plain(ipaddress.ip_address(text))
    except ValueError:
        return None


def _peer(peername: Any) -> Address | None:
    """Return the address of a socket's other end; a Unix socket has none."""
    return parsed(peername[0]) if isinstance(peername, tuple) and peername else None


def _plain(address: Address) -> Address:
    """Return an IPv4 address that is written as IPv6 as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
