"""
The commands for the database, as an operator uses them: beside a daemon that runs, and before and after it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph_sdk import client as sdk

from tests.processes import daemon

PROJECT = Path(__file__).parents[1] / "engine" / "project"
NAMED = "user-42"
"""A thread whose id is no UUID, as the saver's users like them."""
ASKING = "0b9f3a56-6a52-4e9b-8a39-3f1b5f4a1c22"


async def command(*arguments: str, code: int = 0) -> str:
    """Run the command; return what it has printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gatewayd",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=daemon.ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == code, err.decode()
    return (out + err).decode()


async def stock(path: Path) -> dict[str, Any]:
    """
    Make the database of a stock saver with two threads; return the states of both as the graphs show them.
    """
    from tests.engine.project import kinds_of_runs

    states: dict[str, Any] = {}
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        for graph, thread_id in ((kinds_of_runs.two_questions, NAMED), (kinds_of_runs.two_questions, ASKING)):
            compiled = graph.builder.compile(checkpointer=saver)
            config: Any = {"configurable": {"thread_id": thread_id}}
            await compiled.ainvoke({"word": "w", "path": []}, config)
            states[thread_id] = await compiled.aget_state(config)
            states[f"history {thread_id}"] = [each async for each in compiled.aget_state_history(config)]
    return states


async def stopped(served: daemon.Daemon) -> None:
    served.signal(signal.SIGTERM)
    assert await served.wait() == 0


async def test_a_stock_saver_s_threads_are_imported_once_with_history_values_and_questions_that_can_be_answered(
    tmp_path: Path,
) -> None:
    states = await stock(tmp_path / "stock.sqlite")
    data = tmp_path / "data"
    where = ("--config", str(PROJECT / "langgraph.json"), "--data-dir", str(data))
    ordered = ("db", "import", str(tmp_path / "stock.sqlite"), "--graph", "two_questions", *where)
    first = await command(*ordered)
    assert "imported 2 threads" in first
    before = dump(data / "gatewayd.sqlite")
    second = await command(*ordered)
    assert "imported 0 threads" in second
    assert f"passed over {NAMED}" in second
    assert f"passed over {ASKING}" in second
    assert dump(data / "gatewayd.sqlite") == before
    assert "has no such graph" in await command(*ordered[:4], "nope", *where, code=78)

    async with daemon.Daemon(PROJECT, data) as served:
        await served.start()
        assert "in use by another gatewayd" in await command(*ordered, code=1)
        client = sdk.get_client(url=served.url, api_key=None)
        (named,) = await client.threads.search(metadata={"imported_thread_id": NAMED})
        asking = await client.threads.get(ASKING)
        for thread, origin in ((named, NAMED), (asking, ASKING)):
            expected = states[origin]
            assert thread["status"] == "interrupted"
            assert thread["metadata"]["graph_id"] == "two_questions"
            assert thread["values"] == expected.values
            questions = [one for ones in thread["interrupts"].values() for one in ones]
            assert [one["id"] for one in questions] == [one.id for one in expected.interrupts]
            state = await client.threads.get_state(thread["thread_id"])
            assert state["next"] == list(expected.next)
            assert state["values"] == expected.values
            history = await client.threads.get_history(thread["thread_id"], limit=100)
            assert [each["checkpoint"]["checkpoint_id"] for each in history] == [
                each.config["configurable"]["checkpoint_id"] for each in states[f"history {origin}"]
            ]
        answered = await client.runs.wait(
            ASKING, "two_questions", command={"resume": "yes"}, raise_error=True
        )
        assert "__interrupt__" in answered  # the second question
        await client.http.client.aclose()
        await stopped(served)


async def test_imported_threads_whose_states_are_large_are_shown_and_can_be_gone_on_with(
    tmp_path: Path,
) -> None:
    from tests.engine.project import kinds_of_runs

    path = [f"{number}:{'long ' * 120}" for number in range(40)]
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "stock.sqlite")) as saver:
        compiled = kinds_of_runs.steps.builder.compile(checkpointer=saver)
        for thread_id in (NAMED, ASKING):
            await compiled.ainvoke({"word": "w", "path": path}, {"configurable": {"thread_id": thread_id}})
    where = ("--config", str(PROJECT / "langgraph.json"), "--data-dir", str(tmp_path / "data"))
    told = await command("db", "import", str(tmp_path / "stock.sqlite"), "--graph", "steps", *where)
    assert "imported 2 threads" in told

    async with daemon.Daemon(PROJECT, tmp_path / "data") as served:
        await served.start()
        client = sdk.get_client(url=served.url, api_key=None)
        expected = {"word": "w", "path": [*path, "a:w", "b:w", "c:w"]}
        assert (await client.threads.get(ASKING))["values"] == expected
        assert [each["values"] for each in await client.threads.search()] == [expected, expected]
        ended: Any = await client.runs.wait(ASKING, "steps", input={"path": ["more"]})
        assert ended["path"][:44] == [*expected["path"], "more"]
        await client.http.client.aclose()
        await stopped(served)


def dump(path: Path) -> dict[str, list[Any]]:
    connection = sqlite3.connect(path)
    try:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
            for table in ("threads", "checkpoints", "writes", "thread_locks", "runs")
        }
    finally:
        connection.close()


async def test_the_report_tells_beside_a_running_daemon_what_takes_how_much_and_compact_waits_for_its_end(
    tmp_path: Path,
) -> None:
    async with daemon.Daemon(PROJECT, tmp_path / "data") as served:
        await served.start()
        client = sdk.get_client(url=served.url, api_key=None)
        small, large = [(await client.threads.create())["thread_id"] for _ in range(2)]
        for thread_id, word in ((small, "w"), (large, random.Random(1).randbytes(100_000).hex())):
            await client.runs.wait(thread_id, "steps", input={"word": word, "path": []})
        await client.store.put_item(["notes"], key="large", value={"text": "long " * 60_000})
        told = json.loads(await command("db", "report", "--json", "--data-dir", str(served.data_dir)))
        assert told["tables"]["threads"]["rows"] == 2
        assert told["tables"]["runs"]["rows"] == 2
        assert told["threads"][0]["thread_id"] == large
        assert told["threads"][0]["bytes"] > 200_000
        assert told["threads"][1] == {"thread_id": small, "bytes": told["threads"][1]["bytes"]}
        assert told["file_bytes"] + told["wal_bytes"] > 200_000
        assert told["gives_back"] is True
        assert told["disk_free_bytes"] > 0
        kept = told["store"]
        assert kept["path"] == str(served.data_dir / "store.sqlite")
        assert kept["file_bytes"] + kept["wal_bytes"] > 300_000
        assert kept["tables"]["store"]["rows"] == 1
        assert kept["tables"]["store"]["bytes"] > 300_000
        assert (
            24 * 300_000 < told["growth_bytes_a_day"] < 24 * 2_000_000
        )  # of the hour that is the least looked at
        async with httpx.AsyncClient() as http:
            metrics = (await http.get(f"{served.url}/metrics")).text
        assert (
            float(re.findall(r"^gatewayd_store_wal_bytes (.+)$", metrics, re.MULTILINE)[0])
            == kept["wal_bytes"]
        )
        shown = await command("db", "report", "--data-dir", str(served.data_dir))
        assert large in shown
        assert "store: store" in shown
        assert "in use by another gatewayd" in await command(
            "db", "compact", "--data-dir", str(served.data_dir), code=1
        )
        await client.threads.delete(large)
        await client.http.client.aclose()
        await stopped(served)
        assert "now" in await command("db", "compact", "--data-dir", str(served.data_dir))
        await served.start()
        client = sdk.get_client(url=served.url, api_key=None)
        assert (await client.threads.get_state(small))["values"]["word"] == "w"
        await client.http.client.aclose()
        await stopped(served)


@pytest.mark.parametrize("action", ["report", "compact"])
async def test_where_there_is_no_database_that_is_said(tmp_path: Path, action: str) -> None:
    told = await command("db", action, "--data-dir", str(tmp_path), code=78)
    assert "there is no database" in told


async def test_what_is_no_stock_database_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE checkpoints (thread_id TEXT)")
    connection.commit()
    connection.close()
    (tmp_path / "text.sqlite").write_text("no database, but long enough to be looked at " * 50)
    where = (
        "--graph",
        "steps",
        "--config",
        str(PROJECT / "langgraph.json"),
        "--data-dir",
        str(tmp_path / "d"),
    )
    for name, why in (
        ("other", "is not the database of"),
        ("text", "can't be read"),
        ("none", "no such file"),
    ):
        told = await command("db", "import", str(tmp_path / f"{name}.sqlite"), *where, code=78)
        assert why in told
