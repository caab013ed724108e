"""What a protocol v2 reader without a position sees of ended runs: their last states, not how they got there.

Clients build messages and tool calls from states. So of an earlier run the last state in each namespace is
enough, with the checkpoint that it comes from. All its starts and ends, its interrupts and their answers are
shown too, because they tell how to read that state. The run that ended last is shown whole, since it may be
the one that the client has just started: clients open their streams after the answer to `run.start`, and a
short run has ended by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from gatewayd.storage import store
from gatewayd.streams import v2

WHOLE: Final = frozenset({"lifecycle", "input"})
"""Channels that are not trimmed."""
STATES: Final = v2.Filter(channels=frozenset({"values", "checkpoints"}))


@frozen
class Trim:
    """Which events of a thread's log are left out."""

    kept: Mapping[str, frozenset[int]]
    """Run id → numbers of its events that are shown. A run that is not in the map is shown whole."""

    def passes(self, shown: v2.View) -> bool:
        """Whether the event is shown."""
        kept = self.kept.get(shown.record.run_id)
        return kept is None or shown.channel in WHOLE or shown.record.seq in kept


NOTHING: Final = Trim({})
"""Leaves nothing out."""


async def trim(storage: store.Storage, thread_id: str, after: int) -> Trim:
    """
    Decide what a reader that starts behind `after` without a position sees of a thread's runs.
    """
    return Trim(
        {
            run_id: await _last_states(storage, thread_id, run_id, after)
            for run_id in await storage.runs_over_before_the_last(thread_id, after)
        }
    )


async def _last_states(storage: store.Storage, thread_id: str, run_id: str, after: int) -> frozenset[int]:
    """Return the numbers of a run's last state in each namespace and of the checkpoint before it."""
    states: dict[str, tuple[int, ...]] = {}
    checkpoints: dict[str, int] = {}
    while page := await storage.events_page(thread_id, after, run_id):
        page = [await storage.chunk_joined(chunk) for chunk in page]
        for shown in v2.views(page, STATES):
            seq, namespace = shown.record.seq, shown.record.namespace
            if shown.method == "checkpoints":
                checkpoints[namespace] = seq
            elif shown.params() is not None:
                before = checkpoints.get(namespace)  # the state at an interrupt has none of its own
                states[namespace] = (seq,) if before is None else (before, seq)
        after = page[-1].last_seq
    return frozenset(seq for numbers in states.values() for seq in numbers)
