"""
The packaged program as a process: a copy of the repository to install from, and a server that is started and
ended.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOREIGN = ("_API_KEY", "SAMPLE_MODEL", "GATEWAYD_", "LANG", "PYTEST_")
"""Variables of the person who runs the tests that would change what the server or the sample does."""


class Server:
    """A process that serves; `url` answers once `start` has returned."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self._serving = threading.Event()
        self._ended = threading.Event()
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env | {"GATEWAYD_PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line)
                if "serving" in line:
                    self._serving.set()
        self._ended.set()
        self._serving.set()  # nothing more can come; `start` then finds out

    @property
    def output(self) -> str:
        """What it has printed and logged so far."""
        return "".join(self.lines)

    def start(self, timeout_s: float = 240) -> Server:
        """Wait until it says that it serves."""
        assert self._serving.wait(timeout_s), f"does not serve:\n{self.output}"
        assert not self._ended.is_set(), f"ended instead of serving:\n{self.output}"
        return self

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self) -> int:
        """Send SIGTERM and return the exit code, once all that held its output has ended."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        self._reader.join(60)
        return code

    def close(self) -> None:
        """End what is left of it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)
        self._reader.join(60)


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Server]]:
    """Start a server by a command; it has ended when the module's tests have."""
    servers: list[Server] = []

    def start(command: Sequence[str | Path], *, cwd: Path, env: dict[str, str]) -> Server:
        servers.append(Server(command, cwd=cwd, env=env))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone contains, so that builds leave nothing in the repository."""
    target = tmp_path_factory.mktemp("clone") / "gatewayd"
    made = shutil.ignore_patterns(
        ".git",
        ".venv*",
        ".gatewayd",
        "node_modules",
        "build",
        "dist",
        "*.egg-info",
        "__pycache__",
        ".*_cache",
    )
    shutil.copytree(ROOT, target, ignore=made)
    return target


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has just got an account; only pip's downloads are shared."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not any(part in name for part in FOREIGN) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    cache = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
    return kept | {"HOME": str(tmp_path_factory.mktemp("home")), "PIP_CACHE_DIR": cache, "LANG": "C.UTF-8"}


def free_port() -> int:
    """A TCP port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
