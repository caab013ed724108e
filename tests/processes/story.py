"""What a client does to a daemon, and what the graphs have witnessed of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field, frozen
from langgraph_sdk.client import LangGraphClient

from tests.processes import daemon

ENDED = frozenset({"success", "error", "timeout", "interrupted"})


@frozen
class Mark:
    """One line of the witness file."""

    key: str
    """The run's id, mostly."""
    what: str
    """``<node> start``, ``<node> end``."""
    pid: int
    at: float


@frozen
class Stood:
    """A run that was begun by `Story.begin`."""

    thread_id: str
    run_id: str


@define(eq=False)
class Story:
    """A client of one daemon."""

    served: daemon.Daemon
    client: LangGraphClient
    witness: Path
    events: dict[str, list[Any]] = field(factory=dict, init=False)
    """By run: what `stream` has got so far."""

    async def thread(self) -> str:
        """Create a thread."""
        return str((await self.client.threads.create())["thread_id"])

    async def begin(self, graph: str, thread_id: str | None = None, /, **values: Any) -> Stood:
        """Create a run in the background, on a new thread if none is given."""
        thread_id = thread_id or await self.thread()
        given = {"witness": str(self.witness), **values}
        run = await self.client.runs.create(
            thread_id, graph, input=given, stream_mode=["values", "updates"], multitask_strategy="enqueue"
        )
        return Stood(thread_id, run["run_id"])

    async def run(self, stood: Stood) -> dict[str, Any]:
        """Return the run as the API shows it."""
        return dict(await self.client.runs.get(stood.thread_id, stood.run_id))

    async def ended(self, stood: Stood, timeout_s: float = 90.0) -> dict[str, Any]:
        """Wait for the run's end and return it."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.client.runs.join(stood.thread_id, stood.run_id)
                return await self.run(stood)
        except TimeoutError:
            raise daemon.Late(f"no end of {await self.run(stood)}\n{self.served.log()[-6000:]}") from None

    async def values(self, stood: Stood) -> dict[str, Any]:
        """Return the values of the run's thread."""
        state = await self.client.threads.get_state(stood.thread_id)
        return dict(state["values"])  # type: ignore[arg-type]

    async def follow(self, stood: Stood, modes: tuple[str, ...] = ("updates",)) -> list[Any]:
        """Read a run's stream from its beginning to its end; `events` has what came meanwhile."""
        got = self.events.setdefault(stood.run_id, [])
        async for part in self.client.runs.join_stream(
            stood.thread_id,
            stood.run_id,
            stream_mode=list(modes),
            last_event_id="-1",  # type: ignore[arg-type]
        ):
            got.append(part)
        return got

    # what was witnessed

    def marks(self, stood: Stood | None = None) -> list[Mark]:
        """Return the whole lines of the witness file, of one run or all."""
        if not self.witness.exists():
            return []
        found = []
        for line in self.witness.read_text().splitlines():
            words = line.split()
            found.append(Mark(words[0], " ".join(words[1:-2]), int(words[-2]), float(words[-1])))
        return [mark for mark in found if stood is None or mark.key == stood.run_id]

    def count(self, stood: Stood, what: str) -> int:
        """Return how often a run has witnessed this."""
        return sum(mark.what == what for mark in self.marks(stood))

    async def witnessed(self, stood: Stood, what: str, times: int = 1, timeout_s: float = 60.0) -> None:
        """Wait until a run has witnessed something so many times."""
        await self.served.until(lambda: self.count(stood, what) >= times, f"{times} × {what}", timeout_s)

    def twice_at_once(self, stood: Stood) -> list[Mark]:
        """Return the marks that a process made for a run after another process had begun to execute it."""
        left: set[int] = set()
        pid, bad = 0, []
        for mark in self.marks(stood):
            if mark.pid in left:
                bad.append(mark)
            elif mark.pid != pid:
                left.add(pid)
                pid = mark.pid
        return bad

    def repeated(self, stood: Stood, steps: int, deaths: int) -> set[int]:
        """
        Return which steps of graph `steps` were begun again, in no more than one row for each death of a
        worker.
        """
        again: list[int] = []
        for number in range(steps):
            begun = self.count(stood, f"step{number} start")
            assert 1 <= begun <= deaths + 1, f"step {number} was begun {begun} times"
            again += [number] * (begun > 1)
        rows = sum(here != before + 1 for before, here in pairwise([-2, *again]))
        assert rows <= deaths, f"more than {deaths} rows in {again}"
        return set(again)

    # whether the server is awake

    @asynccontextmanager
    async def awake(self, within_s: float, *paths: str) -> AsyncIterator[list[float]]:
        """Ask for /ok and these paths all the time; no answer may take longer, or be another than 200."""
        waits: list[float] = []

        async def ask(session: aiohttp.ClientSession, path: str) -> None:
            while True:
                started = time.monotonic()
                async with session.get(self.served.url + path) as answer:
                    assert answer.status == 200, f"{path}: {answer.status} {await answer.text()}"
                waits.append(time.monotonic() - started)
                await asyncio.sleep(0.02)

        async with aiohttp.ClientSession() as session:
            asking = [asyncio.create_task(ask(session, path)) for path in ("/ok", *paths)]
            try:
                yield waits
                failed = [each.exception() for each in asking if each.done()]
            finally:
                for each in asking:
                    each.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
        assert not failed, failed
        assert len(waits) > len(asking), "nothing was asked"
        assert max(waits) < within_s, f"an answer took {max(waits):.2f} s"


def attempts(stream: list[Any]) -> list[int]:
    """Return the attempts that a run's stream tells of."""
    return [part.data["attempt"] for part in stream if part.event == "metadata"]
