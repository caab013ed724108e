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

routes = web.RouteTableDef()


@routes.get("/threads/{thread_id:[^/]+}/runs/{run_id:[^/]+}/webhooks")
@operation(answers=list[shapes.WebhookDelivery])
async def list_webhooks(request: web.Request) -> web.Response:
    """Return a run's webhooks with their attempts, also after the run was rolled back or deleted."""
    thread_id, run_id = parse.path_id(request, "thread"), parse.path_id(request, "run")
    deliveries = await request.app[keys.SERVICES].webhooks.of_run(keys.caller(request), thread_id, run_id)
    return reply.json([reply.delivery(delivery) for delivery in deliveries])


@routes.get("/webhooks/{delivery_id:[^/]+}")
@operation(answers=shapes.WebhookDelivery)
async def get_webhook(request: web.Request) -> web.Response:
    """Return one webhook with its attempts."""
    delivery = await request.app[keys.SERVICES].webhooks.get(
        keys.caller(request), parse.path_id(request, "delivery")
    )
    return reply.json(reply.delivery(delivery))


@routes.post("/webhooks/{delivery_id:[^/]+}/redeliver")
@operation(answers=ACCEPTED)
async def redeliver_webhook(request: web.Request) -> web.Response:
    """Send a webhook again that was delivered or given up."""
    await request.app[keys.SERVICES].webhooks.redeliver(
        keys.caller(request), parse.path_id(request, "delivery")
    )
    return reply.empty(202)
