"""``/runs``: runs on a thread of their own, and the addresses under which their creators find them again."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import hdrs, web

from gatewayd.api import admission, keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import FLAG, IDEMPOTENCY_KEY, STREAM, operation
from gatewayd.api.requests import parse, run_bodies
from gatewayd.api.resources import runs
from gatewayd.api.responses import reply
from gatewayd.api.streaming import sse, waiting
from gatewayd.errors import NotFound
from gatewayd.model.run import Run

routes = web.RouteTableDef()

RUN: Final = "/runs/{run_id:(?!(?:batch|cancel|crons|search|stream|wait)$)[^/]+}"
"""One run; what else is at this place are methods of their own, which are called with POST."""


@routes.post("/runs")
@operation(body=run_bodies.RunCreate, headers=(IDEMPOTENCY_KEY,), answers=shapes.Run)
async def create_stateless_run(request: web.Request) -> web.Response:
    """Create a run in the background."""
    admitted, _ = await admission.admit(request, stateless=True)
    run = admitted.run
    return reply.json(runs.shown(request, run), {hdrs.CONTENT_LOCATION: f"/runs/{run.run_id}"})


@routes.post("/runs/batch")
@operation(body=run_bodies.RunCreate, many=True, headers=(IDEMPOTENCY_KEY,), answers=list[shapes.Run])
async def create_runs(request: web.Request) -> web.Response:
    """Create several runs in the background, or none of them."""
    admitted = await admission.admit_all(request)
    return reply.json([runs.shown(request, created.run) for created in admitted])


@routes.post("/runs/stream")
@operation(body=run_bodies.RunCreate, headers=(IDEMPOTENCY_KEY,), answers=STREAM)
async def stream_stateless_run(request: web.Request) -> web.StreamResponse:
    """Create a run and send its events."""
    admitted, tied = await admission.admit(request, stateless=True, tied=True)
    return await sse.follow(request, runs.creators_view(request, admitted, tied))


@routes.post("/runs/wait")
@operation(body=run_bodies.RunCreate, headers=(IDEMPOTENCY_KEY,), answers=Any)
async def wait_stateless_run(request: web.Request) -> web.StreamResponse:
    """Create a run and send its result when it has ended."""
    admitted, tied = await admission.admit(request, stateless=True, follow=True, tied=True)
    assert admitted.ended is not None
    run = admitted.run
    return await waiting.respond_when(request, run.thread_id, run.run_id, admitted.ended, tied=tied)


@routes.get(RUN)
@operation(answers=shapes.Run)
async def get_stateless_run(request: web.Request) -> web.Response:
    """Return a run of any thread."""
    return reply.json(runs.shown(request, await _found(request, "Not Found")))


@routes.get("/runs/{run_id:[^/]+}/join")
@operation(query={"cancel_on_disconnect": FLAG}, answers=Any)
async def join_stateless_run(request: web.Request) -> web.StreamResponse:
    """Send a run's result when it has ended."""
    run = await _found(request, "Run not found")
    tied = parse.flag(request, "cancel_on_disconnect")
    return await waiting.respond_when_ended(request, run.thread_id, run.run_id, tied=tied)


async def _found(request: web.Request, missing: str) -> Run:
    run = await request.app[keys.SERVICES].runs.find(keys.caller(request), parse.path_id(request, "run"))
    if run is None:
        raise NotFound(missing)
    return run
