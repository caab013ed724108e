"""What pages of other origins may do: preflights, and the headers of every response."""

from __future__ import annotations

from aiohttp import hdrs, web

from gatewayd import project
from gatewayd.api import access, faults, keys

PRIVATE_NETWORK = "Access-Control-Request-Private-Network"
VARIES = f"{hdrs.ORIGIN}, {hdrs.ACCESS_CONTROL_REQUEST_METHOD}, {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}, {PRIVATE_NETWORK}"


def allow(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that let a page read a response."""
    response.headers.setdefault(hdrs.VARY, hdrs.ORIGIN)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in response.headers:
        return
    rules = request.app[keys.SERVICES].cors
    allowed = _allowed(request, origin)
    if allowed is None:
        return
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(rules.expose_headers)
    if _with_credentials(rules, origin):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"


def preflight(request: web.Request) -> web.Response | None:
    """Answer a browser that asks what it may do; None for an OPTIONS that asks nothing of the kind."""
    origin = request.headers.get(hdrs.ORIGIN)
    method = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
    if origin is None or method is None:
        return None
    rules = request.app[keys.SERVICES].cors
    allowed = _allowed(request, origin)
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    refused = _refused(rules, method, asked)
    if refused:
        return faults.response(400, f"Disallowed CORS {', '.join(refused)}")
    answer = {
        hdrs.VARY: VARIES,
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: str(allowed),
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(rules.allow_methods),
        hdrs.ACCESS_CONTROL_MAX_AGE: str(rules.max_age),
        "Access-Control-Allow-Private-Network": "true",
    }
    if asked:
        answer[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
    if _with_credentials(rules, origin):
        answer[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    return web.Response(text="OK", headers=answer)


def _allowed(request: web.Request, origin: str) -> str | None:
    """Return what `access-control-allow-origin` says to an origin; None: its pages may not call."""
    rules = access.rules_of(request)
    if (named := access.named_origin(rules.cors, origin)) is not None:
        return named
    return origin if access.allows(rules, origin, request.headers.get(hdrs.HOST, "")) else None


def _with_credentials(rules: project.Cors, origin: str) -> bool:
    """Whether pages may send credentials: those of named origins, if the rules say so."""
    return rules.allow_credentials and access.named_origin(rules, origin) is not None


SAFE_HEADERS = frozenset({"accept", "accept-language", "content-language", "content-type"})
"""Headers that need no permission."""


def _refused(rules: project.Cors, method: str, asked: str) -> list[str]:
    """Return what of a preflight's wishes is not allowed, beside its origin, which `access` has let pass."""
    refused = []
    if method.upper() not in rules.allow_methods:
        refused.append("method")
    if "*" not in rules.allow_headers:
        known = SAFE_HEADERS | {name.lower() for name in rules.allow_headers}
        if any(name.strip().lower() not in known for name in asked.split(",") if name.strip()):
            refused.append("headers")
    return refused
