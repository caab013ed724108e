"""The service worker ends while it loads the project for the first time: when that is the project's fault."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.storage.sqlite.engine import failures
from gatewayd.supervisor import replicas, supervisor
from tests.supervisor import conftest

END = -signal.SIGKILL


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[conftest.Scene]:
    """A supervisor whose workers have been told to load the project, and load."""
    monkeypatch.setattr(replicas, "BACKOFF_S", (0.0,))
    made = conftest.Scene(
        supervisor.Supervisor(conftest.plan(tmp_path), failures.Damage(tmp_path / "db").met_elsewhere),
        habits={"stop"},
    )
    made.supervisor.begin, made.supervisor.listener = made.begin, made
    await made.supervisor.start()
    yield made
    await made.supervisor.stop()
    for one in made.processes:
        await one.close()


async def die(scene: conftest.Scene, codes: list[int], first: int = 1) -> None:
    """Have the service workers end one after the other, each while it loads."""
    for number, code in enumerate(codes, first):
        played = await scene.started("service", number)
        await scene.until(lambda: played.heard("configure"))  # noqa: B023 - awaited here
        played.exit(code)


@pytest.mark.parametrize(
    ("codes", "how"),
    [
        ([1, -11, 3], "exit code 3"),
        ([END, 1, END, 1, END, 1], "exit code 1"),
        ([END] * 10, "signal 9, SIGKILL"),
    ],
)
async def test_a_project_counts_as_broken_after_three_ends_of_its_own_or_ten_kills(
    scene: conftest.Scene, codes: list[int], how: str
) -> None:
    await die(scene, codes[:-1])
    played = await scene.started("service", len(codes))
    assert not scene.supervisor.failure.done()
    await scene.until(lambda: played.heard("configure"))
    played.exit(codes[-1])
    failure = await scene.supervisor.failure
    assert failure == f"the process that was to load the project ended again and again, at last by {how}"


async def test_kills_before_it_could_be_loaded_are_forgotten_when_it_was(scene: conftest.Scene) -> None:
    await die(scene, [END] * 9 + [1, 1])
    played: Any = await scene.started("service", 12)
    await scene.until(lambda: played.heard("configure"))
    played.load()
    await scene.supervisor.service_loaded.wait()
    await die(scene, [1, 1, 1, END], first=12)
    await scene.started("service", 16)
    assert not scene.supervisor.failure.done()
