"""What pages of other origins may do: preflights, and the headers of every response."""

from __future__ import annotations

import re
from functools import lru_cache

from aiohttp import hdrs, web

from gatewayd import project
from gatewayd.api import faults, keys

PRIVATE_NETWORK = "Access-Control-Request-Private-Network"
VARIES = f"{hdrs.ORIGIN}, {hdrs.ACCESS_CONTROL_REQUEST_METHOD}, {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}, {PRIVATE_NETWORK}"


@lru_cache(maxsize=1024)
def allowed_origin(rules: project.Cors, origin: str) -> str | None:
    """Return what `access-control-allow-origin` says to this origin; None: it is not allowed."""
    if "*" in rules.allow_origins:
        return origin if rules.allow_credentials else "*"
    listed = origin in rules.allow_origins
    matched = rules.allow_origin_regex is not None and re.fullmatch(rules.allow_origin_regex, origin)
    return origin if listed or matched else None


def allow(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that let a page read a response."""
    response.headers.setdefault(hdrs.VARY, hdrs.ORIGIN)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in response.headers:
        return
    rules = request.app[keys.SERVICES].cors
    allowed = allowed_origin(rules, origin)
    if allowed is None:
        return
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(rules.expose_headers)
    if rules.allow_credentials:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"


def preflight(request: web.Request) -> web.Response | None:
    """Answer a browser that asks what it may do; None for an OPTIONS that asks nothing of the kind."""
    origin = request.headers.get(hdrs.ORIGIN)
    method = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
    if origin is None or method is None:
        return None
    rules = request.app[keys.SERVICES].cors
    allowed = allowed_origin(rules, origin)
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    refused = _refused(rules, allowed, method, asked)
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
    if rules.allow_credentials:
        answer[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    return web.Response(text="OK", headers=answer)


SAFE_HEADERS = frozenset({"accept", "accept-language", "content-language", "content-type"})
"""Headers that need no permission."""


def _refused(rules: project.Cors, allowed: str | None, method: str, asked: str) -> list[str]:
    """Return what of a preflight's wishes is not allowed."""
    refused = []
    if allowed is None:
        refused.append("origin")
    if method.upper() not in rules.allow_methods:
        refused.append("method")
    if "*" not in rules.allow_headers:
        known = SAFE_HEADERS | {name.lower() for name in rules.allow_headers}
        if any(name.strip().lower() not in known for name in asked.split(",") if name.strip()):
            refused.append("headers")
    return refused
