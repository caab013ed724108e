"""
One gatewayd for all tests of a process: a real one, with the project of this folder.

With WIRE_URL set, the tests of the clients talk to that server instead: the reference passes them, too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import daemon
from tests.wire.conversation import PROJECT

START_S = 90.0


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a gatewayd that serves the project."""
    if elsewhere := os.environ.get("WIRE_URL"):
        yield elsewhere
        return
    with serving(tmp_path_factory.mktemp("wire")) as url:
        yield url


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[str]:
    """Serve the project with its data in a folder; yield the URL."""
    port = daemon.free_port()
    command = [sys.executable, *daemon.SERVE, "--config", str(PROJECT / "langgraph.json")]
    command += ["--data-dir", str(folder / "data"), "--port", str(port)]
    log = folder / "gatewayd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=daemon.environment(settings),
            cwd=folder,
        )
    try:
        _until_serving(process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_serving(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while " serving " not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
