"""Every task has an owner; a hint wakes the loop that waits for it, and is spent by that."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

import gatewayd
from gatewayd import tasks

LONG_S = 3600.0
ROOT = Path(gatewayd.__file__).parent
STARTERS = {"create_task", "ensure_future"}
ALLOWED = {"tasks.py", "worker/main.py"}


async def test_a_hint_wakes_who_waits_and_is_taken_by_it() -> None:
    hint = tasks.Hint()
    waiting = asyncio.ensure_future(hint.wait(LONG_S))
    await asyncio.sleep(0)
    assert not waiting.done()
    hint.give()
    async with asyncio.timeout(60):
        await waiting
    assert not hint.given


async def test_a_hint_that_was_given_while_the_loop_was_busy_ends_its_next_wait_only() -> None:
    hint = tasks.Hint()
    hint.give()
    hint.give()
    assert hint.given
    async with asyncio.timeout(60):
        await hint.wait(LONG_S)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await hint.wait()


@pytest.mark.parametrize("within_s", [0.0, 0.001])
async def test_without_a_hint_the_wait_ends_after_its_time(within_s: float) -> None:
    async with asyncio.timeout(60):
        await tasks.Hint().wait(within_s)


async def test_a_hint_that_comes_with_the_end_of_the_time_is_taken_too() -> None:
    hint = tasks.Hint()
    waiting = asyncio.ensure_future(hint.wait(0.0))
    await asyncio.sleep(0)
    hint.give()
    await waiting
    assert not hint.take()


async def test_the_end_of_a_loop_that_waits_is_not_taken_for_the_end_of_its_time() -> None:
    waiting = asyncio.ensure_future(tasks.Hint().wait(LONG_S))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [(None, 60.0), (5_000_000, 3.0), (2_000_000, 0.0), (1_000_000, 0.0), (10**12, 60.0)],
)
def test_a_loop_waits_until_the_moment_but_never_longer_than_it_may(
    moment: int | None, seconds: float
) -> None:
    assert tasks.seconds_until(moment, 2_000_000, 60.0) == seconds


def starts_tasks(source: str) -> bool:
    """Whether a source uses a function that starts a task."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.id for node in nodes if isinstance(node, ast.Name)}
    return bool(names & STARTERS)


def test_every_task_belongs_to_a_group_except_a_workers_main_task() -> None:
    modules = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}
    assert {name for name, path in modules.items() if starts_tasks(path.read_text("utf-8"))} == ALLOWED
