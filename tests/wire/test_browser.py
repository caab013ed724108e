"""
Chat pages in headless Chromium: `useStream` of @langchain/react, and the older one of the SDK; pages of
strangers.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.processes import daemon
from tests.wire import node
from tests.wire.conftest import serving
from tests.wire.conversation import PROJECT

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    node.needed,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timeout(300),
]


def environment(url: str, gates: Path, **more: str) -> dict[str, str]:
    """What a script is told: the server, the browser, and which stories."""
    assert CHROMIUM is not None
    # Chromium keeps settings at home, and there may be none.
    return {**node.environment(url, "1.15.0", gates), "CHROMIUM": CHROMIUM, "HOME": str(gates), **more}


@pytest.mark.parametrize("which", ["short", pytest.param("all", marks=pytest.mark.storm)])
async def test_pages_answer_ask_stop_rejoin_edit_and_switch(served: str, tmp_path: Path, which: str) -> None:
    node.install()
    short = {"SHORT": "1"} if which == "short" else {}
    async with node.Script("browser_chat.mjs", environment(served, tmp_path, **short)) as script:
        async with asyncio.timeout(280):
            await script.succeeds()
    assert f"ℹ pass {1 if short else 9}\n" in script.told


async def test_pages_with_both_sdks_send_edit_and_wait(served: str, tmp_path: Path) -> None:
    node.install()
    async with node.Script("browser_versions.mjs", environment(served, tmp_path)) as script:
        async with asyncio.timeout(280):
            await script.succeeds()
    assert "ℹ pass 10\n" in script.told


async def test_the_newer_sdk_edits_by_the_places_of_checkpoints_that_it_is_told(tmp_path: Path) -> None:
    node.install()
    with serving(tmp_path, GATEWAYD_V2_PLACES="1") as url:
        async with node.Script("browser_versions.mjs", environment(url, tmp_path, PLACES="1")) as script:
            async with asyncio.timeout(280):
                await script.succeeds()
    assert "ℹ pass 1\n" in script.told


async def test_pages_of_strangers_are_refused_and_front_ends_of_this_machine_work(
    served: str, tmp_path: Path
) -> None:
    node.install()
    async with node.Script("browser_strangers.mjs", environment(served, tmp_path)) as script:
        async with asyncio.timeout(280):
            await script.succeeds()
    assert "ℹ pass 9\n" in script.told


@pytest.mark.crash
@pytest.mark.parametrize("which", ["short", pytest.param("all", marks=pytest.mark.storm)])
async def test_pages_survive_a_server_that_is_killed(tmp_path: Path, which: str) -> None:
    node.install()
    stories = 1 if which == "short" else 3
    async with daemon.Daemon(PROJECT, tmp_path / "data") as served:
        await served.start()
        env = environment(served.url, tmp_path, RESTART="1", **({"SHORT": "1"} if stories == 1 else {}))
        async with node.Script("browser_chat.mjs", env) as script, asyncio.timeout(280):
            for n in range(stories):
                await script.says("halfway", n + 1)
                served.kill()
                await served.wait()
                await served.start("listening")
                script.tell("back")
            await script.succeeds()
        assert f"ℹ pass {stories}\n" in script.told
