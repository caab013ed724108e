"""One worker process: started with its two sockets, in a group of its own, bound to the daemon's life."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from attrs import define, frozen

import gatewayd
from gatewayd import datadir, permissions

PR_SET_PDEATHSIG = 1
SOCKET_BUFFER = 1 << 20
DUMP = signal.SIGUSR2
"""The signal at which a worker writes its stacks to stderr; it is told on the command line."""


@frozen(kw_only=True)
class Order:
    """What is needed to start a worker."""

    name: str
    environment: Mapping[str, str]
    folder: Path
    lock: Path
    """The file `supervisor.lock`; each worker holds a shared lock on it as long as it lives."""


class Running(Protocol):
    """A started worker as its owner needs it."""

    pid: int
    control: socket.socket
    data: socket.socket

    async def ended(self) -> int:
        """Wait for its end; return the exit code."""

    def kill(self) -> None:
        """End it at once."""

    def dump(self) -> None:
        """Have it write its threads' stacks to stderr."""


Start = Callable[[Order], Awaitable[Running]]


@define(eq=False)
class Process:
    """A started worker: its sockets at the daemon's side, and its end."""

    pid: int
    control: socket.socket
    data: socket.socket
    _process: asyncio.subprocess.Process

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code (negative: signal)."""
        return await self._process.wait()

    def kill(self) -> None:
        """Kill the process and everything it has started in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def dump(self) -> None:
        """Have it write its threads' stacks to stderr, which needs no interpreter."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, DUMP)


def bind_to_parent() -> Callable[[], None] | None:
    """
    Return what the child does before exec: on Linux, ask to be killed when the daemon's main thread is gone.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return bind


async def start(order: Order) -> Process:
    """Start a worker process; must be called in the main thread, whose life the kernel binds it to."""
    pairs = [socket.socketpair() for _ in range(2)]
    lock = os.open(order.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for pair in pairs:
            for end in pair:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        fcntl.flock(
            lock, fcntl.LOCK_SH
        )  # the child inherits the locked description: there is no moment without
        descriptors = [pair[1].fileno() for pair in pairs]
        process = await asyncio.create_subprocess_exec(
            *_command(order.name, descriptors),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,  # what user code prints goes to the log's stream; stdout is the daemon's own
            cwd=order.folder,
            env={**order.environment, datadir.MARK: datadir.mark_of(order.lock)},
            pass_fds=[*descriptors, lock],
            process_group=0,
            umask=permissions.operators_umask(),
            preexec_fn=bind_to_parent(),
        )
    except BaseException:
        for pair in pairs:
            pair[0].close()
        raise
    finally:
        os.close(lock)
        for pair in pairs:
            pair[1].close()
    return Process(process.pid, pairs[0][0], pairs[1][0], process)


def _command(name: str, descriptors: list[int]) -> list[str]:
    root = str(Path(gatewayd.__file__).resolve().parent.parent)
    code = f"import sys; sys.path.append({root!r}); from gatewayd.cli import main; sys.exit(main())"
    control, data = map(str, descriptors)
    arguments = ["worker", "--name", name, "--control", control, "--data", data, "--dump", str(int(DUMP))]
    # -P: the project's folder is the working directory and must not shadow modules of the standard library
    return [sys.executable, "-P", "-c", code, *arguments]
