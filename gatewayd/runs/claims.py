"""Starting what is due: woken by hints and by the clock, but what is due is what the table says."""

from __future__ import annotations

from gatewayd import loops, tasks
from gatewayd.runs import manager

LONGEST_WAIT_S = 60.0
"""Even without a hint the table is looked at this often."""


async def claimer(runs: manager.RunManager, turned: loops.Turned = lambda: None) -> None:
    """Start due runs as places become free, until the server stops. To be called again after an error."""
    wait_s = 0.0
    while not runs.stopping:
        await runs.hint.wait(wait_s)
        wait_s = await _claim(runs)
        turned()


async def _claim(runs: manager.RunManager) -> float:
    """Start what can be started now; return how long nothing more will be due, in seconds."""
    limit, suspects, only = max(0, runs.places()), runs.workers.free_quarantines(), runs.trial.run_id
    if only is not None and only in runs.active:
        return LONGEST_WAIT_S  # its end gives the hint
    runs.backlogged = True  # a place that is freed while the table is looked at must give the hint
    with runs.reserved(limit):
        claimed = await runs.storage.runs_claim_due(runs.now(), limit, suspects, runs.settling, only)
    if only is not None and not claimed.taken and suspects:
        runs.trial.end()  # it was cancelled or deleted
    runs.backlogged = claimed.left or runs.hint.given
    for run in claimed.taken:
        runs.dispatch(run)
    return tasks.seconds_until(claimed.next_due, runs.now(), LONGEST_WAIT_S)
