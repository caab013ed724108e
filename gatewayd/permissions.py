"""Who may read what the server makes: its own account and no other.

The daemon works under a umask that takes all rights from group and others, because SQLite, which makes most
of the files, takes no mode; its log and shared memory get the database's. Workers are started with the umask
that the daemon was started with: agents write files for others. What a worker makes of ours is made by
`create`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

OTHERS: Final = 0o077
UNCHANGED: Final = -1
"""As a umask: the one that the process has (so do `subprocess` and asyncio read it)."""

_operators = UNCHANGED


def operators_umask() -> int:
    """Return the umask that the process was started with, or `UNCHANGED` if that is the present one."""
    return _operators


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Give no rights to others on what this process makes inside the block."""
    global _operators  # it is the process's, like the umask
    outer = _operators
    before = os.umask(OTHERS)
    _operators = before if outer == UNCHANGED else outer
    try:
        yield
    finally:
        os.umask(before)
        _operators = outer


def create(path: Path) -> None:
    """Make a file that only this account may read, unless it is there already. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def tighten(paths: Iterable[Path]) -> None:
    """Take the rights of group and others from files that were made with them, as earlier versions did."""
    for path in paths:
        try:
            mode = path.stat().st_mode
            if mode & OTHERS:
                path.chmod(mode & 0o7777 & ~OTHERS)
                log.info("%s could be read by others (mode %03o); now it can't", path, mode & 0o777)
        except FileNotFoundError:
            continue  # a log of SQLite's that has just been removed
        except OSError as error:
            log.warning(
                "%s can be read by others, and that can't be changed: %s", path, error.strerror or error
            )


def warn_of_open_folder(folder: Path) -> None:
    """Log a warning if others than this account can enter a folder."""
    mode = folder.stat().st_mode & 0o777
    if mode & 0o011:
        log.warning(
            "the data directory %s can be entered by others (mode %03o): chmod 700 it (systemd: StateDirectoryMode=0700)",
            folder,
            mode,
        )
