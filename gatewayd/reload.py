"""Asking a daemon to load the project again, and telling how that went.

A daemon is asked by SIGHUP. The signal says nothing back, so the daemon keeps a small file in its data
directory, which is replaced as a whole at each change: who it is, the number of the last reload that it has
begun, and the number and outcome of the last one that has ended. A reload that is asked for during another
begins after that one (once, however often it was asked for). So a process that reads in the file that n had
begun, and then sends the signal, finds the outcome of a reload that began after the signal under a number
greater than n.

What happens on failure
    The lock is free: there is no daemon; nothing is signalled, even if the file names a pid.
    The file is of another pid than the lock: the daemon is not yet ready for the signal, which would kill it.
    The daemon ends during the reload: the lock is free, or another's, or the file is; who waits is told.
    The file can't be written (disk full): it is logged, the reload counts; `gatewayd reload` waits for the
    next outcome.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field, frozen

from gatewayd import datadir, loops, tasks, wire
from gatewayd.errors import GatewaydError

log = logging.getLogger(__name__)

LOOK_S = 0.05


class NotReloaded(GatewaydError):
    """The project was not loaded; the detail says why."""


@frozen(kw_only=True)
class Standing:
    """What the file says."""

    pid: int
    boot: str
    """Tells two daemons apart that had the same pid, as in a container."""
    begun: int = 0
    """Number of the last reload that has begun; 0: none has since the daemon's start."""
    ended: int = 0
    """Number of the last reload that has ended."""
    ok: bool = True
    """Whether that one did what it was to do."""
    message: str = ""
    """What was loaded, or why not."""


@define(eq=False)
class Reloader:
    """The daemon's part: carries out reloads, one at a time, and writes down how they went."""

    data_dir: Path
    work: Callable[[], Awaitable[str]]
    """Does it and returns what to say; raises a `GatewaydError` that says why not."""
    _asked: tasks.Hint = field(factory=tasks.Hint, init=False)
    _standing: Standing = field(
        factory=lambda: Standing(pid=os.getpid(), boot=os.urandom(8).hex()), init=False
    )

    def open(self) -> None:
        """Let others know that the signal is expected."""
        self._write()

    def ask(self) -> None:
        """Have the project loaded again, after the reload that may be going on."""
        self._asked.give()

    async def run(self, turned: loops.Turned = lambda: None) -> None:
        """Carry out what is asked for, until cancelled. To be called again after an error."""
        while True:
            await self._asked.wait()
            self._note(begun=self._standing.begun + 1)
            log.info("reload %d: the project is loaded again", self._standing.begun)
            ok, message = await self._once()
            self._note(ended=self._standing.begun, ok=ok, message=message)
            turned()

    async def _once(self) -> tuple[bool, str]:
        try:
            message = await self.work()
        except GatewaydError as error:
            log.error("the reload failed: %s", error.detail)
            return False, error.detail
        except Exception as error:  # a bug must not cost the next reload
            log.exception("the reload failed")
            return False, f"{type(error).__name__}: {error}"
        log.info("reloaded: %s", message)
        return True, message

    def _note(self, **changes: Any) -> None:
        self._standing = attrs.evolve(self._standing, **changes)
        self._write()

    def _write(self) -> None:
        path = self.data_dir / datadir.RELOAD
        fresh = self.data_dir / datadir.RELOAD_NEW
        try:
            fresh.write_bytes(wire.dumps(attrs.asdict(self._standing)))
            fresh.replace(path)
        except OSError as error:
            log.error("%s could not be written: %s", path, error.strerror or error)


def request(data_dir: Path) -> str:
    """
    Have the daemon that holds `data_dir` load its project again; return what it says about it.

    Waits as long as that takes. Raises `NotReloaded` with the cause.
    """
    pid = datadir.holder(data_dir)
    if pid is None:
        raise NotReloaded(f"no gatewayd serves {data_dir}")
    before = _standing(data_dir)
    if before is None or before.pid != pid:
        raise NotReloaded(f"the gatewayd of {data_dir} (pid {pid}) is still starting; try again")
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        pass  # seen below
    except PermissionError:
        raise NotReloaded(f"the gatewayd of {data_dir} (pid {pid}) belongs to another account") from None
    while True:
        now = _standing(data_dir)
        same = now is not None and now.boot == before.boot
        if now is not None and same and now.ended > before.begun:
            if now.ok:
                return now.message
            raise NotReloaded(now.message)
        if datadir.holder(data_dir) != pid or (now is not None and not same):
            raise NotReloaded(f"the gatewayd of {data_dir} (pid {pid}) has ended during the reload")
        time.sleep(LOOK_S)


def _standing(data_dir: Path) -> Standing | None:
    try:
        return Standing(**wire.loads((data_dir / datadir.RELOAD).read_bytes()))
    except (OSError, TypeError, wire.JSONDecodeError):
        return None
