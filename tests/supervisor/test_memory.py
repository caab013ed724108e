"""The memory limit: who is killed for it, and what is said of that."""

from __future__ import annotations

import mmap
import os
from typing import Any

import pytest

from gatewayd.supervisor import memory


def test_what_a_process_uses_is_told_in_bytes_and_of_one_that_is_gone_nothing() -> None:
    before = memory.resident(os.getpid())
    assert before is not None
    held = mmap.mmap(-1, 64 << 20)  # the allocator would use again what other tests have freed
    held.write(b"x" * (64 << 20))
    after = memory.resident(os.getpid())
    assert after is not None
    assert 60 << 20 < after - before < 80 << 20
    held.close()
    assert memory.resident(2**22 + 1) is None


async def test_only_the_worker_that_uses_too_much_is_killed_and_its_end_says_so(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "WEIGH_EVERY_S", 0.01)
    sizes: dict[int, int] = {}
    monkeypatch.setattr(memory, "resident", sizes.get)
    scene = await start(workers=2, memory=100 << 20)
    (fat,), (lean,) = scene.of("run-1"), scene.of("run-2")
    guilty = scene.at(fat)
    scene.give("a", guilty)
    sizes |= {fat.pid: 150 << 20, lean.pid: 100 << 20}
    await scene.until(lambda: scene.gone)
    assert scene.gone == [(guilty, {"a": 1}, False)], "a death like any other"
    assert scene.supervisor.deaths == {"run": 1}
    assert guilty.how_ended == "memory limit: it used 150 MiB of 100 MiB"
    await scene.started("run-1", 2)
    assert not lean.killed
