"""
Iterators of the SDKs that are opened after their run, which is over in a millisecond, beside busy processes.

The natural program starts a run and reads it then. The SDKs subscribe when they are read: what has come
before, the end of the run above all, must not be lost. Each iterator is read in two runs of a thread one
after the other; in the second one the SDK's stream is open already. Those of the JavaScript SDK show one run.
"""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.wire import node
from tests.wire.conftest import serving
from tests.wire.test_python_v2 import HELLO, text_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("clients"),
    pytest.mark.timeout(300),
]

ROUNDS: Final = 50
AT_ONCE: Final = 10
"""The more share a process, the longer each takes to subscribe; the server waits no longer for that."""
JAVASCRIPTS_AT_ONCE: Final = 25
HOLD_MS: Final = 2000
"""
More than the default: on a machine as busy as this one is made, an SDK may take longer than that to
subscribe.
"""
WITHIN_S: Final = 120.0
BURN: Final = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
ONE: Final[dict[str, Any]] = {"left": 1, "seen": []}
SIX: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": "six"}]}

ITERATORS: Final[dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]]] = {
    "values": ("countdown", ONE, lambda thread: thread.values),
    "messages": ("parrot", HELLO, lambda thread: thread.messages),
    "tool_calls": ("calculator", SIX, lambda thread: thread.tool_calls),
    "subgraphs": ("nested", ONE, lambda thread: thread.subgraphs),
    "extensions": ("crier", ONE, lambda thread: thread.extensions["progress"]),
}


def is_whole(name: str, found: list[Any]) -> bool:
    """Whether an iterator has brought what its run has to show."""
    match name:
        case "values":
            return bool(found) and found[-1]["left"] == 0
        case "messages" | "subgraphs" | "tool_calls":
            return len(found) == 1
        case _:
            return [one.get("payload", one) for one in found] == [{"share": 0.5}, {"share": 1.0}]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a gatewayd that keeps the events of new runs back for longer than by default."""
    if elsewhere := os.environ.get("WIRE_URL"):
        yield elsewhere
        return
    with serving(tmp_path_factory.mktemp("patient"), GATEWAYD_V2_HOLD=str(HOLD_MS)) as url:
        yield url


@pytest.fixture(autouse=True)
def busy() -> Iterator[None]:
    """Keep the processors busy."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(3)]
    yield
    for each in burning:
        each.kill()
        each.wait()


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.parametrize("name", ITERATORS)
async def test_an_iterator_of_the_python_sdk_misses_nothing(patient: str, name: str, transport: Any) -> None:
    graph, given, iterator = ITERATORS[name]
    places = asyncio.Semaphore(AT_ONCE)
    async with get_client(url=patient) as client, asyncio.timeout(WITHIN_S):

        async def read() -> AsyncIterator[list[Any]]:
            async with places, client.threads.stream(assistant_id=graph, transport=transport) as thread:
                for _ in range(2):
                    await thread.run.start(input=given)
                    yield [item async for item in iterator(thread)]

        async def turns() -> list[bool]:
            return [is_whole(name, found) async for found in read()]

        assert await asyncio.gather(*(turns() for _ in range(ROUNDS))) == [[True, True]] * ROUNDS


def in_threads(call: Callable[[], Any], times: int) -> list[Any]:
    """Call so many times, some at once, and return what comes back. Threads that hang are left behind."""
    places, results = threading.Semaphore(AT_ONCE), queue.SimpleQueue[Any]()

    def run() -> None:
        with places:
            results.put(call())

    for _ in range(times):
        threading.Thread(target=run, daemon=True).start()
    return [results.get(timeout=WITHIN_S) for _ in range(times)]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.parametrize("name", ITERATORS)
def test_an_iterator_of_the_synchronous_python_sdk_misses_nothing(
    patient: str, name: str, transport: Any
) -> None:
    graph, given, iterator = ITERATORS[name]
    with get_sync_client(url=patient) as client:

        def turns() -> list[bool]:
            with client.threads.stream(assistant_id=graph, transport=transport) as thread:
                found = []
                for _ in range(2):
                    thread.run.start(input=given)
                    found.append(is_whole(name, list(iterator(thread))))
                return found

        assert in_threads(turns, ROUNDS) == [[True, True]] * ROUNDS


@node.needed
@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.parametrize("version", ["1.15.0", "1.11.0"])
def test_an_iterator_of_the_javascript_sdk_misses_nothing(
    patient: str, version: str, transport: str, tmp_path: Path
) -> None:
    told = {"ROUNDS": str(ROUNDS), "AT_ONCE": str(JAVASCRIPTS_AT_ONCE), "TRANSPORT": transport}
    env = {**node.environment(patient, version, tmp_path), **told}
    node.run("late_iterators.mjs", env, timeout_s=280.0)


async def test_a_turn_of_a_chat_is_read_however_often(served: str) -> None:
    """One thread, the loop that a terminal chat is."""
    async with (
        get_client(url=served) as client,
        client.threads.stream(assistant_id="parrot") as thread,
    ):
        for turn in range(1, 11):
            await thread.run.start(input=HELLO)
            seen: list[Any] = [values async for values in thread.values]
            assert len(seen[-1]["messages"]) == 2 * turn
            assert text_of(seen[-1]["messages"][-1]) == "You said hello"
