"""
Scripts of tests/wire/js under Node, with the packages that package-lock.json there names.

    node.run("sdk.mjs", node.environment(url, sdk, tmp_path))

Each script holds tests of its own, as sentences; what it prints is shown if one of them fails. The packages
come from npm's registry once, into js/node_modules.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

import pytest

FOLDER: Final = Path(__file__).with_name("js")
SDKS: Final = {"1.15.0": "@langchain/langgraph-sdk", "2.0.0": "langgraph-sdk-2"}
"""The versions of the JavaScript SDK, and their names in package.json."""
NESTED: Final = {
    "1.11.0": str(
        FOLDER / "node_modules/@langchain/react/node_modules/@langchain/langgraph-sdk/dist/index.js"
    )
}
"""The version that @langchain/react brings along."""
COMMAND: Final = ("node", "--no-warnings", "--test-reporter=spec")
TIMEOUT_S: Final = 100.0

needed: Final = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="Node is not installed"
)
"""Marks a test that runs a script."""


def environment(url: str, version: str, gates: Path) -> dict[str, str]:
    """Return what a script is told: the server, the package, and a folder for files that graphs wait for."""
    told = {"URL": url, "SDK": {**SDKS, **NESTED}[version], "GATES": str(gates), "NODE_ENV": "production"}
    return {**os.environ, **told}


def install() -> None:
    """Have the packages in place; the first of several processes fetches them."""
    installed, wanted = FOLDER / "node_modules" / ".package-lock.json", FOLDER / "package-lock.json"
    with (FOLDER / "package.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= wanted.stat().st_mtime:
            return
        fetched = subprocess.run(["npm", "ci"], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert fetched.returncode == 0, fetched.stderr
        installed.touch()


def run(script: str, env: dict[str, str], *, timeout_s: float = TIMEOUT_S) -> None:
    """Run a script; its failure fails the test."""
    install()
    ended = subprocess.run(
        [*COMMAND, script],
        cwd=FOLDER,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert "ℹ fail 0" in ended.stdout, ended.stdout


class Script:
    """A script that is talked to while it runs: ``async with Script(name, env) as script: …``."""

    def __init__(self, name: str, env: dict[str, str]) -> None:
        """The packages must be installed."""
        self.name, self.env = name, env
        self.told = ""
        """What it has printed so far."""
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Script:
        self._process = await asyncio.create_subprocess_exec(
            *COMMAND,
            self.name,
            cwd=FOLDER,
            env=self.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def says(self, word: str, times: int = 1) -> None:
        """Read what it prints until there is this word, so many times."""
        assert self._process is not None
        assert self._process.stdout is not None
        while self.told.count(word) < times:
            line = await self._process.stdout.readline()
            assert line, self.told
            self.told += line.decode()

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def succeeds(self) -> None:
        """Read it to its end, which must be a good one."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()  # who waits for lines does not end
        rest, _ = await self._process.communicate()
        self.told += rest.decode()
        assert self._process.returncode == 0, self.told
