"""What a boot does with the runs of earlier ones, before the first request is answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gatewayd.model.run import SUSPICIONS
from gatewayd.runs import manager

log = logging.getLogger(__name__)


async def recover(
    runs: manager.RunManager, policies: Mapping[str, str] | None = None, default: str = "resume"
) -> int:
    """
    Make orphans pending again; return how many there were.

    `policies` (graph id to policy) and `default` say what becomes of them, see
    `storage.sqlite.boots.orphans_requeue`. Runs that were handed back at an orderly stop are no orphans: they
    go on whatever the policy.

    What storage promises of active
    runs and their threads is checked; what is derived and wrong is derived anew. Runs that were being
    cancelled are not resumed: see `end_cancelled`, which needs a service worker. A run at which daemons have
    died is tried first (`trials`).
    """
    orphans = await runs.storage.orphans_requeue(runs.now(), policies or {}, default)
    for run in orphans:
        fate = policies.get(run.graph_id, default) if policies else default
        if run.suspicions > SUSPICIONS and run.cancel_error is not None:
            fate = run.cancel_error["message"]
        log.info("run %s was cut off: %s", run.run_id, fate, extra={"fields": {"run_id": run.run_id}})
    if (suspect := await runs.storage.run_find_to_try()) is not None:
        runs.trial.choose(suspect)
    for violation in await runs.storage.invariants_repair(runs.now()):
        log.error("the database is not as it should be: %s", violation)
    return len(orphans)


async def end_cancelled(runs: manager.RunManager) -> None:
    """
    End the runs whose cancel had been stored and not carried out, and those that the boot has marked.

    To be called again after an error: those that were ended are not found again, and one that can't be ended
    does not keep the others waiting.
    """
    first: Exception | None = None
    for run in await runs.storage.runs_cancelled_pending():
        try:
            await runs.ending.end_without_worker(run)
        except Exception as error:
            first = first or error
    if first is not None:
        raise first
