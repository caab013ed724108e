"""The data directory: which files are in it, and which process may work on it.

    gatewayd.sqlite   the database; SQLite's own files and the copies that migrations make begin with its name
    store.sqlite      the long-term store, which the service worker writes
    daemon.lock       locked by the process that works on the directory; says ``pid N``
    workers.lock      each worker, and each process that a worker has started, holds a shared lock on it
    reload.json       how the last reload went (`gatewayd.reload`); reload.new is to replace it
    .gitignore        keeps the directory out of a project's repository

A process calls `held` before it touches anything here: the daemon for as long as it serves, a command that
needs the daemon stopped for as long as it works. `holder` tells who does.

What happens on failure
    A daemon is killed: the kernel frees its lock. Its workers may live a little longer, and so may processes
    that they have started. `held` kills those that carry the mark of this directory in their environment and
    waits until the workers' lock is free.
    The disk is full: the lock is taken all the same, without the pid in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gatewayd import permissions
from gatewayd.errors import BadConfiguration, DataDirBusy

log = logging.getLogger(__name__)

DATABASE = "gatewayd.sqlite"
STORE = "store.sqlite"
DAEMON_LOCK = "daemon.lock"
WORKERS_LOCK = "workers.lock"
RELOAD = "reload.json"
RELOAD_NEW = "reload.new"
GITIGNORE = ".gitignore"

OTHER_FILES = frozenset({DAEMON_LOCK, WORKERS_LOCK, RELOAD, RELOAD_NEW, GITIGNORE})
"""Those whose whole name is known; the names of all others begin with `DATABASE` or `STORE`."""

MARK = "_GATEWAYD_WORKERS"
"""
The environment variable by which processes that a worker has started are found when both the worker and its
daemon are gone.
"""

LEFTOVERS_S = 5.0
"""How long the workers of a killed daemon may take to be gone."""
LOOK_S = 0.01
"""Pause between two looks at a lock that another process holds."""


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """
    Hold the data directory for this process; nothing of an earlier daemon works on it when this yields.

    Files that are made inside the block can be read by no other account. Raises `DataDirBusy`, which says who
    holds the directory, and `BadConfiguration` when it can't be made.
    """
    with permissions.private_umask(), _open_lock(data_dir) as lock:
        if not _try_to_lock(lock):
            lock.seek(0)
            process = lock.read().strip() or "an unknown process"
            raise DataDirBusy(f"{data_dir} is in use by another gatewayd ({process})")
        forget_reloads(data_dir)
        lock.truncate(0)
        with contextlib.suppress(OSError):  # the pid is only for messages; the disk may be full
            os.write(lock.fileno(), f"pid {os.getpid()}".encode())
        _clear_leftovers(data_dir / WORKERS_LOCK)
        permissions.warn_of_open_folder(data_dir)
        permissions.tighten(path for path in data_dir.iterdir() if _is_own(path))
        yield


def holder(data_dir: Path) -> int | None:
    """Return the pid of the process that holds the data directory; None if none does."""
    try:
        with (data_dir / DAEMON_LOCK).open() as lock:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            pid = re.fullmatch(r"pid (\d+)", lock.read().strip())
    except OSError:
        return None
    return int(pid[1]) if pid else None


def forget_reloads(data_dir: Path) -> None:
    """Remove what an earlier daemon has said about its reloads."""
    (data_dir / RELOAD).unlink(missing_ok=True)


def _open_lock(data_dir: Path) -> IO[str]:
    """Return the daemon's lock file, open; make the directory if it is missing."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _hide_from_git(data_dir)
        return (data_dir / DAEMON_LOCK).open("a+")
    except OSError as error:
        raise BadConfiguration(
            f"the data directory {data_dir} can't be used: {error.strerror or error}"
        ) from error


def _try_to_lock(lock: IO[str]) -> bool:
    """Take the lock. A second try, because `holder` locks the file for a moment in order to look."""
    for last in (False, True):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not last:
                time.sleep(LOOK_S)
        else:
            return True
    return False


def _hide_from_git(data_dir: Path) -> None:
    """Keep conversations out of ``git add -A``, unless the directory has files that are not the server's."""
    if all(map(_is_own, data_dir.iterdir())):
        with contextlib.suppress(OSError), (data_dir / GITIGNORE).open("x") as file:
            file.write("*\n")


def _is_own(path: Path) -> bool:
    """Whether an entry of the data directory was made by the server."""
    return path.name in OTHER_FILES or path.name.startswith((DATABASE, STORE))


# processes that an earlier daemon has left behind


def _clear_leftovers(path: Path) -> None:
    """
    Kill what the workers of an earlier daemon have left; these processes are gone when this returns.

    `path` is the workers' lock. Raises `DataDirBusy` if it doesn't become free.
    """
    with path.open("a+") as lock:
        for pid in kill_marked(mark_of(path)):
            log.warning("killed process %d, which the workers of an earlier gatewayd left behind", pid)
        deadline = time.monotonic() + LEFTOVERS_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise DataDirBusy(
                        f"workers of an earlier gatewayd still work on {path.parent} and can't be killed"
                    ) from None
                time.sleep(LOOK_S)


def mark_of(workers_lock: Path) -> str:
    """Return what `MARK` says in the workers that hold this lock, and in all processes that they start."""
    return str(workers_lock.resolve())


def kill_marked(mark: str) -> list[int]:
    """
    Kill every other process with this mark, and the groups that they lead; return their pids.

    Works on Linux. Elsewhere no process is found, and the workers' lock says whether there are any.
    """
    entry = f"{MARK}={mark}".encode()
    killed = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid == os.getpid() or entry not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
        except OSError:  # it belongs to another account, or it is gone
            continue
        killed.append(pid)
    return killed
