"""What a conversation costs a whole server as it grows: bytes on disk, and what a turn writes and takes.

    python scripts/measure/server.py [--turns 200 2000] [--size 2000] [--modes values] [--port 21790]

A daemon of its own, on a data directory of its own, is asked over HTTP: every turn is a run on one thread, a
question and an answer of about `--size` bytes of English-like text. Everything is stored: checkpoints,
events, the thread's values, runs and their results. "disk" is the size of the file, with its write-ahead log
folded back, by the bytes of the texts. Written are the bytes that daemon and worker have given to the disk
(`/proc/PID/io`), cpu is what they have used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import growth

GRAPH = """
import sys
sys.path.insert(0, {folder!r})
from growth import graph as made
graph = made(None, {size})
"""


def project(folder: Path, size: int) -> Path:
    """Write a project and return its configuration file."""
    here = str(Path(__file__).parent)
    (folder / "chat.py").write_text(GRAPH.format(folder=here, size=size))
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"chat": "./chat.py:graph"}}))
    return config


def used(pids: Sequence[int]) -> tuple[int, float]:
    """Return bytes written and seconds of processor time of some processes."""
    written, ticks = 0, 0
    for pid in pids:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        written += int(fields["write_bytes"])
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(stat[11]) + int(stat[12])
    return written, ticks / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def rows(path: Path) -> list[tuple[str, int]]:
    """
    Return what each table takes, pages and all, if SQLite was built to tell; else the bytes of its large
    columns.
    """
    with sqlite3.connect(path) as connection:
        try:
            found = connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")
            return [(name, size) for name, size in found if size > 100_000]
        except sqlite3.Error:
            columns = {
                "blobs": "length(body) + 40",
                "checkpoints": "length(checkpoint) + length(coalesce(metadata_packed, metadata)) + 150",
                "writes": "length(value) + 150",
                "events": "length(records) + coalesce(length(parts), 0) + 150",
                "runs": "length(coalesce(kwargs_packed, kwargs)) + length(metadata) + coalesce(length(result), 0) + 300",
                "threads": 'coalesce(length("values"), 0) + 300',
            }
            return [
                (name, connection.execute(f"SELECT coalesce(sum({size}), 0) FROM {name}").fetchone()[0])
                for name, size in columns.items()
            ]


async def turn(http: aiohttp.ClientSession, thread_id: str, number: int, size: int, modes: list[str]) -> None:
    """Have one run done."""
    message = {"role": "user", "content": growth.text(-number, size), "id": f"question-{number}"}
    body: dict[str, Any] = {"assistant_id": "chat", "input": {"messages": [message]}, "stream_mode": modes}
    async with http.post(f"/threads/{thread_id}/runs", json=body) as response:
        response.raise_for_status()
        run = await response.json()
    while True:
        async with http.get(f"/threads/{thread_id}/runs/{run['run_id']}") as response:
            status = (await response.json())["status"]
        if status == "success":
            return
        if status not in {"pending", "running"}:
            raise RuntimeError(f"turn {number} ended {status}")
        await asyncio.sleep(0.005)


async def converse(port: int, pid: int, data: Path, given: argparse.Namespace) -> None:
    """Make the turns and print what they cost."""
    last = max(given.turns)
    marks = {12: 20, last - 8: last}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        async with http.post("/threads", json={}) as response:
            thread_id = (await response.json())["thread_id"]
        before = (0, 0.0, 0.0)
        for number in range(1, last + 1):
            await turn(http, thread_id, number, given.size, given.modes)
            if number in marks:
                before = (*used(family(pid)), time.perf_counter())
            elif number in marks.values():
                written, cpu = used(family(pid))
                print(f"a turn, the mean of the eight up to turn {number}")
                growth.show("written, daemon and workers", (written - before[0]) / 8192, "kB")
                growth.show("processor time, daemon and workers", (cpu - before[1]) / 8 * 1000, "ms")
                growth.show("elapsed", (time.perf_counter() - before[2]) / 8 * 1000, "ms")
            if number in given.turns:
                size = folded(data / "gatewayd.sqlite")
                print(f"{number} turns")
                growth.show("disk, bytes per byte of text", size / (number * 2 * given.size))
                for table, each in rows(data / "gatewayd.sqlite"):
                    growth.show(f"  {table}", each / (number * 2 * given.size))


def folded(path: Path) -> int:
    """Return the size of a database as it is without a write-ahead log."""
    return growth.disk(path)


async def main() -> None:
    """Start a daemon, measure, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--size", type=int, default=2000, help="bytes of a message")
    parser.add_argument("--modes", nargs="+", default=["values"], help="stream modes of the runs")
    parser.add_argument("--port", type=int, default=21790)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = project(Path(folder), given.size)
        data = Path(folder) / "data"
        command = [
            "-m",
            "gatewayd",
            "serve",
            "-c",
            str(config),
            "--data-dir",
            str(data),
            "--port",
            str(given.port),
        ]
        daemon = await asyncio.create_subprocess_exec(sys.executable, *command, "--log-level", "WARNING")
        try:
            await until_serving(given.port)
            await converse(given.port, daemon.pid, data, given)
        finally:
            daemon.terminate()
            await daemon.wait()


async def until_serving(port: int) -> None:
    """Wait until the server answers."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        for _ in range(600):
            try:
                async with http.get("/ok") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError("the server did not start")


if __name__ == "__main__":
    asyncio.run(main())
