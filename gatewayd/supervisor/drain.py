"""How a worker that is being replaced hands back its runs and ends."""

from __future__ import annotations

import asyncio
import logging

from gatewayd.supervisor import life as lives
from gatewayd.supervisor import pulse
from gatewayd.supervisor import worker as workers

log = logging.getLogger(__name__)

DRAIN_S = 30.0
"""Time that runs which were asked to drain have to reach their next step."""
CUT_S = 2.0
"""Time that runs which were cut have to end before their worker is killed."""
STOP_S = 3.0
"""Time that a worker without runs gets to end by itself before it is killed."""
LOOK_S = 2.0
"""Time that the threads of a blocked worker have to tell in whose code its loop is."""
PATIENCE_S = 60.0
"""Time that runs get to end by themselves before they are asked to drain, when there is no hurry."""


async def drain_by_deadline(worker: workers.Worker, reason: str) -> None:
    """
    Have a draining worker's runs handed back, then end it. Abandoned runs are not waited for.

    Runs that are still in their step after `DRAIN_S` are cancelled. Those that don't obey end with the
    process. None of them gets a strike, since none is to blame.
    """
    worker.drain(None, reason)
    if not await worker.idle(DRAIN_S):
        worker.cut()
        if not await worker.idle(CUT_S):
            fields = {"worker": worker.name, "pid": worker.pid, "runs": sorted(worker.runs)}
            log.warning(
                "worker %s does not let go of its runs and is killed", worker.name, extra={"fields": fields}
            )
            blockers = await _blockers(worker) if worker.pulse.block is not None else frozenset()
            worker.kill(blameless=True, blockers=blockers)
            return
    await _end(worker)


async def drain_patiently(worker: workers.Worker, reason: str) -> None:
    """
    End a draining worker when its runs have left it, however long that takes.

    After `PATIENCE_S` they are asked to hand themselves back. Each run makes progress for that long on every
    worker, so it reaches its end even if one worker after the other is replaced under it.
    """
    if not await worker.idle(PATIENCE_S):
        worker.drain(None, reason)
        await worker.idle(None)
    await _end(worker)


async def kill_for_others(worker: workers.Worker, block: pulse.Block, blocked_s: float) -> None:
    """
    Kill a worker whose loop is blocked, so that the other runs in it go on elsewhere.

    Nothing less stops the threads of its runs, and while they work nobody else may execute these runs.
    """
    blockers = await _blockers(worker)
    if worker.life.phase not in lives.ALIVE or worker.pulse.block is not block:  # ended, or turns again
        return
    alone = f"run {min(blockers)} goes" if len(blockers) == 1 else "each of them goes"
    fields = {"reason": "worker_blocked", "worker": worker.name, "pid": worker.pid, "place": worker.place}
    log.error(
        "worker %s (pid %d) is killed with %d runs: its event loop has been blocked at %s for %.0f s; %s on alone",
        worker.name,
        worker.pid,
        len(worker.runs),
        worker.place or "?",
        blocked_s,
        alone,
        extra={"fields": {**fields, "blockers": sorted(blockers), "runs": sorted(worker.runs)}},
    )
    worker.kill("its event loop was blocked", blameless=True, blockers=blockers)


async def _blockers(worker: workers.Worker) -> frozenset[str]:
    """
    Return the runs in whose code a worker's loop may be: all that it has, if C code holds the interpreter or
    none is told.
    """
    run_id = await worker.look(LOOK_S)
    return frozenset({run_id}) if run_id in worker.runs else frozenset(worker.runs)


async def _end(worker: workers.Worker) -> None:
    """End a worker that nothing is left to wait for: by itself if it can."""
    if worker.loaded and not worker.runs and not worker.abandoned:
        worker.stop()
        try:
            async with asyncio.timeout(STOP_S):
                await worker.until_gone()
        except TimeoutError:
            log.warning("worker %s does not end by itself and is killed", worker.name)
    worker.kill()
