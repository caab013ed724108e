"""
Who asks for a reload learns how it went, or why there is nobody to ask. The daemon is played in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gatewayd import daemon as daemon_
from gatewayd import datadir, reload, tasks
from gatewayd.errors import GatewaydError


@contextlib.contextmanager
def held(data_dir: Path, pid: int | None = None) -> Iterator[None]:
    """Hold a data directory as a daemon does."""
    with (data_dir / datadir.DAEMON_LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"pid {pid or os.getpid()}")
        lock.flush()
        yield


@define
class Played:
    """A daemon whose reloads begin when somebody has asked, and end as the test says."""

    data_dir: Path
    begun: asyncio.Queue[asyncio.Future[str]] = field(factory=asyncio.Queue)

    async def work(self) -> str:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.begun.put_nowait(outcome)
        return await outcome

    def request(self) -> asyncio.Future[str]:
        """Ask for a reload, as `gatewayd reload` does."""
        return asyncio.ensure_future(asyncio.to_thread(reload.request, self.data_dir))

    async def next(self) -> asyncio.Future[str]:
        """Wait until a reload has begun; setting the future ends it."""
        async with asyncio.timeout(20):
            return await self.begun.get()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Played]:
    played = Played(tmp_path)
    group, loop = tasks.Group("test"), asyncio.get_running_loop()
    with held(tmp_path):
        reloader = reload.Reloader(tmp_path, played.work)
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        reloader.open()
        group.spawn(reloader.run(), "reloader")
        yield played
        loop.remove_signal_handler(signal.SIGHUP)
        await group.stop()


async def test_who_asks_is_told_what_was_loaded(daemon: Played) -> None:
    asking = daemon.request()
    (await daemon.next()).set_result("2 graphs")
    assert await asking == "2 graphs"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (GatewaydError("agent.py: SyntaxError"), "agent.py: SyntaxError"),
        (KeyError("a bug"), "KeyError: 'a bug'"),
    ],
)
async def test_who_asks_is_told_why_nothing_was_loaded_and_the_next_reload_is_possible(
    daemon: Played, error: Exception, told: str
) -> None:
    asking = daemon.request()
    (await daemon.next()).set_exception(error)
    with pytest.raises(reload.NotReloaded) as refused:
        await asking
    assert refused.value.detail == told
    again = daemon.request()
    (await daemon.next()).set_result("2 graphs")
    assert await again == "2 graphs"


async def test_who_asks_during_a_reload_is_told_the_outcome_of_the_next_which_is_done_once(
    daemon: Played,
) -> None:
    first = daemon.request()
    going_on = await daemon.next()
    signalled = asyncio.Event()
    original, count = os.kill, 0

    def kill(pid: int, number: int) -> None:
        nonlocal count
        original(pid, number)
        count += 1
        if count == 3:
            loop.call_soon_threadsafe(signalled.set)

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", kill)
        later = [daemon.request() for _ in range(3)]
        async with asyncio.timeout(20):
            await signalled.wait()
    going_on.set_result("the code as it was")
    assert await first == "the code as it was"
    (await daemon.next()).set_result("the code as it is")
    assert await asyncio.gather(*later) == ["the code as it is"] * 3
    assert daemon.begun.empty()


def test_nobody_is_signalled_when_no_daemon_holds_the_directory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "kill", None)
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(reload.NotReloaded, match="no gatewayd serves"):
            reload.request(path)
    (tmp_path / datadir.DAEMON_LOCK).write_text(f"pid {os.getpid()}")  # left behind
    with pytest.raises(reload.NotReloaded, match="no gatewayd serves"):
        reload.request(tmp_path)


def test_a_daemon_that_is_not_ready_for_the_signal_does_not_get_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "kill", None)
    with held(tmp_path):
        for earlier in (None, os.getpid() + 1):
            if earlier is not None:
                (tmp_path / datadir.RELOAD).write_text(json.dumps({"pid": earlier, "boot": "before"}))
            with pytest.raises(reload.NotReloaded, match="is still starting"):
                reload.request(tmp_path)


def test_a_daemon_that_ends_during_the_reload_is_missed(tmp_path: Path, monkeypatch: Any) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(tmp_path))
        reload.Reloader(tmp_path, lambda: asyncio.sleep(0, "")).open()
        monkeypatch.setattr(os, "kill", lambda *_: stack.close())
        with pytest.raises(reload.NotReloaded, match="has ended during the reload"):
            reload.request(tmp_path)


def test_a_daemon_that_was_started_anew_with_the_same_pid_is_not_taken_for_the_one_that_was_asked(
    tmp_path: Path, monkeypatch: Any
) -> None:
    first, second = (reload.Reloader(tmp_path, lambda: asyncio.sleep(0, "")) for _ in range(2))
    with held(tmp_path):
        first.open()
        monkeypatch.setattr(os, "kill", lambda *_: second.open())
        with pytest.raises(reload.NotReloaded, match="has ended during the reload"):
            reload.request(tmp_path)
        datadir.forget_reloads(tmp_path)
        with pytest.raises(reload.NotReloaded, match="is still starting"):
            reload.request(tmp_path)


def test_an_outcome_that_cannot_be_written_is_logged(tmp_path: Path, caplog: Any) -> None:
    reload.Reloader(tmp_path / "missing", lambda: asyncio.sleep(0, "")).open()
    assert "reload.json could not be written: No such file or directory" in caplog.text


@pytest.mark.parametrize(
    ("terminals", "immune", "done"),
    [
        ([False, False, True], False, ["ask", "ask"]),
        ([True, True, True], False, ["ask", "ask"]),
        ([True, False, False], False, ["stop", "ask"]),
        ([True, True, False], True, ["ask"]),
        ([True, False, False], True, ["ask"]),
    ],
)
def test_the_signal_is_a_reload_unless_it_tells_of_the_terminals_end(
    monkeypatch: Any, terminals: list[bool], immune: bool, done: list[str]
) -> None:
    """`terminals`: whether there is one at the start, then whenever it is looked for."""
    monkeypatch.setattr(daemon_, "_has_terminal", lambda: terminals.pop(0))
    did: list[str] = []
    hangup = daemon_._on_hangup(lambda: did.append("ask"), lambda: did.append("stop"), immune=immune)
    for _ in range(2):
        hangup()
    assert did == done
