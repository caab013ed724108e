"""What programs speak protocol v2: browsers, and SDKs outside of them, told by their requests.

A browser names its page (``Origin``), or says from where it fetches (``Sec-Fetch-Site``, ``Sec-Fetch-Dest``).
``Sec-Fetch-Mode`` alone is no sign of one: Node's own `fetch` sends it.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import AbstractContextManager
from typing import Final

from aiohttp import hdrs, web

from gatewayd.api import keys
from gatewayd.streams import holds

BROWSERS: Final = (hdrs.ORIGIN, "Sec-Fetch-Site", "Sec-Fetch-Dest", "Sec-Fetch-User")
PYTHON: Final = re.compile(r"langgraph-sdk-py/|Python/\S+ websockets/")
"""Names of the Python SDK, the second over a WebSocket."""
JAVASCRIPT: Final = re.compile(r"$|(node|undici)$|(Node\.js|Deno|Bun)/")
"""Names of what the JavaScript SDK runs on: it has none itself, and over a WebSocket there is none at all."""
CREDENTIALS: Final = (hdrs.AUTHORIZATION, "x-api-key")


def of(request: web.Request) -> holds.Client | None:
    """Return the client of a request if it is an SDK outside of a browser."""
    if _in_browser(request):
        return None
    agent = _agent(request)
    if not PYTHON.match(agent) and not JAVASCRIPT.match(agent):
        return None
    said = [request.remote or "", *(request.headers.get(name, "") for name in CREDENTIALS)]
    key = hashlib.sha256("\n".join(said).encode("utf-8", "replace")).hexdigest()
    return holds.Client(key, rotates=not PYTHON.match(agent))


def is_front_end(request: web.Request) -> bool:
    """Whether a request comes from the JavaScript SDK, in a browser or outside."""
    return _in_browser(request) or JAVASCRIPT.match(_agent(request)) is not None


def reader(request: web.Request, thread_id: str) -> AbstractContextManager[holds.Reader]:
    """Provide for a connection that reads the events of a thread, by what its client is."""
    kept_back = request.app[keys.SERVICES].holds
    return kept_back.reader(thread_id, of(request), front_end=is_front_end(request))


def _in_browser(request: web.Request) -> bool:
    return any(name in request.headers for name in BROWSERS)


def _agent(request: web.Request) -> str:
    return request.headers.get(hdrs.USER_AGENT, "")
