# ruff: noqa: INP001  (a script, no package)
"""
Record what the reference server answers to the scenarios of tests/wire.

    python scripts/oracle/record.py http://127.0.0.1:PORT [--version VERSION] [scenario ...]

The reference must have been started anew with the project folder tests/wire/project, and be of the version,
0.16.7 if none is given. Each scenario's answers go, normalised, to tests/wire/recorded/<scenario>.json, which
tests/wire/test_reference.py compares gatewayd with. Look at what has changed (git diff) before it is
committed: a recording of 0.16.7 is the contract.

Those of another version go to tests/wire/recorded/<version>/, each that is not the same as the contract's.
Which places differ between two versions is what scripts/oracle/compare.py shows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.wire import recording, scenario  # noqa: E402
from tests.wire.conversation import Connection  # noqa: E402

AT_ONCE = 4
"""Scenarios that are recorded side by side; a run of the reference waits up to a second for its start."""


async def record(url: str, names: list[str], version: str) -> list[str]:
    """
    Record the scenarios; return those that could not be. Raises ValueError if the server is of another
    version.
    """
    async with aiohttp.ClientSession() as session, session.get(f"{url}/info") as answer:
        found = (await answer.json())["version"]
    if found != version:
        raise ValueError(f"the server at {url} is of version {found}, not {version}")
    places = asyncio.Semaphore(AT_ONCE)
    failed: list[str] = []

    async def one(name: str) -> None:
        async with places, Connection(url) as conversation:
            try:
                await scenario.ALL[name](conversation)
            except Exception:
                traceback.print_exc()
                failed.append(name)
                return
            recording.write(name, conversation.written(), version)
            sys.stdout.write(f"{name}: {len(conversation.steps)} exchanges\n")

    await asyncio.gather(*(one(name) for name in names))
    return failed


def main() -> int:
    """Record what the command line says."""
    known = list(scenario.load())
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("scenario", nargs="*", choices=[*known, []], metavar="scenario")
    parser.add_argument("--version", default=recording.CONTRACT, help="of the reference (%(default)s)")
    arguments = parser.parse_intermixed_args()
    try:
        failed = asyncio.run(record(arguments.url, arguments.scenario or known, arguments.version))
    except ValueError as error:
        parser.error(str(error))
    if failed:
        sys.stderr.write(f"not recorded: {', '.join(failed)}\n")
    return len(failed) and 1


if __name__ == "__main__":
    raise SystemExit(main())
