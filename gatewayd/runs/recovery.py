"""What a boot does with the runs of earlier ones, before the first request is answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gatewayd.model.run import SUSPICIONS
from gatewayd.runs import endings, engine, trials

log = logging.getLogger(__name__)


async def recover(on: engine.Engine, trial: trials.Trial, policies: Mapping[str, str], default: str) -> int:
    """
    Make orphans pending again; return how many there were.

    `policies` (graph id to policy) and `default` say what becomes of them, see
    `storage.sqlite.boots.orphans_requeue`. Runs that were handed back at an orderly stop are no orphans: they
    go on under any policy.

    What storage promises of active runs and their threads is checked; what is derived and wrong is derived
    again. Runs that were being cancelled are not resumed: see `end_cancelled`, which needs a service
    worker. A run at which daemons have died is tried first (`trials`).
    """
    orphans = await on.storage.orphans_requeue(on.now(), policies, default)
    for run in orphans:
        fate = policies.get(run.graph_id, default)
        if run.suspicions > SUSPICIONS and run.cancel_error is not None:
            fate = run.cancel_error["message"]
        log.info("run %s was cut off: %s", run.run_id, fate, extra={"fields": {"run_id": run.run_id}})
    if (suspect := await on.storage.run_find_to_try()) is not None:
        trial.choose(suspect)
    for violation in await on.storage.invariants_repair(on.now()):
        log.error("the database is not as it should be: %s", violation)
    return len(orphans)


async def end_cancelled(on: engine.Engine, ending: endings.Endings) -> None:
    """
    End the runs whose cancel had been stored and not carried out, and those that the boot has marked.

    To be called again after an error: those that were ended are not found again, and one that can't be ended
    does not keep the others waiting.
    """
    first: Exception | None = None
    for run in await on.storage.runs_cancelled_pending():
        try:
            await ending.end_without_worker(run)
        except Exception as error:
            first = first or error
    if first is not None:
        raise first
