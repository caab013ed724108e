"""The project is imported as a script is run, and what an import leaves behind is undone."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd.worker.project import importing, usercode


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave signals and event loops as they were."""
    handlers = {number: signal.getsignal(number) for number in importing.IGNORED_SIGNALS}
    policy = asyncio.get_event_loop_policy()
    importing.ignore_signals()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    asyncio.set_event_loop_policy(policy)


def load(folder: Path, name: str, code: str) -> object:
    (folder / f"{name}.py").write_text(code)
    return usercode.load(f"./{name}.py:x", folder)


def test_a_module_may_run_an_event_loop_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(
        tmp_path, "runs_loop", "import asyncio\nasync def tools(): return [1]\nx = asyncio.run(tools())"
    ) == [1]
    code = "import asyncio\nx = asyncio.get_event_loop().is_running()"
    assert load(tmp_path, "asks_for_loop", code) is False
    assert caplog.records == []


def test_no_loop_runs_during_an_import(tmp_path: Path) -> None:
    code = "import asyncio\ntry:\n    asyncio.get_running_loop()\n    x = 'other branch'\nexcept RuntimeError:\n    x = 'script'"
    assert load(tmp_path, "looks_for_running", code) == "script"


@pytest.mark.parametrize(
    "code",
    [
        "async def f(): return 1\nloop = asyncio.get_event_loop()\nx = (loop.run_until_complete(f()), loop)",
        "async def f(): return 1\nloop = asyncio.new_event_loop()\nasyncio.set_event_loop(loop)\nx = (loop.run_until_complete(f()), loop)",
        "loop = asyncio.get_event_loop()\nloop.call_soon(print)\nx = (1, loop)",
    ],
)
def test_a_loop_that_an_import_leaves_behind_is_closed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    result = load(tmp_path, f"leaves_loop_{abs(hash(code))}", f"import asyncio\n{code}")
    assert isinstance(result, tuple)
    assert result[0] == 1
    assert result[1].is_closed()
    (warning,) = caplog.messages
    assert "left an event loop behind" in warning
    with pytest.raises(RuntimeError, match="no current event loop"):
        asyncio.get_event_loop()


def test_a_loop_that_the_project_runs_in_a_thread_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import asyncio, threading\nx = asyncio.new_event_loop()\nasyncio.set_event_loop(x)\n"
        "turning = threading.Event()\nx.call_soon(turning.set)\n"
        "threading.Thread(target=x.run_forever, daemon=True).start()\nturning.wait()"
    )
    loop = load(tmp_path, "background_loop", code)
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert loop.is_running()
    assert caplog.records == []
    stopped = threading.Event()
    loop.call_soon_threadsafe(lambda: (loop.stop(), stopped.set()))
    assert stopped.wait(30)


def test_a_policy_that_an_import_installs_does_not_become_the_workers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = asyncio.get_event_loop_policy()
    code = "import asyncio\nclass Fast(asyncio.DefaultEventLoopPolicy): pass\nasyncio.set_event_loop_policy(Fast())\nx = 1"
    assert load(tmp_path, "installs_policy", code) == 1
    assert asyncio.get_event_loop_policy() is before
    assert any("event loop policy Fast" in message for message in caplog.messages)


def test_a_handler_of_a_signal_that_workers_ignore_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import signal\nsignal.signal(signal.SIGTERM, print)\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\nx = 1"
    previous = signal.getsignal(signal.SIGUSR1)
    try:
        assert load(tmp_path, "takes_signals", code) == 1
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert caplog.record_tuples == [
        (
            "gatewayd.worker.project.importing",
            logging.WARNING,
            "./takes_signals.py:x: its handler of SIGTERM is removed: workers ignore it",
        )
    ]


async def test_where_a_loop_runs_already_an_import_sees_it(tmp_path: Path) -> None:
    code = "import asyncio\nx = asyncio.get_running_loop()"
    assert load(tmp_path, "inside_a_loop", code) is asyncio.get_running_loop()
