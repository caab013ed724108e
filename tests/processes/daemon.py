"""A real daemon for tests: started, watched, signalled, killed and started again on the same data directory
and port.

    async with daemon.Daemon(project, tmp_path / "data", {"GATEWAYD_DRAIN_S": "1"}) as served:
        await served.start()          # returns when "serving" has been printed
        ...                           # HTTP at served.url
        served.kill()                 # the daemon alone; or signal(SIGTERM); or kill_workers()
        await served.wait()           # its exit code
        await served.start()          # the next boot

Both output streams go to files that go on growing through all boots (`log`, `printed`). Leaving the block
kills what is left of the daemon and of every worker it has had.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVE = ("-m", "gatewayd", "serve")
POLL_S = 0.01
"""Between two looks at what only another process knows."""


class Late(AssertionError):
    """Something did not happen in time; the message ends with the end of the daemon's log."""


class Ended(AssertionError):
    """The daemon has ended where it should have gone on."""


class Daemon:
    """One data directory and one port, and the process that serves them, boot after boot."""

    def __init__(
        self,
        project: Path,
        data_dir: Path,
        environment: dict[str, str] | None = None,
        *,
        arguments: Sequence[str] = (),
        launcher: Sequence[str] = SERVE,
        port: int = 0,
    ) -> None:
        """`project`: folder or langgraph.json; `launcher`: what Python is given before serve's arguments."""
        self.config = project / "langgraph.json" if project.is_dir() else project
        self.data_dir = data_dir
        self.environment = environment or {}
        self.arguments = list(arguments)
        self.launcher = list(launcher)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.log_path = data_dir.parent / f"{data_dir.name}.stderr"
        self.printed_path = data_dir.parent / f"{data_dir.name}.stdout"
        self.started_at = 0.0
        """When the process was last started, by time.monotonic()."""
        self._process: asyncio.subprocess.Process | None = None
        self._boots_at = (0, 0)
        """Sizes of log and printed output before this boot."""
        self._seen_workers: set[int] = set()

    async def __aenter__(self) -> Daemon:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = self._seen_workers | set(self.workers() if self.alive else ())
        if self.alive:
            self.kill()
            await self.wait()
        for pid in workers:
            if running(pid):
                _kill_group(pid)

    # its life

    async def start(self, until: str = "serving", timeout_s: float = 90.0) -> None:
        """Start it; `until` "serving" is printed, its port "listening", or just "started"."""
        await self.spawn()
        if until == "serving":
            await self.until(lambda: " serving " in self.printed(), "serving", timeout_s)
            self.workers()
        elif until == "listening":
            await self.until(self._listens, "listening", timeout_s)

    async def spawn(self, **options: object) -> None:
        """Start the process and wait for nothing; `options` are for `create_subprocess_exec`."""
        assert not self.alive, "it runs already"
        for path in (self.log_path, self.printed_path):
            path.touch()
        self._boots_at = (self.log_path.stat().st_size, self.printed_path.stat().st_size)
        command = [
            *self.launcher,
            "--config",
            str(self.config),
            "--data-dir",
            str(self.data_dir),
            "--port",
            str(self.port),
        ]
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as stderr, self.printed_path.open("ab") as stdout:
            with_defaults: dict[str, Any] = {
                "env": environment(self.environment),
                "stdin": asyncio.subprocess.DEVNULL,
                "stdout": stdout,
                "stderr": stderr,
                "cwd": self.log_path.parent,
                "start_new_session": True,
                **options,
            }
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *command, *self.arguments, **with_defaults
            )

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id of the present boot."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the daemon alone."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the daemon alone; its workers are its own business."""
        self.workers()
        self.signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL to the daemon and to all its workers, so that none does anything in between."""
        workers = self.workers()
        for pid in (self.pid, *workers):
            os.kill(pid, signal.SIGSTOP)
        for pid in (*workers, self.pid):
            os.kill(pid, signal.SIGKILL)

    def kill_workers(self, name: str = "") -> list[int]:
        """SIGKILL to its workers whose name begins so (run-, service, quarantine-; default: all)."""
        killed = self.workers(name)
        # Stopped first, so that none gets the runs of another one that died before it.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in killed:
                os.kill(pid, number)
        return killed

    async def wait(self, timeout_s: float = 90.0) -> int:
        """Wait for the end of the process; return the exit code (negative: the signal)."""
        assert self._process is not None
        try:
            async with asyncio.timeout(timeout_s):
                return await self._process.wait()
        except TimeoutError:
            raise Late(f"it has not ended after {timeout_s:g} s\n{self._tail()}") from None

    async def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return await self.wait(timeout_s)

    def workers(self, name: str = "") -> list[int]:
        """Return the pids of the living workers whose name begins so."""
        found = {pid: word for pid in children(self.pid) if (word := _worker_name(pid)) is not None}
        self._seen_workers |= found.keys()
        return [pid for pid, word in found.items() if word.startswith(name)]

    # what it says

    def log(self, boot: str = "all") -> str:
        """Return its stderr: of all boots, or of the "last"."""
        return self.log_path.read_text(errors="replace")[0 if boot == "all" else self._boots_at[0] :]

    def printed(self) -> str:
        """Return the stdout of the present boot."""
        return self.printed_path.read_text()[self._boots_at[1] :]

    async def logged(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        """Wait until the log of the present boot has something that matches; return the first match."""
        await self.until(lambda: re.search(pattern, self.log("last")), f"{pattern!r} in the log", timeout_s)
        found = re.search(pattern, self.log("last"))
        assert found is not None
        return found

    async def until(self, holds: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        """Wait until a condition holds; raises `Late`, or `Ended` if the daemon ends first."""
        await until(holds, what, timeout_s, self)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _tail(self) -> str:
        return f"--- printed\n{self.printed()}\n--- log\n" + self.log("last")[-6000:]


async def until(
    holds: Callable[[], object], what: str, timeout_s: float = 60.0, daemon: Daemon | None = None
) -> None:
    """Wait until a condition holds that nobody announces."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if daemon is not None and not daemon.alive:
            raise Ended(f"it ended before: {what}\n{daemon._tail()}")
        if time.monotonic() > deadline:
            raise Late(f"not within {timeout_s:g} s: {what}\n{daemon._tail() if daemon else ''}")
        await asyncio.sleep(POLL_S)


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return an environment without the settings of whoever runs the tests."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("GATEWAYD_", "LOG_", "LANG"))
    }
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return {**clean, "PYTHONPATH": path, **(extra or {})}


def free_port() -> int:
    """Return a port that is free now; a daemon keeps it through its boots."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def running(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the living children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state not in "ZX":
            found.append(int(entry.name))
    return found


def _worker_name(pid: int) -> str | None:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return None
    return command[command.index("--name") + 1] if "--name" in command else None


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
