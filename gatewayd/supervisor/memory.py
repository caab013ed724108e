"""The memory limit of workers: what a process uses is looked up a few times a second."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from gatewayd import loops
from gatewayd.supervisor import life as lives
from gatewayd.supervisor import worker as workers

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


async def watch(running: Sequence[workers.Worker], limit: int, turned: loops.Turned) -> None:
    """Kill each worker that uses more than `limit` bytes, until cancelled; `running` may change."""
    while True:
        await asyncio.sleep(WEIGH_EVERY_S)
        for worker in running:
            size = resident(worker.pid)
            if size is not None and size > limit and worker.life.phase in lives.ALIVE:
                weigh_out(worker, size, limit)
        turned()


def weigh_out(worker: workers.Worker, size: int, limit: int) -> None:
    """Kill a worker that uses too much; its end says why."""
    log.error(
        "worker %s uses %d MiB of memory (limit %d MiB) and is killed with %d runs",
        worker.name,
        size // MIB,
        limit // MIB,
        len(worker.runs),
        extra={
            "fields": {"worker": worker.name, "pid": worker.pid, "bytes": size, "runs": sorted(worker.runs)}
        },
    )
    worker.kill(f"memory limit: it used {size // MIB} MiB of {limit // MIB} MiB")
