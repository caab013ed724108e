"""What the server says about itself."""

from __future__ import annotations

from aiohttp import web

import gatewayd
from gatewayd.api import keys, parse, reply
from gatewayd.errors import Unavailable

routes = web.RouteTableDef()


@routes.get("/")
@routes.get("/ok")
async def ok(request: web.Request) -> web.Response:
    """
    Say that the server answers; with `check_db` also that storage and the project's code do.

    After a failed reload the project from before is served, so all is well, but for what `trouble` says.
    """
    trouble = {}
    if "meta" in request.app[keys.SERVICES].project.disabled:
        return reply.json({"ok": True})
    if parse.whole(request, "check_db", 0):
        services = request.app[keys.SERVICES]
        await services.storage.counters()
        if services.workers.trouble:
            raise Unavailable(f"the project is not loaded: {services.workers.trouble}")
        if services.serving.trouble:
            trouble = {"trouble": f"the last reload failed: {services.serving.trouble}"}
    return reply.json({"ok": True, "services": {}, **trouble})


@routes.get("/info")
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
