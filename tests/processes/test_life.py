"""The daemon process: how it starts, what it refuses, how it stops, and what it leaves when it is killed."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import socket
import sqlite3
import statistics
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.processes import conftest, daemon, story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STOP_S = 12.0
"""Beyond the drain: two seconds until workers that don't let go are killed, and room for a noisy machine."""


# killed


@pytest.mark.parametrize(
    ("graph", "values", "seen"),
    [
        ("steps", {"steps": 2, "seconds": 600}, "step0 start"),  # it is never stored, so it is begun again
        ("blocker", {"seconds": 30}, "block start"),
        pytest.param("sleeper", {"seconds": 30}, "sleep start", marks=pytest.mark.storm),
        pytest.param("regex", {}, "backtrack start", marks=pytest.mark.storm),
        pytest.param("parent", {"seconds": 30, "how": "spawn"}, "beget start", marks=pytest.mark.storm),
        ("parent", {"seconds": 30, "how": "fork"}, "beget start"),
    ],
    ids=["in a step", "blocked", "in a thread", "holding the interpreter", "with a child", "with a fork"],
)
@pytest.mark.crash
async def test_a_killed_daemon_takes_its_workers_with_it_and_the_next_one_starts(
    serve: conftest.Serve, tell: conftest.Tell, graph: str, values: dict[str, Any], seen: str
) -> None:
    served = await serve(workers=2)
    told = tell(served)
    run = await told.begin(graph, **values)
    await told.witnessed(run, seen)
    children = []
    if graph == "parent":
        await daemon.until(lambda: any(mark.key == "child" for mark in told.marks()), "the child is there")
        children = [int(mark.what) for mark in told.marks() if mark.key == "child"]
        assert all(map(daemon.running, children))
    workers = served.workers()
    assert len(workers) == 3
    assert story.attempts(await partly(told, run, attempt=1)) == [1]  # stored: it is told again later

    served.kill()
    assert await served.wait() == -signal.SIGKILL
    await daemon.until(lambda: not any(map(daemon.running, workers)), "the workers are gone")

    await served.start()
    assert not any(map(daemon.running, children)), "what a worker has started outlives the next boot"
    await told.witnessed(run, seen, 2)
    assert not told.twice_at_once(run)
    assert story.attempts(await partly(told, run)) == [1, 2]


async def partly(told: story.Story, run: story.Stood, attempt: int = 2) -> list[Any]:
    """Read a run's stream until an attempt has been announced."""
    got = []
    async for part in told.client.runs.join_stream(run.thread_id, run.run_id, last_event_id="-1"):
        got.append(part)
        if part.event == "metadata" and part.data["attempt"] == attempt:
            break
    return got


# what it refuses


async def refused(served: daemon.Daemon) -> tuple[int, str]:
    """Start it; return its exit code and its stderr, without warnings."""
    await served.start(until="started")
    code = await served.wait()
    lines = [line for line in served.log("last").splitlines() if " INFO " not in line]
    return code, "\n".join(lines)


async def test_a_second_daemon_on_the_same_data_is_refused_and_told_who_holds_it(
    serve: conftest.Serve, tmp_path: Path
) -> None:
    first = await serve()
    for port in (0, first.port):
        async with daemon.Daemon(conftest.PROJECT, first.data_dir, port=port) as second:
            second.log_path = tmp_path / "second.stderr"
            second.printed_path = tmp_path / "second.stdout"
            code, log = await refused(second)
            assert code == 1
            assert log == f"gatewayd: {first.data_dir} is in use by another gatewayd (pid {first.pid})"
    assert await answers_ok(first)


async def test_a_busy_port_is_an_error_and_no_other_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with daemon.Daemon(conftest.PROJECT, tmp_path / "data", port=port) as served:
            code, log = await refused(served)
    assert code == 1
    assert log == (
        f"gatewayd: can't listen on 127.0.0.1:{port}: Address already in use; choose another port with --port (0 takes a "
        "free one)"
    )
    assert served.printed() == ""


BROKEN = {
    "import error": (
        "import nothing_of_that_name\n",
        "./graph.py:graph",
        "nothing_of_that_name",
        " (graph.py:1)",
    ),
    "missing attribute": ("other = 1\n", "./graph.py:graph", "no attribute 'graph'", ""),
    "missing file": (None, "./graph.py:graph", "there is no file", ""),
    "no graph": ("graph = 7\n", "./graph.py:graph", "int", ""),
    "syntax error": ("def graph(:\n", "./graph.py:graph", "SyntaxError", ""),
    "exits": ("import sys\nsys.exit('no key')\n", "./graph.py:graph", "no key", " (graph.py:2)"),
    "missing module": ("", "absent.module:graph", "absent", ""),
}


@pytest.mark.parametrize(("code", "path", "cause", "line"), BROKEN.values(), ids=BROKEN)
async def test_a_project_that_does_not_load_is_one_clear_line_and_exit_code_78(
    tmp_path: Path, code: str | None, path: str, cause: str, line: str
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "langgraph.json").write_text(json.dumps({"graphs": {"mine": path}, "dependencies": ["."]}))
    if code is not None:
        (project / "graph.py").write_text(code)
    async with daemon.Daemon(project, tmp_path / "data") as served:
        exit_code, log = await refused(served)
    assert exit_code == 78
    *trace, last = log.splitlines()
    assert last.startswith("gatewayd: "), log
    assert "mine" in last
    assert path in last
    assert cause in last
    assert last.endswith(line)
    assert [entry for entry in trace if not entry.startswith(" ")] == trace[:1], "one traceback at most"
    assert "serving" not in served.printed()


async def test_a_project_that_kills_the_process_that_loads_it_is_exit_code_78(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "langgraph.json").write_text(
        json.dumps({"graphs": {"mine": "./graph.py:graph"}, "dependencies": ["."]})
    )
    (project / "graph.py").write_text("import os\nos._exit(9)\n")
    async with daemon.Daemon(project, tmp_path / "data") as served:
        code, log = await refused(served)
    assert code == 78
    assert log.splitlines()[-1].endswith("load the project ended again and again, at last by exit code 9")
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("config", "environment", "cause"),
    [
        ("{", {}, "langgraph.json"),
        ("{}", {}, "graphs"),
        (None, {"GATEWAYD_WORKERS": "many"}, "GATEWAYD_WORKERS='many'"),
        (None, {"GATEWAYD_PORT": "70000"}, "GATEWAYD_PORT"),
        (None, {"GATEWAYD_ON_RESTART": "sleep"}, "must be resume or restart"),
    ],
)
async def test_bad_configuration_is_one_clear_line_and_exit_code_78(
    tmp_path: Path, config: str | None, environment: dict[str, str], cause: str
) -> None:
    project = conftest.PROJECT
    if config is not None:
        project = tmp_path / "langgraph.json"
        project.write_text(config)
    async with daemon.Daemon(project, tmp_path / "data", environment) as served:
        if "GATEWAYD_PORT" in environment:
            served.arguments = []
            command = [sys.executable, "-m", "gatewayd", "serve", "--config", str(served.config)]
            process = await asyncio.create_subprocess_exec(
                *command, env=daemon.environment(environment), stderr=asyncio.subprocess.PIPE
            )
            _, error = await process.communicate()
            code, log = process.returncode, error.decode().strip()
        else:
            code, log = await refused(served)
    assert code == 78
    assert len(log.splitlines()) == 1, log
    assert cause in log


async def test_a_data_directory_that_cannot_be_made_is_exit_code_78(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with daemon.Daemon(conftest.PROJECT, tmp_path / "data") as served:
        served.data_dir = tmp_path / "file" / "data"
        code, log = await refused(served)
    assert code == 78
    assert log == f"gatewayd: the data directory {tmp_path / 'file' / 'data'} can't be used: Not a directory"


# how it starts


async def answers_ok(served: daemon.Daemon) -> bool:
    async with aiohttp.ClientSession() as session, session.get(served.url + "/ok") as answer:
        return answer.status == 200 and (await answer.json())["ok"] is True


async def test_ok_is_answered_soon_after_the_start_while_the_project_is_loading(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    took = []
    for boot in range(5):
        async with daemon.Daemon(conftest.PROJECT, tmp_path / f"data{boot}") as served:
            await served.start(until="listening")
            assert await answers_ok(served)
            took.append(time.monotonic() - served.started_at)
            assert " serving " not in served.printed()
    record_property("seconds until /ok, median of five", statistics.median(took))
    assert min(took) < 3.0, took  # the least: other work on the machine only adds to it


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


async def test_the_daemon_process_loads_no_graph_library(serve: conftest.Serve, tell: conftest.Tell) -> None:
    told = tell(await serve())
    await told.ended(await told.begin("steps", steps=1))
    opened = maps(told.served.pid)
    assert "aiohttp" in opened, "the map shows extension modules"
    assert not [line for line in opened.splitlines() if "langgraph" in line or "langchain" in line]
    code = (
        "import sys\nfrom gatewayd import daemon\n"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('langgraph', 'langchain', 'langchain_core', 'langgraph_sdk', 'pydantic') or 'gatewayd.worker.' in name])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=daemon.environment(), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"


# how it stops


def statuses(served: daemon.Daemon) -> dict[str, tuple[str, int]]:
    """Return what the file of a stopped daemon says of its runs: status and strikes."""
    with sqlite3.connect(served.data_dir / "gatewayd.sqlite") as connection:
        return {
            run_id: (status, strikes)
            for run_id, status, strikes in connection.execute("SELECT run_id, status, strikes FROM runs")
        }


async def cut_off(
    served: daemon.Daemon, run: story.Stood, head: Callable[[], None]
) -> type[BaseException] | None:
    """Read a run's stream by hand; return the error that it ends with, None when its end was in order."""
    url = f"{served.url}/threads/{run.thread_id}/runs/{run.run_id}/stream"
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Last-Event-ID": "-1"}) as answer,
        ):
            head()
            async for _ in answer.content:
                pass
    except aiohttp.ClientError as error:
        return type(error)
    return None


STOPPED = {
    "between steps": ("steps", {"steps": 30, "seconds": 0.2}, "step2 end", 3),
    "in a long step": ("steps", {"steps": 2, "seconds": 6}, "step0 start", 1),
    "in a step that swallows its cancellation": ("stubborn", {"seconds": 30}, "cling waits", 1),
    "in a thread": ("sleeper", {"seconds": 30}, "sleep start", 1),
    "blocked": ("blocker", {"seconds": 30}, "block start", 1),
}


@pytest.mark.parametrize(
    ("graph", "values", "seen", "drain_s"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.storm if name in ("in a thread", "blocked") else ())
        for name, case in STOPPED.items()
    ],
)
async def test_a_stop_hands_runs_back_cuts_streams_and_ends_in_time_with_0(
    serve: conftest.Serve, tell: conftest.Tell, graph: str, values: dict[str, Any], seen: str, drain_s: int
) -> None:
    served = await serve(drain_s=drain_s)
    told = tell(served)
    run = await told.begin(graph, **values)
    if seen == "cling waits":
        await daemon.until(lambda: any(mark.what == "waits" for mark in told.marks()), seen)
    else:
        await told.witnessed(run, seen)
    streaming = asyncio.Event()
    reader = asyncio.create_task(cut_off(served, run, streaming.set))
    await streaming.wait()
    workers = served.workers()

    started = time.monotonic()
    served.signal(signal.SIGTERM)
    assert await served.wait(drain_s + STOP_S) == 0
    took = time.monotonic() - started
    assert took < drain_s + STOP_S
    assert not any(map(daemon.running, workers))
    assert await reader is aiohttp.ClientPayloadError, "the stream must not seem to have ended in order"
    assert statuses(served)[run.run_id] == ("pending", 0)
    assert "Traceback" not in served.log()
    assert " ERROR " not in served.log()

    await served.start()
    if graph == "steps":
        assert (await told.ended(run))["status"] == "success"
        assert (await told.values(run))["done"] == [f"step{number}" for number in range(values["steps"])]
        again = 1 if seen == "step2 end" else 2
        assert told.count(run, seen.replace("end", "start")) == again
        assert sum(mark.what.endswith("start") for mark in told.marks(run)) == values["steps"] + again - 1
    else:
        assert story.attempts(await partly(told, run)) == [1, 2]
    assert not told.twice_at_once(run)


async def test_ctrl_c_in_a_terminal_stops_it_like_sigterm(serve: conftest.Serve, tell: conftest.Tell) -> None:
    served = await serve(drain_s=3)
    assert await served.stop() == 0
    outer, inner = pty.openpty()
    try:
        await served.spawn(
            stdin=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)
        await served.until(lambda: " serving " in served.printed(), "serving")
        told = tell(served)
        run = await told.begin("steps", steps=20, seconds=0.1)
        await told.witnessed(run, "step2 end")
        os.write(outer, b"\x03")
        assert await served.wait(3 + STOP_S) == 0
    finally:
        os.close(outer)
    assert statuses(served)[run.run_id] == ("pending", 0)
    assert "Traceback" not in served.log()
    await served.start()
    assert (await told.ended(run))["status"] == "success"
    assert all(told.count(run, f"step{number} start") == 1 for number in range(20))


async def test_a_stop_while_the_project_is_loading_ends_at_once_with_0(tmp_path: Path) -> None:
    async with daemon.Daemon(conftest.PROJECT, tmp_path / "data") as served:
        await served.start(until="listening")
        assert await answers_ok(served)
        started = time.monotonic()
        assert await served.stop(timeout_s=20) == 0
        assert time.monotonic() - started < 2
        assert "Traceback" not in served.log()


async def test_a_second_signal_changes_nothing(serve: conftest.Serve, tell: conftest.Tell) -> None:
    served = await serve(drain_s=3)
    told = tell(served)
    run = await told.begin("steps", steps=30, seconds=0.5)
    await told.witnessed(run, "step0 start")
    served.signal(signal.SIGINT)
    served.signal(signal.SIGTERM)
    served.signal(signal.SIGINT)
    assert await served.wait() == 0
    assert "Traceback" not in served.log()
    assert statuses(served)[run.run_id] == ("pending", 0)
