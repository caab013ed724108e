"""The user's script `sdk_client.py` as a process, and what each of its calls has seen."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from attrs import define, field

from tests.processes import daemon

PROGRAM = Path(__file__).with_name("sdk_client.py")


@define(eq=False)
class Call:
    """One call of the script."""

    parts: list[tuple[str, str, Any]] = field(factory=list)
    """Id, event and data."""
    created: list[dict[str, Any]] = field(factory=list)
    over: bool = False
    result: Any = None
    failure: str | None = None

    @property
    def run_id(self) -> str:
        """The run that the SDK says it has made."""
        assert self.created, "the SDK has not told of a run"
        found: str = self.created[0]["run_id"]
        return found

    @property
    def walked(self) -> list[int]:
        """The numbers of the steps in the order in which they were seen, repeated ones too."""
        return [number for _, event, data in self.parts if event == "updates" for number in steps_of(data)]

    def walk_is_whole(self, steps: int, *, first: int = 1) -> None:
        """Assert what a client may rely on over restarts, for a walk in mode `updates`."""
        assert self.over, "the loop has not ended"
        assert self.failure is None, self.failure
        numbers_rise(self.parts)
        assert not [data for _, event, data in self.parts if event == "error"]
        assert set(self.walked) == set(range(first, first + steps)), "a task's update is missing"
        attempt, seen, here = 0, 0, False
        for _, event, data in self.parts:
            if event == "metadata":
                assert data["attempt"] > attempt, "an attempt is told twice"
                attempt, here = data["attempt"], False
            for number in steps_of(data) if event == "updates" else ():
                if here:
                    assert number == seen + 1, f"repeated or left out without a new attempt: {self.walked}"
                else:
                    assert number <= max(seen, first - 1) + 1, f"a step is left out: {self.walked}"
                seen, here = number, True

    @property
    def attempts(self) -> list[int]:
        """The attempts that metadata events told."""
        return [data["attempt"] for _, event, data in self.parts if event == "metadata"]


def steps_of(update: dict[str, Any]) -> list[int]:
    """The numbers that an update has added to the path."""
    changes = (change for change in update.values() if isinstance(change, dict))  # "__interrupt__" has a list
    return [number for change in changes for number in change.get("path", [])]


def numbers_rise(parts: list[tuple[str, str, Any]]) -> None:
    """Assert that ids (ms-number) are all there and rise: no event is seen twice or out of order."""
    pairs = [tuple(map(int, event_id.split("-"))) for event_id, _, _ in parts]
    numbers = [pair[1] for pair in pairs]
    assert numbers == sorted(set(numbers)), "ids don't rise strictly"
    times = [pair[0] for pair in pairs]
    assert times == sorted(times), "the time in the ids falls"


@define(eq=False)
class Script:
    """The running script: ``async with Script(url, orders) as script: …``."""

    url: str
    orders: list[dict[str, Any]]
    calls: defaultdict[str, Call] = field(factory=lambda: defaultdict(Call), init=False)
    _process: asyncio.subprocess.Process = field(init=False)
    _reading: asyncio.Task[None] = field(init=False)

    async def __aenter__(self) -> Script:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            self.url,
            json.dumps(self.orders),
            env=daemon.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        self._reading = asyncio.create_task(self._read(), name="read the script's lines")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for text in self._process.stdout:
            line = json.loads(text)
            call = self.calls[line["name"]]
            if "part" in line:
                event_id, event, data = line["part"]
                call.parts.append((event_id, event, data))
            elif "created" in line:
                call.created.append(line["created"])
            else:
                call.over = True
                call.result, call.failure = line.get("result"), line.get("failure")

    async def until(self, holds: Callable[[], object], what: str, timeout_s: float = 90.0) -> None:
        """Wait until a condition on the calls holds."""
        await daemon.until(holds, what, timeout_s)

    async def end(self, timeout_s: float = 120.0) -> None:
        """Wait until all calls are over and the script has ended by itself."""
        names = [order["name"] for order in self.orders]
        await self.until(
            lambda: self._process.returncode is not None,
            f"the end of the script; over: {[name for name in names if self.calls[name].over]} of {names}",
            timeout_s,
        )
        await self._reading
