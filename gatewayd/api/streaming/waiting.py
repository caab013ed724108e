"""
Late JSON: the answer of a run, sent when the run has ended, behind newlines that show that it is not
forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from aiohttp import hdrs, web

from gatewayd import wire
from gatewayd.api import admission, connections, keys
from gatewayd.errors import NotFound
from gatewayd.runs import waiters

HEARTBEAT: Final = b"\n"
"""JSON parsers skip it."""
NOT_FOUND: Final = b'{"__error__":{"error":"HTTPException","message":"404: Run not found"}}'
NOTHING: Final = {"deleted": NOT_FOUND, "interrupted": b"{}", "timeout": b"{}"}
"""What is answered instead of a result that is not there, by status."""


def answer(ended: waiters.Ended, result: bytes | None) -> bytes:
    """Return the JSON that tells how a run ended; one that was out of time answers with its last values."""
    if ended.status == "error":
        return wire.dumps({"__error__": ended.error})
    return NOTHING.get(ended.status, b"null") if result is None else result


async def respond_when(
    request: web.Request,
    thread_id: str,
    run_id: str,
    end: asyncio.Future[waiters.Ended],
    *,
    tied: bool = False,
    body: bytes | None = None,
) -> web.StreamResponse:
    """Send the run's answer, or `body`, when `end` has come. The head names the run at once."""
    services = request.app[keys.SERVICES]
    path = f"/threads/{thread_id}/runs/{run_id}"
    out = connections.StreamingResponse(
        request=request,
        owner=request.app[keys.CONNECTIONS],
        headers={
            hdrs.LOCATION: f"{path}/join",
            hdrs.CONTENT_LOCATION: path,
            hdrs.CONTENT_TYPE: "application/json",
        },
        heartbeat=HEARTBEAT,
        heartbeat_s=services.settings.heartbeat_s,
        write_timeout_s=services.settings.write_timeout_s,
    )
    try:
        with admission.ending(request, thread_id, run_id, tied):
            async with out:
                if request.method == hdrs.METH_HEAD:
                    await out.finish()
                else:
                    ended = await _ended(end, out)
                    if body is None:
                        body = answer(ended, await services.runs.result(thread_id, ended))
                    await out.finish(body)
    except connections.ClientGone:
        pass
    return out.response


async def _ended(end: asyncio.Future[waiters.Ended], out: connections.StreamingResponse) -> waiters.Ended:
    loop = asyncio.get_running_loop()
    while not end.done():
        await asyncio.wait((end,), timeout=max(0.0, out.next_heartbeat - loop.time()))
        if not end.done():
            await out.heartbeat_if_due()
    return end.result()


async def respond_when_ended(
    request: web.Request, thread_id: str, run_id: str, *, tied: bool = False
) -> web.StreamResponse:
    """Do the same for a run that another request created."""
    async with contextlib.AsyncExitStack() as stack:
        # Before the head goes out: what happens after the client has seen it counts.
        following = request.app[keys.SERVICES].runs.following(keys.caller(request), thread_id, run_id)
        try:
            end = await stack.enter_async_context(following)
        except NotFound:  # it has just been deleted
            end = asyncio.get_running_loop().create_future()
            end.set_result(waiters.DELETED)
        return await respond_when(request, thread_id, run_id, end, tied=tied)


async def respond_when_stopped(
    request: web.Request, thread_id: str, run_id: str, body: bytes
) -> web.StreamResponse:
    """Send `body` when nothing of a run executes any more."""
    over = request.app[keys.SERVICES].runs.over(keys.caller(request), thread_id, run_id)
    end = request.app[keys.TASKS].spawn(over, f"wait for {run_id}")
    try:
        return await respond_when(request, thread_id, run_id, end, body=body)
    finally:
        end.cancel()
