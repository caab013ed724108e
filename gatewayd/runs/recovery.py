"""What a boot does with the runs of earlier ones, before the first request is answered."""

from __future__ import annotations

import logging

from gatewayd.runs import manager

log = logging.getLogger(__name__)


async def recover(runs: manager.RunManager) -> int:
    """
    Make orphans pending again; return how many there were.

    The numbering of their threads jumps, so that no event id is given twice. What storage promises of active runs and
    their threads is checked; what is derived and wrong is derived anew. Runs that were being cancelled are not
    resumed: see `end_cancelled`, which needs a service worker.
    """
    orphans = await runs.storage.orphans_park(runs.now())
    for run in orphans:
        await runs.log.open(run.thread_id, jump=True)
        runs.log.close(run.thread_id)
        log.info(
            "run %s goes on from its last checkpoint", run.run_id, extra={"fields": {"run_id": run.run_id}}
        )
    for violation in await runs.storage.invariants_repair(runs.now()):
        log.error("the database is not as it should be: %s", violation)
    return len(orphans)


async def end_cancelled(runs: manager.RunManager) -> None:
    """End the runs whose cancel had been stored and not carried out."""
    for run in await runs.storage.runs_cancelled_pending():
        await runs.end_without_worker(run)
