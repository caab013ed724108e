"""The table of IP networks that decides whether a receiver's address may be connected to.

It is a table of our own, because what `ipaddress` calls global depends on the version of Python. It follows
IANA's registries of special-purpose addresses and is stricter in places: none of these networks has receivers
of webhooks on the internet, reachable or not. The longest matching prefix decides.
"""

from __future__ import annotations

import ipaddress
from typing import Final, Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Reach = Literal["public", "loopback", "private", "blocked"]

TABLE: Final[tuple[tuple[str, Reach, str], ...]] = (
    # network, reach, what defines it
    ("0.0.0.0/0", "public", "RFC 791"),
    ("0.0.0.0/8", "blocked", "RFC 791: this network"),
    ("10.0.0.0/8", "private", "RFC 1918"),
    ("100.64.0.0/10", "private", "RFC 6598: carriers' shared addresses"),
    ("127.0.0.0/8", "loopback", "RFC 1122"),
    ("169.254.0.0/16", "blocked", "RFC 3927: link-local, and the metadata services of clouds"),
    ("172.16.0.0/12", "private", "RFC 1918"),
    ("192.0.0.0/24", "blocked", "RFC 6890: protocol assignments"),
    ("192.0.2.0/24", "blocked", "RFC 5737: documentation"),
    ("192.31.196.0/24", "blocked", "RFC 7535: AS112"),
    ("192.52.193.0/24", "blocked", "RFC 7450: automatic multicast tunnelling"),
    ("192.88.99.0/24", "blocked", "RFC 7526: 6to4 relays"),
    ("192.168.0.0/16", "private", "RFC 1918"),
    ("192.175.48.0/24", "blocked", "RFC 7534: AS112"),
    ("198.18.0.0/15", "blocked", "RFC 2544: benchmarks"),
    ("198.51.100.0/24", "blocked", "RFC 5737: documentation"),
    ("203.0.113.0/24", "blocked", "RFC 5737: documentation"),
    ("224.0.0.0/4", "blocked", "RFC 5771: multicast"),
    ("240.0.0.0/4", "blocked", "RFC 1112: reserved; RFC 919: broadcast"),
    ("::/0", "blocked", "RFC 4291: what is not given out"),
    ("::/96", "blocked", "RFC 4291: IPv4-compatible"),
    ("::/128", "blocked", "RFC 4291: unspecified"),
    ("::1/128", "loopback", "RFC 4291"),
    ("::ffff:0:0/96", "blocked", "RFC 4291: IPv4-mapped"),
    ("::ffff:0:0:0/96", "blocked", "RFC 2765: IPv4-translated"),
    ("64:ff9b::/96", "public", "RFC 6052: NAT64"),
    ("64:ff9b:1::/48", "blocked", "RFC 8215: NAT64 of the own network"),
    ("100::/64", "blocked", "RFC 6666: discarded"),
    ("100:0:0:1::/64", "blocked", "RFC 9780: dummy prefix"),
    ("2000::/3", "public", "RFC 4291: global unicast"),
    ("2001::/23", "blocked", "RFC 2928: protocol assignments, with Teredo (RFC 4380) and ORCHID (RFC 7343)"),
    ("2001:db8::/32", "blocked", "RFC 3849: documentation"),
    ("2002::/16", "blocked", "RFC 3056: 6to4"),
    ("2620:4f:8000::/48", "blocked", "RFC 7534: AS112"),
    ("3fff::/20", "blocked", "RFC 9637: documentation"),
    ("5f00::/16", "blocked", "RFC 9602: segment routing"),
    ("fc00::/7", "private", "RFC 4193"),
    ("fe80::/10", "blocked", "RFC 4291: link-local"),
    ("fec0::/10", "blocked", "RFC 3879: site-local"),
    ("ff00::/8", "blocked", "RFC 4291: multicast"),
)

_NETWORKS: Final = sorted(
    ((ipaddress.ip_network(network), reach) for network, reach, _ in TABLE),
    key=lambda entry: entry[0].prefixlen,
    reverse=True,
)
_CARRY_IPV4: Final = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""Networks whose packets go to the IPv4 address in the last 32 bits."""


def reach_of(text: str) -> Reach:
    """Return the kind of network that an address is in. Raises ValueError if it is not an address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    reach = _longest(address)
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _CARRY_IPV4):
        carried = _longest(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return reach if carried == "public" else carried
    return reach


def _longest(address: Address) -> Reach:
    return next(reach for network, reach in _NETWORKS if address in network)
