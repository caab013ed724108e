"""What the server says about itself."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

import gatewayd
from gatewayd import health
from gatewayd.api import faults, keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import WHOLE, operation
from gatewayd.api.requests import parse
from gatewayd.api.responses import reply

routes = web.RouteTableDef()


ROOT: Final = f"""<!doctype html>
<title>gatewayd</title>
<p>gatewayd {gatewayd.__version__} serves here: <a href="docs">all routes, to read and try</a>, <a href="info">what it supports</a>,
<a href="ok?check_db=1">whether it is well</a>.
"""


@routes.get("/")
@operation(query={"check_db": WHOLE}, answers=shapes.Health)
async def root(request: web.Request) -> web.StreamResponse:
    """Say that the server answers, as `/ok` does; a browser gets a page that links `/docs`."""
    shown = "text/html" in request.headers.get(hdrs.ACCEPT, "")
    if shown and "meta" not in request.app[keys.SERVICES].project.disabled:
        return web.Response(text=ROOT, content_type="text/html")
    return await ok(request)


@routes.get("/ok")
@operation(query={"check_db": WHOLE}, answers=shapes.Health)
async def ok(request: web.Request) -> web.StreamResponse:
    """
    Say that the server answers; with `check_db` also whether it accepts and starts runs.

    If it does not, the reasons come with 503. What else is wrong comes as warnings with 200, so that no probe
    restarts a server that serves.
    """
    services = request.app[keys.SERVICES]
    if "meta" in services.project.disabled:
        return reply.json({"ok": True})
    if not parse.whole(request, "check_db", 0):
        return reply.json({"ok": True, "services": {}})
    findings = await services.health.findings()
    reasons = [_shown(finding) for finding in findings if finding.fatal]
    warnings = [_shown(finding) for finding in findings if not finding.fatal]
    more = {"warnings": warnings} if warnings else {}
    if reasons:
        detail = "; ".join(reason["detail"] for reason in reasons)
        return faults.response(503, detail, {"Retry-After": "1"}, {"reasons": reasons, **more})
    trouble = [finding.detail for finding in findings if finding.check == "reload"]
    return reply.json({"ok": True, "services": {}, **({"trouble": trouble[0]} if trouble else {}), **more})


def _shown(finding: health.Finding) -> dict[str, str]:
    return {"check": finding.check, "detail": finding.detail}


@routes.get("/info")
@operation(answers=shapes.Info)
async def info(_: web.Request) -> web.Response:
    """Name versions and what is supported."""
    flags = {
        "assistants": True,
        "crons": True,
        "langsmith": False,
        "langsmith_tracing_replicas": False,
        "langsmith_tracing_session_on_runs": False,
        "strict_resume": True,
    }
    host = {
        "kind": "self-hosted",
        "project_id": None,
        "host_revision_id": None,
        "revision_id": None,
        "tenant_id": None,
    }
    return reply.json(
        {
            "version": gatewayd.__version__,
            "langgraph_py_version": reply.langgraph_version(),
            "flags": flags,
            "host": host,
        }
    )
