"""A user's script: calls the server through the unmodified Python SDK and prints what it gets, a line of JSON
a part.

``sdk_client.py URL ORDERS``: ORDERS is a list of ``{"name", "client": "sync" | "async", "call", "args",
"kwargs"}``; all are carried out at once. `call` is the name of a method of `client.runs`. Printed lines:
``{"name", "part": [id, event, data]}`` for a part of a stream, ``{"name", "created": …}`` when the SDK says
which run it is, and at the end ``{"name", "result"}`` (a loop that has ended: null) or ``{"name",
"failure"}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langgraph_sdk import get_client, get_sync_client

STREAMS = {"stream", "join_stream"}


def say(name: str, **what: Any) -> None:
    sys.stdout.write(json.dumps({"name": name, **what}) + "\n")
    sys.stdout.flush()


def call_of(runs: Any, order: dict[str, Any]) -> Any:
    name, kwargs = order["name"], dict(order.get("kwargs", {}))
    if order["call"] in {"stream", "wait"}:
        kwargs["on_run_created"] = lambda created: say(name, created=created)
    return getattr(runs, order["call"])(*order["args"], **kwargs)


def work(url: str, order: dict[str, Any]) -> None:
    with get_sync_client(url=url) as client:
        answer = call_of(client.runs, order)
        if order["call"] in STREAMS:
            for part in answer:
                say(order["name"], part=[part.id, part.event, part.data])
            answer = None
        say(order["name"], result=answer)


async def work_async(url: str, order: dict[str, Any]) -> None:
    async with get_client(url=url) as client:
        answer = call_of(client.runs, order)
        if order["call"] in STREAMS:
            async for part in answer:
                say(order["name"], part=[part.id, part.event, part.data])
            answer = None
        else:
            answer = await answer
        say(order["name"], result=answer)


async def carry_out(url: str, order: dict[str, Any]) -> None:
    try:
        if order["client"] == "sync":
            await asyncio.to_thread(work, url, order)
        else:
            await work_async(url, order)
    except Exception as error:
        say(order["name"], failure=f"{type(error).__name__}: {error}")


async def main() -> None:
    url, orders = sys.argv[1], json.loads(sys.argv[2])
    await asyncio.gather(*(carry_out(url, order) for order in orders))


asyncio.run(main())
