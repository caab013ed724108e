"""
The delivery log of webhooks (an addition to the reference): what was sent, how it went, and sending it again.
"""

from __future__ import annotations

from aiohttp import web

from gatewayd.api import keys
from gatewayd.api.description import shapes
from gatewayd.api.description.operation import ACCEPTED, operation
from gatewayd.api.requests import parse
from gatewayd.api.responses import reply
from gatewayd.errors import NotFound

routes = web.RouteTableDef()


@routes.get("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}/webhooks")
@operation(answers=list[shapes.WebhookDelivery])
async def list_webhooks(request: web.Request) -> web.Response:
    """Return a run's webhooks with their attempts, also after the run was rolled back or deleted."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    storage = request.app[keys.SERVICES].storage
    found = await storage.webhooks_of_run(thread_id, run_id)
    if not found and await storage.run_get(thread_id, run_id) is None:
        raise NotFound("Run not found")
    return reply.json([reply.delivery(each) for each in found])


@routes.get("/webhooks/{delivery_id:[^/]+}")
@operation(answers=shapes.WebhookDelivery)
async def get_webhook(request: web.Request) -> web.Response:
    """Return one webhook with its attempts."""
    found = await request.app[keys.SERVICES].storage.webhook_get(parse.path_id(request, "delivery"))
    return reply.json(reply.delivery(found))


@routes.post("/webhooks/{delivery_id:[^/]+}/redeliver")
@operation(answers=ACCEPTED)
async def redeliver_webhook(request: web.Request) -> web.Response:
    """Send a webhook again that was delivered or given up."""
    await request.app[keys.SERVICES].webhooks.redeliver(parse.path_id(request, "delivery"))
    return reply.empty(202)
