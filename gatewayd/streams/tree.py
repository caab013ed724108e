"""The graphs of a thread's latest run as a tree, and how they stand (`agent.getTree` of protocol v2)."""

from __future__ import annotations

from typing import Any

from gatewayd.model.caller import INTERNAL
from gatewayd.storage import store
from gatewayd.streams import v2


async def latest(storage: store.Storage, thread_id: str) -> tuple[Any, int]:
    """
    Return the tree of the run that was accepted last, as clients are shown it, and the number of the last
    event that it can know of. The tree is None if no graph has begun.
    """
    runs = await storage.runs_list(INTERNAL, thread_id, status=None, limit=1, offset=0)
    last, _ = await storage.events_last(thread_id)
    tree: dict[tuple[str, ...], v2.Branch] = {}
    if runs:
        position = runs[0].log_from
        while page := await storage.events_page(thread_id, position, runs[0].run_id):
            tree = v2.grown(tree, [await storage.chunk_joined(chunk, ()) for chunk in page])
            position = page[-1].last_seq
    return (v2.shown_tree(tree) if () in tree else None), last
