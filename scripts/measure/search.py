"""
Measure how long searches of threads take in a large file.

    python scripts/measure/search.py [--threads 100000] [--runs 1000000] [--file PATH] [--rounds 60]

Fills a new database with threads and runs (a file that is there is used as it is), asks every kind of search
as the server does, for a page of 20, and prints the median and the 95th percentile of each in milliseconds.
What is asked for changes from round to round. A million runs take about a minute and 2 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from gatewayd.storage import opening, store
from gatewayd.storage.sqlite.engine import database, migrate

START = 1_700_000_000_000_000
USERS = 5000
STATUSES = ("idle", "interrupted", "error", "busy")
WEIGHTS = (80, 15, 4.9, 0.1)
KEYS = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")
VALUES = wire.dumps({"messages": [{"type": "human", "content": "x" * 1500}], "left": 1})
KWARGS = wire.text({"input": {"messages": [{"role": "user", "content": "y" * 300}]}, "config": {"tags": []}})


def fill(path: Path, threads: int, runs: int) -> None:
    """Make a file of so many threads and runs, in bulk."""
    connection = database.connect(path)
    migrate.migrate(connection, path)
    connection.execute("PRAGMA synchronous = OFF")
    chance = random.Random(1)
    began = time.monotonic()
    made = [
        ids.new_id(START // 1000 + 10 * n) if n % 3 else ids.system_assistant_id(str(n))
        for n in range(threads)
    ]
    connection.execute("BEGIN")
    connection.executemany(
        """INSERT INTO threads (thread_id, status, created_at, updated_at, state_updated_at, metadata, "values", interrupts)
           VALUES (?, ?, ?, ?, ?, ?, ?, '{}')""",
        (_thread(thread_id, n, threads, chance) for n, thread_id in enumerate(made)),
    )
    connection.execute("COMMIT")
    told(f"{threads} threads: {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    connection.execute("BEGIN")
    connection.executemany(
        """INSERT INTO runs (run_id, thread_id, assistant_id, graph_id, status, created_at, submitted_at, updated_at,
               started_at, ended_at, kwargs, multitask_strategy)
           VALUES (?, ?, 'a', 'chat', ?, ?, ?, ?, ?, ?, ?, 'enqueue')""",
        (_run(made[n % threads], n, chance) for n in range(runs)),
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    told(f"{runs} runs: {time.monotonic() - began:.1f} s; {path.stat().st_size / 1e6:.0f} MB")


def _thread(thread_id: str, n: int, threads: int, chance: random.Random) -> tuple[Any, ...]:
    created = START + 10_000 * n
    updated = created + chance.randrange(10_000 * threads)
    metadata = {
        "graph_id": "chat",
        "assistant_id": ids.system_assistant_id("chat"),
        "user": f"user-{chance.randrange(USERS)}",
        "era": "old" if n < threads // 4 else "new",
        "priority": chance.randrange(10),
        "nest": {"customer": chance.randrange(1000)},
    }
    (status,) = chance.choices(STATUSES, WEIGHTS)
    return thread_id, status, created, updated, updated, wire.text(metadata), VALUES


def _run(thread_id: str, n: int, chance: random.Random) -> tuple[Any, ...]:
    moment = START + n * 1000
    status = "error" if chance.random() < 0.02 else "success"
    return (
        ids.new_id(moment // 1000), thread_id, status, moment, moment, moment, moment, moment + 1000, KWARGS,
    )  # fmt: skip


def kinds(known: list[str]) -> Iterator[tuple[str, Callable[[random.Random], dict[str, Any]]]]:
    """Yield the kinds of searches: a name, and what makes one."""
    yield "ids (20)", lambda chance: {"ids": chance.sample(known, 20)}
    for status in STATUSES:
        yield f"status {status}", lambda _, status=status: {"status": status}
    yield (
        "metadata user (20 of 100,000)",
        lambda chance: {"metadata": {"user": f"user-{chance.randrange(USERS)}"}},
    )
    yield "metadata graph_id (all)", lambda _: {"metadata": {"graph_id": "chat"}}
    yield "metadata priority (a tenth)", lambda chance: {"metadata": {"priority": chance.randrange(10)}}
    yield "metadata era (the oldest quarter)", lambda _: {
        "metadata": {"era": "old"}, "sort_by": "created_at",
    }  # fmt: skip
    yield "metadata user (matches nothing)", lambda _: {"metadata": {"user": "nobody"}}
    yield "metadata key (matches nothing)", lambda _: {"metadata": {"unknown": 1}}
    for key in KEYS:
        for descending in (False, True):
            name = f"sort {key} {'desc' if descending else 'asc'}"
            order = {"sort_by": key, "descending": descending}
            yield name, lambda _, order=order: order
            for status in ("idle", "error"):
                yield (
                    f"{name}, status {status}",
                    lambda _, order=order, status=status: {**order, "status": status},
                )
            yield (
                f"{name}, metadata priority",
                lambda chance, order=order: {**order, "metadata": {"priority": chance.randrange(10)}},
            )
    yield "offset 1000", lambda _: {"offset": 1000}
    yield "offset 50,000", lambda _: {"offset": 50_000}
    yield (
        "scan: metadata nested (1 of 1000)",
        lambda chance: {"metadata": {"nest": {"customer": chance.randrange(1000)}}},
    )
    yield "scan: metadata nested (matches nothing)", lambda _: {"metadata": {"nest": {"customer": -1}}}
    yield "scan: values (all)", lambda _: {"values": {"left": 1}}
    yield "scan: values (matches nothing)", lambda _: {"values": {"left": 2}}


COUNTS: dict[str, dict[str, Any]] = {
    "count all": {},
    "count status idle": {"status": "idle"},
    "count metadata user": {"metadata": {"user": "user-1"}},
    "count metadata graph_id (all)": {"metadata": {"graph_id": "chat"}},
    "count metadata priority, status idle": {"metadata": {"priority": 1}, "status": "idle"},
}


async def measure(path: Path, rounds: int) -> None:
    """Ask every kind of search and print the table."""
    storage = await opening.open_storage(path, START, 1, "measure")
    chance = random.Random(2)
    known = [row[0] for row in await storage.readers.rows("SELECT thread_id FROM threads LIMIT 5000")]
    told(f"{'kind':<52}{'p50 ms':>9}{'p95 ms':>9}  found")
    try:
        for name, make in kinds(known):
            took, shown = [], ""
            most = rounds if not name.startswith("scan") else min(rounds, 10)
            for _ in range(most):
                search = store.ThreadSearch(limit=20, **make(chance))
                began = time.perf_counter()
                found = await storage.threads_search(INTERNAL, search)
                took.append(time.perf_counter() - began)
                shown = f"{min(20, len(found.threads))}" + (
                    f" of {found.scanned} scanned" if found.scanned is not None else ""
                )
            report(name, took, shown)
        for name, fields in COUNTS.items():
            took, shown = [], ""
            for _ in range(min(rounds, 20)):
                began = time.perf_counter()
                shown = str(await storage.threads_count(INTERNAL, store.ThreadSearch(**fields)))
                took.append(time.perf_counter() - began)
            report(name, took, shown)
    finally:
        await storage.close(START)


def report(name: str, took: list[float], shown: str) -> None:
    """Print a line of the table."""
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    told(f"{name:<52}{statistics.median(took) * 1e3:9.2f}{p95 * 1e3:9.2f}  {shown}")


def told(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--threads", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--file", type=Path, help="the database; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or Path(folder) / "search.sqlite"
        if not path.exists():
            fill(path, arguments.threads, arguments.runs)
        asyncio.run(measure(path, arguments.rounds))


if __name__ == "__main__":
    main()
