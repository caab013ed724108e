"""Removing, in small steps, the rows of threads that are gone or belonged to ended stateless runs, and old idempotency keys."""

from __future__ import annotations

import asyncio
import logging

from gatewayd.errors import GatewaydError
from gatewayd.runs import manager

log = logging.getLogger(__name__)

STEP_ROWS = 200
"""Rows of one step: a few milliseconds of the writer's time."""
THREADS = 100
"""Threads looked at in one pass."""


async def sweeper(
    runs: manager.RunManager, every_s: float, linger_s: float, idempotency_ttl_s: float
) -> None:
    """Sweep every `every_s` seconds until cancelled; ended stateless threads stay for `linger_s`."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await sweep(runs, linger_s)
            await forget_requests(runs, idempotency_ttl_s)
        except GatewaydError as error:
            log.error("sweeping failed: %s", error.detail)


async def sweep(runs: manager.RunManager, linger_s: float) -> int:
    """Remove what may go now; return the number of threads that are gone."""
    gone = 0
    hidden_before = runs.now() - int(linger_s * 1e6)
    while candidates := await runs.storage.threads_to_sweep(hidden_before, THREADS):
        ready = [thread_id for thread_id in candidates if not runs.log.hub.has_readers(thread_id)]
        for thread_id in ready:
            while not await runs.storage.thread_sweep_step(thread_id, STEP_ROWS):
                pass
            runs.log.forget(thread_id)
            gone += 1
        if len(ready) < len(candidates) or len(candidates) < THREADS:
            break
    return gone


async def forget_requests(runs: manager.RunManager, ttl_s: float) -> int:
    """Forget the idempotency keys that are older than `ttl_s`; return how many."""
    before, forgotten = runs.now() - int(ttl_s * 1e6), 0
    while step := await runs.storage.idempotency_sweep_step(before, STEP_ROWS):
        forgotten += step
        if step < STEP_ROWS:
            break
    return forgotten
