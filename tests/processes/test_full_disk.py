"""
A file system that is really full, under a daemon with real workers: a small one that the test mounts, if it
may.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import daemon

PROJECT = Path(__file__).parents[1] / "engine" / "project"
WORD = "x" * 100_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """
    A disk of 40 MiB, of which 28 are taken by the file `ballast`: more than the log, which is copied once
    more.
    """
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(mounted)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root; the cases of a limited file are in tests/engine")
    (mounted / "ballast").write_bytes(bytes(28 << 20))
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


async def run(client: httpx.AsyncClient, thread_id: str) -> httpx.Response:
    body = {"assistant_id": "steps", "input": {"word": WORD, "path": []}}
    return await client.post(f"/threads/{thread_id}/runs", json=body)


async def joined(client: httpx.AsyncClient, thread_id: str, run_id: str) -> str:
    await client.get(f"/threads/{thread_id}/runs/{run_id}/join")
    return str((await client.get(f"/threads/{thread_id}/runs/{run_id}")).json()["status"])


@pytest.mark.storm
async def test_what_was_acknowledged_survives_a_full_disk_and_a_kill_on_it_and_all_goes_on_when_there_is_room(
    disk: Path, tmp_path: Path
) -> None:
    async with daemon.Daemon(PROJECT, disk / "data", {"GATEWAYD_MIN_FREE_DISK": "0"}) as served:
        # What it says has room elsewhere.
        served.log_path, served.printed_path = tmp_path / "data.stderr", tmp_path / "data.stdout"
        await served.start()
        client = httpx.AsyncClient(base_url=served.url, timeout=30)
        done: list[str] = []
        left: list[tuple[str, str]] = []
        refused: httpx.Response | None = None
        while refused is None:
            made = await client.post("/threads", json={})
            accepted = await run(client, made.json()["thread_id"]) if made.status_code == 200 else made
            if accepted.status_code == 507:
                refused = accepted
                break
            assert accepted.status_code == 200, accepted.text
            place = (made.json()["thread_id"], accepted.json()["run_id"])
            try:
                status = await asyncio.wait_for(joined(client, *place), 2)
            except TimeoutError:
                left.append(place)
            else:
                assert status in {"success", "error"}
                done += [place[0]] * (status == "success")
        assert "full" in refused.json()["detail"]
        assert done
        assert (await client.get("/ok")).json()["ok"] is True
        for thread_id in done:
            state = (await client.get(f"/threads/{thread_id}/state")).json()
            assert state["values"]["word"] == WORD

        served.kill_all()
        await served.wait()
        fill(disk / "fill")
        # What a start writes may still fit into the write-ahead log's file, or not: then it says so and ends.
        await served.spawn()
        await daemon.until(
            lambda: not served.alive or " serving " in served.printed(), "serving or the end", 90
        )
        if served.alive:
            served.kill_all()
            await served.wait()
        else:
            assert await served.wait() == 1
            assert "the disk is full" in served.log("last")

        for name in ("ballast", "fill"):
            (disk / name).unlink()
        await served.start()
        await client.aclose()
        client = httpx.AsyncClient(base_url=served.url, timeout=30)
        for place in left:
            assert await joined(client, *place) in {"success", "error"}
        for thread_id in done:
            state = (await client.get(f"/threads/{thread_id}/state")).json()
            assert state["values"]["word"] == WORD
        answer: Any = (await run(client, done[0])).json()
        assert await joined(client, done[0], answer["run_id"]) == "success"
        assert (await client.delete(f"/threads/{done[0]}")).status_code == 204
        await client.aclose()


def fill(path: Path) -> None:
    """Take what is left of the disk."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
