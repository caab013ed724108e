"""The memory limit of workers: what a process uses is looked up a few times a second."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from gatewayd import loops
from gatewayd.supervisor import life as lives
from gatewayd.supervisor import worker

log = logging.getLogger(__name__)

WEIGH_EVERY_S = 0.25
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def resident(pid: int) -> int | None:
    """
    Return the bytes a process has in memory (RSS, without its children's); None where that can't be told.
    """
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * PAGE
    except (OSError, IndexError):  # no /proc here, or the process is gone
        return None


async def watch(workers: Sequence[worker.Worker], limit: int, turned: loops.Turned) -> None:
    """Kill each worker that uses more than `limit` bytes, until cancelled; `workers` may change meanwhile."""
    while True:
        await asyncio.sleep(WEIGH_EVERY_S)
        for each in workers:
            size = resident(each.pid)
            if size is not None and size > limit and each.life.phase in lives.ALIVE:
                weigh_out(each, size, limit)
        turned()


def weigh_out(each: worker.Worker, size: int, limit: int) -> None:
    """Kill a worker that uses too much; its end says why."""
    log.error(
        "worker %s uses %d MiB of memory (limit %d MiB) and is killed with %d runs",
        each.name,
        size // MIB,
        limit // MIB,
        len(each.runs),
        extra={"fields": {"worker": each.name, "pid": each.pid, "bytes": size, "runs": sorted(each.runs)}},
    )
    each.kill(f"memory limit: it used {size // MIB} MiB of {limit // MIB} MiB")
