"""How many files and sockets this process may have open, and what it leaves for its own.

The soft limit is raised to the hard one. Clients get what is left after a reserve: for the database and its
readers, the channels of the workers, webhooks, and connections that are being refused. So clients alone can't
bring it about that SQLite or a new worker finds no descriptor. Should there be none all the same (the whole
system may have run out of them), the loop tries to accept again each second, which is told once a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from typing import Any, Final

from gatewayd import logs

log = logging.getLogger(__name__)

LARGEST: Final = 1 << 20
"""Where there is no hard limit; more is of no use, and some systems refuse it."""
RESERVE: Final = 200
"""Descriptors for the database, webhooks, logs, and connections that are being refused."""
EACH_WORKER: Final = 8
"""Descriptors for one worker, while its substitute may be there as well."""
FEWEST: Final = 16
"""Connections that are let in however low the limit is."""


def raise_limit() -> int:
    """Raise the soft limit as far as it goes, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LARGEST if hard == resource.RLIM_INFINITY else min(hard, LARGEST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return LARGEST if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections(limit: int, wanted: int, workers: int) -> int:
    """
    Return how many connections there may be under a limit of descriptors; `wanted` at most, and say if it is
    fewer.
    """
    room = max(FEWEST, limit - RESERVE - EACH_WORKER * workers)
    if room < wanted:
        log.warning(
            "at most %d connections instead of %d: the limit of open files is %d (ulimit -Hn, LimitNOFILE=)",
            room,
            wanted,
            limit,
        )
    return min(room, wanted)


ACCEPT_FAILED: Final = "socket.accept() out of system resource"
"""How asyncio calls it."""
_failed = logs.Seldom()


def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Log what has gone wrong in an event loop; asyncio's own handler writes a traceback for each connection
    that waits.
    """
    if context.get("message") != ACCEPT_FAILED:
        loop.default_exception_handler(context)
    elif (times := _failed.times()) is not None:
        log.error("can't accept connections (%d times): %s", times, context.get("exception"))
