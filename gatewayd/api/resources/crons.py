"""``/runs/crons`` and ``/threads/{thread_id}/runs/crons``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from gatewayd.api import admission, keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import NOTHING, operation
from gatewayd.api.requests import cron_bodies, parse
from gatewayd.api.responses import reply
from gatewayd.crons import registry
from gatewayd.errors import Rejected
from gatewayd.model.cron import Cron
from gatewayd.storage import store

routes = web.RouteTableDef()


@routes.post("/runs/crons")
@operation(body=cron_bodies.CronCreate, answers=shapes.Cron)
async def create_cron(request: web.Request) -> web.Response:
    """Store a cron whose runs get threads of their own."""
    return await _create(request, None)


@routes.post("/threads/{thread_id:[^/]+}/runs/crons")
@operation(body=cron_bodies.CronCreate, answers=shapes.Cron)
async def create_thread_cron(request: web.Request) -> web.Response:
    """Store a cron whose runs are appended to a thread."""
    return await _create(request, parse.path_id(request, "thread"))


async def _create(request: web.Request, thread_id: str | None) -> web.Response:
    given = await parse.json(request)
    body = parse.structure(given, cron_bodies.CronCreate)
    await admission.check_webhook(request, body.webhook)
    crons = request.app[keys.SERVICES].crons
    created = await _carried(
        request,
        crons.create(keys.caller(request), body.assistant_id, body.schedule, thread_id, _wanted(body, given)),
    )
    return reply.json(reply.cron(created))


async def _carried(request: web.Request, work: Coroutine[Any, Any, Cron]) -> Cron:
    """
    Carry it through even if the client leaves: else the ticker would not be told of what was stored.
    """
    return await asyncio.shield(request.app[keys.TASKS].spawn(work, "store a cron", awaited=True))


def _wanted(body: cron_bodies.CronPatch, given: dict[str, Any]) -> registry.CronFields:
    return registry.CronFields(
        schedule=body.schedule,
        timezone=body.timezone,
        end_time=body.end_time,
        endless="end_time" in given and given["end_time"] is None,
        on_run_completed=body.on_run_completed,
        enabled=body.enabled,
        metadata=body.metadata,
        payload=given if body.config is None else {**given, "config": body.config},
    )


@routes.post("/runs/crons/search")
@operation(body=cron_bodies.CronSearch, answers=list[shapes.Cron])
async def search_crons(request: web.Request) -> web.Response:
    """Find crons."""
    body = await parse.body(request, cron_bodies.CronSearch)
    search = store.CronSearch(
        **_filter(request, body),
        limit=body.limit,
        offset=body.offset,
        sort_by=body.sort_by or "created_at",
        descending=body.sort_order == "desc",
    )
    crons = await request.app[keys.SERVICES].crons.search(keys.caller(request), search)
    rows = [reply.selected(reply.cron(cron), body.select) for cron in crons]
    return reply.page(rows, limit=body.limit, offset=body.offset)


@routes.post("/runs/crons/count")
@operation(body=cron_bodies.CronCount, answers=int)
async def count_crons(request: web.Request) -> web.Response:
    """Count crons."""
    body = await parse.body(request, cron_bodies.CronCount)
    search = store.CronSearch(**_filter(request, body))
    return reply.json(await request.app[keys.SERVICES].crons.count(keys.caller(request), search))


def _filter(request: web.Request, body: cron_bodies.CronCount) -> dict[str, Any]:
    """Return what a search and a count have in common; a graph's id stands for its assistant's."""
    return {
        "assistant_id": admission.assistant_searched(request, body.assistant_id),
        "thread_id": body.thread_id,
        "enabled": body.enabled,
        "metadata": body.metadata,
    }


@routes.get("/runs/crons/{cron_id:[^/]+}")
@operation(answers=shapes.Cron)
async def get_cron(request: web.Request) -> web.Response:
    """Return one cron."""
    found = await request.app[keys.SERVICES].crons.get(keys.caller(request), parse.path_id(request, "cron"))
    return reply.json(reply.cron(found))


@routes.patch("/runs/crons/{cron_id:[^/]+}")
@operation(body=cron_bodies.CronPatch, answers=shapes.Cron)
async def patch_cron(request: web.Request) -> web.Response:
    """Change a cron."""
    cron_id = parse.path_id(request, "cron")
    given = await parse.json(request)
    body = parse.structure(given, cron_bodies.CronPatch)
    if not given:
        raise Rejected("Request body cannot be empty")
    await admission.check_webhook(request, body.webhook)
    crons = request.app[keys.SERVICES].crons
    updated = await _carried(request, crons.update(keys.caller(request), cron_id, _wanted(body, given)))
    return reply.json(reply.cron(updated))


@routes.delete("/runs/crons/{cron_id:[^/]+}")
@operation(answers=NOTHING)
async def delete_cron(request: web.Request) -> web.Response:
    """Remove a cron; its runs stay."""
    await request.app[keys.SERVICES].crons.delete(keys.caller(request), parse.path_id(request, "cron"))
    return reply.empty()
