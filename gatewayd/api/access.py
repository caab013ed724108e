"""Which requests a server without authentication answers: those of this machine, and of the pages that the
operator names.

Without authentication a browser is the way in: any page that its user opens can send requests to this
machine. So

- *Host* must be a loopback name, an IP address, or one of ``GATEWAYD_HOSTS``. A page whose name was pointed
  at this machine after it was loaded (DNS rebinding) is of the same origin for the browser, but it needs a
  name. A header that is there and names no host is refused; clients of HTTP/1.0 send none.
- *Origin* decides where there is one, for what acts: requests with unsafe methods, GETs that change
  something, and WebSockets, for which browsers ask no permission. Without it ``Sec-Fetch-Site: cross-site``
  does, which can't decide alone: a page on localhost that calls 127.0.0.1 is cross-site for Chromium. Other
  GETs are answered; their pages can't read the answer.
- A body of a page must be declared as JSON: browsers send other types without asking for permission.
- What came through a proxy from elsewhere is refused, since the usual one passes ``Host: 127.0.0.1:2024`` and
  would open the server to the world, unless the operator trusts that proxy to let in only who may.

`judge` is a function of the request's headers and decides before anything is done. Each refusal says what to
set.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web
from attrs import field, frozen
from multidict import CIMultiDict, CIMultiDictProxy

from gatewayd import project
from gatewayd.api import keys

SAFE: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
NO_ORIGIN: Final = "null"
"""The origin of files and sandboxed frames, which any page can have."""
ORIGIN: Final = re.compile(r"https?://(\[[^\]]+\]|[^/:\[\]]+)(:\d+)?")
FORWARDED_ADDRESSES: Final = ("X-Forwarded-For", "X-Real-IP")
FORWARDED_HOST: Final = "X-Forwarded-Host"
SHOWN: Final = 100
"""Characters of a header that a refusal repeats."""


@frozen(kw_only=True)
class Rules:
    """What the operator allows."""

    hosts: frozenset[str] = frozenset()
    """Names and addresses of the server, as `host_of` writes them."""
    cors: project.Cors = field(factory=project.Cors)
    cors_section: bool = False
    """Whether the project's ``http.cors`` says which origins may call, and not the variable."""
    anonymous: bool = True
    """Whether requests are answered without authentication. With it a name or a proxy is no way in."""


@frozen(kw_only=True)
class Asked:
    """What of a request decides."""

    method: str
    headers: CIMultiDict[str] | CIMultiDictProxy[str]
    acts: bool = False
    """Whether it changes something, though its method is safe."""
    has_body: bool = False
    peer: str = ""
    """The address of the connection's other end."""
    peer_trusted: bool = False
    """Whether that is a proxy of ``GATEWAYD_TRUSTED_PROXIES``."""


@frozen(kw_only=True)
class Refusal:
    """Why a request is not answered, and what to set."""

    status: int
    detail: str
    about: str = ""
    """What is told once in the log, if that is less than the text."""


def judge(rules: Rules, asked: Asked) -> Refusal | None:
    """Return why a request is refused; None: it is not."""
    if rules.anonymous:
        if not asked.peer_trusted and (told := _came_from_elsewhere(asked.headers)):
            return _refuse_proxied(told, asked.peer)
        for host in asked.headers.getall(hdrs.HOST, ()):
            if not _serves(rules, host):
                return _refuse_host(host)
    origin = asked.headers.get(hdrs.ORIGIN)
    asks_permission = (
        asked.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in asked.headers
    )
    if asks_permission or asked.method not in SAFE or asked.acts:
        if origin is not None and not allows(rules, origin, asked.headers.get(hdrs.HOST, "")):
            return _refuse_origin(rules, origin, asks_permission=asks_permission)
        if origin is None and asked.headers.get("Sec-Fetch-Site") == "cross-site" and not _open(rules):
            return Refusal(status=403, detail=CROSS_SITE)
    if origin is not None and asked.has_body and not _is_json(asked.headers.get(hdrs.CONTENT_TYPE, "")):
        return Refusal(status=415, detail=NO_JSON)
    return None


# origins


@lru_cache(maxsize=1024)
def named_origin(rules: project.Cors, origin: str) -> str | None:
    """Return what `access-control-allow-origin` says to an origin that the rules name; None: they don't."""
    if "*" in rules.allow_origins:
        return origin if rules.allow_credentials else "*"
    listed = origin in rules.allow_origins
    matched = rules.allow_origin_regex is not None and re.fullmatch(rules.allow_origin_regex, origin)
    return origin if origin != NO_ORIGIN and (listed or matched) else None


def allows(rules: Rules, origin: str, host: str = "") -> bool:
    """
    Whether pages of an origin may call: those on this machine, of the server's names, and those that are
    named.
    """
    if named_origin(rules.cors, origin) is not None:
        return True
    match = ORIGIN.fullmatch(origin)
    if match is None:
        return False
    page = host_of(match[1])
    own = host_of(host) == page and _port(origin) == _port(f"http://{host}") and _address(page) is not None
    return own or page in rules.hosts or _is_loopback(page)


def _refuse_origin(rules: Rules, origin: str, *, asks_permission: bool) -> Refusal:
    shown = origin[:SHOWN]
    if origin == NO_ORIGIN:
        named = "http.cors.allow_origins of langgraph.json" if rules.cors_section else "CORS_ALLOW_ORIGINS"
        why = (
            "Pages without an origin (a file, a sandboxed frame) may not call this server: serve the page over http from this "
            f"machine, or from an origin that {named} lists"
        )
    elif rules.cors_section:
        why = f"Pages of {shown} may not call this server: name it in http.cors.allow_origins of langgraph.json to allow them"
    else:
        why = f"Pages of {shown} may not call this server: set CORS_ALLOW_ORIGINS={shown} to allow them"
    if asks_permission:  # in the reference's words and with its status
        return Refusal(status=400, detail=f"Disallowed CORS origin: {why}", about=why)
    return Refusal(status=403, detail=why)


CROSS_SITE: Final = (
    "A page of another site may not do this with a request that has no Origin: call the server with fetch, from an origin "
    "that CORS_ALLOW_ORIGINS or http.cors in langgraph.json names"
)
NO_JSON: Final = "The body of a page's request must be JSON: set the header Content-Type: application/json"


def _open(rules: Rules) -> bool:
    """Whether pages of all origins may call."""
    return "*" in rules.cors.allow_origins


def _port(origin: str) -> str:
    match = ORIGIN.fullmatch(origin)
    port = match[2] if match else None
    return port or (":443" if origin.startswith("https:") else ":80")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


# hosts


@lru_cache(maxsize=256)
def host_of(text: str) -> str:
    """
    Return the host of a Host header, or of a part of a URL: small letters, no port, no brackets, no dot at
    its end.
    """
    text = text.strip().lower()
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") > 1:
        host = text
    else:
        host = text.partition(":")[0].removesuffix(".")
    address = _address(host)
    return host if address is None else address.compressed


def _serves(rules: Rules, header: str) -> bool:
    host = host_of(header)
    return bool(host) and (_address(host) is not None or _is_loopback(host) or host in rules.hosts)


def _refuse_host(header: str) -> Refusal:
    host = host_of(header)[:SHOWN]
    if not host:
        return Refusal(status=403, detail=NO_NAME)
    return Refusal(
        status=403,
        detail=f"This server does not answer to the name {host!r}: set GATEWAYD_HOSTS={host} if it is its own",
    )


NO_NAME: Final = "The request's Host header names no host: send the server's address, a loopback name, or a name that GATEWAYD_HOSTS lists"


@lru_cache(maxsize=256)
def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    """Whether a host, as `host_of` writes it, is this machine."""
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


# proxies


def _came_from_elsewhere(headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> str | None:
    """
    Return the header by which a proxy tells that a request was not made on this machine, or for another host.
    """
    for name, value in _told_by_proxies(headers):
        if value and not _is_loopback(host_of(value)):
            return f"{name}: {value[:SHOWN]}"
    return None


def _told_by_proxies(headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> Iterator[tuple[str, str]]:
    for name in (*FORWARDED_ADDRESSES, FORWARDED_HOST):
        for value in _listed(headers.getall(name, ())):
            yield name, value
    for element in _listed(headers.getall(hdrs.FORWARDED, ())):
        for pair in element.split(";"):
            name, _, value = pair.partition("=")
            if name.strip().lower() in {"for", "host"}:
                yield hdrs.FORWARDED, value.strip().strip('"')


def _listed(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from (part.strip() for part in value.split(","))


def _refuse_proxied(told: str, peer: str) -> Refusal:
    return Refusal(
        status=403,
        about=f"proxy {peer}",
        detail=f"This server has no authentication and does not answer what came through a proxy ({told}): set "
        f"GATEWAYD_TRUSTED_PROXIES={peer or 'its address'} if that proxy lets in only those who may",
    )


# requests


def rules_of(request: web.Request) -> Rules:
    """Return what the operator allows now."""
    services = request.app[keys.SERVICES]
    options = services.settings
    return _rules(options.host, options.hosts, services.cors, services.project.cors is not None)


@lru_cache(maxsize=16)
def _rules(host: str, hosts: tuple[str, ...], allowed: project.Cors, section: bool) -> Rules:
    """Return the rules; the name that the server listens on is its own, and an address needs none."""
    own = host_of(host)
    names = {*hosts, own} if _address(own) is None else hosts
    return Rules(hosts=frozenset(names), cors=allowed, cors_section=section)


def asked_of(request: web.Request) -> Asked:
    """Return what of a request decides."""
    peername = request.transport.get_extra_info("peername") if request.transport else None
    peer = host_of(peername[0].partition("%")[0]) if isinstance(peername, tuple) else ""
    address = _address(peer)
    trusted = request.app[keys.SERVICES].settings.trusted_proxies
    return Asked(
        method=request.method,
        headers=request.headers,
        acts=_acts(request),
        has_body=request.body_exists,
        peer=peer,
        peer_trusted=address is not None and any(address in network for network in trusted),
    )


def _acts(request: web.Request) -> bool:
    """
    Whether a GET changes something: it opens a WebSocket, may cancel a run, or renews the life of an item.
    """
    return (
        hdrs.UPGRADE in request.headers
        or "cancel_on_disconnect" in request.query
        or request.path.rstrip("/") == "/store/items"
    )
